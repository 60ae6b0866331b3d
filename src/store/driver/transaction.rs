//! Transactions that are retried with jitter until a deadline.

use std::time::{Duration, Instant};

use futures::future::BoxFuture;
use mongodb::{
    ClientSession,
    error::{TRANSIENT_TRANSACTION_ERROR, UNKNOWN_TRANSACTION_COMMIT_RESULT},
    options::{ReadConcern, WriteConcern},
};
use rand::Rng;

use super::{
    StoreError,
    connections::{Answered, pinned},
};
use crate::{
    error::{Error, Result},
    store::Store,
};

/// An open transaction.
pub struct Tx {
    pub(in crate::store) session: ClientSession,
    /// Whether this is a retry after a conflict.
    pub(in crate::store) is_retry: bool,
}

const FIRST_PAUSE: Duration = Duration::from_millis(4);
const LONGEST_PAUSE: Duration = Duration::from_millis(250);

impl Store {
    /// Runs `body` in a transaction (snapshot reads, majority writes) and commits it. After a
    /// transient error it runs the body again, with a jittered pause between attempts, until
    /// `deadline`, at which everything that is still running is given up. The driver's own helper
    /// would retry for 120 seconds, which is too long for a request, and would wait for a silent
    /// connection without end. Every attempt gets `context`.
    ///
    /// # Errors
    /// The error of `body`, after which nothing was written; [`Error::Busy`] if conflicts did not
    /// end in time; [`Error::Database`] if the database is unreachable or did not answer in time. In
    /// the latter case the transaction may be committed.
    pub async fn transaction<C, T, F>(
        &self,
        deadline: Instant,
        label: &'static str,
        context: C,
        body: F,
    ) -> Result<T>
    where
        F: for<'t> FnMut(&'t mut Tx, &'t mut C) -> BoxFuture<'t, Result<T>>,
    {
        self.run(deadline, label, ReadConcern::snapshot(), context, body).await
    }

    /// As [`Store::transaction`], for a body that creates a collection, which MongoDB allows only
    /// with read concern `local`.
    ///
    /// # Errors
    /// As [`Store::transaction`].
    pub async fn creating_transaction<C, T, F>(
        &self,
        deadline: Instant,
        label: &'static str,
        context: C,
        body: F,
    ) -> Result<T>
    where
        F: for<'t> FnMut(&'t mut Tx, &'t mut C) -> BoxFuture<'t, Result<T>>,
    {
        self.run(deadline, label, ReadConcern::local(), context, body).await
    }

    async fn run<C, T, F>(
        &self,
        deadline: Instant,
        label: &'static str,
        reads: ReadConcern,
        context: C,
        body: F,
    ) -> Result<T>
    where
        F: for<'t> FnMut(&'t mut Tx, &'t mut C) -> BoxFuture<'t, Result<T>>,
    {
        let mut answered = self.call();
        let client = self.client();
        let session = client.start_session().await.map_err(StoreError::from)?;
        let id = session.id().clone();
        let settings = (deadline, label, reads);
        let attempts = pinned(client, attempts(session, settings, &mut answered, context, body));
        let outcome = tokio::time::timeout_at(deadline.into(), attempts).await;
        outcome.unwrap_or_else(|_| Err(self.out_of_time(label, answered, Some(id))))
    }
}

async fn attempts<C, T, F>(
    session: ClientSession,
    (deadline, label, reads): (Instant, &'static str, ReadConcern),
    answered: &mut Answered,
    mut context: C,
    mut body: F,
) -> Result<T>
where
    F: for<'t> FnMut(&'t mut Tx, &'t mut C) -> BoxFuture<'t, Result<T>>,
{
    let mut pause = FIRST_PAUSE;
    let mut tx = Tx { session, is_retry: false };
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let start = tx.session.start_transaction().read_concern(reads.clone());
        let start = start.write_concern(WriteConcern::majority()).max_commit_time(left);
        start.await.map_err(StoreError::from)?;
        let outcome = body(&mut tx, &mut context).await;
        answered.now();
        let error = match outcome {
            Ok(value) => match commit(&mut tx).await {
                Ok(()) => return Ok(value),
                Err(error) => error.into(),
            },
            Err(error) => {
                // If the abort fails, the server's timeout ends the transaction.
                let _ = tx.session.abort_transaction().await;
                error
            }
        };
        answered.now();
        if !is_transient(&error) {
            return Err(error);
        }
        tx.is_retry = true;
        metrics::counter!("tenantry_transaction_retries_total", "transaction" => label)
            .increment(1);
        let jittered = rand::rng().random_range(pause / 2..=pause);
        if Instant::now() + jittered >= deadline {
            return Err(Error::Busy { what: label });
        }
        tokio::time::sleep(jittered).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

/// Commits until the outcome is known; the caller gives up at the deadline. Repeating a commit is
/// safe; after an unknown outcome the transaction may be committed.
async fn commit(tx: &mut Tx) -> Result<(), StoreError> {
    loop {
        let Err(error) = tx.session.commit_transaction().await else { return Ok(()) };
        if !error.contains_label(UNKNOWN_TRANSACTION_COMMIT_RESULT) {
            return Err(error.into());
        }
        tokio::time::sleep(FIRST_PAUSE).await;
    }
}

fn is_transient(error: &Error) -> bool {
    // A commit with an unknown outcome may have happened, and running the body again could apply it
    // twice. Retry only errors after which nothing was written.
    StoreError::of(error).is_some_and(|error| {
        error.has_label(TRANSIENT_TRANSACTION_ERROR)
            && !error.has_label(UNKNOWN_TRANSACTION_COMMIT_RESULT)
    })
}
