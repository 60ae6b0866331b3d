//! Organizations: their life, the cache of where they are, and the fence around their documents.

mod capacity;
mod fence;
mod lifecycle;
mod organizations;
mod tenant_cache;

pub use capacity::TenantCapacity;
pub use fence::Found;
pub use organizations::{OrgPatch, OrgView, SignUp};
pub use tenant_cache::TenantCache;
pub(in crate::manager) use tenant_cache::count;
