//! Recurrence rules of RFC 5545, expanded in wall-clock time.
//!
//! The only place that knows the `rrule` crate. It expands as if the clocks of the world never
//! changed; what a wall-clock time is in UTC is the zone's business.

mod parts;

use chrono::{DateTime, Datelike, Duration, Months, NaiveDate, NaiveDateTime, Utc, Weekday};
use rrule::{Frequency, RRule, RRuleSet, Tz, Unvalidated};

use self::parts::Parts;
use super::TimeZone;
use crate::domain::Invalid;

/// A rule that was checked: it recurs daily or less often, at most 24 times a day, and at least
/// once before the year 2400, in which every rule ends.
#[derive(Clone, Debug, PartialEq)]
pub struct Rule {
    text: String,
    parsed: RRule,
    start: NaiveDateTime,
    until: Option<DateTime<Utc>>,
    count: Option<usize>,
    /// The last time of one with a count.
    counted_to: Option<NaiveDateTime>,
    weeks: Option<Weeks>,
}

/// The weeks of the year that a day must be in.
#[derive(Clone, Debug, PartialEq)]
struct Weeks {
    /// Counted from the first one of the year or, below zero, from the last one.
    numbers: Vec<i32>,
    /// The day that weeks begin with.
    first_day: Weekday,
}

const MAX_TEXT: usize = 500;
const END_YEAR: i32 = 2400;
/// How much later the crate works: 7,600 years, after which every date is the same weekday again.
/// It looks for a match up to the year 10,000 and cannot be told to give up before, so that is
/// where [`END_YEAR`] is put.
const LATER: Duration = Duration::days(19 * 146_097);

const NOT_A_RULE: Invalid =
    Invalid("must be a recurrence rule of RFC 5545, such as FREQ=WEEKLY;BYDAY=MO,TH");
const TOO_OFTEN: Invalid = Invalid("must recur daily or less often, at most 24 times a day");
const NEVER: Invalid = Invalid("must match at least one date");

impl Rule {
    /// Checks a rule, with or without `RRULE:` before it, for something that starts at `start`.
    ///
    /// # Errors
    /// [`Invalid`] when it is not a rule, recurs too often, or never.
    pub fn parse(raw: &str, start: NaiveDateTime, zone: TimeZone) -> Result<Self, Invalid> {
        let raw = raw.trim();
        if raw.len() > MAX_TEXT {
            return Err(NOT_A_RULE);
        }
        let text = raw.to_ascii_uppercase();
        let parts = Parts::parse(text.strip_prefix("RRULE:").unwrap_or(&text))?;
        let mut rule = Self::of(&parts, start, zone)?;
        if !parts.can_match(start.weekday()) {
            return Err(NEVER);
        }
        rule.counted_to = rule.last_counted();
        let matches = match rule.count {
            Some(_) => rule.counted_to.is_some(),
            None => rule.starts(start, zone).next().is_some(),
        };
        if matches { Ok(rule) } else { Err(NEVER) }
    }

    /// A rule that was checked when it was stored, with what [`Rule::counted_to`] said then: neither
    /// is looked for again, which may take a thousand times as long as all the rest.
    ///
    /// # Errors
    /// [`Invalid`] when it is not a rule.
    pub fn from_stored(
        text: &str,
        start: NaiveDateTime,
        zone: TimeZone,
        counted_to: Option<NaiveDateTime>,
    ) -> Result<Self, Invalid> {
        let mut rule = Self::of(&Parts::parse(text)?, start, zone)?;
        rule.counted_to = counted_to.or_else(|| rule.last_counted());
        Ok(rule)
    }

    fn of(parts: &Parts<'_>, start: NaiveDateTime, zone: TimeZone) -> Result<Self, Invalid> {
        let until = parts.get("UNTIL").map(|until| parse_until(until, zone)).transpose()?;
        let in_utc = until.map(|until| until.format("%Y%m%dT%H%M%SZ").to_string());
        Ok(Self {
            text: parts.text_with(&[("UNTIL", in_utc)]),
            parsed: parsed(parts, start)?,
            start,
            until,
            count: parts.count()?,
            counted_to: None,
            weeks: Weeks::parse(parts)?,
        })
    }

    /// The rule in the form of RFC 5545.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The last of the wall-clock times of a rule with a count.
    #[must_use]
    pub const fn counted_to(&self) -> Option<NaiveDateTime> {
        self.counted_to
    }

    /// A moment behind which nothing starts, if it ends by itself.
    #[must_use]
    pub fn end(&self, zone: TimeZone) -> Option<DateTime<Utc>> {
        // A time that clocks jump over may come out behind later ones.
        let counted = self.counted_to.map(|last| zone.moment(last) + TimeZone::MARGIN);
        self.until.or(counted)
    }

    /// The wall-clock times from `from` on, in order, up to the rule's own end.
    pub fn starts(
        &self,
        from: NaiveDateTime,
        zone: TimeZone,
    ) -> impl Iterator<Item = NaiveDateTime> + use<> {
        let until = self.until;
        let last = until.map(|until| until.naive_utc() + TimeZone::MARGIN).or(self.counted_to);
        let over = move |local: NaiveDateTime| {
            local.year() >= END_YEAR || last.is_some_and(|last| local > last)
        };
        let most = if over(from) { 0 } else { usize::MAX };
        self.expanded(from)
            .take(most)
            .take_while(move |start| !over(*start))
            // The later one of two times may be the earlier moment, so the first that is too late
            // is not the end.
            .filter(move |start| until.is_none_or(|until| zone.moment(*start) <= until))
            .filter(move |start| *start >= from)
    }

    /// The times without the rule's own end, from some time before `from` on.
    fn expanded(&self, from: NaiveDateTime) -> impl Iterator<Item = NaiveDateTime> + use<> {
        let first = (self.shifted(from) + LATER).and_utc().with_timezone(&Tz::UTC);
        let set = RRuleSet::new(first).rrule(self.parsed.clone()).limit();
        let weeks = self.weeks.clone();
        set.into_iter()
            .map(|start| start.naive_utc() - LATER)
            .filter(move |start| weeks.as_ref().is_none_or(|weeks| weeks.contain(start.date())))
    }

    /// Counts one with a count through.
    fn last_counted(&self) -> Option<NaiveDateTime> {
        let counted = self.expanded(self.start).take(self.count?);
        counted.take_while(|start| start.year() < END_YEAR).last()
    }

    /// A start as near before `from` as can be from which the rule gives the same times: so a rule
    /// of long ago costs no more than one of today.
    fn shifted(&self, from: NaiveDateTime) -> NaiveDateTime {
        if from <= self.start || from.year() >= END_YEAR {
            return self.start;
        }
        let interval = i64::from(self.parsed.get_interval());
        let days = (from - self.start).num_days();
        let months = months_of(from) - months_of(self.start);
        // One period earlier than needed: the crate begins in the middle of one, and would count
        // the positions in what is left of it.
        let back = |passed: i64, period: i64| (passed / period - 1) * period;
        let shifted = match self.parsed.get_freq() {
            Frequency::Daily => days_later(self.start, back(days, interval)),
            Frequency::Weekly => days_later(self.start, back(days, 7 * interval)),
            Frequency::Monthly => month_later(self.start, back(months, interval)),
            Frequency::Yearly => month_later(self.start, back(months, 12 * interval))
                .and_then(|month| month.with_month(1)),
            _ => None,
        };
        shifted.map_or(self.start, |shifted| shifted.max(self.start))
    }
}

impl Weeks {
    /// The weeks of a rule, if they are ones that the crate gets wrong: those in which the year
    /// turns.
    fn parse(parts: &Parts<'_>) -> Result<Option<Self>, Invalid> {
        let numbers = parts.numbers("BYWEEKNO");
        if numbers.iter().all(|number| number.unsigned_abs() < 52) {
            return Ok(None);
        }
        if parts.get("BYSETPOS").is_some() {
            return Err(Invalid("must not have positions (BYSETPOS) in the weeks 52 and 53"));
        }
        Ok(Some(Self { numbers, first_day: parts.week_start() }))
    }

    /// Whether that day is in one of them.
    fn contain(&self, day: NaiveDate) -> bool {
        // A week is of the year that has most of its days: that of the one in the middle.
        let passed = day.weekday().days_since(self.first_day);
        let middle = day + Duration::days(3 - i64::from(passed));
        let days = if middle.leap_year() { 366 } else { 365 };
        let weeks = |days: u32| i32::try_from(days / 7 + 1).unwrap_or_default();
        let (number, from_end) = (weeks(middle.ordinal0()), -weeks(days - middle.ordinal()));
        self.numbers.iter().any(|wanted| [number, from_end].contains(wanted))
    }
}

/// The rule as the crate takes it, without its end, which is in UTC or counted afterwards.
fn parsed(parts: &Parts<'_>, start: NaiveDateTime) -> Result<RRule, Invalid> {
    let mut changes = vec![("UNTIL", None), ("COUNT", None)];
    if let Some(days) = parts.numbered_days() {
        changes.push(("BYDAY", Some(days)));
    }
    if Weeks::parse(parts)?.is_some() {
        // The first and the last week of all are right: so nothing is missing from these.
        changes.push(("BYWEEKNO", parts.get("BYWEEKNO").map(|weeks| format!("{weeks},1,-1"))));
    }
    let rule: RRule<Unvalidated> = parts.text_with(&changes).parse().map_err(|_| NOT_A_RULE)?;
    rule.validate(start.and_utc().with_timezone(&Tz::UTC)).map_err(|_| NOT_A_RULE)
}

/// `19971224T000000Z`; without the `Z` it is a wall-clock time, and a date alone means all of it.
fn parse_until(raw: &str, zone: TimeZone) -> Result<DateTime<Utc>, Invalid> {
    let end = Invalid("must have an end such as UNTIL=20271231T225959Z");
    if let Some(utc) = raw.strip_suffix('Z') {
        return NaiveDateTime::parse_from_str(utc, "%Y%m%dT%H%M%S")
            .map(|until| until.and_utc())
            .map_err(|_| end);
    }
    let local = NaiveDateTime::parse_from_str(raw, "%Y%m%dT%H%M%S").ok().or_else(|| {
        NaiveDate::parse_from_str(raw, "%Y%m%d").ok().and_then(|day| day.and_hms_opt(23, 59, 59))
    });
    let moment = local.map(|local| zone.moment(local));
    // The text of a rule says it in UTC, where the year may be another one, and has four digits.
    moment.filter(|moment| (0..10_000).contains(&moment.year())).ok_or(end)
}

fn days_later(start: NaiveDateTime, days: i64) -> Option<NaiveDateTime> {
    start.checked_add_signed(Duration::try_days(days)?)
}

/// The first day of a later month: the rule's own day may not be in it.
fn month_later(start: NaiveDateTime, months: i64) -> Option<NaiveDateTime> {
    let months = u32::try_from(months).ok().filter(|months| *months > 0)?;
    start.with_day(1)?.checked_add_months(Months::new(months))
}

fn months_of(time: NaiveDateTime) -> i64 {
    i64::from(time.year()) * 12 + i64::from(time.month0())
}

#[cfg(test)]
#[path = "recurrence_tests.rs"]
mod tests;
