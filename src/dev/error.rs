//! The errors of the embedded MongoDB, with advice.

use std::io;
use std::path::PathBuf;

use crate::store::driver::replica_set::ReplicaSetError;

const ADVICE: &str = "install MongoDB 6.0 or newer and put mongod on PATH or name it in \
    TENANTRY_MONGOD, or set MONGO_URI, or use `docker compose up`";

/// Why the embedded MongoDB cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum EmbeddedError {
    /// A file or a process could not be handled.
    #[error("the embedded MongoDB could not {action}: {source}")]
    Io {
        /// What failed.
        action: &'static str,
        /// The system's error.
        source: io::Error,
    },
    /// There is no `mongod` that runs here.
    #[error("there is no MongoDB to start ({reason}): {ADVICE}")]
    NoMongod {
        /// The reason.
        reason: String,
    },
    /// `mongod` ended while it was starting.
    #[error("mongod ended while it was starting: {reason}; its log is {}", log.display())]
    Ended {
        /// The last errors of its log.
        reason: String,
        /// Where the log is.
        log: PathBuf,
    },
    /// `mongod` runs, but cannot be used.
    #[error("mongod on port {port} cannot be used: {source}; its log is {}", log.display())]
    NotReady {
        /// Its port.
        port: u16,
        /// Where its log is.
        log: PathBuf,
        /// The reason.
        source: ReplicaSetError,
    },
    /// The watcher, without which `mongod` would never be stopped, did not start.
    #[error("the watcher process ({}) did not start: {reason}", program.display())]
    Watcher {
        /// The program that was started for it.
        program: PathBuf,
        /// The reason.
        reason: String,
    },
    /// `mongod` did not stop in time.
    #[error("mongod is still running {seconds} s after its last user has left")]
    StillRunning {
        /// How long the process waited, in seconds.
        seconds: u64,
    },
}

impl EmbeddedError {
    /// For `map_err`: adds what failed to the system's error.
    pub(super) fn io(action: &'static str) -> impl Fn(io::Error) -> Self + Copy {
        move |source| Self::Io { action, source }
    }

    pub(super) fn no_mongod(reason: impl Into<String>) -> Self {
        Self::NoMongod { reason: reason.into() }
    }
}
