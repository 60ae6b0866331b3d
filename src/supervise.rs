//! Restarts background work that has died of a panic, counts it and logs it.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    time::Duration,
};

use futures::FutureExt;

/// The pause before a restart, so that work that dies at once does not use up a core.
const PAUSE: Duration = Duration::from_secs(1);

/// Runs `work` until it returns, and starts it again whenever it panics.
pub(crate) async fn supervised<F: Future<Output = ()>>(name: &'static str, work: impl Fn() -> F) {
    while AssertUnwindSafe(work()).catch_unwind().await.is_err() {
        restarted(name);
        tokio::time::sleep(PAUSE).await;
    }
}

/// As [`supervised`], for a thread.
pub(crate) fn supervised_thread(name: &'static str, work: impl Fn()) {
    while catch_unwind(AssertUnwindSafe(&work)).is_err() {
        restarted(name);
        std::thread::sleep(PAUSE);
    }
}

fn restarted(name: &'static str) {
    tracing::error!(work = name, "background work has died and is started again");
    metrics::counter!("tenantry_background_restarts_total", "work" => name).increment(1);
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn work_that_panics_is_started_again_until_it_returns() {
        let starts = Cell::new(0);
        supervised("test", || async {
            starts.set(starts.get() + 1);
            assert!(starts.get() > 2, "it dies twice");
        })
        .await;
        assert_eq!(starts.get(), 3);
    }

    #[test]
    fn a_thread_that_panics_is_started_again() {
        let starts = Cell::new(0);
        supervised_thread("test", || {
            starts.set(starts.get() + 1);
            assert!(starts.get() > 1, "it dies once");
        });
        assert_eq!(starts.get(), 2);
    }
}
