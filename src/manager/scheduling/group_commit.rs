//! Registrations that wait are folded into one transaction.
//!
//! One transaction each would spend its time on conflicts: all registrations for an occurrence write
//! the same counter, and all of a member's the same calendar. So those of one tenant pass through a
//! queue; while one transaction is under way the next ones gather, up to [`BATCH`] go into the next
//! transaction together, and everybody gets an answer of their own. Correctness does not depend on
//! it: every process has queues of its own, and the transaction keeps them right.

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
    manager::{OrgScope, TenantManager},
    store::driver::StoreError,
};

/// The queues of the tenants of which somebody waits.
#[derive(Default)]
pub(super) struct GroupCommit(Mutex<HashMap<OrgId, VecDeque<Waiting>>>);

struct Waiting {
    request: Request,
    since: Instant,
    answer: oneshot::Sender<Result<Outcome>>,
}

/// How many requests share a transaction.
pub(in crate::manager) const BATCH: usize = 64;
/// How many of one tenant may wait: a few seconds of work.
const QUEUE: usize = 10_000;
const FULL: Error = Error::Busy { what: "too many registrations of one organization wait" };

impl TenantManager {
    /// Has the request settled together with the others of the tenant that wait at this moment.
    ///
    /// # Errors
    /// [`Error::Busy`] when too many wait; the store's.
    pub(in crate::manager) async fn settle(
        self: &Arc<Self>,
        scope: &OrgScope,
        request: Request,
    ) -> Result<Outcome> {
        let (answer, answered) = oneshot::channel();
        let waiting = Waiting { request, since: Instant::now(), answer };
        if self.scheduling.group_commit.push(scope.org_id(), waiting)? {
            let (manager, scope) = (Arc::clone(self), *scope);
            // It goes on when the client who came first has gone.
            self.tasks.spawn(async move { manager.settle_all(&scope).await });
        }
        answered.await.map_err(|_| Error::Internal("the combiner has died".into()))?
    }

    async fn settle_alone(&self, scope: &OrgScope, request: Request) -> Result<Outcome> {
        let mut outcomes = self.settle_batch(scope, &[request]).await?;
        outcomes.pop().ok_or_else(|| Error::Internal("no outcome".into()))
    }

    async fn settle_all(self: Arc<Self>, scope: &OrgScope) {
        let _queue = Leading { group_commit: &self.scheduling.group_commit, org: scope.org_id() };
        while let Some(mut batch) = self.scheduling.group_commit.next(scope.org_id()) {
            batch.retain(|waiting| !waiting.answer.is_closed());
            if batch.is_empty() {
                continue;
            }
            for waiting in &batch {
                metrics::histogram!("tenantry_registration_wait_seconds")
                    .record(waiting.since.elapsed().as_secs_f64());
            }
            #[expect(clippy::cast_precision_loss, reason = "a batch is small")]
            metrics::histogram!("tenantry_registration_batch_size").record(batch.len() as f64);
            let requests: Vec<Request> = batch.iter().map(|waiting| waiting.request).collect();
            match self.settle_batch(scope, &requests).await {
                Ok(outcomes) => {
                    failpoint!("registration.after_commit");
                    for (waiting, outcome) in batch.into_iter().zip(outcomes) {
                        let _ = waiting.answer.send(Ok(outcome));
                    }
                }
                Err(error) if batch.len() > 1 && !is_everybodys(&error) => {
                    // One of them spoils it for all, and only on its own does it show which.
                    one_by_one(batch, |request| Box::pin(self.settle_alone(scope, request))).await;
                }
                Err(error) => refuse(batch, &error),
            }
        }
    }
}

/// Settles each alone, but for those who have gone meanwhile, until an error is everybody's.
async fn one_by_one<'s>(
    batch: Vec<Waiting>,
    settle: impl Fn(Request) -> BoxFuture<'s, Result<Outcome>>,
) {
    let mut batch = batch.into_iter();
    while let Some(waiting) = batch.by_ref().find(|waiting| !waiting.answer.is_closed()) {
        let outcome = settle(waiting.request).await;
        let error = outcome.as_ref().err().filter(|error| is_everybodys(error)).map(echo);
        let _ = waiting.answer.send(outcome);
        if let Some(error) = error {
            return refuse(batch, &error);
        }
    }
}

/// Answers all of them with the same error.
fn refuse(batch: impl IntoIterator<Item = Waiting>, error: &Error) {
    for waiting in batch {
        let _ = waiting.answer.send(Err(echo(error)));
    }
}

/// Sees to a queue. Should it die of a fault, those who wait hear of it, and the next one who comes
/// starts a new queue.
struct Leading<'c> {
    group_commit: &'c GroupCommit,
    org: OrgId,
}

impl Drop for Leading<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let mut queues = self.group_commit.0.lock().unwrap_or_else(PoisonError::into_inner);
            queues.remove(&self.org);
        }
    }
}

impl GroupCommit {
    /// Lines up; whether the caller has to see to the queue, which nobody else does.
    fn push(&self, org: OrgId, waiting: Waiting) -> Result<bool> {
        let mut queues = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match queues.entry(org) {
            Entry::Occupied(queue) if queue.get().len() >= QUEUE => Err(FULL),
            Entry::Occupied(mut queue) => {
                queue.get_mut().push_back(waiting);
                Ok(false)
            }
            Entry::Vacant(queue) => {
                queue.insert(VecDeque::from([waiting]));
                Ok(true)
            }
        }
    }

    /// The next batch; the queue is gone with the last.
    fn next(&self, org: OrgId) -> Option<Vec<Waiting>> {
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

/// Whether every request of the batch would meet the same error.
fn is_everybodys(error: &Error) -> bool {
    match error {
        Error::Busy { .. } | Error::NotFound(_) => true,
        Error::Database(error) => error.is_unavailable(),
        _ => false,
    }
}

/// The error once more for the next one who waits.
fn echo(error: &Error) -> Error {
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

    fn batch(count: usize) -> (Vec<Waiting>, Vec<Answered>) {
        let waiting = |_| {
            let occurrence =
                OccurrenceId { start: DateTime::UNIX_EPOCH, event: EventId::generate() };
            let id = RegistrationId { member: AccountId::generate(), occurrence };
            let (answer, answered) = oneshot::channel();
            let request = Request { id, ask: Ask::Leave };
            (Waiting { request, since: Instant::now(), answer }, answered)
        };
        (0..count).map(waiting).unzip()
    }

    #[tokio::test]
    async fn an_error_of_ones_own_is_told_to_nobody_else() {
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
    async fn nobody_is_tried_alone_who_has_gone_or_would_meet_the_same_error() {
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
