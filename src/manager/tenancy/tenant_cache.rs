//! The cache of the master database, invalidated by its change stream.

use std::{
    hash::{BuildHasher, Hash, RandomState},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use metrics::Counter;
use moka::future::Cache;
use tokio_util::sync::CancellationToken;

use crate::{
    domain::{
        AccountId, OrgId,
        identity::{Email, Role},
        tenancy::{Organization, Slug},
    },
    error::Result,
    store::{Store, driver::Change},
};

/// What every request needs to know about its account.
#[derive(Debug)]
pub struct Authority {
    /// The organization that the account belongs to.
    pub org_id: OrgId,
    /// Its role.
    pub role: Role,
    /// The version that valid tokens carry.
    pub token_version: i64,
    /// Its e-mail address, for the admin's view of the organization.
    pub email: Email,
}

/// Organizations by id and slug, and authorities by account.
///
/// A value is served from memory only if the change stream was alive within the last two seconds;
/// otherwise every lookup goes to the database. A process that is cut off, or that is reopening its
/// stream, is thus slower but never wrong.
pub struct TenantCache {
    store: Store,
    organizations: Cache<OrgId, Arc<Organization>>,
    slugs: Cache<Slug, Versioned>,
    authorities: Cache<AccountId, Arc<Authority>>,
    epochs: Epochs,
    heartbeat: Heartbeat,
    organization_lookups: Lookups,
    authority_lookups: Lookups,
}

/// An organization as it was in an epoch; it is valid while that epoch lasts.
#[derive(Clone)]
struct Versioned {
    organization: Arc<Organization>,
    epoch: u64,
}

/// How often the server answers at least, even if nothing has changed.
const HEARTBEAT: Duration = Duration::from_millis(500);
/// How long after the last heartbeat the caches are used.
const TRUST: Duration = Duration::from_secs(2);
/// After this time, every process knows a change of the master database, with a second to spare.
pub(in crate::manager) const STALE: Duration = Duration::from_secs(3);
const REOPEN_PAUSE: Duration = Duration::from_millis(200);
const CAPACITY: u64 = 100_000;

impl TenantCache {
    pub(in crate::manager) fn new(store: Store) -> Self {
        Self {
            store,
            organizations: Cache::new(CAPACITY),
            slugs: Cache::new(CAPACITY),
            authorities: Cache::new(CAPACITY),
            epochs: Epochs::default(),
            heartbeat: Heartbeat::never(),
            organization_lookups: Lookups::of("organization"),
            authority_lookups: Lookups::of("authority"),
        }
    }

    /// The organization with that id.
    pub async fn organization(&self, id: OrgId) -> Result<Option<Arc<Organization>>> {
        if self.heartbeat.is_recent() {
            if let Some(found) = self.organizations.get(&id).await {
                self.organization_lookups.hit.increment(1);
                return Ok(Some(found));
            }
            self.organization_lookups.miss.increment(1);
        } else {
            self.organization_lookups.bypass.increment(1);
        }
        self.organization_uncached(id).await
    }

    /// The organization with that id, read from the database.
    pub async fn organization_uncached(&self, id: OrgId) -> Result<Option<Arc<Organization>>> {
        let epoch = self.epochs.of(&id);
        let Some(found) = self.store.organization(id).await?.map(Arc::new) else {
            return Ok(None);
        };
        self.organizations.insert(id, Arc::clone(&found)).await;
        // A change that arrived meanwhile may be newer than what was read.
        if self.epochs.of(&id) != epoch {
            self.organizations.invalidate(&id).await;
        }
        Ok(Some(found))
    }

    /// The organization with that slug.
    pub async fn organization_by_slug(&self, slug: &Slug) -> Result<Option<Arc<Organization>>> {
        if self.heartbeat.is_recent() {
            if let Some(found) = self.slugs.get(slug).await
                && self.epochs.of(&found.organization.id) == found.epoch
            {
                self.organization_lookups.hit.increment(1);
                return Ok(Some(found.organization));
            }
            self.organization_lookups.miss.increment(1);
        } else {
            self.organization_lookups.bypass.increment(1);
        }
        // Which organization's epoch matters is unknown before the answer, so any change counts.
        let changes = self.epochs.changes();
        let Some(found) = self.store.organization_by_slug(slug).await? else { return Ok(None) };
        let epoch = self.epochs.of(&found.id);
        let organization = Arc::new(found);
        if self.epochs.changes() == changes {
            let found = Versioned { organization: Arc::clone(&organization), epoch };
            self.slugs.insert(slug.clone(), found).await;
        }
        Ok(Some(organization))
    }

    /// What the account may do; `None` if there is no such account.
    pub async fn authority(&self, id: AccountId) -> Result<Option<Arc<Authority>>> {
        if self.heartbeat.is_recent() {
            if let Some(found) = self.authorities.get(&id).await {
                self.authority_lookups.hit.increment(1);
                return Ok(Some(found));
            }
            self.authority_lookups.miss.increment(1);
        } else {
            self.authority_lookups.bypass.increment(1);
        }
        let epoch = self.epochs.of(&id);
        let Some(account) = self.store.account(id).await? else { return Ok(None) };
        let found = Arc::new(Authority {
            org_id: account.org_id,
            role: account.role,
            token_version: account.token_version,
            email: account.email,
        });
        self.authorities.insert(id, Arc::clone(&found)).await;
        if self.epochs.of(&id) != epoch {
            self.authorities.invalidate(&id).await;
        }
        Ok(Some(found))
    }

    /// Forgets what has changed. Code that changes something calls this before it responds.
    pub async fn forget(&self, change: Change) {
        match change {
            Change::Organization(id) => {
                self.epochs.advance(&id);
                self.organizations.invalidate(&id).await;
            }
            Change::Account(id) => {
                self.epochs.advance(&id);
                self.authorities.invalidate(&id).await;
            }
            Change::Everything => {
                self.epochs.advance_all();
                self.organizations.invalidate_all();
                self.authorities.invalidate_all();
            }
        }
    }

    /// Follows the change stream until `stop`, and reopens it whenever it ends.
    pub async fn follow_changes(&self, stop: CancellationToken) {
        loop {
            let ended = stop.run_until_cancelled(Box::pin(self.follow_one_stream())).await;
            self.heartbeat.clear();
            let Some(Err(error)) = ended else { return };
            tracing::warn!(error = error.detail(), "the change stream ended; caches are bypassed");
            metrics::counter!("tenantry_change_stream_failures_total").increment(1);
            if stop.run_until_cancelled(tokio::time::sleep(REOPEN_PAUSE)).await.is_none() {
                return;
            }
        }
    }

    async fn follow_one_stream(&self) -> Result<()> {
        let opening = self.store.changes(HEARTBEAT);
        let opened = self.store.answer_until(Instant::now() + TRUST, "changes", opening);
        let mut changes = opened.await?;
        // Changes from before the stream was opened are unknown.
        self.forget(Change::Everything).await;
        loop {
            // Take the time before the call, because the answer covers changes up to then only.
            let asked_at = Instant::now();
            let next = self.store.answer_until(asked_at + TRUST, "changes", changes.next());
            if let Some(change) = next.await? {
                self.forget(change).await;
            }
            self.heartbeat.record(asked_at);
        }
    }
}

/// When the change stream last answered.
struct Heartbeat {
    origin: Instant,
    /// Milliseconds since `origin`; 0 for never.
    millis: AtomicU64,
}

impl Heartbeat {
    fn never() -> Self {
        Self { origin: Instant::now(), millis: AtomicU64::new(0) }
    }

    fn record(&self, moment: Instant) {
        let millis = moment.saturating_duration_since(self.origin).as_millis();
        self.millis.store(u64::try_from(millis).unwrap_or(u64::MAX).max(1), Ordering::Release);
    }

    fn clear(&self) {
        self.millis.store(0, Ordering::Release);
    }

    fn is_recent(&self) -> bool {
        let last = self.millis.load(Ordering::Acquire);
        last != 0 && self.origin.elapsed() < Duration::from_millis(last) + TRUST
    }
}

/// Counts changes per group of keys, so that a value read before a change is not cached after it.
struct Epochs {
    hasher: RandomState,
    counts: Box<[AtomicU64]>,
    /// Every change increments this before its group's counter.
    changes: AtomicU64,
}

const EPOCH_GROUPS: usize = 1024;

impl Default for Epochs {
    fn default() -> Self {
        let counts = (0..EPOCH_GROUPS).map(|_| AtomicU64::new(0)).collect();
        Self { hasher: RandomState::new(), counts, changes: AtomicU64::new(0) }
    }
}

impl Epochs {
    fn of(&self, key: &impl Hash) -> u64 {
        self.group(key).load(Ordering::SeqCst)
    }

    /// How many changes there were, of any key.
    fn changes(&self) -> u64 {
        self.changes.load(Ordering::SeqCst)
    }

    fn advance(&self, key: &impl Hash) {
        self.changes.fetch_add(1, Ordering::SeqCst);
        self.group(key).fetch_add(1, Ordering::SeqCst);
    }

    fn advance_all(&self) {
        self.changes.fetch_add(1, Ordering::SeqCst);
        for count in &self.counts {
            count.fetch_add(1, Ordering::SeqCst);
        }
    }

    #[expect(clippy::cast_possible_truncation, reason = "only the lowest bits are used")]
    fn group(&self, key: &impl Hash) -> &AtomicU64 {
        &self.counts[self.hasher.hash_one(key) as usize % EPOCH_GROUPS]
    }
}

/// The counters of one cache, looked up in the registry only once, because every request uses them.
struct Lookups {
    hit: Counter,
    miss: Counter,
    bypass: Counter,
}

impl Lookups {
    fn of(cache: &'static str) -> Self {
        Self {
            hit: counter(cache, "hit"),
            miss: counter(cache, "miss"),
            bypass: counter(cache, "bypass"),
        }
    }
}

pub(in crate::manager) fn count(cache: &'static str, outcome: &'static str) {
    counter(cache, outcome).increment(1);
}

fn counter(cache: &'static str, outcome: &'static str) -> Counter {
    metrics::counter!("tenantry_cache_lookups_total", "cache" => cache, "outcome" => outcome)
}
