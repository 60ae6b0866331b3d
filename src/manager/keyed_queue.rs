//! One change at a time per key, such as a chart or a tenant's seats.

use std::{
    hash::Hash,
    sync::Arc,
    time::{Duration, Instant},
};

use moka::sync::Cache;
use tokio::sync::{Mutex, OwnedMutexGuard};

use crate::error::{Error, Result};

/// A queue for each key that is being changed.
///
/// Transactions on one key conflict by design. If dozens ran at once, they would spend their time
/// on retries, and a stream of short ones would keep a long one from finishing. Correctness does
/// not depend on the queue: each process has its own queues, and the transactions decide.
pub(super) struct KeyedQueue<K>(Cache<K, Arc<Mutex<()>>>);

const QUEUES: u64 = 10_000;
const IDLE: Duration = Duration::from_mins(1);

impl<K: Hash + Eq + Send + Sync + 'static> Default for KeyedQueue<K> {
    fn default() -> Self {
        Self(Cache::builder().max_capacity(QUEUES).time_to_idle(IDLE).build())
    }
}

impl<K: Hash + Eq + Send + Sync + 'static> KeyedQueue<K> {
    /// Waits until the caller is first in the queue; the guard keeps that place until it is
    /// dropped.
    ///
    /// # Errors
    /// [`Error::Busy`] if that does not happen until `deadline`.
    pub(super) async fn wait(&self, key: K, deadline: Instant) -> Result<OwnedMutexGuard<()>> {
        let queue = self.0.get_with(key, Arc::default);
        let guard = tokio::time::timeout_at(deadline.into(), queue.lock_owned()).await;
        guard.map_err(|_| Error::Busy { what: "too many changes wait for the same resource" })
    }
}
