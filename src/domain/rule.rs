//! Recurrence rules of RFC 5545, expanded in wall-clock time.
//!
//! The only place that knows the `rrule` crate. It expands as if the clocks of the world never
//! changed; what a wall-clock time is in UTC is the zone's business.

use chrono::{DateTime, Datelike, Duration, Months, NaiveDate, NaiveDateTime, Utc};
use rrule::{Frequency, RRule, RRuleSet, Tz, Unvalidated};

use super::{Invalid, TimeZone};

/// A rule that was checked: it recurs daily or less often, at most 24 times a day, and at least
/// once.
#[derive(Clone, Debug, PartialEq)]
pub struct Rule {
    text: String,
    parsed: RRule,
    start: NaiveDateTime,
    until: Option<DateTime<Utc>>,
}

const MAX_TEXT: usize = 500;
const MAX_COUNT: u32 = 5_000;
const MAX_PER_DAY: usize = 24;

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
        if raw.len() > MAX_TEXT || !raw.is_ascii() {
            return Err(NOT_A_RULE);
        }
        let text = raw.to_ascii_uppercase();
        let text = text.strip_prefix("RRULE:").unwrap_or(&text);
        let mut parts = parts(text)?;
        let until = match take(&mut parts, "UNTIL") {
            Some(until) => Some(parse_until(until, zone)?),
            None => None,
        };
        if let Some(count) = value(&parts, "COUNT") {
            let count: u32 = count.parse().map_err(|_| NOT_A_RULE)?;
            if until.is_some() {
                return Err(Invalid("must have a count or an end, not both"));
            }
            if !(1..=MAX_COUNT).contains(&count) {
                return Err(Invalid("must have a count of 1 to 5000"));
            }
        }
        if value(&parts, "INTERVAL").is_some_and(|interval| interval == "0") {
            return Err(Invalid("must have an interval of at least 1"));
        }
        let mut rule =
            Self { parsed: validated(&joined(&parts), start)?, text: String::new(), start, until };
        rule.text = rule.canonical(&parts);
        if rule.starts(start, zone).next().is_none() { Err(NEVER) } else { Ok(rule) }
    }

    /// The rule in the form of RFC 5545.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether it ends by itself.
    #[must_use]
    pub fn is_finite(&self) -> bool {
        self.until.is_some() || self.parsed.get_count().is_some()
    }

    /// The moment behind which nothing starts, where it says one.
    #[must_use]
    pub const fn until(&self) -> Option<DateTime<Utc>> {
        self.until
    }

    /// The wall-clock times from `from` on, in order, up to the rule's own end. Gives up where a
    /// rule matches nothing for hundreds of years.
    pub fn starts(
        &self,
        from: NaiveDateTime,
        zone: TimeZone,
    ) -> impl Iterator<Item = NaiveDateTime> + use<> {
        let until = self.until;
        let set = RRuleSet::new(self.shifted(from).and_utc().with_timezone(&Tz::UTC));
        let starts = set.rrule(self.parsed.clone()).limit().into_iter();
        starts
            .map(|start| start.naive_utc())
            .take_while(move |start| until.is_none_or(|until| zone.moment(*start) <= until))
            .filter(move |start| *start >= from)
    }

    /// A start as near before `from` as can be from which the rule gives the same times: so a rule
    /// of long ago costs no more than one of today. One with a count has to be counted through.
    fn shifted(&self, from: NaiveDateTime) -> NaiveDateTime {
        if from <= self.start || self.parsed.get_count().is_some() {
            return self.start;
        }
        let interval = i64::from(self.parsed.get_interval().max(1));
        let days = (from - self.start).num_days();
        let months = months_of(from) - months_of(self.start);
        let shifted = match self.parsed.get_freq() {
            Frequency::Daily => days_later(self.start, days / interval * interval),
            Frequency::Weekly => days_later(self.start, days / (7 * interval) * (7 * interval)),
            Frequency::Monthly => month_later(self.start, (months / interval - 1) * interval),
            Frequency::Yearly => {
                let years = i64::from(from.year() - self.start.year());
                let year = i64::from(self.start.year()) + (years / interval - 1) * interval;
                i32::try_from(year)
                    .ok()
                    .and_then(|year| NaiveDate::from_ymd_opt(year, 1, 1))
                    .map(|day| day.and_time(self.start.time()))
            }
            _ => None,
        };
        shifted.map_or(self.start, |shifted| shifted.max(self.start))
    }

    /// The text again with the end in the one form that is kept.
    fn canonical(&self, parts: &[(&str, &str)]) -> String {
        let text = joined(parts);
        match self.until {
            Some(until) => format!("{text};UNTIL={}", until.format("%Y%m%dT%H%M%SZ")),
            None => text,
        }
    }
}

fn parts(text: &str) -> Result<Vec<(&str, &str)>, Invalid> {
    let mut parts: Vec<(&str, &str)> = Vec::new();
    for part in text.split(';').filter(|part| !part.is_empty()) {
        let (name, value) = part.split_once('=').ok_or(NOT_A_RULE)?;
        let known = [
            "FREQ",
            "INTERVAL",
            "COUNT",
            "UNTIL",
            "WKST",
            "BYMONTH",
            "BYMONTHDAY",
            "BYYEARDAY",
            "BYWEEKNO",
            "BYDAY",
            "BYHOUR",
            "BYMINUTE",
            "BYSECOND",
            "BYSETPOS",
        ];
        if !known.contains(&name) || value.is_empty() || parts.iter().any(|(n, _)| *n == name) {
            return Err(NOT_A_RULE);
        }
        parts.push((name, value));
    }
    let counts_weekdays = match value(&parts, "FREQ") {
        Some("DAILY" | "WEEKLY") => false,
        Some("MONTHLY" | "YEARLY") => true,
        Some("HOURLY" | "MINUTELY" | "SECONDLY") => return Err(TOO_OFTEN),
        _ => return Err(NOT_A_RULE),
    };
    // The parser passes over these two.
    let days = value(&parts, "BYMONTHDAY").unwrap_or("1").split(',');
    let weekdays = value(&parts, "BYDAY").unwrap_or("MO").split(',');
    if days.map(str::parse::<i8>).any(|day| day.is_ok_and(|day| day == 0))
        || weekdays.into_iter().any(|day| !is_weekday(day, counts_weekdays))
    {
        return Err(NOT_A_RULE);
    }
    let per_day: usize = ["BYHOUR", "BYMINUTE", "BYSECOND"]
        .iter()
        .filter_map(|name| value(&parts, name))
        .map(|list| list.split(',').count())
        .product();
    if per_day > MAX_PER_DAY { Err(TOO_OFTEN) } else { Ok(parts) }
}

/// `MO`, or with a number as in `-1FR` where there is something to count through.
fn is_weekday(day: &str, counted: bool) -> bool {
    let number = day.len().checked_sub(2).and_then(|end| day.get(..end));
    let number = number.filter(|number| !number.is_empty()).map(str::parse::<i8>);
    number.is_none_or(|n| counted && n.is_ok_and(|n| n != 0 && (-53..=53).contains(&n)))
}

fn value<'t>(parts: &[(&str, &'t str)], name: &str) -> Option<&'t str> {
    parts.iter().find(|(n, _)| *n == name).map(|(_, value)| *value)
}

fn take<'t>(parts: &mut Vec<(&str, &'t str)>, name: &str) -> Option<&'t str> {
    let at = parts.iter().position(|(n, _)| *n == name)?;
    Some(parts.remove(at).1)
}

fn joined(parts: &[(&str, &str)]) -> String {
    parts.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join(";")
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
    local.map(|local| zone.moment(local)).ok_or(end)
}

fn validated(text: &str, start: NaiveDateTime) -> Result<RRule, Invalid> {
    let rule: RRule<Unvalidated> = text.parse().map_err(|_| NOT_A_RULE)?;
    rule.validate(start.and_utc().with_timezone(&Tz::UTC)).map_err(|_| NOT_A_RULE)
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
