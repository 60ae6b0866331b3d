//! Durable tasks: each runs in the background under a lease that is renewed while it runs, and
//! another process takes over what this one does not finish.

use std::{
    collections::HashSet,
    panic::AssertUnwindSafe,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use futures::{FutureExt, future::BoxFuture};
use tokio::{
    runtime::Handle,
    sync::{OwnedSemaphorePermit, Semaphore, watch},
    task::JoinHandle,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::TenantManager;
use crate::{
    domain::TaskId,
    error::{Error, Result},
    store::tasks::{Task, Work},
};

/// How many tasks of other processes one process works on at a time.
const TAKEN_OVER: usize = 8;
const STEP_PAUSE: Duration = Duration::from_millis(20);

/// Runs work that continues after its client has disconnected.
pub(super) struct Tasks {
    tracker: TaskTracker,
    /// Outlives the threads that answer requests.
    runtime: Handle,
    /// The tasks that this process works on, so that it does not take over its own.
    driven: Arc<Mutex<HashSet<TaskId>>>,
    permits: Arc<Semaphore>,
}

/// Marks a task as in progress in this process until it is dropped.
struct Driving {
    id: TaskId,
    driven: Arc<Mutex<HashSet<TaskId>>>,
}

/// Until when this process may work on a task, by its own clock.
pub(super) struct Lease(watch::Sender<Instant>);

impl Tasks {
    pub(super) fn on_this_runtime() -> Self {
        Self {
            tracker: TaskTracker::new(),
            runtime: Handle::current(),
            driven: Arc::default(),
            permits: Arc::new(Semaphore::new(TAKEN_OVER)),
        }
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

    fn start(&self, id: TaskId) -> Driving {
        self.driven.lock().unwrap_or_else(PoisonError::into_inner).insert(id);
        Driving { id, driven: Arc::clone(&self.driven) }
    }

    fn driven(&self) -> Vec<TaskId> {
        self.driven.lock().unwrap_or_else(PoisonError::into_inner).iter().copied().collect()
    }
}

impl Drop for Driving {
    fn drop(&mut self) {
        self.driven.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.id);
    }
}

impl Lease {
    /// Retries a step until it succeeds or the lease ends. After that another process may take
    /// over, and a late step of this one could undo its work.
    ///
    /// # Errors
    /// The error of the step, unless the database was unavailable; [`Error::Busy`] once the lease
    /// has ended.
    pub(super) async fn hold<'s, T>(
        &self,
        step: impl Fn() -> BoxFuture<'s, Result<T>>,
    ) -> Result<T> {
        let trying = async {
            loop {
                match step().await {
                    Err(Error::Database(error)) if error.is_unavailable() => {
                        tracing::warn!(error = %error, "retrying a step of a task");
                        tokio::time::sleep(STEP_PAUSE).await;
                    }
                    settled => return settled,
                }
            }
        };
        tokio::select! {
            settled = trying => settled,
            () = self.ended() => Err(Error::Busy { what: "the task did not end within its lease" }),
        }
    }

    async fn ended(&self) {
        let mut renewals = self.0.subscribe();
        loop {
            let until = *renewals.borrow_and_update();
            if tokio::time::timeout_at(until.into(), renewals.changed()).await.is_err() {
                return;
            }
        }
    }
}

impl TenantManager {
    /// Completes a recorded task, even if its client disconnects.
    ///
    /// # Errors
    /// The error of the task; [`Error::Busy`] if it has not ended at `deadline`. Either way it goes
    /// on, here or in another process.
    pub(super) async fn task_finish(self: &Arc<Self>, task: Task, deadline: Instant) -> Result<()> {
        let running = self.run_task(task, None);
        let ended = tokio::time::timeout_at(deadline.into(), running).await;
        let ended = ended.map_err(|_| Error::Busy { what: "a task has not ended yet" })?;
        ended.map_err(|_| Error::Internal("a task has died".into()))?
    }

    /// Takes over the tasks whose lease has expired, at most eight at a time, and returns
    /// how many. Each runs by itself, so one that fails holds up no other. Starts nothing new once
    /// [`TenantManager::finish_work`] was called. What fails stays recorded for a later try.
    pub async fn recover(self: &Arc<Self>) -> Result<u32> {
        let mut taken = 0;
        taken += self.recover_editions().await;
        while !self.tasks.tracker.is_closed()
            && let Ok(permit) = Arc::clone(&self.tasks.permits).try_acquire_owned()
        {
            let Some(task) = self.store.claim_task(&self.tasks.driven()).await? else { break };
            let kind: &'static str = (&task.work).into();
            tracing::info!(org.id = %task.org_id, kind, "taking over a task");
            taken += 1;
            self.run_task(task, Some(permit));
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
                    tracing::warn!(error = error.detail(), "tasks could not be recovered");
                }
            }
            if stop.run_until_cancelled(tokio::time::sleep(every)).await.is_none() {
                return;
            }
        }
    }

    /// Waits for the background work to end. No new recovery starts.
    pub async fn finish_work(&self) {
        self.tasks.tracker.close();
        self.tasks.tracker.wait().await;
    }

    /// Runs a recorded task in the background.
    pub(super) fn run_task(
        self: &Arc<Self>,
        task: Task,
        permit: Option<OwnedSemaphorePermit>,
    ) -> JoinHandle<Result<()>> {
        let driving = self.tasks.start(task.id);
        let manager = Arc::clone(self);
        let lease = Lease(watch::Sender::new(task.leased + self.store.lease_share()));
        let work = async move {
            let _held = (permit, driving);
            if task.leased.elapsed() > manager.store.lease_share() / 2 {
                // The transaction that recorded it was repeated.
                manager.renew(&task, &lease).await;
            }
            let ended = CancellationToken::new();
            let work = async {
                let outcome = AssertUnwindSafe(manager.perform(&task, &lease)).catch_unwind().await;
                let outcome = outcome.unwrap_or_else(|_| Err(Error::Internal("it died".into())));
                ended.cancel();
                outcome
            };
            let (outcome, ()) = tokio::join!(work, manager.keep_leased(&task, &lease, &ended));
            manager.report(&task, &outcome).await;
            outcome
        };
        self.tasks.spawn(tracing::Instrument::instrument(work, tracing::Span::current()))
    }

    async fn perform(self: &Arc<Self>, task: &Task, lease: &Lease) -> Result<()> {
        match &task.work {
            Work::Rename { .. } => self.drive_rename(task, lease).await,
            Work::Delete { of } => self.drive_delete(task, of, lease).await,
            Work::CancelEvent(_)
            | Work::CancelOccurrence(_)
            | Work::ReleaseMember(_)
            | Work::PromoteWaiting(_) => self.drive_seats(task).await,
        }
    }

    async fn keep_leased(&self, task: &Task, lease: &Lease, ended: &CancellationToken) {
        let pause = self.store.lease_share() / 2;
        while ended.run_until_cancelled(tokio::time::sleep(pause)).await.is_some() {
            if !self.renew(task, lease).await {
                return;
            }
        }
    }

    /// Renews the lease; `false` once another process has taken the task over or closed it.
    async fn renew(&self, task: &Task, lease: &Lease) -> bool {
        let asked = Instant::now();
        match self.store.renew_task(task).await {
            Ok(true) => drop(lease.0.send_replace(asked + self.store.lease_share())),
            Ok(false) => return false,
            Err(error) => tracing::warn!(error = error.detail(), "a lease was not renewed"),
        }
        true
    }

    async fn report(&self, task: &Task, outcome: &Result<()>) {
        let kind: &'static str = (&task.work).into();
        let result = if outcome.is_ok() { "ok" } else { "error" };
        metrics::counter!("tenantry_tasks_total", "kind" => kind, "outcome" => result).increment(1);
        let Err(error) = outcome else {
            tracing::info!(org.id = %task.org_id, kind, "task ended");
            return;
        };
        let error = error.detail().unwrap_or_else(|| error.to_string());
        tracing::warn!(org.id = %task.org_id, kind, error, "a task was not finished");
        // A name that is taken ends a rename, whose record is gone then.
        if let Err(error) = self.store.record_failure(task.id, &error).await {
            tracing::warn!(error = error.detail(), "a failure was not recorded");
        }
    }
}
