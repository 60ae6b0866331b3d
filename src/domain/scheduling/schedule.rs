//! The schedule of an event: once or recurring, in the wall-clock time of a time zone.

use chrono::{DateTime, Datelike, Duration, NaiveDateTime, Timelike, Utc};

use super::{Rule, TimeZone};
use crate::domain::Invalid;

/// When an event takes place.
#[derive(Clone, Debug, PartialEq)]
pub struct Schedule {
    start: NaiveDateTime,
    zone: TimeZone,
    minutes: u32,
    recurrence: Option<Recurrence>,
    excluded: Vec<DateTime<Utc>>,
}

/// How an event is repeated.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Recurrence {
    /// The rule; without one, only the `additional` dates repeat the event.
    pub rule: Option<Rule>,
    /// Wall-clock starts that are left out. They are compared in UTC: a time skipped by a clock
    /// change also excludes the time to which it is moved.
    pub excluded: Vec<NaiveDateTime>,
    /// Wall-clock starts in addition to the rule's.
    pub additional: Vec<NaiveDateTime>,
}

impl Schedule {
    /// The maximum duration of an occurrence in minutes: 31 days.
    pub const MAX_MINUTES: u32 = 44_640;
    /// The maximum number of excluded dates, and of additional dates.
    pub const MAX_DATES: u64 = 1_000;

    /// Checks the start of a schedule.
    ///
    /// # Errors
    /// [`Invalid`] for years outside 1970 to 2099, and for fractions of a second, which no rule
    /// would repeat.
    pub fn check_start(start: NaiveDateTime) -> Result<NaiveDateTime, Invalid> {
        if !(1970..2100).contains(&start.year()) {
            Err(Invalid("must be in the years 1970 to 2099"))
        } else if start.nanosecond() != 0 {
            Err(Invalid("must be in whole seconds"))
        } else {
            Ok(start)
        }
    }

    /// Builds a schedule of checked parts.
    #[must_use]
    pub fn new(
        start: NaiveDateTime,
        zone: TimeZone,
        minutes: u32,
        mut recurrence: Option<Recurrence>,
    ) -> Self {
        let mut excluded = Vec::new();
        if let Some(recurrence) = &mut recurrence {
            recurrence.excluded.sort_unstable();
            recurrence.additional.sort_unstable();
            excluded.extend(recurrence.excluded.iter().map(|local| zone.moment(*local)));
            excluded.sort_unstable();
        }
        Self { start, zone, minutes, recurrence, excluded }
    }

    /// The wall-clock time of the first start, even if it is excluded.
    #[must_use]
    pub const fn local_start(&self) -> NaiveDateTime {
        self.start
    }

    /// The time zone.
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

    /// The recurrence, if the event is repeated.
    #[must_use]
    pub const fn recurrence(&self) -> Option<&Recurrence> {
        self.recurrence.as_ref()
    }

    /// The starts in `[from, to)`, sorted and without duplicates.
    #[must_use]
    pub fn starts_between(&self, from: DateTime<Utc>, to: DateTime<Utc>) -> Vec<DateTime<Utc>> {
        let margin = TimeZone::MARGIN;
        let since = from.naive_utc().checked_sub_signed(margin).unwrap_or(NaiveDateTime::MIN);
        let last = to.naive_utc().checked_add_signed(margin).unwrap_or(NaiveDateTime::MAX);
        let mut starts: Vec<_> = self
            .by_rule(since)
            .take_while(|local| *local <= last)
            .chain(self.additional())
            .map(|local| self.zone.moment(local))
            .filter(|start| from <= *start && *start < to && self.happens(*start))
            .collect();
        // Times skipped by a clock change may be moved past later ones, or onto them.
        starts.sort_unstable();
        starts.dedup();
        starts
    }

    /// Whether an occurrence starts at exactly that time.
    #[must_use]
    pub fn starts_at(&self, moment: DateTime<Utc>) -> bool {
        let next = moment.checked_add_signed(Duration::milliseconds(1));
        next.is_some_and(|next| !self.starts_between(moment, next).is_empty())
    }

    /// Whether the excluded dates leave no occurrence.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        !self
            .additional()
            .chain(self.by_rule(self.start))
            .any(|local| self.happens(self.zone.moment(local)))
    }

    /// A time before which no occurrence starts and, unless the rule has no end, a time after which
    /// none starts: as tight as possible without expanding the rule.
    #[must_use]
    pub fn bounds(&self) -> (DateTime<Utc>, Option<DateTime<Utc>>) {
        // Times skipped by a clock change may be moved past later ones.
        let first = self.zone.moment(self.start) - TimeZone::MARGIN;
        let last = match self.recurrence.as_ref().and_then(|recurrence| recurrence.rule.as_ref()) {
            Some(rule) => rule.end(self.zone),
            None => Some(self.zone.moment(self.start)),
        };
        let added = self.additional().map(|local| self.zone.moment(local));
        let (first, latest) = added
            .fold((first, last), |(first, last), added| (first.min(added), last.max(Some(added))));
        (first, last.and(latest))
    }

    /// The wall-clock times of the rule from `from` on, without additional dates.
    fn by_rule(&self, from: NaiveDateTime) -> Box<dyn Iterator<Item = NaiveDateTime>> {
        match self.recurrence.as_ref().and_then(|recurrence| recurrence.rule.as_ref()) {
            Some(rule) => Box::new(rule.starts(from, self.zone)),
            None => Box::new(std::iter::once(self.start).filter(move |start| *start >= from)),
        }
    }

    fn additional(&self) -> impl Iterator<Item = NaiveDateTime> {
        self.recurrence.iter().flat_map(|recurrence| recurrence.additional.iter().copied())
    }

    /// Whether `start` is not excluded.
    fn happens(&self, start: DateTime<Utc>) -> bool {
        self.excluded.binary_search(&start).is_err()
    }
}

#[cfg(test)]
#[path = "schedule_tests.rs"]
mod tests;
