//! Group commit: registrations that wait at the same time share one transaction.
//!
//! One transaction per registration would spend its time on conflicts, because all registrations
//! for an occurrence write the same counter, and all of a member write the same calendar. Each
//! tenant therefore has a queue. While one transaction runs, further requests queue up; the next
//! transaction takes up to [`BATCH`] of them, and each request gets its own answer. Correctness
//! does not depend on the queues: each process has its own, and the transactions decide.

use std::{
    collections::{HashMap, VecDeque, hash_map::Entry},
    sync::{Arc, Mutex, PoisonError},
    time::Instant,
};

use futures::future::BoxFuture;
use tokio::sync::oneshot;

use crate::{
    domain::{
        OrgId,
        scheduling::{Outcome, Request},
    },
    error::{Error, Result},
    failpoint,
    manager::{OrgContext, TenantManager},
    store::driver::StoreError,
};

/// A queue for each tenant with pending requests.
#[derive(Default)]
pub(super) struct GroupCommit(Mutex<HashMap<OrgId, VecDeque<PendingRequest>>>);

struct PendingRequest {
    request: Request,
    since: Instant,
    answer: oneshot::Sender<Result<Outcome>>,
}

/// The maximum number of requests in one transaction.
pub(in crate::manager) const BATCH: usize = 64;
/// The maximum number of pending requests of one tenant: a few seconds of work.
const QUEUE_LIMIT: usize = 10_000;
const LATE: Error = Error::Busy { what: "the registration was not settled in time" };
const FULL: Error = Error::Busy { what: "too many registrations of the organization are pending" };

impl TenantManager {
    /// Settles the request in one transaction with the tenant's other pending requests.
    ///
    /// # Errors
    /// [`Error::Busy`] if too many requests are pending, or the request was not settled until the
    /// deadline; in the latter case it may still be.
    pub(in crate::manager) async fn settle(
        self: &Arc<Self>,
        ctx: &OrgContext,
        request: Request,
    ) -> Result<Outcome> {
        let (answer, answered) = oneshot::channel();
        let pending = PendingRequest { request, since: Instant::now(), answer };
        if self.scheduling.group_commit.push(ctx.org_id(), pending)? {
            let (manager, ctx) = (Arc::clone(self), *ctx);
            // A background task, because the client of the first request may disconnect.
            self.tasks.spawn(async move { manager.settle_all(&ctx).await });
        }
        let answered = tokio::time::timeout_at(ctx.deadline().into(), answered).await;
        let answer = answered.map_err(|_| LATE)?;
        answer.map_err(|_| Error::Internal("the group commit task has died".into()))?
    }

    async fn settle_alone(&self, ctx: &OrgContext, request: Request) -> Result<Outcome> {
        let mut outcomes = self.settle_batch(&ctx.until(self.deadline()), &[request]).await?;
        outcomes.pop().ok_or_else(|| Error::Internal("no outcome".into()))
    }

    async fn settle_all(self: Arc<Self>, ctx: &OrgContext) {
        let _queue = QueueTask { group_commit: &self.scheduling.group_commit, org: ctx.org_id() };
        while let Some(mut batch) = self.scheduling.group_commit.next(ctx.org_id()) {
            batch.retain(|pending| !pending.answer.is_closed());
            if batch.is_empty() {
                continue;
            }
            for pending in &batch {
                metrics::histogram!("tenantry_registration_wait_seconds")
                    .record(pending.since.elapsed().as_secs_f64());
            }
            #[expect(clippy::cast_precision_loss, reason = "a batch is small")]
            metrics::histogram!("tenantry_registration_batch_size").record(batch.len() as f64);
            let requests: Vec<Request> = batch.iter().map(|pending| pending.request).collect();
            match self.settle_batch(&ctx.until(self.deadline()), &requests).await {
                Ok(outcomes) => {
                    failpoint!("registration.after_commit");
                    for (pending, outcome) in batch.into_iter().zip(outcomes) {
                        let _ = pending.answer.send(Ok(outcome));
                    }
                }
                Err(error) if batch.len() > 1 && !affects_all(&error) => {
                    // One request fails the whole batch; running each alone shows which.
                    one_by_one(batch, |request| Box::pin(self.settle_alone(ctx, request))).await;
                }
                Err(error) => refuse(batch, &error),
            }
        }
    }
}

/// Settles each request alone, except for disconnected clients, until an error affects all.
async fn one_by_one<'s>(
    batch: Vec<PendingRequest>,
    settle: impl Fn(Request) -> BoxFuture<'s, Result<Outcome>>,
) {
    let mut batch = batch.into_iter();
    while let Some(pending) = batch.by_ref().find(|pending| !pending.answer.is_closed()) {
        let outcome = settle(pending.request).await;
        let error = outcome.as_ref().err().filter(|error| affects_all(error)).map(copy_of);
        let _ = pending.answer.send(outcome);
        if let Some(error) = error {
            return refuse(batch, &error);
        }
    }
}

/// Answers all requests with the same error.
fn refuse(batch: impl IntoIterator<Item = PendingRequest>, error: &Error) {
    for pending in batch {
        let _ = pending.answer.send(Err(copy_of(error)));
    }
}

/// Marks the task that works on a queue. If it panics, the queue is dropped: its pending requests
/// fail, and the next request starts a new queue.
struct QueueTask<'c> {
    group_commit: &'c GroupCommit,
    org: OrgId,
}

impl Drop for QueueTask<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let mut queues = self.group_commit.0.lock().unwrap_or_else(PoisonError::into_inner);
            queues.remove(&self.org);
        }
    }
}

impl GroupCommit {
    /// Adds a request to the tenant's queue; `true` if the caller must start the task for the
    /// queue.
    fn push(&self, org: OrgId, pending: PendingRequest) -> Result<bool> {
        let mut queues = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match queues.entry(org) {
            Entry::Occupied(queue) if queue.get().len() >= QUEUE_LIMIT => Err(FULL),
            Entry::Occupied(mut queue) => {
                queue.get_mut().push_back(pending);
                Ok(false)
            }
            Entry::Vacant(queue) => {
                queue.insert(VecDeque::from([pending]));
                Ok(true)
            }
        }
    }

    /// The next batch; `None` after the last one, which also removes the queue.
    fn next(&self, org: OrgId) -> Option<Vec<PendingRequest>> {
        let mut queues = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Entry::Occupied(mut queue) = queues.entry(org) else { return None };
        let count = queue.get().len().min(BATCH);
        if count == 0 {
            queue.remove();
            return None;
        }
        Some(queue.get_mut().drain(..count).collect())
    }
}

/// Whether every request of the batch would fail with the same error.
fn affects_all(error: &Error) -> bool {
    match error {
        Error::Busy { .. } | Error::NotFound(_) => true,
        Error::Database(error) => error.is_unavailable(),
        _ => false,
    }
}

/// A copy of the error for another request.
fn copy_of(error: &Error) -> Error {
    match error {
        Error::Busy { what } => Error::Busy { what },
        Error::NotFound(what) => Error::NotFound(what),
        Error::Database(error) if error.is_unavailable() => {
            StoreError::TimedOut { call: "a registration" }.into()
        }
        other => Error::Internal(other.detail().unwrap_or_else(|| other.to_string())),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use chrono::DateTime;
    use futures::{FutureExt, future::ready};

    use super::*;
    use crate::domain::{
        AccountId, EventId,
        scheduling::{Ask, OccurrenceId, RegistrationId},
    };

    type Answered = oneshot::Receiver<Result<Outcome>>;

    fn batch(count: usize) -> (Vec<PendingRequest>, Vec<Answered>) {
        let pending = |_| {
            let occurrence =
                OccurrenceId { start: DateTime::UNIX_EPOCH, event: EventId::generate() };
            let id = RegistrationId { member: AccountId::generate(), occurrence };
            let (answer, answered) = oneshot::channel();
            let request = Request { id, ask: Ask::Leave };
            (PendingRequest { request, since: Instant::now(), answer }, answered)
        };
        (0..count).map(pending).unzip()
    }

    #[tokio::test]
    async fn an_error_of_one_request_fails_no_other() {
        let (batch, answers) = batch(3);
        let wrong = batch[1].request.id;
        one_by_one(batch, |request| {
            let odd = || Err(Error::Internal("odd".into()));
            ready(if request.id == wrong { odd() } else { Ok(Outcome::Left) }).boxed()
        })
        .await;
        let settled = answers.into_iter().map(|mut answer| answer.try_recv().unwrap().is_ok());
        assert_eq!(settled.collect::<Vec<_>>(), [true, false, true]);
    }

    #[tokio::test]
    async fn disconnected_clients_are_skipped_and_an_error_for_all_ends_the_tries() {
        let (batch, mut answers) = batch(5);
        drop(answers.remove(0));
        let tried = AtomicUsize::new(0);
        one_by_one(batch, |_| {
            let first = tried.fetch_add(1, Ordering::Relaxed) == 0;
            let busy = || Err(Error::Busy { what: "a test" });
            ready(if first { Ok(Outcome::Left) } else { busy() }).boxed()
        })
        .await;
        assert_eq!(tried.into_inner(), 2);
        let busy = |answer: &mut Answered| matches!(answer.try_recv(), Ok(Err(Error::Busy { .. })));
        assert_eq!(answers.iter_mut().map(busy).collect::<Vec<_>>(), [false, true, true, true]);
    }
}
