//! Finding and finishing what a process left undone.

use std::{sync::Arc, time::Duration};

use tokio_util::sync::CancellationToken;

use super::TenantManager;
use crate::error::Result;

impl TenantManager {
    /// Takes over every operation whose lease has run out and carries it to its end; how many.
    ///
    /// # Errors
    /// The store's. An operation that fails stays recorded and is tried again later.
    pub async fn recover(self: &Arc<Self>) -> Result<u32> {
        let mut recovered = 0;
        while let Some(operation) = self.store.claim_operation().await? {
            tracing::info!(org.id = %operation.org_id, "taking over an operation");
            match self.drive(&operation).await {
                Ok(()) => recovered += 1,
                Err(error) => tracing::warn!(
                    org.id = %operation.org_id,
                    error = error.detail().unwrap_or_else(|| error.to_string()),
                    "an operation was not finished"
                ),
            }
        }
        Ok(recovered + self.recover_drains().await?)
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
