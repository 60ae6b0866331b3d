//! Errors of the database, distinguished by what the layers above can do about them.

use mongodb::error::{Error as DriverError, ErrorKind, WriteFailure};

use crate::error::{DatabaseError, Error};

/// A failed database call. `Display` is safe to log: it never contains document contents.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// An error of the driver.
    #[error("{}", describe(.0))]
    Driver(#[from] DriverError),
    /// A document that does not decode; such documents are never skipped.
    #[error("a stored {kind} does not decode: {reason}")]
    Decode {
        /// The kind of document.
        kind: &'static str,
        /// What is wrong with it.
        reason: String,
    },
    /// The tenant document is not at this location: the tenant was renamed or deleted. The manager
    /// looks up the location again; this error never reaches a client.
    #[error("the tenant is not at this location any more")]
    FenceMissing,
    /// The database refused a write by its own rules, or the write changed fewer documents than it
    /// should have.
    #[error("the database refused a write (code {code})")]
    Refused {
        /// MongoDB's error code; 0 if a document was missing.
        code: i32,
    },
    /// The database has closed the change stream.
    #[error("the change stream was closed by the database")]
    StreamClosed,
    /// The database did not answer in time.
    #[error("no answer to {call} in time")]
    TimedOut {
        /// Which call.
        call: &'static str,
    },
}

impl From<StoreError> for Error {
    fn from(error: StoreError) -> Self {
        let unavailable = error.is_unavailable();
        Self::Database(DatabaseError::new(error, unavailable))
    }
}

impl StoreError {
    /// The error for a stored document of that kind that does not decode.
    pub(in crate::store) fn undecodable(kind: &'static str, reason: impl Into<String>) -> Self {
        Self::Decode { kind, reason: reason.into() }
    }

    /// Whether the same call may succeed once the database is reachable again or less busy.
    #[must_use]
    pub(in crate::store) fn is_unavailable(&self) -> bool {
        match self {
            Self::Driver(error) => driver_unavailable(error),
            Self::FenceMissing | Self::StreamClosed | Self::TimedOut { .. } => true,
            Self::Decode { .. } | Self::Refused { .. } => false,
        }
    }

    /// The database error that caused `error`, if there is one.
    #[must_use]
    pub fn of(error: &Error) -> Option<&Self> {
        match error {
            Error::Database(error) => error.cause(),
            _ => None,
        }
    }

    /// Whether the tenant was not found at the given location.
    #[must_use]
    pub fn is_fence_missing(error: &Error) -> bool {
        matches!(Self::of(error), Some(Self::FenceMissing))
    }

    /// Whether the collection was renamed or dropped during the read.
    #[must_use]
    pub fn is_moved_away(error: &Error) -> bool {
        Self::of(error).is_some_and(|error| {
            matches!(error, Self::FenceMissing)
                || matches!(
                    error.command_code(),
                    Some(QUERY_PLAN_KILLED | NAMESPACE_NOT_FOUND | SNAPSHOT_UNAVAILABLE)
                )
        })
    }

    /// Whether a unique index whose name starts with `index` refused the write.
    #[must_use]
    pub(in crate::store) fn is_duplicate(&self, index: &str) -> bool {
        let Self::Driver(error) = self else { return false };
        let (code, message) = match error.kind.as_ref() {
            ErrorKind::Write(WriteFailure::WriteError(e)) => (e.code, &e.message),
            ErrorKind::Command(e) => (e.code, &e.message),
            _ => return false,
        };
        code == DUPLICATE_KEY && message.contains(&format!("index: {index}"))
    }

    pub(in crate::store) fn command_code(&self) -> Option<i32> {
        match self {
            Self::Driver(error) => match error.kind.as_ref() {
                ErrorKind::Command(e) => Some(e.code),
                _ => None,
            },
            _ => None,
        }
    }

    pub(in crate::store) fn has_label(&self, label: &str) -> bool {
        matches!(self, Self::Driver(error) if error.contains_label(label))
    }
}

const DUPLICATE_KEY: i32 = 11_000;
pub(in crate::store) const NAMESPACE_NOT_FOUND: i32 = 26;
pub(in crate::store) const NAMESPACE_EXISTS: i32 = 48;
pub(in crate::store) const QUERY_PLAN_KILLED: i32 = 175;
/// `$lookup` returns it, also outside of transactions, after its collection was renamed.
const SNAPSHOT_UNAVAILABLE: i32 = 246;
pub(in crate::store) const COLLECTION_UUID_MISMATCH: i32 = 361;

/// Error codes of a server that is starting, stepping down, shutting down, or that timed out.
const UNAVAILABLE: [i32; 21] = [
    6,
    7,
    24,
    50,
    64,
    89,
    91,
    112,
    133,
    QUERY_PLAN_KILLED,
    189,
    SNAPSHOT_UNAVAILABLE,
    262,
    9_001,
    10_107,
    11_600,
    11_601,
    11_602,
    12_587,
    13_435,
    13_436,
];

fn driver_unavailable(error: &DriverError) -> bool {
    if error.contains_label(mongodb::error::TRANSIENT_TRANSACTION_ERROR)
        || error.contains_label(mongodb::error::UNKNOWN_TRANSACTION_COMMIT_RESULT)
        || error.contains_label(mongodb::error::RETRYABLE_WRITE_ERROR)
    {
        return true;
    }
    match error.kind.as_ref() {
        ErrorKind::Io(_)
        | ErrorKind::ConnectionPoolCleared { .. }
        | ErrorKind::ServerSelection { .. }
        | ErrorKind::DnsResolve { .. }
        | ErrorKind::Write(WriteFailure::WriteConcernError(_)) => true,
        ErrorKind::Command(e) => UNAVAILABLE.contains(&e.code),
        _ => false,
    }
}

/// The server's messages quote keys and documents, which contain e-mail addresses, so the log gets
/// only codes and names for server errors.
fn describe(error: &DriverError) -> String {
    match error.kind.as_ref() {
        ErrorKind::Write(WriteFailure::WriteError(e)) => format!("write error {}", e.code),
        ErrorKind::Write(WriteFailure::WriteConcernError(e)) => {
            format!("write concern error {} ({})", e.code, e.code_name)
        }
        ErrorKind::Command(e) if e.code == DUPLICATE_KEY => "duplicate key".to_owned(),
        ErrorKind::Command(e) => format!("command error {} ({})", e.code, e.code_name),
        ErrorKind::InsertMany(_) => "insert of several documents failed".to_owned(),
        ErrorKind::BsonDeserialization(_) | ErrorKind::Bson(_) => {
            "a reply or a document does not decode".to_owned()
        }
        other => other.to_string(),
    }
}
