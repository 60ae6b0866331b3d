//! What mutations take, and what it becomes.

use async_graphql::{Enum, InputObject, MaybeUndefined};
use chrono::NaiveDateTime;

use super::scalars::{Local, Moment};
use crate::{
    domain::{
        Invalid, Label,
        scheduling::{Event, Schedule, TimeZone},
    },
    error::{FieldErrors, Result},
    manager::scheduling::{EventInput, EventPatch, RecurrenceInput as Recurrence, ScheduleInput},
};

/// A new event.
#[derive(InputObject)]
pub(super) struct CreateEventInput {
    /// 1 to 128 characters.
    title: String,
    /// At most 10,000 characters.
    description: Option<String>,
    /// The wall-clock time of the first start, in `timeZone`. A time that clocks jump over is moved
    /// forward by the jump; of a time that they show twice it is the first.
    starts_at: Local,
    /// An IANA time zone, such as Europe/Berlin: a weekly 09:00 stays 09:00 there.
    time_zone: String,
    /// How long each occurrence lasts: 1 to 44,640 minutes (31 days).
    duration_minutes: i64,
    /// Seats of each occurrence: 1 to 1,000,000.
    capacity: i64,
    /// How it is repeated; without it, it takes place once.
    recurrence: Option<RecurrenceInput>,
}

/// What is to change of an event; what is left out stays as it is.
#[derive(InputObject)]
pub(super) struct UpdateEventInput {
    /// 1 to 128 characters.
    title: Option<String>,
    /// At most 10,000 characters; null takes it away.
    description: MaybeUndefined<String>,
    /// The wall-clock time of the first start.
    starts_at: Option<Local>,
    /// An IANA time zone.
    time_zone: Option<String>,
    /// How long each occurrence lasts, in minutes.
    duration_minutes: Option<i64>,
    /// Seats of each occurrence. More seats go to those who wait.
    capacity: Option<i64>,
    /// How it is repeated, in place of what it was; null makes it take place once.
    recurrence: MaybeUndefined<RecurrenceInput>,
}

/// How an event is repeated: by `frequency` and what narrows it down, or by `rule`, not both.
#[derive(InputObject)]
pub(super) struct RecurrenceInput {
    /// Every day, week, month or year.
    frequency: Option<Frequency>,
    /// Every so many of them.
    #[graphql(validator(minimum = 1, maximum = 1000))]
    interval: Option<i32>,
    /// On these days of the week.
    by_weekday: Option<Vec<Weekday>>,
    /// On these days of the month, 1 to 31; -1 is the last one.
    by_month_day: Option<Vec<i32>>,
    /// So many times, at most 5,000.
    #[graphql(validator(minimum = 1, maximum = 5000))]
    count: Option<i32>,
    /// Nothing starts later.
    until: Option<Moment>,
    /// An RRULE of RFC 5545 for any other pattern that recurs daily or less often, such as
    /// `FREQ=MONTHLY;BYDAY=-1FR`.
    rule: Option<String>,
    /// Wall-clock starts that do not take place, at most 1,000.
    excluded_dates: Option<Vec<Local>>,
    /// More wall-clock starts, at most 1,000.
    additional_dates: Option<Vec<Local>>,
}

/// How often.
#[derive(Clone, Copy, Enum, Eq, PartialEq)]
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
#[derive(Clone, Copy, Enum, Eq, PartialEq)]
pub(super) enum Weekday {
    Monday,
    Tuesday,
    Wednesday,
    Thursday,
    Friday,
    Saturday,
    Sunday,
}

const ONE_WAY: Invalid = Invalid("must be given alone: `rule` says everything that the others say");

impl CreateEventInput {
    pub(super) fn parse(self) -> Result<EventInput> {
        let mut errors = FieldErrors::default();
        let title = errors.check("title", Label::parse(&self.title));
        let description =
            errors.check("description", description(self.description.as_deref())).flatten();
        let capacity = errors.check("capacity", Event::check_capacity(self.capacity));
        let schedule = ScheduleInput {
            start: errors.check("startsAt", Schedule::check_start(self.starts_at.0)),
            zone: errors.check("timeZone", TimeZone::parse(&self.time_zone)),
            minutes: errors
                .check("durationMinutes", Schedule::check_minutes(self.duration_minutes)),
            recurrence: Some(self.recurrence.map(|input| input.parse(&mut errors))),
        };
        match (title, capacity) {
            (Some(title), Some(capacity)) if errors.is_empty() => {
                Ok(EventInput { title, description, capacity, schedule })
            }
            _ => Err(errors.into_error()),
        }
    }
}

impl UpdateEventInput {
    pub(super) fn parse(self) -> Result<EventPatch> {
        let mut errors = FieldErrors::default();
        let title = self.title.map(|title| Label::parse(&title)).transpose();
        let capacity = self.capacity.map(Event::check_capacity).transpose();
        let start = self.starts_at.map(|start| Schedule::check_start(start.0)).transpose();
        let zone = self.time_zone.map(|zone| TimeZone::parse(&zone)).transpose();
        let minutes = self.duration_minutes.map(Schedule::check_minutes).transpose();
        let description = match self.description {
            MaybeUndefined::Undefined => None,
            MaybeUndefined::Null => Some(None),
            MaybeUndefined::Value(text) => errors.check("description", description(Some(&text))),
        };
        let patch = EventPatch {
            title: errors.check("title", title).flatten(),
            description,
            capacity: errors.check("capacity", capacity).flatten(),
            schedule: ScheduleInput {
                start: errors.check("startsAt", start).flatten(),
                zone: errors.check("timeZone", zone).flatten(),
                minutes: errors.check("durationMinutes", minutes).flatten(),
                recurrence: match self.recurrence {
                    MaybeUndefined::Undefined => None,
                    MaybeUndefined::Null => Some(None),
                    MaybeUndefined::Value(input) => Some(Some(input.parse(&mut errors))),
                },
            },
        };
        if errors.is_empty() { Ok(patch) } else { Err(errors.into_error()) }
    }
}

impl RecurrenceInput {
    fn parse(self, errors: &mut FieldErrors) -> Recurrence {
        let rule = errors.check("recurrence.rule", self.rule());
        let excluded = dates("recurrence.excludedDates", self.excluded_dates, errors);
        let additional = dates("recurrence.additionalDates", self.additional_dates, errors);
        let recurrence = Recurrence { rule: rule.flatten(), excluded, additional };
        if errors.is_empty() && recurrence.rule.is_none() && recurrence.additional.is_empty() {
            errors.push("recurrence", "needs a frequency, a rule or additionalDates");
        }
        recurrence
    }

    /// The rule as text, however it was said.
    fn rule(&self) -> Result<Option<String>, Invalid> {
        let said = self.interval.is_some()
            || self.by_weekday.is_some()
            || self.by_month_day.is_some()
            || self.count.is_some()
            || self.until.is_some();
        let frequency = match (&self.rule, self.frequency) {
            (Some(_), None) if said => return Err(ONE_WAY),
            (Some(_), Some(_)) => return Err(ONE_WAY),
            (Some(rule), None) => return Ok(Some(rule.clone())),
            (None, None) if said => return Err(Invalid("needs a frequency")),
            (None, None) => return Ok(None),
            (None, Some(frequency)) => frequency,
        };
        let mut rule = format!("FREQ={}", frequency.word());
        let mut add = |name: &str, value: Option<String>| {
            if let Some(value) = value {
                rule.extend([";", name, "=", &value]);
            }
        };
        let days = |days: &Vec<Weekday>| days.iter().map(|day| day.word()).collect::<Vec<_>>();
        let numbers = |days: &Vec<i32>| days.iter().map(i32::to_string).collect::<Vec<_>>();
        add("INTERVAL", self.interval.map(|interval| interval.to_string()));
        add("BYDAY", self.by_weekday.as_ref().map(|d| days(d).join(",")));
        add("BYMONTHDAY", self.by_month_day.as_ref().map(|d| numbers(d).join(",")));
        add("COUNT", self.count.map(|count| count.to_string()));
        add("UNTIL", self.until.map(|until| until.0.format("%Y%m%dT%H%M%SZ").to_string()));
        Ok(Some(rule))
    }
}

impl Frequency {
    const fn word(self) -> &'static str {
        match self {
            Self::Daily => "DAILY",
            Self::Weekly => "WEEKLY",
            Self::Monthly => "MONTHLY",
            Self::Yearly => "YEARLY",
        }
    }
}

impl Weekday {
    const fn word(self) -> &'static str {
        match self {
            Self::Monday => "MO",
            Self::Tuesday => "TU",
            Self::Wednesday => "WE",
            Self::Thursday => "TH",
            Self::Friday => "FR",
            Self::Saturday => "SA",
            Self::Sunday => "SU",
        }
    }
}

fn description(raw: Option<&str>) -> Result<Option<String>, Invalid> {
    raw.map_or(Ok(None), Event::check_description)
}

fn dates(field: &str, dates: Option<Vec<Local>>, errors: &mut FieldErrors) -> Vec<NaiveDateTime> {
    let dates = dates.unwrap_or_default();
    if dates.len() > Schedule::MAX_DATES {
        errors.push(field, "must have at most 1000 dates");
    }
    let checked = dates.into_iter().map(|date| Schedule::check_start(date.0));
    errors.check(field, checked.collect::<Result<_, _>>()).unwrap_or_default()
}
