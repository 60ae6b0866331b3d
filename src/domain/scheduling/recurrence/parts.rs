//! The parts of a recurrence rule's text, with checks that the crate does not make.

use chrono::Weekday;

use super::{Invalid, NOT_A_RULE, TOO_OFTEN};

/// The parts of a rule as name and value, each name once.
pub(super) struct Parts<'t>(Vec<(&'t str, &'t str)>);

/// An entry of `BYDAY`: its number in the period, `None` for every one, and the day.
type NthDay<'t> = (Option<i16>, &'t str);

const MAX_COUNT: usize = 5_000;
const MAX_PER_DAY: usize = 24;
const NAMES: [&str; 14] = [
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
const DAYS: [(&str, Weekday); 7] = [
    ("MO", Weekday::Mon),
    ("TU", Weekday::Tue),
    ("WE", Weekday::Wed),
    ("TH", Weekday::Thu),
    ("FR", Weekday::Fri),
    ("SA", Weekday::Sat),
    ("SU", Weekday::Sun),
];

impl<'t> Parts<'t> {
    /// Splits an upper-case text into parts. The crate checks most of the values.
    pub(super) fn parse(text: &'t str) -> Result<Self, Invalid> {
        let mut parts = Self(Vec::new());
        for part in text.split(';').filter(|part| !part.is_empty()) {
            let (name, value) = part.split_once('=').ok_or(NOT_A_RULE)?;
            let plain = |c: char| c.is_ascii_alphanumeric() || ",+-".contains(c);
            let odd = value.is_empty() || !value.chars().all(plain);
            if odd || !NAMES.contains(&name) || parts.get(name).is_some() {
                return Err(NOT_A_RULE);
            }
            parts.0.push((name, value));
        }
        parts.check_frequency()?;
        parts.check_days()?;
        if parts.numbers("BYMONTHDAY").contains(&0) {
            return Err(NOT_A_RULE);
        }
        if parts.number("INTERVAL")? == Some(0) {
            return Err(Invalid("must have an interval of at least 1"));
        }
        Ok(parts)
    }

    /// The value of a part.
    pub(super) fn get(&self, name: &str) -> Option<&'t str> {
        self.0.iter().find(|(n, _)| *n == name).map(|(_, value)| *value)
    }

    /// The value of `COUNT`.
    pub(super) fn count(&self) -> Result<Option<usize>, Invalid> {
        let count = self.number("COUNT")?;
        if count.is_some() && self.get("UNTIL").is_some() {
            return Err(Invalid("must have a count or an end, not both"));
        }
        if count.is_some_and(|count| !(1..=MAX_COUNT).contains(&count)) {
            return Err(Invalid("must have a count of 1 to 5000"));
        }
        Ok(count)
    }

    /// The first day of a week.
    pub(super) fn week_start(&self) -> Weekday {
        let named = DAYS.iter().find(|(name, _)| self.get("WKST") == Some(name));
        named.map_or(Weekday::Mon, |(_, day)| *day)
    }

    /// The numbers of a list. Skips anything else, which the crate refuses.
    pub(super) fn numbers(&self, name: &str) -> Vec<i32> {
        let list = self.get(name).into_iter().flat_map(|list| list.split(','));
        list.filter_map(|number| number.parse().ok()).collect()
    }

    /// The text with changed values for some parts; `None` leaves a part out.
    pub(super) fn text_with(&self, changes: &[(&str, Option<String>)]) -> String {
        let text = |(name, value): &(&str, &str)| {
            let change = changes.iter().find(|(changed, _)| changed == name);
            let value = change.map_or(Some(*value), |(_, value)| value.as_deref())?;
            Some(format!("{name}={value}"))
        };
        self.0.iter().filter_map(text).collect::<Vec<_>>().join(";")
    }

    /// `BYDAY` in a form that the crate handles correctly. It reads `MO,2TU` as Mondays that are
    /// the second Tuesday, so this numbers all Mondays, too.
    pub(super) fn numbered_days(&self) -> Option<String> {
        let entries: Vec<NthDay<'_>> = self.days().collect::<Result<_, _>>().ok()?;
        let numbered = entries.iter().filter(|(nth, _)| nth.is_some()).count();
        if numbered == 0 || numbered == entries.len() {
            return None;
        }
        let in_month = self.get("FREQ") == Some("MONTHLY") || self.get("BYMONTH").is_some();
        let last = if in_month { 5 } else { 53 };
        let all = entries.iter().flat_map(|(nth, day)| {
            let (low, high) = nth.map_or((1, last), |nth| (nth, nth));
            (low..=high).map(move |nth| format!("{nth}{day}"))
        });
        Some(all.collect::<Vec<_>>().join(","))
    }

    /// Whether the rule can match, as far as a quick check can show. The crate would search
    /// hundreds of years, day by day.
    pub(super) fn can_match(&self, start: Weekday) -> bool {
        self.can_match_date() && self.can_match_position() && self.can_match_weekday(start)
    }

    fn check_frequency(&self) -> Result<(), Invalid> {
        match self.get("FREQ") {
            Some("DAILY" | "WEEKLY" | "MONTHLY" | "YEARLY") => {}
            Some("HOURLY" | "MINUTELY" | "SECONDLY") => return Err(TOO_OFTEN),
            _ => return Err(NOT_A_RULE),
        }
        if self.per_day() > MAX_PER_DAY { Err(TOO_OFTEN) } else { Ok(()) }
    }

    /// The maximum number of times in a day.
    fn per_day(&self) -> usize {
        let lists = ["BYHOUR", "BYMINUTE", "BYSECOND"].iter().filter_map(|name| self.get(name));
        lists.map(|list| list.split(',').count()).product()
    }

    /// False for rules such as every 30 February.
    fn can_match_date(&self) -> bool {
        let (months, days) = (self.numbers("BYMONTH"), self.numbers("BYMONTHDAY"));
        let fits = |month: i32| {
            let length = match month {
                2 => 29,
                4 | 6 | 9 | 11 => 30,
                _ => 31,
            };
            days.is_empty() || days.iter().any(|day| day.unsigned_abs() <= length)
        };
        (1..=12).any(|month| (months.is_empty() || months.contains(&month)) && fits(month))
    }

    /// False for rules such as the second time of a day with only one time.
    fn can_match_position(&self) -> bool {
        let listed = |name: &str, all: usize| match self.numbers(name).len() {
            0 => all,
            some => some,
        };
        let days = match self.get("FREQ") {
            Some("DAILY") => 1,
            Some("WEEKLY") => self.days().count().max(1),
            Some("MONTHLY") => listed("BYMONTHDAY", 31),
            _ => listed("BYYEARDAY", 366),
        };
        let most = days * self.per_day();
        let positions = self.numbers("BYSETPOS");
        positions.is_empty() || positions.iter().any(|p| p.unsigned_abs() as usize <= most)
    }

    /// False for rules that recur every seven days but need another weekday than the start's.
    fn can_match_weekday(&self, start: Weekday) -> bool {
        let weeks =
            self.number("INTERVAL").is_ok_and(|days| days.is_some_and(|days| days % 7 == 0));
        let mut days = self.days().filter_map(Result::ok).peekable();
        let one = self.get("FREQ") == Some("DAILY") && weeks && days.peek().is_some();
        !one || days.any(|(_, day)| DAYS.contains(&(day, start)))
    }

    fn check_days(&self) -> Result<(), Invalid> {
        let period = matches!(self.get("FREQ"), Some("MONTHLY" | "YEARLY"));
        let can_number = period && self.get("BYWEEKNO").is_none();
        for entry in self.days() {
            if entry?.0.is_some() && !can_number {
                return Err(Invalid(
                    "must number weekdays (1MO) only in monthly or yearly rules without BYWEEKNO",
                ));
            }
        }
        Ok(())
    }

    fn days(&self) -> impl Iterator<Item = Result<NthDay<'t>, Invalid>> {
        let entries = self.get("BYDAY").into_iter().flat_map(|days| days.split(','));
        entries.map(|entry| {
            let (nth, day) =
                entry.split_at_checked(entry.len().saturating_sub(2)).ok_or(NOT_A_RULE)?;
            let nth = match nth {
                "" => None,
                nth => Some(nth.parse().ok().filter(|nth| *nth != 0).ok_or(NOT_A_RULE)?),
            };
            if DAYS.iter().any(|(name, _)| *name == day) { Ok((nth, day)) } else { Err(NOT_A_RULE) }
        })
    }

    fn number(&self, name: &str) -> Result<Option<usize>, Invalid> {
        self.get(name).map(|value| value.parse().map_err(|_| NOT_A_RULE)).transpose()
    }
}
