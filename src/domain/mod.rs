//! Pure rules and words of the platform: no storage, no HTTP, no clock of its own.

mod account;
mod actor;
mod clock;
mod email;
mod ids;
mod location;
mod name;
mod organization;
mod password;

pub use account::{Account, AccountName};
pub use actor::{Actor, Role};
pub use clock::{Clock, SystemClock};
pub use email::Email;
pub use ids::{AccountId, IdError, OperationId, OrgId};
pub use location::Location;
pub use name::{OrgName, Slug};
pub use organization::{OrgStatus, Organization};
pub use password::{Password, PasswordDigest};

/// Why a raw value cannot become a domain value: a public sentence without its field's name.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{0}")]
pub struct Invalid(pub &'static str);
