//! The closed loop: each worker asks again when it has its answer.

use std::{
    cell::Cell,
    time::{Duration, Instant},
};

use futures::future::join_all;

/// When a measurement ends: whichever comes first.
#[derive(Clone, Copy)]
pub(crate) struct Limits {
    pub(crate) window: Duration,
    pub(crate) requests: u64,
    /// The number of the first request.
    pub(crate) first: u64,
}

/// What was seen.
pub(crate) struct Sample {
    /// In ascending order.
    latencies: Vec<Duration>,
    pub(crate) errors: u64,
    pub(crate) elapsed: Duration,
}

impl Limits {
    pub(crate) const fn seconds(window: Duration) -> Self {
        Self { window, requests: u64::MAX, first: 0 }
    }
}

/// Runs `step` in every worker until the limits are reached. `step` gets the number of the request
/// and says whether it was answered well.
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

    /// Both, one after the other.
    pub(crate) fn and(self, other: Self) -> Self {
        let latencies = self.latencies.into_iter().chain(other.latencies);
        Self::new(latencies, self.errors + other.errors, self.elapsed + other.elapsed)
    }

    pub(crate) fn count(&self) -> usize {
        self.latencies.len()
    }

    /// Answers per second; errors are none.
    #[expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
    pub(crate) fn rate(&self) -> f64 {
        (self.count() as f64 - self.errors as f64) / self.elapsed.as_secs_f64()
    }

    /// The latency in milliseconds below which `percent` of all answers came.
    pub(crate) fn percentile(&self, percent: usize) -> f64 {
        let rank = (self.count() * percent).div_ceil(100).max(1) - 1;
        self.latencies.get(rank).map_or(f64::NAN, |latency| latency.as_secs_f64() * 1e3)
    }
}
