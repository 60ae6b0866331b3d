//! Finding and finishing what a process left undone.

use std::{sync::Arc, time::Duration};

use tokio_util::sync::CancellationToken;

use super::TenantManager;
use crate::error::Result;

impl TenantManager {
    /// Takes over what a process has left and whose lease has run out; how many. Operations are
    /// carried to their end one after the other, mass_cancellations go on in tasks of their own. None is begun
    /// with once the process finishes its work.
    ///
    /// # Errors
    /// The store's. What fails stays recorded and is tried again later.
    pub async fn recover(self: &Arc<Self>) -> Result<u32> {
        let mut taken = 0;
        while !self.work.tasks.is_closed() {
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
}
