//! The one source of the time of day.

use chrono::{DateTime, SubsecRound, Utc};

/// Tells the time; tests pass one that they can turn.
pub trait Clock: Send + Sync {
    /// Now, in whole milliseconds: what the database keeps, so that an answer and a later read of
    /// the same date agree.
    fn now(&self) -> DateTime<Utc>;
}

/// The system's clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "this is the Clock that everybody else asks")]
    fn now(&self) -> DateTime<Utc> {
        Utc::now().trunc_subsecs(3)
    }
}
