//! Limits how many large charts are processed at once, because each takes much memory.

use std::{sync::Arc, time::Instant};

use tokio::sync::{OwnedMutexGuard, OwnedSemaphorePermit, Semaphore};

use crate::{
    domain::OrgId,
    error::{Error, Result},
    manager::{OrgContext, TenantManager, keyed_queue::KeyedQueue},
};

/// How many large charts are read, and how many are imported, at once: a chart of 200,000 people
/// takes about a hundred megabytes between its documents and the response.
const AT_ONCE: usize = 2;
/// A chart is large from this many people on. Smaller ones finish before others would have to wait.
const LARGE: usize = 5_000;

/// The permits for large charts. Imports have their own, because they take far longer than reads.
#[derive(Default)]
pub(super) struct ChartAdmission {
    reads: Pool,
    imports: Pool,
}

/// Permits that each tenant gets one at a time, so that whoever asks for many waits alone.
struct Pool {
    turns: KeyedQueue<OrgId>,
    permits: Arc<Semaphore>,
}

/// What is done with a chart.
#[derive(Clone, Copy, Debug)]
pub enum ChartWork {
    /// It is read as a whole.
    Read,
    /// A list is imported.
    Import,
}

/// The permission to process one chart, until it is dropped.
#[derive(Debug)]
pub struct ChartPermit {
    _held: Option<(OwnedSemaphorePermit, OwnedMutexGuard<()>)>,
}

impl Default for Pool {
    fn default() -> Self {
        Self { turns: KeyedQueue::default(), permits: Arc::new(Semaphore::new(AT_ONCE)) }
    }
}

impl Pool {
    async fn admit(&self, org: OrgId, deadline: Instant) -> Result<ChartPermit> {
        let turn = self.turns.wait(org, deadline).await?;
        let permit = Arc::clone(&self.permits).acquire_owned();
        let permit = tokio::time::timeout_at(deadline.into(), permit).await;
        let permit = permit.ok().and_then(Result::ok);
        let busy = Error::Busy { what: "too many large charts are being processed" };
        Ok(ChartPermit { _held: Some((permit.ok_or(busy)?, turn)) })
    }
}

impl TenantManager {
    /// Waits for a permit to process a chart of that many people; small charts get one at once.
    ///
    /// # Errors
    /// [`Error::Busy`] if no permit becomes free in time.
    pub async fn admit_chart(
        &self,
        ctx: &OrgContext,
        work: ChartWork,
        people: usize,
    ) -> Result<ChartPermit> {
        let pool = match work {
            _ if people < LARGE => return Ok(ChartPermit { _held: None }),
            ChartWork::Read => &self.charts.admission.reads,
            ChartWork::Import => &self.charts.admission.imports,
        };
        pool.admit(ctx.org_id(), ctx.deadline()).await
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn two_tenants_are_served_at_once_and_one_only_once() {
        let (pool, one) = (Pool::default(), OrgId::generate());
        let soon = || Instant::now() + Duration::from_millis(1);
        let first = pool.admit(one, soon()).await.unwrap();
        assert!(matches!(pool.admit(one, soon()).await, Err(Error::Busy { .. })));
        let _second = pool.admit(OrgId::generate(), soon()).await.unwrap();
        assert!(matches!(pool.admit(OrgId::generate(), soon()).await, Err(Error::Busy { .. })));
        drop(first);
        pool.admit(one, soon()).await.unwrap();
    }

    #[tokio::test]
    async fn a_waiting_chart_gets_the_permit_that_another_drops() {
        let (pool, late) = (Pool::default(), Instant::now() + Duration::from_secs(30));
        let take = || pool.admit(OrgId::generate(), late);
        let (one, _two) = (take().await.unwrap(), take().await.unwrap());
        let release = async {
            tokio::task::yield_now().await;
            drop(one);
        };
        let (got, ()) = tokio::join!(take(), release);
        assert!(got.is_ok());
    }
}
