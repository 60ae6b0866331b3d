//! The types and pure rules of the platform, without storage, HTTP or access to the system clock.

pub mod charts;
mod clock;
#[cfg(test)]
pub(crate) mod hostile;
pub mod identity;
mod ids;
mod quote;
pub mod scheduling;
pub mod tenancy;
mod text;

pub use clock::{Clock, SystemClock};
pub use ids::{AccountId, ChartId, EmployeeId, EventId, IdError, OrgId, TaskId};
pub use quote::{QUOTED, cut, quote};
pub use text::Label;

/// Why a raw value is invalid: a public sentence without its subject, the field.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{0}")]
pub struct Invalid(pub &'static str);
