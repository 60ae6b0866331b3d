//! Limits how many large charts are processed at once, because each takes much memory.

use std::{sync::Arc, time::Instant};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::{
    error::{Error, Result},
    manager::{OrgContext, TenantManager},
};

/// How many large charts are processed at once: a chart of 200,000 people takes about a hundred
/// megabytes between its documents and the response.
const AT_ONCE: usize = 2;
/// A chart is large from this many people on. Smaller ones finish before others would have to wait.
const LARGE: usize = 5_000;

/// The permits for large charts.
pub(super) struct ChartAdmission(Arc<Semaphore>);

/// The permission to process one chart, until it is dropped.
#[derive(Debug)]
pub struct ChartPermit {
    _permit: Option<OwnedSemaphorePermit>,
}

impl Default for ChartAdmission {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(AT_ONCE)))
    }
}

impl ChartAdmission {
    /// Waits for a permit for a chart of that many people; small charts get one at once.
    async fn admit(&self, people: usize, deadline: Instant) -> Result<ChartPermit> {
        if people < LARGE {
            return Ok(ChartPermit { _permit: None });
        }
        let permit =
            tokio::time::timeout_at(deadline.into(), Arc::clone(&self.0).acquire_owned()).await;
        let permit = permit.ok().and_then(Result::ok);
        let busy = Error::Busy { what: "too many large charts are being processed" };
        permit.map(|permit| ChartPermit { _permit: Some(permit) }).ok_or(busy)
    }
}

impl TenantManager {
    /// Waits for a permit to process a chart of that many people.
    ///
    /// # Errors
    /// [`Error::Busy`] if no permit becomes free in time.
    pub async fn admit_chart(&self, ctx: &OrgContext, people: usize) -> Result<ChartPermit> {
        self.charts.admission.admit(people, ctx.deadline()).await
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn two_large_charts_run_at_once_and_small_ones_always() {
        let admission = ChartAdmission::default();
        let take =
            async |people| admission.admit(people, Instant::now() + Duration::from_millis(1)).await;
        let one = take(LARGE).await.unwrap();
        let _two = take(200_000).await.unwrap();
        assert!(matches!(take(LARGE).await, Err(Error::Busy { .. })));
        let small = take(LARGE - 1).await;
        assert!(small.is_ok());
        drop(one);
        take(LARGE).await.unwrap();
    }

    #[tokio::test]
    async fn a_waiting_chart_gets_the_permit_that_another_drops() {
        let admission = ChartAdmission::default();
        let take = || admission.admit(LARGE, Instant::now() + Duration::from_secs(30));
        let (one, _two) = (take().await.unwrap(), take().await.unwrap());
        let release = async {
            tokio::task::yield_now().await;
            drop(one);
        };
        let (got, ()) = tokio::join!(take(), release);
        assert!(got.is_ok());
    }
}
