//! Organizations in the master database.

pub(in crate::store) mod organizations;
