//! The parts of the load harness.

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

/// Time limit for a pass over all tenants or members.
pub(crate) const PASS_WITHIN: std::time::Duration = std::time::Duration::from_mins(5);

/// Why a run failed, as a sentence.
pub(crate) type Failure = Box<dyn std::error::Error + Send + Sync>;
pub(crate) type Result<T, E = Failure> = std::result::Result<T, E>;

/// The deadline of a pass over everything.
pub(crate) fn in_an_hour() -> std::time::Instant {
    std::time::Instant::now() + std::time::Duration::from_hours(1)
}
