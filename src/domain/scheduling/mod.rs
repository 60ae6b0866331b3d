//! Events, their occurrences, and the seats that members register for.

mod booking;
mod calendar;
mod event;
mod filters;
mod invariants;
mod recurrence;
mod schedule;
mod time_zone;

pub use booking::{Ask, BookingRefusal, Entry, Outcome, Request, Seats};
pub use calendar::{Busy, Calendar};
pub use event::{
    Event, Occurrence, OccurrenceId, OccurrenceStatus, RefusalCode, Registration, RegistrationId,
    RegistrationStatus, Waiter,
};
pub use filters::{Held, Span};
pub use invariants::Invariants;
pub use recurrence::Rule;
pub use schedule::{Recurrence, Schedule};
pub use time_zone::TimeZone;
