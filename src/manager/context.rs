//! Permissions as types: holding a context proves the permission, so nothing checks it again.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use chrono::{DateTime, Utc};

use super::{TenantManager, tenancy::Authority};
use crate::{
    domain::{
        AccountId, OrgId,
        identity::{Actor, Role},
    },
    error::{Error, Result},
    failpoint,
    store::{Store, driver::Tx},
};

/// The permission to work inside one tenant as one of its accounts. Only the manager creates one.
#[derive(Clone, Copy, Debug)]
pub struct OrgContext {
    actor: Actor,
    /// When its token expires; `None` for work that has no token.
    token_expires_at: Option<DateTime<Utc>>,
    deadline: Instant,
}

/// The permission to do what only the tenant's admins may do.
#[derive(Clone, Copy, Debug)]
pub struct AdminContext {
    ctx: OrgContext,
}

impl OrgContext {
    /// The context of an account that the manager has already authorized, and that gets its answer
    /// by `deadline`.
    pub(crate) const fn of(actor: Actor, deadline: Instant) -> Self {
        Self { actor, token_expires_at: None, deadline }
    }

    /// The time at which everything that the request waits for is given up.
    #[must_use]
    pub const fn deadline(&self) -> Instant {
        self.deadline
    }

    /// The same context with another deadline.
    #[must_use]
    pub const fn until(self, deadline: Instant) -> Self {
        Self { deadline, ..self }
    }

    /// The acting account, with the role it had when it was authenticated.
    pub(super) const fn actor(&self) -> &Actor {
        &self.actor
    }

    /// The tenant.
    #[must_use]
    pub const fn org_id(&self) -> OrgId {
        self.actor.org_id
    }

    /// The acting account.
    #[must_use]
    pub const fn account_id(&self) -> AccountId {
        self.actor.account_id
    }

    /// The same context with admin permission.
    ///
    /// # Errors
    /// [`Error::Forbidden`] if the account is a member.
    pub const fn admin(self) -> Result<AdminContext> {
        match self.actor.role {
            Role::Admin => Ok(AdminContext { ctx: self }),
            Role::Member => Err(Error::Forbidden),
        }
    }
}

impl std::ops::Deref for AdminContext {
    type Target = OrgContext;

    fn deref(&self) -> &OrgContext {
        &self.ctx
    }
}

impl AdminContext {
    /// Checks inside a transaction that the account is still an admin: it may have been removed or
    /// demoted, or its password changed, since the request was authenticated.
    ///
    /// # Errors
    /// As [`TenantManager::authority_now`].
    pub(super) async fn keep_authority(&self, store: &Store, tx: &mut Tx) -> Result<()> {
        let before = &self.ctx.actor;
        let now = store.account_in(tx, before.org_id, before.account_id).await?;
        recheck(before, now.as_ref().map(Actor::from)).map(drop)
    }
}

impl TenantManager {
    /// The context of the holder of `token`, with the account's current role.
    ///
    /// # Errors
    /// [`Error::Unauthenticated`] if the token is invalid, expired or revoked.
    pub async fn authenticate(&self, token: &str) -> Result<OrgContext> {
        let claims = self.identity.tokens.check(token)?;
        let authority = self.current_authority(claims.account_id).await?;
        let authority = authority.ok_or(Error::Unauthenticated)?;
        if authority.org_id != claims.org_id || authority.token_version != claims.token_version {
            return Err(Error::Unauthenticated);
        }
        let actor = Actor {
            account_id: claims.account_id,
            org_id: authority.org_id,
            role: authority.role,
            token_version: authority.token_version,
        };
        let deadline = self.deadline();
        Ok(OrgContext { actor, token_expires_at: Some(claims.expires_at), deadline })
    }

    /// The context with the account's current role and a new deadline, for a request that has waited
    /// since it was authenticated.
    ///
    /// # Errors
    /// [`Error::Unauthenticated`] if the token has expired, the password was changed or the account
    /// removed; [`Error::Forbidden`] if an admin was demoted.
    pub async fn authority_now(&self, ctx: &OrgContext) -> Result<OrgContext> {
        if ctx.token_expires_at.is_some_and(|until| until <= self.clock.now()) {
            return Err(Error::Unauthenticated);
        }
        let before = ctx.actor;
        let now = self.current_authority(before.account_id).await?;
        let now = now.map(|now| Actor {
            org_id: now.org_id,
            role: now.role,
            token_version: now.token_version,
            ..before
        });
        let actor = recheck(&before, now)?;
        Ok(OrgContext { actor, deadline: self.deadline(), ..*ctx })
    }

    /// What the account may do; `None` also once its organization is being deleted.
    async fn current_authority(&self, id: AccountId) -> Result<Option<Arc<Authority>>> {
        let cache = &self.tenancy.cache;
        let Some(authority) = cache.authority(id).await? else { return Ok(None) };
        let organization = cache.organization(authority.org_id).await?;
        let lives = organization.is_some_and(|org| org.is_usable());
        Ok(lives.then_some(authority))
    }

    /// The deadline of work that starts now.
    pub(crate) fn deadline(&self) -> Instant {
        Instant::now() + self.tenancy.patience
    }

    /// The context of a batch of recorded work, whose permission was checked when it was recorded.
    pub(super) fn task_context(&self, org_id: OrgId) -> OrgContext {
        let account_id = AccountId::generate();
        let actor = Actor { account_id, org_id, role: Role::Admin, token_version: 0 };
        OrgContext::of(actor, self.deadline())
    }

    /// After this time, no request reads what it found at its start.
    pub(super) fn rest(&self) -> Duration {
        2 * self.tenancy.patience
    }

    /// The context for work on a whole chart, which has three times as long as other work.
    pub(super) fn large_work(&self, ctx: &OrgContext) -> OrgContext {
        ctx.until(Instant::now() + 3 * self.tenancy.patience)
    }
}

/// The current account, if it still has at least the permissions it had before.
fn recheck(before: &Actor, now: Option<Actor>) -> Result<Actor> {
    failpoint!("authority.unchecked", return Ok(*before));
    let same =
        |now: &Actor| now.org_id == before.org_id && now.token_version == before.token_version;
    let lost = match now.filter(same) {
        None => Error::Unauthenticated,
        Some(now) if before.role == Role::Admin && now.role != Role::Admin => Error::Forbidden,
        Some(now) => return Ok(now),
    };
    metrics::counter!("tenantry_authority_lost_total").increment(1);
    Err(lost)
}
