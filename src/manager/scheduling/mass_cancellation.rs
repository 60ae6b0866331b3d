//! Giving seats back when what they are for does not take place: in bounded batches, each one
//! atomic, recorded so that a restart finishes them.

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
    manager::{OrgScope, TenantManager},
    store::{
        scheduling::{CancelledSeats, MassCancellation},
        tenant::TenantTx,
    },
};

/// How many seats one transaction gives back.
pub(in crate::manager) const BATCH: u32 = 500;
/// How many where that has met somebody: the fewer members, the fewer of them are at work.
const SMALL_BATCH: u32 = 64;

/// How many mass cancellations of others one process works on at a time.
const TAKEN_OVER: usize = 8;

/// The mass cancellations that this process works on, which it does not take over from itself.
pub(super) struct MassCancellations {
    driven: Arc<Mutex<HashSet<OperationId>>>,
    places: Arc<Semaphore>,
}

/// Names a cancellation as this process's own until it is dropped.
struct Driving {
    id: OperationId,
    driven: Arc<Mutex<HashSet<OperationId>>>,
}

impl Default for MassCancellations {
    fn default() -> Self {
        Self { driven: Arc::default(), places: Arc::new(Semaphore::new(TAKEN_OVER)) }
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
    /// Runs a recorded mass cancellation after its request, and waits for the end.
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
        task.await.map_err(|_| Error::Internal("a drain's task has died".into()))?
    }

    /// Takes over mass cancellations that a process has left, each in a task of its own, so that one that
    /// cannot be finished holds up nothing; how many. Those that find no place wait for the next
    /// call.
    pub(in crate::manager) async fn recover_mass_cancellations(self: &Arc<Self>) -> u32 {
        let mut taken = 0;
        while let Ok(place) =
            Arc::clone(&self.scheduling.mass_cancellations.places).try_acquire_owned()
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
                let _held = (place, driving);
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

    /// Works on a cancellation to its end, and renews its lease for as long as that takes.
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
            // Without it another process joins in, which only wastes its time.
            if let Err(error) = self.store.renew_mass_cancellation(id).await {
                tracing::warn!(error = error.detail(), "a lease was not renewed");
            }
        }
    }

    async fn cancellation(self: &Arc<Self>, cancellation: &MassCancellation) -> Result<()> {
        // Nobody asks for it: the right to do so was checked when it was recorded.
        let actor = Actor {
            account_id: AccountId::generate(),
            org_id: cancellation.org_id,
            role: Role::Admin,
            token_version: 0,
        };
        let cancelled = match cancellation.of {
            CancelledSeats::Member(member) => {
                self.member_release(&OrgScope::of(actor), member).await
            }
            _ => self.cancel_in_batches(&OrgScope::of(actor), cancellation).await,
        };
        match cancelled {
            // Where there is no tenant any more there are no seats.
            Ok(()) | Err(Error::NotFound(_)) => {
                failpoint!("mass_cancellation.before_close");
                self.store.close_mass_cancellation(cancellation.id).await
            }
            Err(error) => Err(error),
        }
    }

    async fn cancel_in_batches(
        &self,
        scope: &OrgScope,
        cancellation: &MassCancellation,
    ) -> Result<()> {
        loop {
            failpoint!("mass_cancellation.before_batch");
            let now = self.clock.now();
            let turn = self.seats_turn(scope).await?;
            let (cancelled, limit) = self
                .tenant_write(scope, "event.drain", cancellation, move |mut tx, cancellation| {
                    Box::pin(async move {
                        let limit = if tx.is_again() { SMALL_BATCH } else { BATCH };
                        Ok((cancel_batch_in(&mut tx, cancellation, now, limit).await?, limit))
                    })
                })
                .await?;
            drop(turn);
            if cancelled < limit {
                return Ok(());
            }
            self.store.record_progress(cancellation.id).await?;
        }
    }

    /// Waits until it is this change's turn to write seats of the tenant.
    pub(in crate::manager) async fn seats_turn(
        &self,
        scope: &OrgScope,
    ) -> Result<OwnedMutexGuard<()>> {
        self.scheduling.seats_queue.wait(scope.org_id(), self.tenancy.patience).await
    }
}

/// Gives at most `limit` seats back; how many.
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
