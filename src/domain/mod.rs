//! Pure rules and types of the platform: no storage, no HTTP, no clock of their own.

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
pub use ids::{AccountId, ChartId, EmployeeId, EventId, IdError, OperationId, OrgId};
pub use quote::{QUOTED, cut, quote};
pub use text::Label;

/// Why a raw value cannot become a domain value: a public sentence without its field's name.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{0}")]
pub struct Invalid(pub &'static str);
