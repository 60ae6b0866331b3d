//! What a member asks for, and what comes of it.

use strum::IntoStaticStr;

use crate::domain::scheduling::{RefusalCode, Registration, RegistrationId, Waiter};

/// What a member wants of an occurrence.
#[derive(Clone, Copy, Debug, Eq, PartialEq, IntoStaticStr)]
#[strum(serialize_all = "lowercase")]
pub enum Ask {
    /// A seat.
    Register,
    /// To give the seat back.
    Cancel,
    /// To wait for a seat.
    Join,
    /// To wait no longer.
    Leave,
}

/// A member, an occurrence, and what is wanted.
#[derive(Clone, Copy, Debug)]
pub struct Request {
    /// Whose seat, and of what.
    pub id: RegistrationId,
    /// What is wanted.
    pub ask: Ask,
}

/// What comes of a request.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Outcome {
    /// The member has a seat now.
    Registered(Registration),
    /// The member has given the seat back.
    Cancelled(Registration),
    /// The member waits, at this place of the list, counted from 1.
    Waiting(usize, Waiter),
    /// The member waits no longer.
    Left,
    /// It is not done, for a reason.
    Refused(BookingRefusal),
    /// There is no such occurrence.
    Unknown,
    /// There is no such member any more.
    Gone,
}

/// Why something is not done.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct BookingRefusal {
    /// A stable word for programs.
    pub code: RefusalCode,
    /// A sentence for people.
    pub message: String,
    /// The registration that stands in the way.
    pub conflicts_with: Option<RegistrationId>,
}

impl BookingRefusal {
    /// A refusal with a sentence for people.
    pub fn new(code: RefusalCode, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), conflicts_with: None }
    }
}
