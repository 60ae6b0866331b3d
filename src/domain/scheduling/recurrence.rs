//! Recurrence rules (RFC 5545), expanded in wall-clock time.
//!
//! Only this module uses the `rrule` crate. It expands rules without daylight saving time;
//! [`TimeZone`] converts wall-clock times to UTC.

mod parts;

use chrono::{DateTime, Datelike, Duration, Months, NaiveDate, NaiveDateTime, Utc, Weekday};
use rrule::{Frequency, RRule, RRuleSet, Tz, Unvalidated};

use self::parts::Parts;
use super::TimeZone;
use crate::domain::Invalid;

/// A checked rule: it recurs daily or less often, with at most 24 times a day, and matches at least
/// once before the year 2400, when every rule ends.
#[derive(Clone, Debug, PartialEq)]
pub struct Rule {
    text: String,
    parsed: RRule,
    start: NaiveDateTime,
    until: Option<DateTime<Utc>>,
    count: Option<usize>,
    /// The last time of a rule with a count.
    counted_to: Option<NaiveDateTime>,
    weeks: Option<Weeks>,
}

/// The weeks of the year to which a rule is limited.
#[derive(Clone, Debug, PartialEq)]
struct Weeks {
    /// Counted from the first week of the year or, if negative, from the last one.
    numbers: Vec<i32>,
    /// The first day of a week.
    first_day: Weekday,
}

const MAX_TEXT: usize = 500;
const END_YEAR: i32 = 2400;
/// The offset at which the crate expands rules: 7,600 years, after which every date falls on the
/// same weekday again. The crate searches up to the year 10,000 and offers no earlier limit, so the
/// offset moves [`END_YEAR`] there.
const LATER: Duration = Duration::days(19 * 146_097);

const NOT_A_RULE: Invalid =
    Invalid("must be a recurrence rule (RFC 5545), such as FREQ=WEEKLY;BYDAY=MO,TH");
const TOO_OFTEN: Invalid = Invalid("must recur daily or less often, at most 24 times a day");
const NEVER: Invalid = Invalid("must match at least one date");

impl Rule {
    /// Parses a rule, with or without the prefix `RRULE:`, for an event that starts at `start`.
    ///
    /// # Errors
    /// [`Invalid`] if it is not a rule, recurs too often, or never matches.
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

    /// A rule that was checked before it was stored, with its [`Rule::counted_to`] of that time.
    /// Neither the check nor the count is repeated, which may take a thousand times as long as all
    /// other work.
    ///
    /// # Errors
    /// [`Invalid`] if it is not a rule.
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

    /// The rule in RFC 5545 form.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The last wall-clock time of a rule with a count.
    #[must_use]
    pub const fn counted_to(&self) -> Option<NaiveDateTime> {
        self.counted_to
    }

    /// A time after which nothing starts; `None` if the rule has no count and no end.
    #[must_use]
    pub fn end(&self, zone: TimeZone) -> Option<DateTime<Utc>> {
        // A time skipped by a clock change may be moved past later ones.
        let counted = self.counted_to.map(|last| zone.moment(last) + TimeZone::MARGIN);
        self.until.or(counted)
    }

    /// The wall-clock times from `from` on, sorted, up to the rule's end.
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
            // The later of two wall-clock times may be the earlier one in UTC, so the first time
            // after the end does not stop the search.
            .filter(move |start| until.is_none_or(|until| zone.moment(*start) <= until))
            .filter(move |start| *start >= from)
    }

    /// The times without the rule's end, from some time before `from` on.
    fn expanded(&self, from: NaiveDateTime) -> impl Iterator<Item = NaiveDateTime> + use<> {
        let first = (self.shifted(from) + LATER).and_utc().with_timezone(&Tz::UTC);
        let set = RRuleSet::new(first).rrule(self.parsed.clone()).limit();
        let weeks = self.weeks.clone();
        set.into_iter()
            .map(|start| start.naive_utc() - LATER)
            .filter(move |start| weeks.as_ref().is_none_or(|weeks| weeks.contain(start.date())))
    }

    /// Expands a rule with a count to find its last time.
    fn last_counted(&self) -> Option<NaiveDateTime> {
        let counted = self.expanded(self.start).take(self.count?);
        counted.take_while(|start| start.year() < END_YEAR).last()
    }

    /// A start shortly before `from` that gives the same times, so that old rules cost as little as
    /// new ones.
    fn shifted(&self, from: NaiveDateTime) -> NaiveDateTime {
        if from <= self.start || from.year() >= END_YEAR {
            return self.start;
        }
        let interval = i64::from(self.parsed.get_interval());
        let days = (from - self.start).num_days();
        let months = months_of(from) - months_of(self.start);
        // One period earlier than needed: the crate starts in the middle of a period and would
        // count positions only in the rest of it.
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
    /// The weeks of a rule, if they include weeks that the crate gets wrong: the last ones of a
    /// year.
    fn parse(parts: &Parts<'_>) -> Result<Option<Self>, Invalid> {
        let numbers = parts.numbers("BYWEEKNO");
        if numbers.iter().all(|number| number.unsigned_abs() < 52) {
            return Ok(None);
        }
        if parts.get("BYSETPOS").is_some() {
            return Err(Invalid("must not have positions (BYSETPOS) in weeks 52 and 53"));
        }
        Ok(Some(Self { numbers, first_day: parts.week_start() }))
    }

    /// Whether `day` is in one of the weeks.
    fn contain(&self, day: NaiveDate) -> bool {
        // A week belongs to the year of its middle day, which has most of its days.
        let passed = day.weekday().days_since(self.first_day);
        let middle = day + Duration::days(3 - i64::from(passed));
        let days = if middle.leap_year() { 366 } else { 365 };
        let weeks = |days: u32| i32::try_from(days / 7 + 1).unwrap_or_default();
        let (number, from_end) = (weeks(middle.ordinal0()), -weeks(days - middle.ordinal()));
        self.numbers.iter().any(|wanted| [number, from_end].contains(wanted))
    }
}

/// The rule in the crate's form, without its end, which is checked in UTC or counted later.
fn parsed(parts: &Parts<'_>, start: NaiveDateTime) -> Result<RRule, Invalid> {
    let mut changes = vec![("UNTIL", None), ("COUNT", None)];
    if let Some(days) = parts.numbered_days() {
        changes.push(("BYDAY", Some(days)));
    }
    if Weeks::parse(parts)?.is_some() {
        // The crate gets weeks 1 and -1 right. Adding them makes sure that no day is missing; the
        // extra days are filtered out.
        changes.push(("BYWEEKNO", parts.get("BYWEEKNO").map(|weeks| format!("{weeks},1,-1"))));
    }
    let rule: RRule<Unvalidated> = parts.text_with(&changes).parse().map_err(|_| NOT_A_RULE)?;
    rule.validate(start.and_utc().with_timezone(&Tz::UTC)).map_err(|_| NOT_A_RULE)
}

/// Parses an end such as `19971224T000000Z`. Without the `Z` it is a wall-clock time; a date alone
/// includes the whole day.
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
    // The rule's text has the end in UTC, where the year may differ, and only four digits.
    moment.filter(|moment| (0..10_000).contains(&moment.year())).ok_or(end)
}

fn days_later(start: NaiveDateTime, days: i64) -> Option<NaiveDateTime> {
    start.checked_add_signed(Duration::try_days(days)?)
}

/// The first day of a later month, because the rule's day may not exist in that month.
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
