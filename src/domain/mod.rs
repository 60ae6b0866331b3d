//! Pure rules and words of the platform: no storage, no HTTP, no clock of its own.

mod account;
mod actor;
mod chart;
mod clock;
mod email;
mod figures;
mod hierarchy;
mod ids;
mod location;
mod name;
mod organization;
mod password;
mod roster;
mod text;

pub use account::Account;
pub use actor::{Actor, Role};
pub use chart::{Chart, Employee};
pub use clock::{Clock, SystemClock};
pub use email::Email;
pub use figures::{Figures, flaws};
pub use hierarchy::{MAX_DEPTH, Refusal, Reparent, Write, hire, move_to, promote, remove};
pub use ids::{AccountId, ChartId, EmployeeId, IdError, OperationId, OrgId};
pub use location::Location;
pub use name::{OrgName, Slug};
pub use organization::{OrgStatus, Organization};
pub use password::{Password, PasswordDigest};
pub use roster::{LineError, ManagedBy, Placed, RosterLine, place};
pub use text::Label;

/// Why a raw value cannot become a domain value: a public sentence without its field's name.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{0}")]
pub struct Invalid(pub &'static str);
