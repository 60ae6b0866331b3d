//! Requests for seats and their outcomes.

use strum::IntoStaticStr;

use crate::domain::scheduling::{RefusalCode, Registration, RegistrationId, Waiter};

/// What a member requests.
#[derive(Clone, Copy, Debug, Eq, PartialEq, IntoStaticStr)]
#[strum(serialize_all = "lowercase")]
pub enum Ask {
    /// A seat.
    Register,
    /// Give the seat back.
    Cancel,
    /// Join the waiting list.
    Join,
    /// Leave the waiting list.
    Leave,
}

/// A request of a member for an occurrence.
#[derive(Clone, Copy, Debug)]
pub struct Request {
    /// The member and the occurrence.
    pub id: RegistrationId,
    /// What the member requests.
    pub ask: Ask,
}

/// The outcome of a request.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Outcome {
    /// The member now has a seat.
    Registered(Registration),
    /// The seat is given back.
    Cancelled(Registration),
    /// The member waits at this position of the list, counted from 1.
    Waiting(usize, Waiter),
    /// The member has left the waiting list.
    Left,
    /// The request was refused.
    Refused(BookingRefusal),
    /// The occurrence does not exist.
    Unknown,
    /// The member was removed.
    Gone,
}

/// Why a request is refused.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct BookingRefusal {
    /// A stable code for programs.
    pub code: RefusalCode,
    /// The reason, as a sentence for people.
    pub message: String,
    /// The registration that conflicts with the request.
    pub conflicts_with: Option<RegistrationId>,
}

impl BookingRefusal {
    /// A refusal without a conflicting registration.
    pub fn new(code: RefusalCode, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), conflicts_with: None }
    }
}
