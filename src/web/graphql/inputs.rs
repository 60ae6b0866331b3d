//! The inputs of mutations, and their conversion to domain types.

use async_graphql::{Enum, InputObject, MaybeUndefined};
use chrono::NaiveDateTime;
use strum::IntoStaticStr;
use validator::{Validate, ValidationError};

use super::scalars::{Local, Moment};
use crate::{
    domain::{
        Invalid, Label,
        scheduling::{Event, Schedule, TimeZone},
    },
    error::FieldErrors,
    manager::scheduling::{EventInput, EventPatch, RecurrenceInput as Recurrence, ScheduleInput},
    shape::rule,
    web::http::input::Input,
};

/// A new event.
#[derive(InputObject, Validate)]
pub(super) struct CreateEventInput {
    /// 1 to 128 characters.
    title: String,
    /// At most 10,000 characters.
    description: Option<String>,
    /// The wall-clock time of the first start, in `timeZone`. If clocks skip that time, it moves
    /// forward by the skipped interval; if they show it twice, the first one counts.
    starts_at: Local,
    /// An IANA time zone, such as Europe/Berlin: a weekly 09:00 stays 09:00 there.
    time_zone: String,
    /// The duration of each occurrence: 1 to 44,640 minutes (31 days).
    #[validate(range(
        min = 1,
        max = i64::from(Schedule::MAX_MINUTES),
        message = "must be 1 to 44640 minutes (31 days)"
    ))]
    duration_minutes: i64,
    /// The number of seats of each occurrence: 1 to 1,000,000.
    #[validate(range(min = 1, max = Event::MAX_CAPACITY))]
    capacity: i64,
    /// How the event repeats. Without this, it takes place once.
    recurrence: Option<RecurrenceInput>,
}

/// Changes to an event. Omitted fields stay unchanged.
#[derive(InputObject, Validate)]
pub(super) struct UpdateEventInput {
    /// 1 to 128 characters.
    title: Option<String>,
    /// At most 10,000 characters; null removes it.
    description: MaybeUndefined<String>,
    /// The wall-clock time of the first start.
    starts_at: Option<Local>,
    /// An IANA time zone.
    time_zone: Option<String>,
    /// The duration of each occurrence in minutes.
    #[validate(range(
        min = 1,
        max = i64::from(Schedule::MAX_MINUTES),
        message = "must be 1 to 44640 minutes (31 days)"
    ))]
    duration_minutes: Option<i64>,
    /// The number of seats of each occurrence. Added seats go to the waiting list.
    #[validate(range(min = 1, max = Event::MAX_CAPACITY))]
    capacity: Option<i64>,
    /// Replaces how the event repeats; null makes it take place once.
    recurrence: MaybeUndefined<RecurrenceInput>,
}

/// How an event repeats: either `frequency` with the fields that refine it, or `rule`.
#[derive(InputObject, Validate)]
#[validate(schema(function = repeats))]
pub(super) struct RecurrenceInput {
    /// Every day, week, month or year.
    frequency: Option<Frequency>,
    /// The number of days, weeks, months or years from one to the next: 1 to 1,000.
    #[validate(range(min = 1, max = 1000))]
    interval: Option<i32>,
    /// On these days of the week.
    by_weekday: Option<Vec<Weekday>>,
    /// On these days of the month, 1 to 31; -1 is the last one.
    by_month_day: Option<Vec<i32>>,
    /// The number of occurrences, at most 5,000.
    #[validate(range(min = 1, max = 5000))]
    count: Option<i32>,
    /// The latest possible start.
    until: Option<Moment>,
    /// An RRULE (RFC 5545) for any other pattern that recurs daily or less often, such as
    /// `FREQ=MONTHLY;BYDAY=-1FR`.
    rule: Option<String>,
    /// Wall-clock starts to leave out, at most 1,000.
    #[validate(length(max = Schedule::MAX_DATES, message = "must have at most 1000 dates"))]
    excluded_dates: Option<Vec<Local>>,
    /// Additional wall-clock starts, at most 1,000.
    #[validate(length(max = Schedule::MAX_DATES, message = "must have at most 1000 dates"))]
    additional_dates: Option<Vec<Local>>,
}

/// How often an event repeats.
#[derive(Clone, Copy, Enum, Eq, IntoStaticStr, PartialEq)]
#[strum(serialize_all = "UPPERCASE")]
pub(super) enum Frequency {
    /// Every day.
    Daily,
    /// Every week.
    Weekly,
    /// Every month.
    Monthly,
    /// Every year.
    Yearly,
}

/// A day of the week.
#[derive(Clone, Copy, Enum, Eq, IntoStaticStr, PartialEq)]
pub(super) enum Weekday {
    #[strum(serialize = "MO")]
    Monday,
    #[strum(serialize = "TU")]
    Tuesday,
    #[strum(serialize = "WE")]
    Wednesday,
    #[strum(serialize = "TH")]
    Thursday,
    #[strum(serialize = "FR")]
    Friday,
    #[strum(serialize = "SA")]
    Saturday,
    #[strum(serialize = "SU")]
    Sunday,
}

const RULE_ALONE: Invalid = Invalid("must be given alone: it replaces the fields of a pattern");

impl Input for CreateEventInput {
    type Meaning = EventInput;

    fn parse(self, errors: &mut FieldErrors) -> Option<EventInput> {
        let title = errors.check("title", Label::parse(&self.title));
        let description = self.description.map(|text| Event::check_description(&text)).transpose();
        let description = errors.check("description", description.map(Option::flatten));
        let capacity = errors.check("capacity", Ok(self.capacity));
        let schedule = ScheduleInput {
            start: errors.check("starts_at", Schedule::check_start(self.starts_at.0)),
            zone: errors.check("time_zone", TimeZone::parse(&self.time_zone)),
            minutes: minutes(self.duration_minutes, errors),
            recurrence: Some(self.recurrence.map(|input| input.parse(errors))),
        };
        Some(EventInput { title: title?, description: description?, capacity: capacity?, schedule })
    }
}

impl Input for UpdateEventInput {
    type Meaning = EventPatch;

    fn parse(self, errors: &mut FieldErrors) -> Option<EventPatch> {
        let title = self.title.and_then(|title| errors.check("title", Label::parse(&title)));
        let description = match self.description {
            MaybeUndefined::Undefined => None,
            MaybeUndefined::Null => Some(None),
            MaybeUndefined::Value(text) => {
                errors.check("description", Event::check_description(&text))
            }
        };
        let capacity = self.capacity.and_then(|seats| errors.check("capacity", Ok(seats)));
        let start = self.starts_at.map(|start| Schedule::check_start(start.0));
        let zone = self.time_zone.map(|zone| TimeZone::parse(&zone));
        let schedule = ScheduleInput {
            start: start.and_then(|start| errors.check("starts_at", start)),
            zone: zone.and_then(|zone| errors.check("time_zone", zone)),
            minutes: self.duration_minutes.and_then(|duration| minutes(duration, errors)),
            recurrence: match self.recurrence {
                MaybeUndefined::Undefined => None,
                MaybeUndefined::Null => Some(None),
                MaybeUndefined::Value(input) => Some(Some(input.parse(errors))),
            },
        };
        Some(EventPatch { title, description, capacity, schedule })
    }
}

fn minutes(duration: i64, errors: &mut FieldErrors) -> Option<u32> {
    let duration = errors.check("duration_minutes", Ok(duration));
    duration.and_then(|minutes| u32::try_from(minutes).ok())
}

fn repeats(input: &RecurrenceInput) -> Result<(), ValidationError> {
    let starts = input.additional_dates.as_ref().is_some_and(|dates| !dates.is_empty());
    let given = starts || input.rule.is_some() || input.is_patterned();
    rule(given, "needs a frequency, a rule or additionalDates")
}

impl RecurrenceInput {
    fn parse(self, errors: &mut FieldErrors) -> Recurrence {
        errors.check_shape("recurrence", &self);
        let rule = errors.check("recurrence.rule", self.rule());
        let excluded = dates("recurrence.excluded_dates", self.excluded_dates, errors);
        let additional = dates("recurrence.additional_dates", self.additional_dates, errors);
        Recurrence { rule: rule.flatten(), excluded, additional }
    }

    /// Whether any field is given that `rule` replaces.
    const fn is_patterned(&self) -> bool {
        self.frequency.is_some()
            || self.interval.is_some()
            || self.by_weekday.is_some()
            || self.by_month_day.is_some()
            || self.count.is_some()
            || self.until.is_some()
    }

    /// The RRULE that the fields describe, if any.
    fn rule(&self) -> Result<Option<String>, Invalid> {
        let frequency = match (&self.rule, self.frequency) {
            (Some(_), _) if self.is_patterned() => return Err(RULE_ALONE),
            (Some(rule), _) => return Ok(Some(rule.clone())),
            (None, None) if self.is_patterned() => return Err(Invalid("needs a frequency")),
            (None, None) => return Ok(None),
            (None, Some(frequency)) => frequency,
        };
        let mut rule = format!("FREQ={}", <&str>::from(frequency));
        let mut add = |name: &str, value: Option<String>| {
            if let Some(value) = value {
                rule.extend([";", name, "=", &value]);
            }
        };
        let days = |days: &Vec<Weekday>| days.iter().map(<&str>::from).collect::<Vec<_>>();
        let numbers = |days: &Vec<i32>| days.iter().map(i32::to_string).collect::<Vec<_>>();
        add("INTERVAL", self.interval.map(|interval| interval.to_string()));
        add("BYDAY", self.by_weekday.as_ref().map(|d| days(d).join(",")));
        add("BYMONTHDAY", self.by_month_day.as_ref().map(|d| numbers(d).join(",")));
        add("COUNT", self.count.map(|count| count.to_string()));
        add("UNTIL", self.until.map(|until| until.0.format("%Y%m%dT%H%M%SZ").to_string()));
        Ok(Some(rule))
    }
}

fn dates(field: &str, dates: Option<Vec<Local>>, errors: &mut FieldErrors) -> Vec<NaiveDateTime> {
    let dates = dates.unwrap_or_default().into_iter();
    let checked = dates.map(|date| Schedule::check_start(date.0)).collect();
    errors.check(field, checked).unwrap_or_default()
}
