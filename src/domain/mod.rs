//! Pure rules and words of the platform: no storage, no HTTP, no clock of its own.

mod account;
mod actor;
mod booking;
mod calendar;
mod chart;
mod clock;
mod email;
mod event;
mod figures;
mod hierarchy;
mod holdings;
#[cfg(test)]
pub(crate) mod hostile;
mod ids;
mod location;
mod name;
mod organization;
mod password;
mod quote;
mod roster;
mod rule;
mod schedule;
mod text;
mod zone;

pub use account::Account;
pub use actor::{Actor, Role};
pub use booking::{Ask, Book, BookingRefusal, Entry, Outcome, Request};
pub use calendar::{Busy, Calendar};
pub use chart::{Chart, Employee};
pub use clock::{Clock, SystemClock};
pub use email::Email;
pub use event::{
    Event, Occurrence, OccurrenceId, OccurrenceStatus, RefusalCode, Registration, RegistrationId,
    RegistrationStatus, Waiter,
};
pub use figures::{Figures, flaws};
pub use hierarchy::{MAX_DEPTH, Refusal, Reparent, Write, hire, move_to, promote, remove};
pub use holdings::Holdings;
pub use ids::{AccountId, ChartId, EmployeeId, EventId, IdError, OperationId, OrgId};
pub use location::Location;
pub use name::{OrgName, Slug};
pub use organization::{OrgStatus, Organization};
pub use password::{Password, PasswordDigest};
pub use quote::{QUOTED, cut, quote};
pub use roster::{LineError, LineErrors, ManagedBy, Placed, RosterLine, place};
pub use rule::Rule;
pub use schedule::{Recurrence, Schedule};
pub use text::Label;
pub use zone::TimeZone;

/// Why a raw value cannot become a domain value: a public sentence without its field's name.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{0}")]
pub struct Invalid(pub &'static str);
