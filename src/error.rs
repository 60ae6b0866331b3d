//! The one domain error. It knows stable codes and public sentences, and nothing of HTTP.

use std::time::Duration;

use crate::domain::{Invalid, charts::Refusal, cut, quote};

/// What every fallible step of the platform returns.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why something was not done. `Display` is the public sentence; what is internal is in the source.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The input is wrong; every field that is, with its reason.
    #[error("The request is not valid.")]
    Validation(FieldErrors),
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
    Database(DatabaseError),
    /// A fault of ours.
    #[error("An internal error occurred.")]
    Internal(String),
}

/// A failed database call. `Display` never repeats the content of documents.
#[derive(Debug, thiserror::Error)]
#[error("{cause}")]
pub struct DatabaseError {
    cause: Box<dyn std::error::Error + Send + Sync>,
    unavailable: bool,
}

/// One field of the input and what is wrong with it. Neither repeats much of what was sent.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct FieldError {
    field: String,
    message: String,
}

/// Collects every wrong field of an input before it is refused as a whole: the first ones, and how
/// many more there are.
#[derive(Debug, Default)]
pub struct FieldErrors {
    told: Vec<FieldError>,
    bytes: usize,
    more: usize,
}

impl Error {
    /// One field is wrong.
    pub fn field(field: impl AsRef<str>, message: impl AsRef<str>) -> Self {
        let mut errors = FieldErrors::default();
        errors.push(field, message);
        errors.into_error()
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
            Self::Database(error) if error.is_unavailable() => "database_unavailable",
            Self::Database(_) | Self::Internal(_) => "internal",
        }
    }

    /// What a log may hold beyond the public sentence; never personal data.
    #[must_use]
    pub fn detail(&self) -> Option<String> {
        match self {
            Self::Database(error) => Some(error.to_string()),
            Self::Internal(detail) => Some(detail.clone()),
            Self::Busy { what } => Some((*what).to_owned()),
            _ => None,
        }
    }
}

impl DatabaseError {
    /// The failure that the layer of the driver has described as `cause`.
    pub fn new(cause: impl std::error::Error + Send + Sync + 'static, unavailable: bool) -> Self {
        Self { cause: Box::new(cause), unavailable }
    }

    /// Whether the same call may succeed later: the database is unreachable or busy.
    #[must_use]
    pub const fn is_unavailable(&self) -> bool {
        self.unavailable
    }

    /// The description, for the layer that made it.
    #[must_use]
    pub fn cause<T: std::error::Error + 'static>(&self) -> Option<&T> {
        self.cause.downcast_ref()
    }
}

impl FieldError {
    /// The longest message that a rule of ours makes is shorter.
    const LONGEST_MESSAGE: usize = 300;

    fn new(field: &str, message: &str) -> Self {
        let message = cut(message, Self::LONGEST_MESSAGE).into_owned();
        Self { field: quote(field).into_owned(), message }
    }

    /// The field's name in the request; empty for the body as a whole.
    #[must_use]
    pub fn field(&self) -> &str {
        &self.field
    }

    /// A sentence without its subject: `must not be empty`.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.message
    }

    /// The bytes that it takes in an answer.
    fn weight(&self) -> usize {
        const AROUND: usize = 32;
        let escaped = |c: char| match c {
            '"' | '\\' => 2,
            c if c.is_control() => 6,
            c => c.len_utf8(),
        };
        AROUND + self.field.chars().chain(self.message.chars()).map(escaped).sum::<usize>()
    }
}

impl FieldErrors {
    /// The most errors that an answer tells.
    pub const MOST: usize = 100;
    /// The most bytes that they take in it.
    const MOST_BYTES: usize = 48 * 1024;

    /// The parsed value, or `None` and a note of what is wrong with `field`.
    pub fn check<T>(&mut self, field: &str, parsed: Result<T, Invalid>) -> Option<T> {
        parsed.map_err(|invalid| self.push(field, invalid.0)).ok()
    }

    /// Notes what is wrong with `field`.
    pub fn push(&mut self, field: impl AsRef<str>, message: impl AsRef<str>) {
        if self.told.len() >= Self::MOST {
            self.more += 1;
            return;
        }
        let error = FieldError::new(field.as_ref(), message.as_ref());
        let bytes = self.bytes + error.weight();
        if bytes > Self::MOST_BYTES {
            self.more += 1;
            return;
        }
        self.bytes = bytes;
        self.told.push(error);
    }

    /// Notes that so many errors more were found, which nobody needs to read.
    pub const fn leave_out(&mut self, more: usize) {
        self.more += more;
    }

    /// The refusal of everything that was noted; of what is left out it says how much that is.
    #[must_use]
    pub fn into_error(mut self) -> Error {
        if self.more > 0 {
            let s = if self.more == 1 { "" } else { "s" };
            let message = format!("has {} more error{s}, not listed here", self.more);
            self.told.push(FieldError::new("", &message));
            self.more = 0;
        }
        Error::Validation(self)
    }

    /// The errors that are told.
    pub fn iter(&self) -> impl Iterator<Item = &FieldError> {
        self.told.iter()
    }

    /// Whether nothing is wrong so far.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.told.is_empty() && self.more == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(count: usize, field: &str, message: &str) -> Vec<FieldError> {
        let mut errors = FieldErrors::default();
        for _ in 0..count {
            errors.push(field, message);
        }
        match errors.into_error() {
            Error::Validation(errors) => errors.told,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn no_field_and_no_message_repeats_all_of_what_was_sent() {
        let sent = "x".repeat(1_000_000);
        let told = told(1, &sent, &sent);
        assert_eq!(told[0].field(), format!("{} ...", "x".repeat(100)));
        assert!(told[0].message().len() < 310);
    }

    #[test]
    fn of_many_errors_the_first_are_told_and_the_others_counted() {
        assert_eq!(told(100, "line 2", "is wrong").len(), 100);
        let many = told(102, "line 2", "is wrong");
        assert_eq!(many.len(), 101);
        assert_eq!(
            (many[100].field(), many[100].message()),
            ("", "has 2 more errors, not listed here")
        );
    }

    #[test]
    fn errors_take_few_bytes_also_when_each_character_takes_six() {
        for character in ["\u{1}", "\"", "\u{1F600}"] {
            let sent = character.repeat(1_000);
            let told = told(200, &sent, &sent);
            assert!(told.last().unwrap().message().contains("more errors"));
            let written = |text: &str| serde_json::to_string(text).unwrap().len();
            let bytes: usize = told.iter().map(|e| written(e.field()) + written(e.message())).sum();
            assert!(bytes < 60 * 1024, "{character:?} makes {bytes} bytes");
        }
    }
}
