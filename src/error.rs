//! The error type of all layers: stable codes and public sentences, independent of HTTP.

use std::{borrow::Cow, collections::BTreeMap, mem, time::Duration};

use crate::domain::{Invalid, charts::Refusal, cut, quote};

/// The result of every fallible operation of the platform.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why an operation failed. `Display` is the public sentence; [`Error::detail`] is internal.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The input is invalid; lists every invalid field with its reason.
    #[error("The request is not valid.")]
    Validation(FieldErrors),
    /// There is no token, or it is no longer valid.
    #[error("A valid bearer token is needed.")]
    Unauthenticated,
    /// The e-mail address or the password is wrong; the same error for every cause.
    #[error("The e-mail address or the password is wrong.")]
    InvalidCredentials,
    /// The token is valid, but its account may not do this.
    #[error("This account may not do that.")]
    Forbidden,
    /// It does not exist, or the caller may not know that it does.
    #[error("No such {0}.")]
    NotFound(&'static str),
    /// Another organization has this name or one with the same slug.
    #[error("An organization with this name, or one that reads the same, already exists.")]
    OrgNameTaken,
    /// Another account has this e-mail address.
    #[error("An account with this e-mail address already exists.")]
    EmailTaken,
    /// An organization must keep at least one admin.
    #[error("The last admin of an organization cannot be removed or demoted.")]
    LastAdmin,
    /// The change would break the hierarchy of a chart.
    #[error("{0}")]
    Hierarchy(#[from] Refusal),
    /// The occurrence has started, so it can no longer be cancelled.
    #[error("This occurrence has already started.")]
    OccurrencePast,
    /// A limit on the number of such items is reached.
    #[error("There are already too many {0}.")]
    LimitReached(&'static str),
    /// Too many failed attempts.
    #[error("Too many attempts. Try again later.")]
    Throttled {
        /// When the next attempt may succeed.
        retry_after: Duration,
    },
    /// A queue is full, a deadline has passed, or another change of the same item is in progress.
    #[error("The service is busy. Try again shortly.")]
    Busy {
        /// The reason, for the log.
        what: &'static str,
    },
    /// The response would exceed the memory limit of one response.
    #[error("The answer would be too large. Ask for fewer items or fewer long texts at once.")]
    AnswerTooLarge,
    /// The database has no capacity for more organizations.
    #[error("There is currently no capacity for another organization. Try again later.")]
    Full,
    /// The database refused, failed or cannot be reached.
    #[error("{}", if .0.is_unavailable() { "The database is out of reach. Try again shortly." } else { "An internal error occurred." })]
    Database(DatabaseError),
    /// An internal error.
    #[error("An internal error occurred.")]
    Internal(String),
}

/// A failed database call. `Display` never contains document contents.
#[derive(Debug, thiserror::Error)]
#[error("{cause}")]
pub struct DatabaseError {
    cause: Box<dyn std::error::Error + Send + Sync>,
    unavailable: bool,
}

/// An invalid input field and the reason. Both quote only a limited part of the input.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct FieldError {
    field: String,
    message: String,
}

/// Collects the invalid fields of an input: the first ones, and the number of further ones.
#[derive(Debug, Default)]
pub struct FieldErrors {
    listed: Vec<FieldError>,
    bytes: usize,
    more: usize,
    /// Errors in the shape of fields, each until its field is checked.
    noted: BTreeMap<String, Cow<'static, str>>,
}

impl Error {
    /// An error with one invalid field.
    pub fn field(field: impl AsRef<str>, message: impl AsRef<str>) -> Self {
        let mut errors = FieldErrors::default();
        errors.push(field, message);
        errors.into_error()
    }

    /// The stable error code in REST and GraphQL.
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

    /// Details for the log, without personal data.
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
    /// Wraps a failure of the store; `unavailable` if the same call may succeed later.
    pub fn new(cause: impl std::error::Error + Send + Sync + 'static, unavailable: bool) -> Self {
        Self { cause: Box::new(cause), unavailable }
    }

    /// Whether the same call may succeed later: the database is unreachable or busy.
    #[must_use]
    pub const fn is_unavailable(&self) -> bool {
        self.unavailable
    }

    /// The cause, if it is a `T`.
    #[must_use]
    pub fn cause<T: std::error::Error + 'static>(&self) -> Option<&T> {
        self.cause.downcast_ref()
    }
}

impl FieldError {
    /// The maximum length in characters; all messages of our own rules are shorter.
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

    /// What is wrong, as a sentence without its subject: `must not be empty`.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.message
    }

    /// An upper estimate of the bytes that it takes in a response.
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
    /// The maximum number of errors in a response.
    pub const MOST: usize = 100;
    /// The maximum number of bytes that they take in a response.
    const MOST_BYTES: usize = 48 * 1024;

    /// Returns the parsed value, or adds an error for `field` and returns `None`. An error that was
    /// noted for the field takes precedence over the parser's.
    pub fn check<T>(&mut self, field: &str, parsed: Result<T, Invalid>) -> Option<T> {
        let wrong = match (self.noted.remove(field), parsed) {
            (None, Ok(value)) => return Some(value),
            (None, Err(invalid)) => Cow::Borrowed(invalid.0),
            (Some(noted), _) => noted,
        };
        self.push(field, wrong);
        None
    }

    /// Notes an error in the shape of `field`, until the field is checked. A field's first note counts.
    pub fn note(&mut self, field: impl Into<String>, message: impl Into<Cow<'static, str>>) {
        self.noted.entry(field.into()).or_insert_with(|| message.into());
    }

    /// Returns the value, unless there are errors.
    pub fn into_result<T>(self, value: Option<T>) -> Result<T> {
        value.filter(|_| self.is_empty()).ok_or_else(|| self.into_error())
    }

    /// Adds an error for `field`.
    pub fn push(&mut self, field: impl AsRef<str>, message: impl AsRef<str>) {
        if self.listed.len() >= Self::MOST {
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
        self.listed.push(error);
    }

    /// Counts further errors without listing them.
    pub const fn leave_out(&mut self, more: usize) {
        self.more += more;
    }

    /// Converts the errors into one validation error, which says how many are left out.
    #[must_use]
    pub fn into_error(mut self) -> Error {
        let whole = self.noted.remove("");
        for (field, message) in mem::take(&mut self.noted) {
            self.push(field, message);
        }
        // That the input needs another field matters only if the given ones are right.
        if let Some(message) = whole.filter(|_| self.is_empty()) {
            self.push("", message);
        }
        if self.more > 0 {
            let s = if self.more == 1 { "" } else { "s" };
            let message = format!("has {} more error{s}, not listed here", self.more);
            self.listed.push(FieldError::new("", &message));
            self.more = 0;
        }
        Error::Validation(self)
    }

    /// The listed errors.
    pub fn iter(&self) -> impl Iterator<Item = &FieldError> {
        self.listed.iter()
    }

    /// Whether there are no errors so far.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.listed.is_empty() && self.more == 0 && self.noted.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listed(count: usize, field: &str, message: &str) -> Vec<FieldError> {
        let mut errors = FieldErrors::default();
        for _ in 0..count {
            errors.push(field, message);
        }
        match errors.into_error() {
            Error::Validation(errors) => errors.listed,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn long_input_is_cut_in_fields_and_messages() {
        let sent = "x".repeat(1_000_000);
        let listed = listed(1, &sent, &sent);
        assert_eq!(listed[0].field(), format!("{} ...", "x".repeat(100)));
        assert!(listed[0].message().len() < 310);
    }

    #[test]
    fn of_many_errors_the_first_are_listed_and_the_others_counted() {
        assert_eq!(listed(100, "line 2", "is wrong").len(), 100);
        let many = listed(102, "line 2", "is wrong");
        assert_eq!(many.len(), 101);
        assert_eq!(
            (many[100].field(), many[100].message()),
            ("", "has 2 more errors, not listed here")
        );
    }

    #[test]
    fn errors_take_limited_bytes_even_if_each_character_takes_six() {
        for character in ["\u{1}", "\"", "\u{1F600}"] {
            let sent = character.repeat(1_000);
            let listed = listed(200, &sent, &sent);
            assert!(listed.last().unwrap().message().contains("more errors"));
            let written = |text: &str| serde_json::to_string(text).unwrap().len();
            let bytes: usize =
                listed.iter().map(|e| written(e.field()) + written(e.message())).sum();
            assert!(bytes < 60 * 1024, "{character:?} makes {bytes} bytes");
        }
    }
}
