//! One change at a time for each key: the changes of one chart, or of one tenant's seats.

use std::{hash::Hash, sync::Arc, time::Duration};

use moka::sync::Cache;
use tokio::sync::{Mutex, OwnedMutexGuard};

use crate::error::{Error, Result};

/// A queue for each key that is being changed.
///
/// Transactions on one key conflict by design. Run together, dozens would spend their time on
/// retries, and a long one would never finish beside a stream of short ones. Correctness does not
/// depend on the queue: other processes have queues of their own, and the transactions decide.
pub(super) struct KeyedQueue<K>(Cache<K, Arc<Mutex<()>>>);

const QUEUES: u64 = 10_000;
const IDLE: Duration = Duration::from_mins(1);

impl<K: Hash + Eq + Send + Sync + 'static> Default for KeyedQueue<K> {
    fn default() -> Self {
        Self(Cache::builder().max_capacity(QUEUES).time_to_idle(IDLE).build())
    }
}

impl<K: Hash + Eq + Send + Sync + 'static> KeyedQueue<K> {
    /// Waits for the turn of the caller, which lasts until the guard is dropped.
    ///
    /// # Errors
    /// [`Error::Busy`] when the turn does not come within `patience`.
    pub(super) async fn wait(&self, key: K, patience: Duration) -> Result<OwnedMutexGuard<()>> {
        let queue = self.0.get_with(key, Arc::default);
        let turn = tokio::time::timeout(patience, queue.lock_owned()).await;
        turn.map_err(|_| Error::Busy { what: "too many wait for their turn at one thing" })
    }
}
