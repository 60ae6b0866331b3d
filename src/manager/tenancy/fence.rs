//! Reads and writes of tenant documents that stay correct while the tenant is being renamed or
//! deleted.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use futures::future::BoxFuture;

use crate::{
    domain::tenancy::Location,
    error::{Error, Result},
    failpoint,
    manager::{OrgContext, TenantManager},
    store::{
        driver::StoreError,
        tenant::{TenantReader, TenantStore, TenantTx},
    },
};

/// An answer that may be empty only because the tenant has just moved to another collection.
pub trait MayBeEmpty {
    /// Whether the answer is empty and no document proves that it must be.
    fn is_empty_answer(&self) -> bool;
}

impl<T> MayBeEmpty for Option<T> {
    fn is_empty_answer(&self) -> bool {
        self.is_none()
    }
}

impl<T> MayBeEmpty for Vec<T> {
    fn is_empty_answer(&self) -> bool {
        self.is_empty()
    }
}

const PAUSE: Duration = Duration::from_millis(2);
const LONGEST_PAUSE: Duration = Duration::from_millis(50);

impl TenantManager {
    /// Runs `body` in a transaction that has passed the tenant's fence, at the tenant's current
    /// location.
    ///
    /// # Errors
    /// The errors of `body`; [`Error::NotFound`] if the tenant is deleted; [`Error::Busy`] if it
    /// was found at none of its locations in time.
    pub async fn tenant_write<C, T, F>(
        &self,
        ctx: &OrgContext,
        label: &'static str,
        mut context: C,
        mut body: F,
    ) -> Result<T>
    where
        C: Send,
        T: Send,
        F: for<'t> FnMut(TenantTx<'t>, &'t mut C) -> BoxFuture<'t, Result<T>> + Send,
    {
        let mut search = LocationSearch::of(self, ctx);
        loop {
            let tenant = search.next_location().await?;
            let outcome = self
                .store
                .fenced(
                    ctx.deadline(),
                    &tenant,
                    label,
                    (&mut context, &mut body),
                    |tx, (context, body)| body(tx, context),
                )
                .await;
            match outcome {
                Err(error) if StoreError::is_fence_missing(&error) => {}
                settled => return settled,
            }
        }
    }

    /// Runs the reads of `body` at the tenant's current location. An answer that is not empty is
    /// returned as it is. An empty one without a proof is repeated in one snapshot with the tenant
    /// document, because reading at a stale location finds nothing instead of failing.
    ///
    /// # Errors
    /// As [`TenantManager::tenant_write`].
    pub async fn tenant_read<C, T, F>(
        &self,
        ctx: &OrgContext,
        label: &'static str,
        mut context: C,
        mut body: F,
    ) -> Result<T>
    where
        C: Send,
        T: MayBeEmpty + Send,
        F: for<'t> FnMut(TenantReader<'t>, &'t mut C) -> BoxFuture<'t, Result<T>> + Send,
    {
        let mut search = LocationSearch::of(self, ctx);
        loop {
            let tenant = search.next_location().await?;
            let read = body(tenant.reader(), &mut context);
            let answer = self.store.answer_until(ctx.deadline(), label, read).await;
            failpoint!("fence.skip_second_look", return answer);
            match answer {
                Ok(answer) if !answer.is_empty_answer() => return Ok(answer),
                Err(error @ Error::Database(_)) if !StoreError::is_moved_away(&error) => {
                    return Err(error);
                }
                Ok(_) | Err(_) => {}
            }
            let outcome = self
                .store
                .fenced(
                    ctx.deadline(),
                    &tenant,
                    label,
                    (&mut context, &mut body),
                    |tx, (context, body)| body(tx.into_reader(), context),
                )
                .await;
            match outcome {
                Err(error) if StoreError::is_fence_missing(&error) => {}
                settled => return settled,
            }
        }
    }
}

/// Iterates over the locations where a tenant may be: the cached ones first, then those that the
/// master database names, until the tenant is found or the deadline passes.
struct LocationSearch<'m> {
    manager: &'m TenantManager,
    ctx: OrgContext,
    locations: VecDeque<Location>,
    has_editions: bool,
    rounds: u32,
}

impl<'m> LocationSearch<'m> {
    fn of(manager: &'m TenantManager, ctx: &OrgContext) -> Self {
        Self { manager, ctx: *ctx, locations: VecDeque::new(), has_editions: false, rounds: 0 }
    }

    async fn next_location(&mut self) -> Result<TenantStore> {
        let id = self.ctx.org_id();
        while self.locations.is_empty() {
            let cache = &self.manager.tenancy.cache;
            let org = match self.rounds {
                0 => cache.organization(id).await?,
                _ => cache.organization_uncached(id).await?,
            };
            if self.rounds > 1 {
                metrics::counter!("tenantry_fence_waits_total").increment(1);
                if Instant::now() >= self.ctx.deadline() {
                    return Err(Error::Busy {
                        what: "the tenant was found at none of its locations",
                    });
                }
                tokio::time::sleep((PAUSE * self.rounds).min(LONGEST_PAUSE)).await;
            }
            self.rounds += 1;
            let org = org.filter(|org| org.is_usable()).ok_or(Error::NotFound("organization"))?;
            self.has_editions = org.has_editions;
            self.locations.extend(org.locations().cloned());
        }
        let location = self.locations.pop_front().ok_or(Error::NotFound("organization"))?;
        Ok(self.manager.store.tenant_with(id, &location, self.has_editions))
    }
}
