//! The master database: organizations, accounts, running operations and drains; never tenant data.

mod accounts;
mod drains;
mod operations;
mod organizations;

pub use accounts::AccountUpdate;
pub use drains::{Drain, DrainOf};
pub use operations::{Operation, OperationKind};

use super::StoreError;

fn undecodable(kind: &'static str, reason: impl Into<String>) -> StoreError {
    StoreError::Decode { kind, reason: reason.into() }
}
