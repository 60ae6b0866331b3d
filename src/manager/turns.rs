//! Changes of one chart take turns before they reach the database.

use std::{sync::Arc, time::Duration};

use moka::sync::Cache;
use tokio::sync::{Mutex, OwnedMutexGuard};

use crate::{
    domain::{ChartId, OrgId},
    error::{Error, Result},
};

/// A queue for each chart that somebody is changing.
///
/// The transactions of one chart conflict by design, and dozens at once would spend their time on
/// being run again. Correctness does not depend on the queue: other processes have queues of their
/// own, and the transaction keeps them right.
pub struct Turns(Cache<(OrgId, ChartId), Arc<Mutex<()>>>);

const CHARTS: u64 = 10_000;
const IDLE: Duration = Duration::from_mins(1);

impl Default for Turns {
    fn default() -> Self {
        Self(Cache::builder().max_capacity(CHARTS).time_to_idle(IDLE).build())
    }
}

impl Turns {
    /// Waits for the chart's turn, which lasts until the guard is dropped.
    ///
    /// # Errors
    /// [`Error::Busy`] when it does not come within `patience`.
    pub(super) async fn take(
        &self,
        org: OrgId,
        chart: ChartId,
        patience: Duration,
    ) -> Result<OwnedMutexGuard<()>> {
        let queue = self.0.get_with((org, chart), Arc::default);
        let turn = tokio::time::timeout(patience, queue.lock_owned()).await;
        turn.map_err(|_| Error::Busy { what: "too many changes of one chart wait" })
    }
}
