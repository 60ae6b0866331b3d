//! The only room that knows the database driver.

pub mod charts;
pub mod driver;
pub mod identity;
pub mod scheduling;
mod schema;
pub mod tenancy;
pub mod tenant;

use std::{cell::RefCell, sync::Arc, time::Duration};

use mongodb::{Client, Collection, options::ClientOptions};

use self::driver::StoreError;
use crate::error::Result;

/// The connection to one cluster: the master database and the tenants' database in it.
#[derive(Clone)]
pub struct Store {
    shared: Client,
    options: Arc<ClientOptions>,
    master: String,
    tenants: String,
    limits: Limits,
}

/// How long the store goes on trying.
#[derive(Clone, Copy, Debug)]
struct Limits {
    transaction_deadline: Duration,
    lease: Duration,
}

thread_local! {
    /// The connections of this thread, and the options of the store whose they are.
    static OWN: RefCell<Option<(Arc<ClientOptions>, Client)>> = const { RefCell::new(None) };
}

impl Store {
    /// The cluster's name in every [`Location`](crate::domain::Location) of today.
    pub const CLUSTER: &'static str = "default";

    /// Gives the calling thread connections of its own, for as long as it lives.
    ///
    /// A thread that answers requests runs a runtime of its own, while the shared connections
    /// belong to the runtime that the store was made in: every answer of the database would wake a
    /// thread there, which would wake the one that waits.
    ///
    /// # Errors
    /// The driver's.
    pub fn use_own_connections(&self) -> Result<()> {
        let own = Client::with_options((*self.options).clone()).map_err(StoreError::from)?;
        OWN.set(Some((Arc::clone(&self.options), own)));
        Ok(())
    }

    fn client(&self) -> Client {
        OWN.with_borrow(|own| match own {
            Some((options, own)) if Arc::ptr_eq(options, &self.options) => own.clone(),
            _ => self.shared.clone(),
        })
    }

    #[expect(clippy::disallowed_methods, reason = "every collection handle is made here")]
    fn collection<T: Send + Sync>(&self, database: &str, collection: &str) -> Collection<T> {
        self.client().database(database).collection(collection)
    }

    fn master_collection<T: Send + Sync>(&self, name: &str) -> Collection<T> {
        self.collection(&self.master, name)
    }
}
