//! Filters for lists of occurrences and registrations.

use chrono::{DateTime, Utc};

/// Which registrations a list contains.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Held {
    /// Only those that hold a seat.
    Confirmed,
    /// Cancelled ones, too.
    All,
}

/// A period of time.
#[derive(Clone, Copy, Debug)]
pub struct Span {
    /// The start, inclusive.
    pub from: DateTime<Utc>,
    /// The end, exclusive.
    pub to: DateTime<Utc>,
}
