//! The connections to the database, which are replaced when they fall silent.
//!
//! A connection whose packets a firewall or a failed host swallows neither answers nor breaks. The
//! driver has no time limit for an answer: its monitors have their own connections and see nothing.

use std::{
    cell::RefCell,
    sync::{Arc, PoisonError, RwLock},
    time::Instant,
};

use bson::{Document, doc};
use mongodb::{Client, options::ClientOptions};
use tokio::time::timeout;

use super::StoreError;
use crate::{
    error::{Error, Result},
    store::Store,
};

/// The clients of a store: a shared one, and one for each thread that answers requests.
pub(in crate::store) struct Connections {
    options: Arc<ClientOptions>,
    shared: RwLock<Generation>,
}

/// A client and how often it was replaced.
#[derive(Clone)]
struct Generation {
    number: u64,
    client: Client,
}

thread_local! {
    /// This thread's own client, and the options of the store that it belongs to.
    static OWN: RefCell<Option<(Arc<ClientOptions>, Generation)>> = const { RefCell::new(None) };
}

tokio::task_local! {
    /// The client of the running transaction, whose operations must all go through it.
    static PINNED: Client;
}

/// An answer that takes longer than this share of the time limit counts as silence.
const SILENCE: f64 = 0.4;

impl Connections {
    pub(super) fn new(options: ClientOptions) -> mongodb::error::Result<Self> {
        let client = Client::with_options(options.clone())?;
        let shared = RwLock::new(Generation { number: 0, client });
        Ok(Self { options: Arc::new(options), shared })
    }

    /// Gives the calling thread its own client until it ends.
    pub(in crate::store) fn own(&self) -> Result<(), StoreError> {
        let number = self.number();
        let client = self.new_client()?;
        OWN.set(Some((Arc::clone(&self.options), Generation { number, client })));
        Ok(())
    }

    /// The servers of the connection string, without user and password.
    pub(in crate::store) fn hosts(&self) -> String {
        let hosts: Vec<String> = self.options.hosts.iter().map(ToString::to_string).collect();
        hosts.join(", ")
    }

    /// The client of the running transaction, or else of the calling thread.
    pub(in crate::store) fn client(&self) -> Client {
        PINNED.try_with(Client::clone).unwrap_or_else(|_| self.current())
    }

    fn current(&self) -> Client {
        let number = self.number();
        let own = OWN.with_borrow(|own| {
            let own = own.as_ref().filter(|(options, _)| Arc::ptr_eq(options, &self.options));
            own.map(|(_, own)| own.clone())
        });
        match own {
            Some(own) if own.number == number => own.client,
            // Where no client can be made, the shared one is as good.
            Some(_) if self.own().is_ok() => self.current(),
            _ => self.shared.read().unwrap_or_else(PoisonError::into_inner).client.clone(),
        }
    }

    fn new_client(&self) -> mongodb::error::Result<Client> {
        Client::with_options((*self.options).clone())
    }

    fn number(&self) -> u64 {
        self.shared.read().unwrap_or_else(PoisonError::into_inner).number
    }

    /// Replaces all clients, unless that has happened since generation `silent`. Calls that are
    /// under way keep their old connections until they end.
    fn replace(&self, silent: u64) {
        let mut shared = self.shared.write().unwrap_or_else(PoisonError::into_inner);
        if shared.number != silent {
            return;
        }
        if let Ok(client) = self.new_client() {
            *shared = Generation { number: silent + 1, client };
            metrics::counter!("tenantry_mongo_connections_replaced_total").increment(1);
            tracing::warn!("the database did not answer in time; its connections are replaced");
        }
    }
}

/// When a call of the database last got an answer.
#[derive(Clone, Copy)]
pub(super) struct Answered {
    generation: u64,
    at: Instant,
}

impl Answered {
    /// Notes an answer.
    pub(super) fn now(&mut self) {
        self.at = Instant::now();
    }
}

/// Runs `work` with `client` for all of its calls.
pub(super) async fn pinned<T>(client: Client, work: impl Future<Output = T>) -> T {
    PINNED.scope(client, work).await
}

impl Store {
    /// The start of a call of the database.
    pub(super) fn call(&self) -> Answered {
        Answered { generation: self.connections.number(), at: Instant::now() }
    }

    /// The result of a command outside of transactions.
    ///
    /// # Errors
    /// [`Error::Database`] if it fails or is not answered within the time limit from the settings.
    pub(in crate::store) async fn answer<T>(
        &self,
        call: &'static str,
        command: impl IntoFuture<Output = mongodb::error::Result<T>>,
    ) -> Result<T> {
        let answer = async { Ok(command.await.map_err(StoreError::from)?) };
        self.answer_until(Instant::now() + self.limits.answer, call, answer).await
    }

    /// The result of `work`, which calls the database.
    ///
    /// # Errors
    /// The error of `work`; [`Error::Database`] if the database does not answer until `deadline`.
    pub async fn answer_until<T>(
        &self,
        deadline: Instant,
        call: &'static str,
        work: impl Future<Output = Result<T>>,
    ) -> Result<T> {
        let answered = self.call();
        let outcome = tokio::time::timeout_at(deadline.into(), work).await;
        outcome.unwrap_or_else(|_| Err(self.out_of_time(call, answered, None)))
    }

    /// The error of a call that was given up. If it got no answer for long, its connections are
    /// replaced, and its transaction is ended through the new ones, because its documents would be
    /// locked until the database ends it after a minute.
    pub(super) fn out_of_time(
        &self,
        call: &'static str,
        answered: Answered,
        session: Option<Document>,
    ) -> Error {
        metrics::counter!("tenantry_mongo_timeouts_total", "call" => call).increment(1);
        if answered.at.elapsed() >= self.limits.answer.mul_f64(SILENCE) {
            self.connections.replace(answered.generation);
            if let Some(session) = session {
                let end = doc! { "killSessions": [session] };
                let (client, limit) = (self.connections.current(), self.limits.answer);
                tokio::spawn(async move {
                    let _ = timeout(limit, client.database("admin").run_command(end)).await;
                });
            }
        }
        StoreError::TimedOut { call }.into()
    }
}
