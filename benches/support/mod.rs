//! What the load harness is made of.

pub(crate) mod bench;
pub(crate) mod chart;
pub(crate) mod client;
pub(crate) mod compare;
pub(crate) mod create;
pub(crate) mod database;
pub(crate) mod get;
pub(crate) mod load;
pub(crate) mod login;
pub(crate) mod machine;
pub(crate) mod register;
pub(crate) mod rename;
pub(crate) mod report;
pub(crate) mod scale;
pub(crate) mod server;

/// Bounds a pass over everything that is there.
pub(crate) const PASS_WITHIN: std::time::Duration = std::time::Duration::from_mins(5);

/// Why a measurement ended early: a sentence for a person.
pub(crate) type Failure = Box<dyn std::error::Error + Send + Sync>;
pub(crate) type Result<T, E = Failure> = std::result::Result<T, E>;
