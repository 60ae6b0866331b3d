//! Storage: the only layer that uses the database driver.

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

/// The connection to one cluster, which holds the master database and the tenants' database.
#[derive(Clone)]
pub struct Store {
    shared: Client,
    options: Arc<ClientOptions>,
    master: String,
    tenants: String,
    limits: Limits,
}

/// Time limits of the store.
#[derive(Clone, Copy, Debug)]
struct Limits {
    transaction_deadline: Duration,
    lease: Duration,
}

thread_local! {
    /// This thread's own client, and the options of the store that it belongs to.
    static OWN: RefCell<Option<(Arc<ClientOptions>, Client)>> = const { RefCell::new(None) };
}

impl Store {
    /// The cluster's name in every [`Location`](crate::domain::tenancy::Location).
    pub const CLUSTER: &'static str = "default";

    /// Gives the calling thread its own connections until it ends.
    ///
    /// Each thread that answers requests has its own runtime, while the shared connections belong
    /// to the runtime that created the store. With those, every database reply would wake a thread
    /// of that runtime first, which would then wake the waiting one.
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

    #[expect(clippy::disallowed_methods, reason = "every collection handle is created here")]
    fn collection<T: Send + Sync>(&self, database: &str, collection: &str) -> Collection<T> {
        self.client().database(database).collection(collection)
    }

    fn master_collection<T: Send + Sync>(&self, name: &str) -> Collection<T> {
        self.collection(&self.master, name)
    }
}
