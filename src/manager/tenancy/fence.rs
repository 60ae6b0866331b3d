//! How every capability reads and writes tenant documents while the tenant may be moving.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use futures::future::BoxFuture;

use crate::{
    domain::tenancy::{Location, OrgStatus},
    error::{Error, Result},
    manager::{OrgScope, TenantManager},
    store::{
        driver::StoreError,
        tenant::{TenantReader, TenantStore, TenantTx},
    },
};

/// An answer that may be empty for the wrong reason: the tenant has just moved away.
pub trait Found {
    /// Whether nothing was found, not even a document that proves that there is nothing.
    fn is_nothing(&self) -> bool;
}

impl<T> Found for Option<T> {
    fn is_nothing(&self) -> bool {
        self.is_none()
    }
}

impl<T> Found for Vec<T> {
    fn is_nothing(&self) -> bool {
        self.is_empty()
    }
}

const PAUSE: Duration = Duration::from_millis(2);
const LONGEST_PAUSE: Duration = Duration::from_millis(50);

impl TenantManager {
    /// Runs `body` in a transaction that has passed the tenant's fence, wherever the tenant is.
    ///
    /// # Errors
    /// The body's own; [`Error::NotFound`] when the tenant is gone; [`Error::Busy`] when it could
    /// not be found at any of its places in time.
    pub async fn tenant_write<C, T, F>(
        &self,
        scope: &OrgScope,
        label: &'static str,
        mut context: C,
        mut body: F,
    ) -> Result<T>
    where
        C: Send,
        T: Send,
        F: for<'t> FnMut(TenantTx<'t>, &'t mut C) -> BoxFuture<'t, Result<T>> + Send,
    {
        let mut search = Search::of(self, scope);
        loop {
            let tenant = search.next_place().await?;
            let outcome = self
                .store
                .fenced(&tenant, label, (&mut context, &mut body), |tx, (context, body)| {
                    body(tx, context)
                })
                .await;
            match outcome {
                Err(error) if StoreError::is_fence_missing(&error) => {}
                settled => return settled,
            }
        }
    }

    /// Reads what `body` reads, wherever the tenant is. An answer with something in it is taken as
    /// it is; an empty one without a proof is believed only when the same reads find nothing in one
    /// snapshot with the tenant document, since a stale location answers with nothing, not with an
    /// error.
    ///
    /// # Errors
    /// As [`TenantManager::tenant_write`].
    pub async fn tenant_read<C, T, F>(
        &self,
        scope: &OrgScope,
        label: &'static str,
        mut context: C,
        mut body: F,
    ) -> Result<T>
    where
        C: Send,
        T: Found + Send,
        F: for<'t> FnMut(TenantReader<'t>, &'t mut C) -> BoxFuture<'t, Result<T>> + Send,
    {
        let mut search = Search::of(self, scope);
        loop {
            let tenant = search.next_place().await?;
            match body(tenant.reader(), &mut context).await {
                Ok(found) if !found.is_nothing() => return Ok(found),
                Err(error @ Error::Database(_)) if !StoreError::is_moved_away(&error) => {
                    return Err(error);
                }
                Ok(_) | Err(_) => {}
            }
            let outcome = self
                .store
                .fenced(&tenant, label, (&mut context, &mut body), |tx, (context, body)| {
                    body(tx.into_reader(), context)
                })
                .await;
            match outcome {
                Err(error) if StoreError::is_fence_missing(&error) => {}
                settled => return settled,
            }
        }
    }
}

/// Goes through the places at which a tenant may be: the cached one first, then those that the
/// master database names at that moment, until it is found or patience ends.
struct Search<'m> {
    manager: &'m TenantManager,
    scope: OrgScope,
    deadline: Instant,
    places: VecDeque<Location>,
    rounds: u32,
}

impl<'m> Search<'m> {
    fn of(manager: &'m TenantManager, scope: &OrgScope) -> Self {
        Self {
            manager,
            scope: *scope,
            deadline: Instant::now() + manager.tenancy.patience,
            places: VecDeque::new(),
            rounds: 0,
        }
    }

    async fn next_place(&mut self) -> Result<TenantStore> {
        let id = self.scope.org_id();
        while self.places.is_empty() {
            let directory = &self.manager.tenancy.cache;
            let org = match self.rounds {
                0 => directory.organization(id).await?,
                _ => directory.organization_afresh(id).await?,
            };
            if self.rounds > 1 {
                metrics::counter!("tenantry_fence_waits_total").increment(1);
                if Instant::now() >= self.deadline {
                    return Err(Error::Busy { what: "the tenant was found at none of its places" });
                }
                tokio::time::sleep((PAUSE * self.rounds).min(LONGEST_PAUSE)).await;
            }
            self.rounds += 1;
            let org = org
                .filter(|org| org.status != OrgStatus::Deleting)
                .ok_or(Error::NotFound("organization"))?;
            self.places.extend(org.locations().cloned());
        }
        let place = self.places.pop_front().ok_or(Error::NotFound("organization"))?;
        Ok(self.manager.store.tenant(id, &place))
    }
}
