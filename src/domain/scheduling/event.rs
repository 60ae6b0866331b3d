//! Events, their occurrences, and who has a seat.

use std::{fmt, str::FromStr};

use chrono::{DateTime, SecondsFormat, Utc};
use serde::Deserialize;
use strum::{AsRefStr, IntoStaticStr};

use super::Schedule;
use crate::domain::{AccountId, EventId, IdError, Invalid, Label};

/// Something scheduled, once or again and again.
#[derive(Clone, Debug)]
pub struct Event {
    /// Its identity.
    pub id: EventId,
    /// Its title.
    pub title: Label,
    /// What it is about.
    pub description: Option<String>,
    /// When it happens.
    pub schedule: Schedule,
    /// Seats of each occurrence.
    pub capacity: i64,
    /// Rises with every change.
    pub version: i64,
    /// Whether it was deleted: what took place of it still names it.
    pub deleted: bool,
    /// When it was made.
    pub created_at: DateTime<Utc>,
    /// When it last changed.
    pub updated_at: DateTime<Utc>,
}

impl Event {
    /// The most seats of an occurrence.
    pub const MAX_CAPACITY: i64 = 1_000_000;
    /// The most characters of a description.
    pub const MAX_DESCRIPTION: usize = 10_000;

    /// A number of seats.
    ///
    /// # Errors
    /// [`Invalid`] for less than one or more than a million.
    pub fn check_capacity(capacity: i64) -> Result<i64, Invalid> {
        if (1..=Self::MAX_CAPACITY).contains(&capacity) {
            Ok(capacity)
        } else {
            Err(Invalid("must be 1 to 1000000"))
        }
    }

    /// A description; an empty one is none.
    ///
    /// # Errors
    /// [`Invalid`] when it is too long or has control characters other than line breaks and tabs.
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

/// One concrete happening of an event: `<event>@<start in UTC>`.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct OccurrenceId {
    /// When it starts.
    pub start: DateTime<Utc>,
    /// Of what.
    pub event: EventId,
}

impl fmt::Display for OccurrenceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.event, self.start.to_rfc3339_opts(SecondsFormat::AutoSi, true))
    }
}

impl FromStr for OccurrenceId {
    type Err = IdError;

    /// The one spelling that it is printed in. It starts with a whole second: the database keeps no
    /// nanoseconds, and two ids must not be one there.
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

/// A member's registration for one occurrence: `<member>:<occurrence>`. It stays the same when the
/// member cancels and registers again.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct RegistrationId {
    /// Whose.
    pub member: AccountId,
    /// For what.
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

/// Whether an occurrence takes place.
#[derive(Clone, Copy, Debug, Eq, PartialEq, AsRefStr, Deserialize, IntoStaticStr)]
#[serde(rename_all = "lowercase")]
#[strum(serialize_all = "lowercase")]
pub enum OccurrenceStatus {
    /// It does.
    Scheduled,
    /// It was called off.
    Cancelled,
    /// The event takes place at other times now. Should it come back to this one, so does the
    /// occurrence.
    Withdrawn,
}

/// Who waits for a seat, and since when.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Waiter {
    /// Who.
    pub member: AccountId,
    /// Since when.
    pub since: DateTime<Utc>,
}

/// One concrete happening of an event.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Occurrence {
    /// Its identity.
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
    /// An occurrence that nobody has registered for yet.
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

    /// What another schedule makes of it, if that is something else. One that was called off stays
    /// so.
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

/// Whether a registration holds a seat.
#[derive(Clone, Copy, Debug, Eq, PartialEq, AsRefStr, Deserialize, IntoStaticStr)]
#[serde(rename_all = "lowercase")]
#[strum(serialize_all = "lowercase")]
pub enum RegistrationStatus {
    /// It does.
    Confirmed,
    /// It does no more.
    Cancelled,
}

/// A member's seat at one occurrence.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Registration {
    /// Its identity.
    pub id: RegistrationId,
    /// When the occurrence ends.
    pub end: DateTime<Utc>,
    /// Whether it holds a seat.
    pub status: RegistrationStatus,
    /// When the seat was taken, the last time.
    pub created_at: DateTime<Utc>,
    /// When it was given back.
    pub cancelled_at: Option<DateTime<Utc>>,
}

/// Why something is not done: an answer, not an error.
#[derive(Clone, Copy, Debug, Eq, PartialEq, IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
pub enum RefusalCode {
    /// Every seat is taken.
    EventFull,
    /// The member is registered for something at that time.
    TimeConflict,
    /// The member has a seat already.
    AlreadyRegistered,
    /// The occurrence was called off.
    OccurrenceCancelled,
    /// The occurrence has started.
    OccurrencePast,
    /// More seats are taken than would be left.
    CapacityBelowTaken,
    /// Registrations stand in the way.
    HasRegistrations,
    /// The member has no seat.
    NotRegistered,
    /// The member is on the waiting list already.
    AlreadyWaiting,
    /// The member is not on the waiting list.
    NotWaiting,
    /// There is a seat: waiting is not needed.
    SeatsAvailable,
    /// Too many wait already.
    WaitingListFull,
    /// The member has too many registrations ahead.
    TooManyRegistrations,
}

#[cfg(test)]
#[path = "event_tests.rs"]
mod tests;
