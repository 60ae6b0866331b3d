//! Events, their occurrences and registrations.

use std::{fmt, str::FromStr};

use chrono::{DateTime, SecondsFormat, Utc};
use serde::Deserialize;
use strum::{AsRefStr, IntoStaticStr};

use super::Schedule;
use crate::domain::{AccountId, EventId, IdError, Invalid, Label};

/// A scheduled event, once or recurring.
#[derive(Clone, Debug)]
pub struct Event {
    /// Its id.
    pub id: EventId,
    /// Its title.
    pub title: Label,
    /// Its description.
    pub description: Option<String>,
    /// When it happens.
    pub schedule: Schedule,
    /// The number of seats of each occurrence.
    pub capacity: i64,
    /// Increases with every change.
    pub version: i64,
    /// Whether it was deleted. Past occurrences still refer to it.
    pub deleted: bool,
    /// When it was created.
    pub created_at: DateTime<Utc>,
    /// When it last changed.
    pub updated_at: DateTime<Utc>,
}

impl Event {
    /// The maximum number of seats of an occurrence.
    pub const MAX_CAPACITY: i64 = 1_000_000;
    /// The maximum length of a description, in characters.
    pub const MAX_DESCRIPTION: usize = 10_000;

    /// Checks and trims a description; returns `None` if it is empty.
    ///
    /// # Errors
    /// [`Invalid`] if it is too long or has control characters other than line breaks and tabs.
    pub fn check_description(raw: &str) -> Result<Option<String>, Invalid> {
        if raw.chars().nth(Self::MAX_DESCRIPTION).is_some() {
            return Err(Invalid("must have at most 10000 characters"));
        }
        if raw.chars().any(|c| c.is_control() && !['\n', '\r', '\t'].contains(&c)) {
            return Err(Invalid("must not contain control characters"));
        }
        let text = raw.trim();
        Ok((!text.is_empty()).then(|| text.to_owned()))
    }
}

/// The id of an occurrence of an event: `<event>@<start in UTC>`.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct OccurrenceId {
    /// When it starts.
    pub start: DateTime<Utc>,
    /// The event.
    pub event: EventId,
}

impl fmt::Display for OccurrenceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.event, self.start.to_rfc3339_opts(SecondsFormat::AutoSi, true))
    }
}

impl FromStr for OccurrenceId {
    type Err = IdError;

    /// Accepts only the spelling that `Display` prints, with a start in whole seconds: the database
    /// stores no nanoseconds, so two ids could be equal there.
    fn from_str(raw: &str) -> Result<Self, IdError> {
        let (event, start) = raw.split_once('@').ok_or(IdError)?;
        let start = DateTime::parse_from_rfc3339(start).map_err(|_| IdError)?.with_timezone(&Utc);
        let id = Self { event: event.parse()?, start };
        if start.timestamp_subsec_nanos() == 0 && id.to_string() == raw {
            Ok(id)
        } else {
            Err(IdError)
        }
    }
}

/// The id of a member's registration for an occurrence: `<member>:<occurrence>`. It stays the same
/// if the member cancels and registers again.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct RegistrationId {
    /// The member.
    pub member: AccountId,
    /// The occurrence.
    pub occurrence: OccurrenceId,
}

impl fmt::Display for RegistrationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.member, self.occurrence)
    }
}

impl FromStr for RegistrationId {
    type Err = IdError;

    fn from_str(raw: &str) -> Result<Self, IdError> {
        let (member, occurrence) = raw.split_once(':').ok_or(IdError)?;
        let id = Self { member: member.parse()?, occurrence: occurrence.parse()? };
        if id.to_string() == raw { Ok(id) } else { Err(IdError) }
    }
}

/// The status of an occurrence.
#[derive(Clone, Copy, Debug, Eq, PartialEq, AsRefStr, Deserialize, IntoStaticStr)]
#[serde(rename_all = "lowercase")]
#[strum(serialize_all = "lowercase")]
pub enum OccurrenceStatus {
    /// It takes place.
    Scheduled,
    /// The event's schedule no longer contains this time. If it does again, the occurrence is
    /// scheduled again.
    Withdrawn,
    /// It was cancelled, or has a status of a later release.
    #[serde(other)]
    Cancelled,
}

/// An entry of a waiting list.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Waiter {
    /// The waiting member.
    pub member: AccountId,
    /// Since when.
    pub since: DateTime<Utc>,
}

/// One occurrence of an event.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Occurrence {
    /// Its id.
    pub id: OccurrenceId,
    /// When it ends.
    pub end: DateTime<Utc>,
    /// How many seats there are.
    pub capacity: i64,
    /// How many of them are taken.
    pub taken: i64,
    /// Whether it takes place.
    pub status: OccurrenceStatus,
}

impl Occurrence {
    /// The occurrence of `event` at `start`, without registrations.
    #[must_use]
    pub fn untouched(event: &Event, start: DateTime<Utc>) -> Self {
        Self {
            id: OccurrenceId { event: event.id, start },
            end: start + event.schedule.duration(),
            capacity: event.capacity,
            taken: 0,
            status: OccurrenceStatus::Scheduled,
        }
    }

    /// The occurrence under another schedule, or `None` if nothing changes. A cancelled occurrence
    /// stays cancelled.
    #[must_use]
    pub fn under(&self, schedule: &Schedule) -> Option<Self> {
        let start = self.id.start;
        let (status, end) = match self.status {
            OccurrenceStatus::Cancelled => return None,
            _ if schedule.starts_at(start) => {
                (OccurrenceStatus::Scheduled, start + schedule.duration())
            }
            _ => (OccurrenceStatus::Withdrawn, self.end),
        };
        let changed = (status, end) != (self.status, self.end);
        changed.then(|| Self { end, status, ..self.clone() })
    }

    /// How many seats are free; none of an occurrence that does not take place.
    #[must_use]
    pub const fn left(&self) -> i64 {
        match self.status {
            OccurrenceStatus::Scheduled => self.capacity - self.taken,
            OccurrenceStatus::Cancelled | OccurrenceStatus::Withdrawn => 0,
        }
    }
}

/// The status of a registration.
#[derive(Clone, Copy, Debug, Eq, PartialEq, AsRefStr, Deserialize, IntoStaticStr)]
#[serde(rename_all = "lowercase")]
#[strum(serialize_all = "lowercase")]
pub enum RegistrationStatus {
    /// It holds a seat.
    Confirmed,
    /// It no longer holds a seat, or has a status of a later release.
    #[serde(other)]
    Cancelled,
}

/// A member's seat at one occurrence.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Registration {
    /// Its id.
    pub id: RegistrationId,
    /// When the occurrence ends.
    pub end: DateTime<Utc>,
    /// Whether it holds a seat.
    pub status: RegistrationStatus,
    /// When the seat was last taken.
    pub created_at: DateTime<Utc>,
    /// When the seat was given back.
    pub cancelled_at: Option<DateTime<Utc>>,
}

/// Why a request is refused: an outcome, not an error.
#[derive(Clone, Copy, Debug, Eq, PartialEq, IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
pub enum RefusalCode {
    /// Every seat is taken.
    EventFull,
    /// The member is registered for another occurrence at that time.
    TimeConflict,
    /// The member already has a seat.
    AlreadyRegistered,
    /// The occurrence was cancelled.
    OccurrenceCancelled,
    /// The occurrence has started.
    OccurrencePast,
    /// The new capacity is below the number of taken seats.
    CapacityBelowTaken,
    /// There are registrations that prevent the change.
    HasRegistrations,
    /// The member has no seat.
    NotRegistered,
    /// The member is already on the waiting list.
    AlreadyWaiting,
    /// The member is not on the waiting list.
    NotWaiting,
    /// A seat is free, so the member can register.
    SeatsAvailable,
    /// The waiting list is full.
    WaitingListFull,
    /// The member has too many future registrations.
    TooManyRegistrations,
}

#[cfg(test)]
#[path = "event_tests.rs"]
mod tests;
