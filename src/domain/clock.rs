//! The only source of the current time.

use chrono::{DateTime, SubsecRound, Utc};

/// Returns the current time; tests pass a clock that they control.
pub trait Clock: Send + Sync {
    /// The current time in whole milliseconds, the precision of the database: a response and a
    /// later read show the same date.
    fn now(&self) -> DateTime<Utc>;
}

/// The system's clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "this is the Clock that all other code uses")]
    fn now(&self) -> DateTime<Utc> {
        Utc::now().trunc_subsecs(3)
    }
}
