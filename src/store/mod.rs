//! Storage: the only layer that uses the database driver.

pub mod charts;
pub mod driver;
pub mod identity;
pub mod scheduling;
mod schema;
pub mod tasks;
pub mod tenancy;
pub mod tenant;

use std::{sync::Arc, time::Duration};

use mongodb::{Client, Collection};

use self::driver::Connections;
use crate::error::Result;

/// The connection to one cluster, which holds the master database and the tenants' database.
#[derive(Clone)]
pub struct Store {
    connections: Arc<Connections>,
    master: String,
    tenants: String,
    limits: Limits,
}

/// Time limits of the store.
#[derive(Clone, Copy, Debug)]
struct Limits {
    /// How long the database has for one command, and for one transaction with its retries.
    answer: Duration,
    lease: Duration,
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
        Ok(self.connections.own()?)
    }

    fn client(&self) -> Client {
        self.connections.client()
    }

    #[expect(clippy::disallowed_methods, reason = "every collection handle is created here")]
    fn collection<T: Send + Sync>(&self, database: &str, collection: &str) -> Collection<T> {
        self.client().database(database).collection(collection)
    }

    fn master_collection<T: Send + Sync>(&self, name: &str) -> Collection<T> {
        self.collection(&self.master, name)
    }
}
