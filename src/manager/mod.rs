//! `TenantManager`: the single entry point that the web layer and the commands call.

pub mod charts;
mod context;
pub mod identity;
mod keyed_queue;
pub mod scheduling;
mod tasks;
pub mod tenancy;

use std::{sync::Arc, time::Duration};

pub use context::{AdminContext, OrgContext};

use self::{
    charts::Charts, identity::Identity, scheduling::Scheduling, tasks::Tasks, tenancy::Tenancy,
};
use crate::{
    auth::{HashParameters, ThrottleSettings, TokenSettings},
    domain::Clock,
    error::Result,
    store::Store,
};

/// Does everything that the platform can do, on behalf of the holder of a context.
///
/// Each resource has its own file with an `impl` block, and each module owns the state it needs.
/// A process builds one manager and shares it.
pub struct TenantManager {
    store: Store,
    clock: Arc<dyn Clock>,
    tasks: Tasks,
    tenancy: Tenancy,
    identity: Identity,
    charts: Charts,
    scheduling: Scheduling,
}

/// Settings of the manager's modules.
pub struct ManagerSettings {
    /// Limits on logins, sign-ups and polls of calendar feeds.
    pub throttle: ThrottleSettings,
    /// The cost of password hashes and how many run at once.
    pub hash: HashParameters,
    /// The keys and claims of access tokens.
    pub tokens: TokenSettings,
    /// The maximum number of organizations; 0 allows as many as the database's file handles do.
    pub max_organizations: u64,
    /// How long a request waits for a tenant that another operation is moving or changing.
    pub patience: Duration,
}

impl TenantManager {
    /// Builds the manager on a connected store; background work runs on the current runtime.
    ///
    /// # Errors
    /// [`Error::Internal`](crate::error::Error::Internal) if the keys or hash parameters are
    /// unusable.
    pub fn new(store: Store, settings: ManagerSettings, clock: Arc<dyn Clock>) -> Result<Self> {
        Ok(Self {
            tasks: Tasks::on_this_runtime(),
            tenancy: Tenancy::new(&store, &settings),
            scheduling: Scheduling::new(&settings.throttle),
            charts: Charts::default(),
            identity: Identity::new(settings)?,
            store,
            clock,
        })
    }

    pub(crate) const fn store(&self) -> &Store {
        &self.store
    }

    pub(crate) fn clock(&self) -> &dyn Clock {
        &*self.clock
    }

    /// Returns an error if the database does not answer.
    pub async fn check_health(&self) -> Result<()> {
        self.store.ping().await
    }
}
