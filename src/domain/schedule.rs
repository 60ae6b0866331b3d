//! When something happens: once, or by a rule, in the wall-clock time of a place.

use chrono::{DateTime, Datelike, Duration, NaiveDateTime, Utc};

use super::{Invalid, Rule, TimeZone};

/// When an event happens.
#[derive(Clone, Debug, PartialEq)]
pub struct Schedule {
    start: NaiveDateTime,
    zone: TimeZone,
    minutes: u32,
    recurrence: Option<Recurrence>,
}

/// How it is repeated.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Recurrence {
    /// The rule; without one only `additional` dates repeat it.
    pub rule: Option<Rule>,
    /// Wall-clock starts that the rule gives and that do not happen.
    pub excluded: Vec<NaiveDateTime>,
    /// Wall-clock starts that the rule does not give and that do happen.
    pub additional: Vec<NaiveDateTime>,
}

/// The widest that clocks differ from UTC, and the longest time that they ever jumped over.
const MARGIN: Duration = Duration::days(2);

impl Schedule {
    /// The longest that one occurrence may last, in minutes: 31 days.
    pub const MAX_MINUTES: u32 = 44_640;
    /// The most excluded dates, and the most additional ones.
    pub const MAX_DATES: usize = 1_000;

    /// A start that a schedule may have.
    ///
    /// # Errors
    /// [`Invalid`] for years outside of 1970 to 2099.
    pub fn check_start(start: NaiveDateTime) -> Result<NaiveDateTime, Invalid> {
        if (1970..2100).contains(&start.year()) {
            Ok(start)
        } else {
            Err(Invalid("must be in the years 1970 to 2099"))
        }
    }

    /// How long one occurrence may last, in minutes.
    ///
    /// # Errors
    /// [`Invalid`] for less than a minute or more than 31 days.
    pub fn check_minutes(minutes: i64) -> Result<u32, Invalid> {
        u32::try_from(minutes)
            .ok()
            .filter(|minutes| (1..=Self::MAX_MINUTES).contains(minutes))
            .ok_or(Invalid("must be 1 to 44640 minutes (31 days)"))
    }

    /// Puts checked parts together.
    #[must_use]
    pub fn new(
        start: NaiveDateTime,
        zone: TimeZone,
        minutes: u32,
        mut recurrence: Option<Recurrence>,
    ) -> Self {
        if let Some(recurrence) = &mut recurrence {
            recurrence.excluded.sort_unstable();
            recurrence.additional.sort_unstable();
        }
        Self { start, zone, minutes, recurrence }
    }

    /// The wall-clock time of the first start, before any exception.
    #[must_use]
    pub const fn local_start(&self) -> NaiveDateTime {
        self.start
    }

    /// The place whose clocks it follows.
    #[must_use]
    pub const fn zone(&self) -> TimeZone {
        self.zone
    }

    /// How long each occurrence lasts, in minutes.
    #[must_use]
    pub const fn minutes(&self) -> u32 {
        self.minutes
    }

    /// How long each occurrence lasts.
    #[must_use]
    pub fn duration(&self) -> Duration {
        Duration::minutes(self.minutes.into())
    }

    /// How it is repeated, if it is.
    #[must_use]
    pub const fn recurrence(&self) -> Option<&Recurrence> {
        self.recurrence.as_ref()
    }

    /// The starts in `[from, to)`, in order, each once.
    #[must_use]
    pub fn starts_between(&self, from: DateTime<Utc>, to: DateTime<Utc>) -> Vec<DateTime<Utc>> {
        let inside = |start: &DateTime<Utc>| from <= *start && *start < to;
        let last = to.naive_utc() + MARGIN;
        let mut starts: Vec<_> = self
            .local_starts(from.naive_utc() - MARGIN)
            .take_while(|start| *start <= last)
            .chain(self.additional().iter().copied())
            .filter(|start| self.happens(start))
            .map(|start| self.zone.moment(start))
            .filter(inside)
            .collect();
        // Times that clocks jump over may come out behind later ones, or on top of them.
        starts.sort_unstable();
        starts.dedup();
        starts
    }

    /// Whether an occurrence starts at that moment.
    #[must_use]
    pub fn starts_at(&self, moment: DateTime<Utc>) -> bool {
        !self.starts_between(moment, moment + Duration::milliseconds(1)).is_empty()
    }

    /// The first and, unless it goes on for ever, the last moment at which an occurrence may start;
    /// `None` when none is left by the exceptions.
    #[must_use]
    pub fn span(&self) -> Option<(DateTime<Utc>, Option<DateTime<Utc>>)> {
        let added = || self.additional().iter().copied().filter(|start| self.happens(start));
        let first = self
            .local_starts(self.start)
            .find(|start| self.happens(start))
            .into_iter()
            .chain(added())
            .min()?;
        let rule = self.recurrence.as_ref().and_then(|recurrence| recurrence.rule.as_ref());
        let counted = || self.local_starts(self.start).chain(added()).max();
        let last = match rule.map(|rule| (rule.until(), rule.is_finite())) {
            Some((_, false)) => None,
            Some((Some(until), _)) => Some(until.max(self.moment_of(added().max(), first))),
            _ => Some(self.moment_of(counted(), first)),
        };
        Some((self.zone.moment(first), last))
    }

    fn moment_of(&self, start: Option<NaiveDateTime>, otherwise: NaiveDateTime) -> DateTime<Utc> {
        self.zone.moment(start.unwrap_or(otherwise))
    }

    /// What the rule alone gives from `from` on.
    fn local_starts(&self, from: NaiveDateTime) -> Box<dyn Iterator<Item = NaiveDateTime>> {
        match self.recurrence.as_ref().and_then(|recurrence| recurrence.rule.as_ref()) {
            Some(rule) => Box::new(rule.starts(from, self.zone)),
            None => Box::new(std::iter::once(self.start).filter(move |start| *start >= from)),
        }
    }

    /// Whether it is none of the excluded dates.
    fn happens(&self, start: &NaiveDateTime) -> bool {
        let excluded = self.recurrence.as_ref().map(|recurrence| &recurrence.excluded);
        excluded.is_none_or(|excluded| excluded.binary_search(start).is_err())
    }

    fn additional(&self) -> &[NaiveDateTime] {
        self.recurrence.as_ref().map_or(&[], |recurrence| &recurrence.additional)
    }
}
