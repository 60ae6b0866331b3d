//! The database driver: connections, transactions, the change stream, and their errors.

mod capacity;
pub(in crate::store) mod changes;
mod connect;
mod connections;
mod diagnosis;
pub(super) mod error;
pub mod replica_set;
mod transaction;

pub use capacity::FileUsage;
pub use changes::{Change, Changes};
pub use connect::{ConnectError, StoreSettings};
pub(super) use connections::Connections;
pub use error::StoreError;
pub use transaction::Tx;
