//! Changes of one chart, of which charts a tenant has, or of its seats take turns before they reach
//! the database.

use std::{sync::Arc, time::Duration};

use moka::sync::Cache;
use tokio::sync::{Mutex, OwnedMutexGuard};

use crate::{
    domain::{ChartId, OrgId},
    error::{Error, Result},
};

/// A queue for each thing that somebody is changing.
///
/// The transactions of one thing conflict by design, and dozens at once would spend their time on
/// being run again; one that takes long would never end beside short ones that follow each other
/// without a pause. Correctness does not depend on the queue: other processes have queues of their
/// own, and the transaction keeps them right.
pub struct KeyedQueue(Cache<Turn, Arc<Mutex<()>>>);

/// What takes one change at a time.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(super) enum Turn {
    /// A chart and its people.
    Chart(OrgId, ChartId),
    /// Which charts a tenant has.
    Charts(OrgId),
    /// The events and seats of a tenant.
    Seats(OrgId),
    /// The calendar feeds of a tenant, which are read and not changed.
    Feeds(OrgId),
}

const QUEUES: u64 = 10_000;
const IDLE: Duration = Duration::from_mins(1);

impl Default for KeyedQueue {
    fn default() -> Self {
        Self(Cache::builder().max_capacity(QUEUES).time_to_idle(IDLE).build())
    }
}

impl KeyedQueue {
    /// Waits for a turn, which lasts until the guard is dropped.
    ///
    /// # Errors
    /// [`Error::Busy`] when it does not come within `patience`.
    pub(super) async fn take(&self, turn: Turn, patience: Duration) -> Result<OwnedMutexGuard<()>> {
        let queue = self.0.get_with(turn, Arc::default);
        let turn = tokio::time::timeout(patience, queue.lock_owned()).await;
        turn.map_err(|_| Error::Busy { what: "too many wait for their turn at one thing" })
    }
}
