//! The closed loop: each worker sends its next request after the answer.

use std::{
    cell::Cell,
    time::{Duration, Instant},
};

use futures::future::join_all;

/// A measurement ends at whichever limit comes first.
#[derive(Clone, Copy)]
pub(crate) struct Limits {
    pub(crate) window: Duration,
    pub(crate) requests: u64,
    /// The number of the first request.
    pub(crate) first: u64,
}

/// The results of a measurement.
pub(crate) struct Sample {
    /// Latencies in ascending order.
    latencies: Vec<Duration>,
    pub(crate) errors: u64,
    pub(crate) elapsed: Duration,
}

impl Limits {
    pub(crate) const fn seconds(window: Duration) -> Self {
        Self { window, requests: u64::MAX, first: 0 }
    }
}

/// Runs `step` in every worker until a limit is reached. `step` gets the request's number and
/// returns whether it succeeded.
pub(crate) async fn drive<W>(
    workers: &mut [W],
    limits: Limits,
    step: impl AsyncFn(&mut W, u64) -> bool,
) -> Sample {
    let next = Cell::new(limits.first);
    let end = limits.first.saturating_add(limits.requests);
    let started = Instant::now();
    let loops = workers.iter_mut().map(|worker| async {
        let (mut latencies, mut errors) = (Vec::new(), 0);
        while started.elapsed() < limits.window && next.get() < end {
            let number = next.replace(next.get() + 1);
            let asked = Instant::now();
            let good = step(worker, number).await;
            latencies.push(asked.elapsed());
            errors += u64::from(!good);
        }
        (latencies, errors)
    });
    let parts = join_all(loops).await;
    let errors = parts.iter().map(|(_, errors)| errors).sum();
    Sample::new(parts.into_iter().flat_map(|(part, _)| part), errors, started.elapsed())
}

impl Sample {
    pub(crate) fn new(
        latencies: impl IntoIterator<Item = Duration>,
        errors: u64,
        elapsed: Duration,
    ) -> Self {
        let mut latencies: Vec<Duration> = latencies.into_iter().collect();
        latencies.sort_unstable();
        Self { latencies, errors, elapsed }
    }

    /// Both samples combined, as taken in sequence.
    pub(crate) fn and(self, other: Self) -> Self {
        let latencies = self.latencies.into_iter().chain(other.latencies);
        Self::new(latencies, self.errors + other.errors, self.elapsed + other.elapsed)
    }

    pub(crate) fn count(&self) -> usize {
        self.latencies.len()
    }

    /// Successful answers per second.
    #[expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
    pub(crate) fn rate(&self) -> f64 {
        (self.count() as f64 - self.errors as f64) / self.elapsed.as_secs_f64()
    }

    /// The latency in milliseconds that `percent` of all answers did not exceed.
    pub(crate) fn percentile(&self, percent: usize) -> f64 {
        let rank = (self.count() * percent).div_ceil(100).max(1) - 1;
        self.latencies.get(rank).map_or(f64::NAN, |latency| latency.as_secs_f64() * 1e3)
    }
}
