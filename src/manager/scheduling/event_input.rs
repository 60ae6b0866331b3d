//! The input of event changes, and how it becomes a schedule.

use chrono::NaiveDateTime;

use crate::{
    domain::{
        Label,
        scheduling::{Recurrence, Rule, Schedule, TimeZone},
    },
    error::{Error, FieldErrors, Result},
};

/// A new event.
pub struct EventInput {
    /// Its title.
    pub title: Label,
    /// Its description.
    pub description: Option<String>,
    /// The number of seats of each occurrence.
    pub capacity: i64,
    /// When it happens.
    pub schedule: ScheduleInput,
}

/// Changes of an event; `None` keeps the current value.
#[derive(Clone, Default)]
pub struct EventPatch {
    /// A new title.
    pub title: Option<Label>,
    /// A new description; `Some(None)` removes it.
    pub description: Option<Option<String>>,
    /// A new number of seats.
    pub capacity: Option<i64>,
    /// A new schedule.
    pub schedule: ScheduleInput,
}

/// Parts of a schedule. A new event needs all of them except `recurrence`.
#[derive(Clone, Default)]
pub struct ScheduleInput {
    /// The local time of the first start.
    pub start: Option<NaiveDateTime>,
    /// The time zone of the local times.
    pub zone: Option<TimeZone>,
    /// How long each occurrence lasts, in minutes.
    pub minutes: Option<u32>,
    /// How it repeats; `Some(None)` makes it happen once.
    pub recurrence: Option<Option<RecurrenceInput>>,
}

/// A recurrence whose first start is not known yet.
#[derive(Clone, Default)]
pub struct RecurrenceInput {
    /// A recurrence rule of RFC 5545.
    pub rule: Option<String>,
    /// Local start times that are left out.
    pub excluded: Vec<NaiveDateTime>,
    /// Additional local start times.
    pub additional: Vec<NaiveDateTime>,
}

impl ScheduleInput {
    /// Whether it changes nothing.
    pub(in crate::manager) const fn is_empty(&self) -> bool {
        self.start.is_none()
            && self.zone.is_none()
            && self.minutes.is_none()
            && self.recurrence.is_none()
    }

    /// The schedule that results from applying this input to `old`.
    pub(in crate::manager) fn onto(&self, old: Option<&Schedule>) -> Result<Schedule> {
        let mut errors = FieldErrors::default();
        let start = self.start.or_else(|| old.map(Schedule::local_start));
        let zone = self.zone.or_else(|| old.map(Schedule::zone));
        let minutes = self.minutes.or_else(|| old.map(Schedule::minutes));
        for (field, missing) in [
            ("startsAt", start.is_none()),
            ("timeZone", zone.is_none()),
            ("durationMinutes", minutes.is_none()),
        ] {
            if missing {
                errors.push(field, "is required");
            }
        }
        let (Some(start), Some(zone), Some(minutes)) = (start, zone, minutes) else {
            return Err(errors.into_error());
        };
        let recurrence = match &self.recurrence {
            Some(recurrence) => recurrence.clone(),
            None => old.and_then(Schedule::recurrence).map(RecurrenceInput::of),
        };
        let recurrence = match recurrence {
            None => None,
            Some(input) => {
                let rule = input.rule.map(|rule| Rule::parse(&rule, start, zone)).transpose();
                let rule = errors.check("recurrence.rule", rule).flatten();
                Some(Recurrence { rule, excluded: input.excluded, additional: input.additional })
            }
        };
        if !errors.is_empty() {
            return Err(errors.into_error());
        }
        let schedule = Schedule::new(start, zone, minutes, recurrence);
        if schedule.is_empty() {
            return Err(Error::field("recurrence", "must leave at least one occurrence"));
        }
        Ok(schedule)
    }
}

impl EventPatch {
    /// Whether it changes nothing.
    pub(in crate::manager) const fn is_empty(&self) -> bool {
        self.title.is_none()
            && self.description.is_none()
            && self.capacity.is_none()
            && self.schedule.is_empty()
    }
}

impl RecurrenceInput {
    fn of(recurrence: &Recurrence) -> Self {
        Self {
            rule: recurrence.rule.as_ref().map(|rule| rule.as_str().to_owned()),
            excluded: recurrence.excluded.clone(),
            additional: recurrence.additional.clone(),
        }
    }
}
