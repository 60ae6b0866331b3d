//! `TenantManager`: the centre through which every room above it works.

pub mod charts;
mod context;
pub mod identity;
mod keyed_queue;
pub mod scheduling;
mod tasks;
pub mod tenancy;

use std::{sync::Arc, time::Duration};

use tokio_util::task::TaskTracker;

pub use context::{AdminScope, OrgScope};
pub use keyed_queue::KeyedQueue;

use self::{
    charts::ChartAdmission,
    scheduling::{Feeds, GroupCommit, MassCancellations, OccurrenceCache},
    tenancy::{TenantCache, TenantCapacity},
};
pub use crate::store::scheduling::{Held, Span};
use crate::{
    auth::{LoginThrottle, PasswordHasher, PollThrottle, SignUpThrottle, TokenIssuer},
    domain::{Clock, OrgId},
    store::Store,
};

/// Does everything that the platform can do, on behalf of whoever holds the scope for it.
///
/// One `impl` block per resource, a file each. Built once and shared.
pub struct TenantManager {
    store: Store,
    directory: Arc<TenantCache>,
    passwords: PasswordHasher,
    tokens: TokenIssuer,
    throttles: Throttles,
    clock: Arc<dyn Clock>,
    work: Work,
}

/// The limits on guessing and signing up.
pub struct Throttles {
    /// On failed logins.
    pub logins: LoginThrottle,
    /// On new organizations.
    pub sign_ups: SignUpThrottle,
    /// On polls of calendar feeds.
    pub polls: PollThrottle,
    /// On the number of tenants.
    pub ceiling: TenantCapacity,
}

/// How the manager works on what outlives a request.
pub struct Work {
    /// Steps that go on when the client who asked for them has gone.
    pub tasks: TaskTracker,
    /// Where they run: a runtime that outlives the threads that answer requests.
    pub runtime: tokio::runtime::Handle,
    /// Tenants whose secondary indexes this process has asked for.
    pub indexed: moka::sync::Cache<OrgId, ()>,
    /// Who changes which chart, or the charts and seats of which tenant, next.
    pub turns: KeyedQueue,
    /// Where there is room for large charts.
    pub rooms: ChartAdmission,
    /// Registrations that wait for their transaction.
    pub group_commit: GroupCommit,
    /// Cancellations that are under way in this process.
    pub mass_cancellations: MassCancellations,
    /// Events and their occurrences, as far as they were asked for.
    pub occurrence_cache: OccurrenceCache,
    /// Calendar feeds that were read lately.
    pub feeds: Feeds,
    /// How long a request waits for a tenant that is being moved or changed.
    pub patience: Duration,
}

impl TenantManager {
    /// Puts the manager together.
    #[must_use]
    pub fn new(
        store: Store,
        passwords: PasswordHasher,
        tokens: TokenIssuer,
        throttles: Throttles,
        clock: Arc<dyn Clock>,
        work: Work,
    ) -> Self {
        let directory = Arc::new(TenantCache::new(store.clone()));
        Self { store, directory, passwords, tokens, throttles, clock, work }
    }

    /// The cached view of the master database; the process keeps it fresh with
    /// [`TenantCache::follow_changes`].
    #[must_use]
    pub const fn directory(&self) -> &Arc<TenantCache> {
        &self.directory
    }

    pub(crate) const fn store(&self) -> &Store {
        &self.store
    }

    pub(crate) fn clock(&self) -> &dyn Clock {
        &*self.clock
    }

    pub(crate) const fn passwords(&self) -> &PasswordHasher {
        &self.passwords
    }

    /// Waits for the steps that go on behind requests.
    pub async fn finish_work(&self) {
        self.work.tasks.close();
        self.work.tasks.wait().await;
    }

    /// Whether the database answers.
    ///
    /// # Errors
    /// The store's.
    pub async fn check_health(&self) -> crate::error::Result<()> {
        self.store.ping().await
    }
}
