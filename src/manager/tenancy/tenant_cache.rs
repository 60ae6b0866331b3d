//! The cached view of the master database, kept true by its change stream.

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

/// What an account may do, as every request asks it.
#[derive(Debug)]
pub struct Authority {
    /// The organization that the account belongs to.
    pub org_id: OrgId,
    /// Its role.
    pub role: Role,
    /// The version that its tokens must carry.
    pub token_version: i64,
    /// What it logs in with, for its owner to see.
    pub email: Email,
}

/// Organizations by id and slug, and authorities by account.
///
/// A value is served from memory only while the change stream was heard of within two seconds; else
/// every question goes to the database. So a process that is cut off, or whose stream is being
/// opened again, is slower and never wrong.
pub struct TenantCache {
    store: Store,
    organizations: Cache<OrgId, Arc<Organization>>,
    slugs: Cache<Slug, Dated>,
    authorities: Cache<AccountId, Arc<Authority>>,
    epochs: Epochs,
    heard: Heard,
    organization_lookups: Lookups,
    authority_lookups: Lookups,
}

/// An organization as it was in an epoch: as long as that lasts, nothing was heard of a change.
#[derive(Clone)]
struct Dated {
    organization: Arc<Organization>,
    epoch: u64,
}

/// How often the server says that nothing has changed.
const HEARTBEAT: Duration = Duration::from_millis(500);
/// How long after the last word of the stream the caches are believed.
const TRUST: Duration = Duration::from_secs(2);
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
            heard: Heard::never(),
            organization_lookups: Lookups::of("organization"),
            authority_lookups: Lookups::of("authority"),
        }
    }

    /// The organization with that identity.
    ///
    /// # Errors
    /// The store's.
    pub async fn organization(&self, id: OrgId) -> Result<Option<Arc<Organization>>> {
        if self.heard.recently() {
            if let Some(found) = self.organizations.get(&id).await {
                self.organization_lookups.hit.increment(1);
                return Ok(Some(found));
            }
            self.organization_lookups.miss.increment(1);
        } else {
            self.organization_lookups.bypass.increment(1);
        }
        self.organization_afresh(id).await
    }

    /// The organization with that identity, past the cache.
    ///
    /// # Errors
    /// The store's.
    pub async fn organization_afresh(&self, id: OrgId) -> Result<Option<Arc<Organization>>> {
        let epoch = self.epochs.of(&id);
        let Some(found) = self.store.organization(id).await?.map(Arc::new) else {
            return Ok(None);
        };
        self.organizations.insert(id, Arc::clone(&found)).await;
        // A change that was heard of meanwhile may be newer than what was read.
        if self.epochs.of(&id) != epoch {
            self.organizations.invalidate(&id).await;
        }
        Ok(Some(found))
    }

    /// The organization that answers to that slug.
    ///
    /// # Errors
    /// The store's.
    pub async fn organization_by_slug(&self, slug: &Slug) -> Result<Option<Arc<Organization>>> {
        if self.heard.recently() {
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
        // Whose epoch matters is not known before the answer, so any change at all counts.
        let changes = self.epochs.changes();
        let Some(found) = self.store.organization_by_slug(slug).await? else { return Ok(None) };
        let epoch = self.epochs.of(&found.id);
        let organization = Arc::new(found);
        if self.epochs.changes() == changes {
            let found = Dated { organization: Arc::clone(&organization), epoch };
            self.slugs.insert(slug.clone(), found).await;
        }
        Ok(Some(organization))
    }

    /// What the account may do; `None` if there is no such account.
    ///
    /// # Errors
    /// The store's.
    pub async fn authority(&self, id: AccountId) -> Result<Option<Arc<Authority>>> {
        if self.heard.recently() {
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

    /// Forgets what has changed; who changes something here calls it before it answers.
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

    /// Follows the change stream until `stop`; opens it again whenever it ends.
    pub async fn follow_changes(&self, stop: CancellationToken) {
        loop {
            let ended = stop.run_until_cancelled(self.follow_one_stream()).await;
            self.heard.forget();
            let Some(Err(error)) = ended else { return };
            tracing::warn!(error = error.detail(), "the change stream ended; caches are bypassed");
            metrics::counter!("tenantry_change_stream_failures_total").increment(1);
            if stop.run_until_cancelled(tokio::time::sleep(REOPEN_PAUSE)).await.is_none() {
                return;
            }
        }
    }

    async fn follow_one_stream(&self) -> Result<()> {
        let mut changes = self.store.changes(HEARTBEAT).await?;
        // What happened before the stream was opened was heard by nobody.
        self.forget(Change::Everything).await;
        loop {
            // The moment is taken before the question: the server's answer is about then.
            let asked = Instant::now();
            if let Some(change) = changes.next().await? {
                self.forget(change).await;
            }
            self.heard.at(asked);
        }
    }
}

/// When the stream was last heard of, as milliseconds since this process looked at its clock first.
struct Heard {
    origin: Instant,
    millis: AtomicU64,
}

impl Heard {
    fn never() -> Self {
        Self { origin: Instant::now(), millis: AtomicU64::new(0) }
    }

    fn at(&self, moment: Instant) {
        let millis = moment.saturating_duration_since(self.origin).as_millis();
        self.millis.store(u64::try_from(millis).unwrap_or(u64::MAX).max(1), Ordering::Release);
    }

    fn forget(&self) {
        self.millis.store(0, Ordering::Release);
    }

    fn recently(&self) -> bool {
        let heard = self.millis.load(Ordering::Acquire);
        heard != 0 && self.origin.elapsed() < Duration::from_millis(heard) + TRUST
    }
}

/// Counts changes by groups of keys, so that a value read before a change is not kept after it.
struct Epochs {
    hasher: RandomState,
    counts: Box<[AtomicU64]>,
    /// Every change raises it before its group.
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

    /// How many changes there were, of whatever key.
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

/// The counters of one cache, found in the registry once: every request asks these caches.
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
