//! Mass cancellations: free the seats of cancelled occurrences, deleted events and deleted members
//! in bounded, atomic batches. They are recorded so that another process can complete them.

use std::{
    collections::HashSet,
    sync::{Arc, Mutex, PoisonError},
};

use chrono::{DateTime, Utc};
use tokio::sync::{OwnedMutexGuard, Semaphore};
use tokio_util::sync::CancellationToken;

use crate::{
    domain::{
        AccountId, OperationId,
        identity::{Actor, Role},
        scheduling::{Held, Registration},
    },
    error::{Error, Result},
    failpoint,
    manager::{OrgContext, TenantManager},
    store::{
        scheduling::{CancelledSeats, MassCancellation},
        tenant::TenantTx,
    },
};

/// How many seats one transaction frees.
pub(in crate::manager) const BATCH: u32 = 500;
/// How many it frees after a conflict: fewer members mean fewer conflicts.
const SMALL_BATCH: u32 = 64;

/// How many mass cancellations of other processes one process works on at a time.
const TAKEN_OVER: usize = 8;

/// The mass cancellations that this process works on, so that it does not take over its own.
pub(super) struct MassCancellations {
    driven: Arc<Mutex<HashSet<OperationId>>>,
    permits: Arc<Semaphore>,
}

/// Marks a cancellation as in progress in this process until it is dropped.
struct Driving {
    id: OperationId,
    driven: Arc<Mutex<HashSet<OperationId>>>,
}

impl Default for MassCancellations {
    fn default() -> Self {
        Self { driven: Arc::default(), permits: Arc::new(Semaphore::new(TAKEN_OVER)) }
    }
}

impl MassCancellations {
    fn start(&self, id: OperationId) -> Driving {
        self.driven.lock().unwrap_or_else(PoisonError::into_inner).insert(id);
        Driving { id, driven: Arc::clone(&self.driven) }
    }

    fn driven(&self) -> Vec<OperationId> {
        self.driven.lock().unwrap_or_else(PoisonError::into_inner).iter().copied().collect()
    }
}

impl Drop for Driving {
    fn drop(&mut self) {
        self.driven.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.id);
    }
}

impl TenantManager {
    /// Runs a recorded mass cancellation in the background and waits for its end.
    pub(in crate::manager) async fn mass_cancellation_finish(
        self: &Arc<Self>,
        cancellation: MassCancellation,
    ) -> Result<()> {
        let driving = self.scheduling.mass_cancellations.start(cancellation.id);
        let manager = Arc::clone(self);
        let work = async move {
            let _driving = driving;
            manager.drive_mass_cancellation(&cancellation).await
        };
        let task = self.tasks.spawn(work);
        task.await.map_err(|_| Error::Internal("a mass cancellation's task has died".into()))?
    }

    /// Takes over mass cancellations whose lease has expired and returns how many. Each runs in its
    /// own task, so one that cannot be completed blocks no other. Those beyond [`TAKEN_OVER`] wait
    /// for the next call.
    pub(in crate::manager) async fn recover_mass_cancellations(self: &Arc<Self>) -> u32 {
        let mut taken = 0;
        while let Ok(permit) =
            Arc::clone(&self.scheduling.mass_cancellations.permits).try_acquire_owned()
        {
            let cancellation = match self
                .store
                .claim_mass_cancellation(&self.scheduling.mass_cancellations.driven())
                .await
            {
                Ok(Some(cancellation)) => cancellation,
                Ok(None) => break,
                Err(error) => {
                    tracing::warn!(error = error.detail(), "cancellations could not be recovered");
                    break;
                }
            };
            tracing::info!(org.id = %cancellation.org_id, "taking over a cancellation");
            taken += 1;
            let driving = self.scheduling.mass_cancellations.start(cancellation.id);
            let manager = Arc::clone(self);
            let work = async move {
                let _held = (permit, driving);
                if let Err(error) = manager.drive_mass_cancellation(&cancellation).await {
                    tracing::warn!(
                        org.id = %cancellation.org_id,
                        error = error.detail().unwrap_or_else(|| error.to_string()),
                        "a cancellation was not finished"
                    );
                }
            };
            self.tasks.spawn(work);
        }
        taken
    }

    /// Completes a cancellation and renews its lease meanwhile.
    async fn drive_mass_cancellation(
        self: &Arc<Self>,
        cancellation: &MassCancellation,
    ) -> Result<()> {
        let ended = CancellationToken::new();
        let work = async {
            let cancelled = self.cancellation(cancellation).await;
            ended.cancel();
            cancelled
        };
        let (cancelled, ()) = tokio::join!(work, self.keep_leased(cancellation.id, &ended));
        cancelled
    }

    async fn keep_leased(&self, id: OperationId, ended: &CancellationToken) {
        loop {
            let due = tokio::time::sleep_until(self.store.lease_from_now().into());
            if ended.run_until_cancelled(due).await.is_none() {
                return;
            }
            // Without the lease another process may join in, which only wastes its time.
            if let Err(error) = self.store.renew_mass_cancellation(id).await {
                tracing::warn!(error = error.detail(), "a lease was not renewed");
            }
        }
    }

    async fn cancellation(self: &Arc<Self>, cancellation: &MassCancellation) -> Result<()> {
        // A made-up actor: the permission was checked when the cancellation was recorded.
        let actor = Actor {
            account_id: AccountId::generate(),
            org_id: cancellation.org_id,
            role: Role::Admin,
            token_version: 0,
        };
        let cancelled = match cancellation.of {
            CancelledSeats::Member(member) => {
                self.member_release(&OrgContext::of(actor), member).await
            }
            _ => self.cancel_in_batches(&OrgContext::of(actor), cancellation).await,
        };
        match cancelled {
            // A deleted tenant has no seats.
            Ok(()) | Err(Error::NotFound(_)) => {
                failpoint!("mass_cancellation.before_close");
                self.store.close_mass_cancellation(cancellation.id).await
            }
            Err(error) => Err(error),
        }
    }

    async fn cancel_in_batches(
        &self,
        ctx: &OrgContext,
        cancellation: &MassCancellation,
    ) -> Result<()> {
        loop {
            failpoint!("mass_cancellation.before_batch");
            let now = self.clock.now();
            let lock = self.lock_seats(ctx).await?;
            let (cancelled, limit) = self
                .tenant_write(ctx, "event.drain", cancellation, move |mut tx, cancellation| {
                    Box::pin(async move {
                        let limit = if tx.is_retry() { SMALL_BATCH } else { BATCH };
                        Ok((cancel_batch_in(&mut tx, cancellation, now, limit).await?, limit))
                    })
                })
                .await?;
            drop(lock);
            if cancelled < limit {
                return Ok(());
            }
            self.store.record_progress(cancellation.id).await?;
        }
    }

    /// Waits until this process makes no other change of the tenant's seats.
    pub(in crate::manager) async fn lock_seats(
        &self,
        ctx: &OrgContext,
    ) -> Result<OwnedMutexGuard<()>> {
        self.scheduling.seats_queue.wait(ctx.org_id(), self.tenancy.patience).await
    }
}

/// Frees at most `limit` seats and returns how many.
pub(in crate::manager) async fn cancel_batch_in(
    tx: &mut TenantTx<'_>,
    cancellation: &MassCancellation,
    now: DateTime<Utc>,
    limit: u32,
) -> Result<u32> {
    let held: Vec<Registration> = match cancellation.of {
        CancelledSeats::Occurrence(id) => {
            tx.reader().attendees_of(id, Held::Confirmed, None, limit).await?
        }
        CancelledSeats::Event(event, from) => {
            tx.reader().attendees_from(event, from, limit).await?
        }
        CancelledSeats::Member(_) => Vec::new(),
    };
    let ids: Vec<_> = held.iter().map(|held| held.id).collect();
    let mut seats = tx.reader().seats(&ids, now).await?;
    for id in &ids {
        seats.release(*id);
    }
    tx.write_seats(&seats).await?;
    failpoint!("mass_cancellation.before_commit");
    Ok(u32::try_from(ids.len()).unwrap_or(u32::MAX))
}
