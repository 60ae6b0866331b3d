//! Organizations and their running operations in the master database.

pub(in crate::store) mod operations;
pub(in crate::store) mod organizations;

pub use operations::{Operation, OperationKind};
