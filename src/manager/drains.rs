//! Giving seats back when what they are for does not take place: in bounded batches, each one
//! atomic, recorded so that a restart finishes them.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use tokio::sync::OwnedMutexGuard;

use super::{OrgScope, TenantManager, turns::Turn};
use crate::{
    domain::{AccountId, Actor, Registration, Role},
    error::{Error, Result},
    failpoint,
    store::{Drain, DrainOf, Held, TenantTx},
};

/// How many seats one transaction gives back.
pub(super) const BATCH: u32 = 500;
/// How many where that has met somebody: the fewer members, the fewer of them are at work.
const SMALL_BATCH: u32 = 64;

impl TenantManager {
    /// Drains behind the request that has recorded it, and waits for the end.
    pub(super) async fn drain_in_background(self: &Arc<Self>, drain: Drain) -> Result<()> {
        let manager = Arc::clone(self);
        let work = async move { manager.drain(&drain).await };
        let task = self.work.tasks.spawn_on(work, &self.work.runtime);
        task.await.map_err(|_| Error::Internal("a drain's task has died".into()))?
    }

    /// Takes over every drain that a process has left; how many.
    ///
    /// # Errors
    /// The store's.
    pub(super) async fn recover_drains(self: &Arc<Self>) -> Result<u32> {
        let mut recovered = 0;
        while let Some(drain) = self.store.claim_drain().await? {
            tracing::info!(org.id = %drain.org_id, "taking over a cancellation");
            self.drain(&drain).await?;
            recovered += 1;
        }
        Ok(recovered)
    }

    async fn drain(self: &Arc<Self>, drain: &Drain) -> Result<()> {
        // Nobody asks for it: the right to do so was checked when it was recorded.
        let actor =
            Actor { account_id: AccountId::generate(), org_id: drain.org_id, role: Role::Admin };
        let drained = match drain.of {
            DrainOf::Member(member) => self.member_release(&OrgScope::of(actor), member).await,
            _ => self.drain_in_batches(&OrgScope::of(actor), drain).await,
        };
        match drained {
            // Where there is no tenant any more there are no seats.
            Ok(()) | Err(Error::NotFound(_)) => {
                failpoint!("drain.before_close");
                self.store.close_drain(drain.id).await
            }
            Err(error) => Err(error),
        }
    }

    async fn drain_in_batches(&self, scope: &OrgScope, drain: &Drain) -> Result<()> {
        loop {
            failpoint!("drain.before_batch");
            let now = self.clock.now();
            let turn = self.turn_of_seats(scope).await?;
            let (drained, limit) = self
                .tenant_write(scope, "event.drain", drain, move |mut tx, drain| {
                    Box::pin(async move {
                        let limit = if tx.is_again() { SMALL_BATCH } else { BATCH };
                        Ok((drain_in(&mut tx, drain, now, limit).await?, limit))
                    })
                })
                .await?;
            drop(turn);
            if drained < limit {
                return Ok(());
            }
        }
    }

    /// Waits until it is this change's turn to write seats of the tenant.
    pub(super) async fn turn_of_seats(&self, scope: &OrgScope) -> Result<OwnedMutexGuard<()>> {
        self.work.turns.take(Turn::Seats(scope.org_id()), self.work.patience).await
    }
}

/// Gives at most `limit` seats back; how many.
pub(super) async fn drain_in(
    tx: &mut TenantTx<'_>,
    drain: &Drain,
    now: DateTime<Utc>,
    limit: u32,
) -> Result<u32> {
    let held: Vec<Registration> = match drain.of {
        DrainOf::Occurrence(id) => {
            tx.reader().attendees_of(id, Held::Confirmed, None, limit).await?
        }
        DrainOf::Event(event, from) => tx.reader().attendees_from(event, from, limit).await?,
        DrainOf::Member(_) => Vec::new(),
    };
    let ids: Vec<_> = held.iter().map(|held| held.id).collect();
    let (mut book, _) = tx.reader().book(&ids, now).await?;
    for id in &ids {
        book.release(*id);
    }
    tx.write_book(&book).await?;
    failpoint!("drain.before_commit");
    Ok(u32::try_from(ids.len()).unwrap_or(u32::MAX))
}
