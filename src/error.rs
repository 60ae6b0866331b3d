//! The one domain error. It knows stable codes and public sentences, and nothing of HTTP.

use std::time::Duration;

use crate::{
    domain::{Invalid, Refusal},
    store::StoreError,
};

/// What every fallible step of the platform returns.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why something was not done. `Display` is the public sentence; what is internal is in the source.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The input is wrong; every field that is, with its reason.
    #[error("The request is not valid.")]
    Validation(Vec<FieldError>),
    /// There is no token, or it is not good any more.
    #[error("A valid bearer token is needed.")]
    Unauthenticated,
    /// The e-mail address and the password do not belong together; the same for every cause.
    #[error("The e-mail address or the password is wrong.")]
    InvalidCredentials,
    /// The token is good, but its account may not do this.
    #[error("This account may not do that.")]
    Forbidden,
    /// It does not exist, or not for whom who asks.
    #[error("No such {0}.")]
    NotFound(&'static str),
    /// Another organization holds that name or one with the same slug.
    #[error("An organization with this name, or one that reads the same, exists already.")]
    OrgNameTaken,
    /// Another account holds that e-mail address.
    #[error("An account with this e-mail address exists already.")]
    EmailTaken,
    /// An organization keeps at least one admin.
    #[error("The last admin of an organization cannot be removed or demoted.")]
    LastAdmin,
    /// The change would break the hierarchy of a chart.
    #[error("{0}")]
    Hierarchy(#[from] Refusal),
    /// The occurrence has started, so it cannot be called off any more.
    #[error("This occurrence has started already.")]
    OccurrencePast,
    /// There are as many of these as there may be.
    #[error("There are too many {0} already.")]
    LimitReached(&'static str),
    /// Too many failed attempts.
    #[error("Too many attempts. Try again later.")]
    Throttled {
        /// When the next attempt may succeed.
        retry_after: Duration,
    },
    /// A queue is full, a deadline has passed, or another change of the same thing is under way.
    #[error("The service is busy. Try again shortly.")]
    Busy {
        /// What was waited for, for the log.
        what: &'static str,
    },
    /// The answer would take more memory than one answer may.
    #[error("The answer would be too large. Ask for fewer items or fewer long texts at once.")]
    AnswerTooLarge,
    /// The database takes no more organizations.
    #[error("There is no room for another organization at the moment. Try again later.")]
    Full,
    /// The database refused, failed or is out of reach.
    #[error("{}", if .0.is_unavailable() { "The database is out of reach. Try again shortly." } else { "An internal error occurred." })]
    Store(#[from] StoreError),
    /// A fault of ours.
    #[error("An internal error occurred.")]
    Internal(String),
}

/// One field of the input and what is wrong with it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct FieldError {
    /// The field's name in the request; empty for the body as a whole.
    pub field: String,
    /// A sentence without its subject: `must not be empty`.
    pub message: String,
}

impl Error {
    /// One field is wrong.
    pub fn field(field: impl Into<String>, message: impl Into<String>) -> Self {
        Self::Validation(vec![FieldError { field: field.into(), message: message.into() }])
    }

    /// The stable code that REST and GraphQL carry.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Validation(_) => "validation",
            Self::Unauthenticated => "unauthenticated",
            Self::InvalidCredentials => "invalid_credentials",
            Self::Forbidden => "forbidden",
            Self::NotFound(_) => "not_found",
            Self::OrgNameTaken => "org_name_taken",
            Self::EmailTaken => "email_taken",
            Self::LastAdmin => "last_admin",
            Self::Hierarchy(refusal) => refusal.code(),
            Self::OccurrencePast => "occurrence_past",
            Self::LimitReached(_) => "limit_reached",
            Self::Throttled { .. } => "too_many_attempts",
            Self::Busy { .. } => "busy",
            Self::AnswerTooLarge => "answer_too_large",
            Self::Full => "capacity_reached",
            Self::Store(error) if error.is_unavailable() => "database_unavailable",
            Self::Store(_) | Self::Internal(_) => "internal",
        }
    }

    /// What a log may hold beyond the public sentence; never personal data.
    #[must_use]
    pub fn detail(&self) -> Option<String> {
        match self {
            Self::Store(error) => Some(error.to_string()),
            Self::Internal(detail) => Some(detail.clone()),
            Self::Busy { what } => Some((*what).to_owned()),
            _ => None,
        }
    }
}

/// Collects every wrong field of an input before it is refused as a whole.
#[derive(Debug, Default)]
pub struct FieldErrors(Vec<FieldError>);

impl FieldErrors {
    /// The parsed value, or `None` and a note of what is wrong with `field`.
    pub fn check<T>(&mut self, field: &str, parsed: Result<T, Invalid>) -> Option<T> {
        parsed.map_err(|invalid| self.push(field, invalid.0)).ok()
    }

    /// Notes what is wrong with `field`.
    pub fn push(&mut self, field: &str, message: impl Into<String>) {
        self.0.push(FieldError { field: field.to_owned(), message: message.into() });
    }

    /// The refusal of everything that was noted.
    #[must_use]
    pub fn into_error(self) -> Error {
        Error::Validation(self.0)
    }

    /// Whether nothing is wrong so far.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
