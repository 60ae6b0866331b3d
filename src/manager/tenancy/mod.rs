//! Organizations: their lifecycle, the cache of their locations, and the fence around their
//! documents.

mod capacity;
mod fence;
mod lifecycle;
mod organizations;
mod tenant_cache;

pub(super) use capacity::TenantCapacity;
pub use fence::MayBeEmpty;
pub use organizations::{OrgPatch, OrgView, SignUp};
pub use tenant_cache::TenantCache;
pub(in crate::manager) use tenant_cache::{Authority, STALE, count};

use std::{sync::Arc, time::Duration};

use super::{ManagerSettings, TenantManager};
use crate::{auth::SignUpThrottle, store::Store};

/// State of the tenancy module.
pub(super) struct Tenancy {
    pub(super) cache: Arc<TenantCache>,
    pub(super) capacity: Arc<TenantCapacity>,
    sign_ups: SignUpThrottle,
    /// How long a request waits for a tenant that another operation is moving or changing.
    pub(super) patience: Duration,
}

impl Tenancy {
    pub(super) fn new(store: &Store, settings: &ManagerSettings) -> Self {
        Self {
            cache: Arc::new(TenantCache::new(store.clone())),
            capacity: Arc::new(TenantCapacity::new(settings.max_organizations)),
            sign_ups: SignUpThrottle::new(&settings.throttle),
            patience: settings.patience,
        }
    }
}

impl TenantManager {
    /// The cached view of the master database; the process keeps it fresh with
    /// [`TenantCache::follow_changes`].
    #[must_use]
    pub const fn tenant_cache(&self) -> &Arc<TenantCache> {
        &self.tenancy.cache
    }
}
