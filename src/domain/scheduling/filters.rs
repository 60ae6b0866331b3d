//! What a list of occurrences or registrations covers.

use chrono::{DateTime, Utc};

/// Which registrations a list holds.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Held {
    /// Those that hold a seat.
    Confirmed,
    /// Cancelled ones too.
    All,
}

/// A period of time.
#[derive(Clone, Copy, Debug)]
pub struct Span {
    /// Its first moment.
    pub from: DateTime<Utc>,
    /// The first moment after it.
    pub to: DateTime<Utc>,
}
