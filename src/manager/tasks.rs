//! Finding and finishing what a process left undone.

use std::{sync::Arc, time::Duration};

use tokio::{runtime::Handle, task::JoinHandle};
use tokio_util::sync::CancellationToken;

use super::TenantManager;
use crate::error::Result;
use tokio_util::task::TaskTracker;

/// Work that continues when the client that asked for it has gone.
pub(super) struct Tasks {
    tracker: TaskTracker,
    /// It outlives the threads that answer requests.
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

    /// Runs work that computes for long without awaiting anything.
    pub(super) fn spawn_blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> JoinHandle<T> {
        self.runtime.spawn_blocking(work)
    }
}

impl TenantManager {
    /// Takes over what a process has left and whose lease has run out; how many. Operations are
    /// carried to their end one after the other, mass cancellations go on in tasks of their own. None is begun
    /// with once the process finishes its work.
    ///
    /// # Errors
    /// The store's. What fails stays recorded and is tried again later.
    pub async fn recover(self: &Arc<Self>) -> Result<u32> {
        let mut taken = 0;
        while !self.tasks.tracker.is_closed() {
            // Asked before each operation, since one that fails may take its whole lease for it.
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

    /// Recovers now and then until `stop`.
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

    /// Waits for the steps that continue after their requests. No new recovery starts.
    pub async fn finish_work(&self) {
        self.tasks.tracker.close();
        self.tasks.tracker.wait().await;
    }
}
