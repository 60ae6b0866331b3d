//! Transactions with a deadline: short, retried with jitter, counted.

use std::time::{Duration, Instant};

use futures::future::BoxFuture;
use mongodb::{
    ClientSession,
    error::{TRANSIENT_TRANSACTION_ERROR, UNKNOWN_TRANSACTION_COMMIT_RESULT},
    options::{ReadConcern, WriteConcern},
};
use rand::Rng;

use super::StoreError;
use crate::{
    error::{Error, Result},
    store::Store,
};

/// An open transaction; the store's calls take it as their session.
pub struct Tx {
    pub(in crate::store) session: ClientSession,
    /// Whether it starts over, because it has met another one.
    pub(in crate::store) again: bool,
}

const FIRST_PAUSE: Duration = Duration::from_millis(4);
const LONGEST_PAUSE: Duration = Duration::from_millis(250);

impl Store {
    /// Runs `body` in a transaction (snapshot reads, majority writes) and commits it. A body that
    /// meets a transient error is run again, after a pause with jitter, until the store's deadline;
    /// the driver's own helper would go on for 120 seconds, which no request can wait.
    ///
    /// `context` is what the body works on; it is handed to every attempt.
    ///
    /// # Errors
    /// The body's own error, after which nothing has happened; [`Error::Busy`] when
    /// conflicts did not end in time; the driver's error when the database is out of reach.
    pub async fn transaction<C, T, F>(&self, label: &'static str, context: C, body: F) -> Result<T>
    where
        F: for<'t> FnMut(&'t mut Tx, &'t mut C) -> BoxFuture<'t, Result<T>>,
    {
        self.run(label, ReadConcern::snapshot(), context, body).await
    }

    /// As [`Store::transaction`], for a body that creates a collection: MongoDB takes that only in
    /// a transaction that reads locally.
    ///
    /// # Errors
    /// As [`Store::transaction`].
    pub async fn creating_transaction<C, T, F>(
        &self,
        label: &'static str,
        context: C,
        body: F,
    ) -> Result<T>
    where
        F: for<'t> FnMut(&'t mut Tx, &'t mut C) -> BoxFuture<'t, Result<T>>,
    {
        self.run(label, ReadConcern::local(), context, body).await
    }

    async fn run<C, T, F>(
        &self,
        label: &'static str,
        reads: ReadConcern,
        mut context: C,
        mut body: F,
    ) -> Result<T>
    where
        F: for<'t> FnMut(&'t mut Tx, &'t mut C) -> BoxFuture<'t, Result<T>>,
    {
        let deadline = Instant::now() + self.limits.transaction_deadline;
        let mut pause = FIRST_PAUSE;
        let session = self.client().start_session().await.map_err(StoreError::from)?;
        let mut tx = Tx { session, again: false };
        loop {
            let start = tx.session.start_transaction().read_concern(reads.clone());
            start.write_concern(WriteConcern::majority()).await.map_err(StoreError::from)?;
            let outcome = body(&mut tx, &mut context).await;
            let error = match outcome {
                Ok(value) => match commit(&mut tx, deadline).await {
                    Ok(()) => return Ok(value),
                    Err(error) => error.into(),
                },
                Err(error) => {
                    // An abort that fails leaves the transaction to the server's own timeout.
                    let _ = tx.session.abort_transaction().await;
                    error
                }
            };
            if !is_transient(&error) {
                return Err(error);
            }
            tx.again = true;
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
}

/// Commits until the outcome is known: repeating a commit is safe, giving up on it is not an abort.
async fn commit(tx: &mut Tx, deadline: Instant) -> Result<(), StoreError> {
    loop {
        let Err(error) = tx.session.commit_transaction().await else { return Ok(()) };
        if !error.contains_label(UNKNOWN_TRANSACTION_COMMIT_RESULT) || Instant::now() >= deadline {
            return Err(error.into());
        }
        tokio::time::sleep(FIRST_PAUSE).await;
    }
}

fn is_transient(error: &Error) -> bool {
    // A commit whose outcome stayed unknown may have happened; running the body again could do it
    // twice, so only an error that promises that nothing has happened is retried.
    StoreError::of(error).is_some_and(|error| {
        error.has_label(TRANSIENT_TRANSACTION_ERROR)
            && !error.has_label(UNKNOWN_TRANSACTION_COMMIT_RESULT)
    })
}
