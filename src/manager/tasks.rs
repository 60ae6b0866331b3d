//! Background tasks, and the recovery of operations that another process did not finish.

use std::{sync::Arc, time::Duration};

use tokio::{runtime::Handle, task::JoinHandle};
use tokio_util::sync::CancellationToken;

use super::TenantManager;
use crate::error::Result;
use tokio_util::task::TaskTracker;

/// Runs work that continues after its client has disconnected.
pub(super) struct Tasks {
    tracker: TaskTracker,
    /// Outlives the threads that answer requests.
    runtime: Handle,
}

impl Tasks {
    pub(super) fn on_this_runtime() -> Self {
        Self { tracker: TaskTracker::new(), runtime: Handle::current() }
    }

    pub(super) fn spawn<F>(&self, work: F) -> JoinHandle<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        self.tracker.spawn_on(work, &self.runtime)
    }

    /// Runs a long computation that never awaits.
    pub(super) fn spawn_blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> JoinHandle<T> {
        self.runtime.spawn_blocking(work)
    }
}

impl TenantManager {
    /// Takes over unfinished work whose lease has expired and returns how many items. Operations
    /// run one at a time to their end; each mass cancellation runs in its own task. Starts nothing
    /// new once [`TenantManager::finish_work`] was called. What fails stays recorded for a later
    /// try.
    pub async fn recover(self: &Arc<Self>) -> Result<u32> {
        let mut taken = 0;
        while !self.tasks.tracker.is_closed() {
            // Comes before each operation, because a failing operation may use up its whole lease.
            taken += self.recover_mass_cancellations().await;
            let Some(operation) = self.store.claim_operation().await? else { break };
            tracing::info!(org.id = %operation.org_id, "taking over an operation");
            taken += 1;
            if let Err(error) = self.drive(&operation).await {
                tracing::warn!(
                    org.id = %operation.org_id,
                    error = error.detail().unwrap_or_else(|| error.to_string()),
                    "an operation was not finished"
                );
            }
        }
        Ok(taken)
    }

    /// Calls [`TenantManager::recover`] once per interval `every` until `stop`.
    pub async fn keep_recovering(self: Arc<Self>, every: Duration, stop: CancellationToken) {
        loop {
            match stop.run_until_cancelled(self.recover()).await {
                None => return,
                Some(Ok(_)) => {}
                Some(Err(error)) => {
                    tracing::warn!(error = error.detail(), "operations could not be recovered");
                }
            }
            if stop.run_until_cancelled(tokio::time::sleep(every)).await.is_none() {
                return;
            }
        }
    }

    /// Waits for the background tasks to end. No new recovery starts.
    pub async fn finish_work(&self) {
        self.tasks.tracker.close();
        self.tasks.tracker.wait().await;
    }
}
