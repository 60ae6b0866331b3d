//! The only room that knows the database driver.

mod changes;
mod charts;
mod collections;
mod connect;
mod error;
mod keys;
mod master;
pub mod replica_set;
mod schema;
mod survey;
mod tenant;
mod transaction;

use std::time::Duration;

use mongodb::{Client, Collection};

pub use changes::{Change, Changes};
pub use charts::{Team, TouchedChart};
pub use collections::Moved;
pub use connect::{ConnectError, StoreSettings};
pub use error::StoreError;
pub use keys::{Key, Kind};
pub use master::{AccountUpdate, Operation, OperationKind, OrgTouch};
pub use survey::AccountFacts;
pub use tenant::{TenantReader, TenantStore, TenantTx};
pub use transaction::Tx;

/// The connection to one cluster: the master database and the tenants' database in it.
#[derive(Clone)]
pub struct Store {
    client: Client,
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

impl Store {
    /// The cluster's name in every [`Location`](crate::domain::Location) of today.
    pub const CLUSTER: &'static str = "default";

    #[expect(clippy::disallowed_methods, reason = "every collection handle is made here")]
    fn collection<T: Send + Sync>(&self, database: &str, collection: &str) -> Collection<T> {
        self.client.database(database).collection(collection)
    }

    fn master_collection<T: Send + Sync>(&self, name: &str) -> Collection<T> {
        self.collection(&self.master, name)
    }
}
