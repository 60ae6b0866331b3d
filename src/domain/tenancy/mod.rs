//! Organizations: their names, statuses and locations.

mod location;
mod name;
mod organization;

pub use location::Location;
pub use name::{OrgName, Slug};
pub use organization::{OrgStatus, Organization};
