//! Changes of many seats in bounded, atomic batches, as tasks: they free the seats of cancelled
//! occurrences, deleted events and deleted members, and give added seats to waiting lists.

use chrono::{DateTime, Utc};
use tokio::sync::OwnedMutexGuard;

use super::events;
use crate::{
    domain::{
        EventId,
        scheduling::{Held, Registration},
    },
    error::{Error, Result},
    failpoint,
    manager::{OrgContext, TenantManager},
    store::{
        tasks::{Task, Work},
        tenant::TenantTx,
    },
};

/// How many seats one transaction frees or gives away.
pub(in crate::manager) const BATCH: u32 = 500;
/// How many it frees after a conflict: fewer members mean fewer conflicts.
const SMALL_BATCH: u32 = 64;

impl TenantManager {
    /// Changes the seats of a recorded task, from where it stopped.
    pub(in crate::manager) async fn drive_seats(
        self: &std::sync::Arc<Self>,
        task: &Task,
    ) -> Result<()> {
        let changed = match task.work {
            Work::ReleaseMember(member) => {
                self.member_release(&self.task_context(task.org_id), member).await
            }
            Work::PromoteWaiting(event) => self.promote_in_batches(event, task).await,
            _ => self.cancel_in_batches(task).await,
        };
        match changed {
            // A deleted tenant has no seats.
            Ok(()) | Err(Error::NotFound(_)) => {
                failpoint!("mass_cancellation.before_close");
                self.store.close_task_alone(task.id).await
            }
            Err(error) => Err(error),
        }
    }

    async fn cancel_in_batches(&self, task: &Task) -> Result<()> {
        let mut done = 0;
        loop {
            failpoint!("mass_cancellation.before_batch");
            let now = self.clock.now();
            let ctx = self.task_context(task.org_id);
            let lock = self.lock_seats(&ctx).await?;
            let (cancelled, limit) = self
                .tenant_write(&ctx, "seats.cancel", &task.work, move |mut tx, work| {
                    Box::pin(async move {
                        let limit = if tx.is_retry() { SMALL_BATCH } else { BATCH };
                        Ok((cancel_batch_in(&mut tx, work, now, limit).await?, limit))
                    })
                })
                .await?;
            drop(lock);
            if cancelled < limit {
                return Ok(());
            }
            done += u64::from(cancelled);
            self.store.record_progress(task.id, done).await?;
        }
    }

    /// Gives the free seats of an event to its waiting lists, a few occurrences at a time.
    async fn promote_in_batches(&self, event: EventId, task: &Task) -> Result<()> {
        let (mut after, mut done) = (self.clock.now(), 0);
        loop {
            failpoint!("promotion.before_batch");
            let now = self.clock.now();
            let ctx = self.task_context(task.org_id);
            let lock = self.lock_seats(&ctx).await?;
            let last = self
                .tenant_write(&ctx, "seats.promote", (), move |mut tx, ()| {
                    Box::pin(async move { events::promote_some(&mut tx, event, after, now).await })
                })
                .await?;
            drop(lock);
            let Some(last) = last else { return Ok(()) };
            after = last;
            done += 1;
            self.store.record_progress(task.id, done).await?;
        }
    }

    /// Waits until this process makes no other change of the tenant's seats.
    pub(in crate::manager) async fn lock_seats(
        &self,
        ctx: &OrgContext,
    ) -> Result<OwnedMutexGuard<()>> {
        self.scheduling.seats_queue.wait(ctx.org_id(), ctx.deadline()).await
    }
}

/// Frees at most `limit` seats and returns how many.
pub(in crate::manager) async fn cancel_batch_in(
    tx: &mut TenantTx<'_>,
    work: &Work,
    now: DateTime<Utc>,
    limit: u32,
) -> Result<u32> {
    let held: Vec<Registration> = match work {
        Work::CancelOccurrence(id) => {
            tx.reader().attendees_of(*id, Held::Confirmed, None, limit).await?
        }
        Work::CancelEvent(from) => {
            tx.reader().attendees_from(from.event, from.start, limit).await?
        }
        _ => Vec::new(),
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
