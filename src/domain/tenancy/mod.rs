//! Organizations: their names, states and places.

mod location;
mod name;
mod organization;

pub use location::Location;
pub use name::{OrgName, Slug};
pub use organization::{OrgStatus, Organization};
