//! Permissions as types: holding a context proves the permission, so nothing checks it again.

use chrono::{DateTime, Utc};

use super::TenantManager;
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
}

/// The permission to do what only the tenant's admins may do.
#[derive(Clone, Copy, Debug)]
pub struct AdminContext {
    ctx: OrgContext,
}

impl OrgContext {
    /// The context of an account that the manager has already authorized.
    pub(crate) const fn of(actor: Actor) -> Self {
        Self { actor, token_expires_at: None }
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
        let authority =
            self.tenancy.cache.authority(claims.account_id).await?.ok_or(Error::Unauthenticated)?;
        if authority.org_id != claims.org_id || authority.token_version != claims.token_version {
            return Err(Error::Unauthenticated);
        }
        let actor = Actor {
            account_id: claims.account_id,
            org_id: authority.org_id,
            role: authority.role,
            token_version: authority.token_version,
        };
        Ok(OrgContext { actor, token_expires_at: Some(claims.expires_at) })
    }

    /// The context with the account's current role, for a request that has waited since it was
    /// authenticated.
    ///
    /// # Errors
    /// [`Error::Unauthenticated`] if the token has expired, the password was changed or the account
    /// removed; [`Error::Forbidden`] if an admin was demoted.
    pub async fn authority_now(&self, ctx: &OrgContext) -> Result<OrgContext> {
        if ctx.token_expires_at.is_some_and(|until| until <= self.clock.now()) {
            return Err(Error::Unauthenticated);
        }
        let before = ctx.actor;
        let now = self.tenancy.cache.authority(before.account_id).await?;
        let now = now.map(|now| Actor {
            org_id: now.org_id,
            role: now.role,
            token_version: now.token_version,
            ..before
        });
        Ok(OrgContext { actor: recheck(&before, now)?, ..*ctx })
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
