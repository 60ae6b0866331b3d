//! Permissions as types: who holds a scope may do what takes one, and nothing checks twice.

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

/// The right to work inside one tenant, as any account of it. Only the manager makes one.
#[derive(Clone, Copy, Debug)]
pub struct OrgScope {
    actor: Actor,
    /// Until when its token is good; nothing for work that no token stands for.
    token_expires_at: Option<DateTime<Utc>>,
}

/// The right to do what only admins of the tenant may.
#[derive(Clone, Copy, Debug)]
pub struct AdminScope {
    scope: OrgScope,
}

impl OrgScope {
    /// The scope of an account whose authority the manager knows.
    pub(crate) const fn of(actor: Actor) -> Self {
        Self { actor, token_expires_at: None }
    }

    /// Who acts, with the authority of when that was looked at.
    pub(super) const fn actor(&self) -> &Actor {
        &self.actor
    }

    /// The tenant.
    #[must_use]
    pub const fn org_id(&self) -> OrgId {
        self.actor.org_id
    }

    /// Who acts.
    #[must_use]
    pub const fn account_id(&self) -> AccountId {
        self.actor.account_id
    }

    /// The same scope as an admin's.
    ///
    /// # Errors
    /// [`Error::Forbidden`] for a member.
    pub const fn admin(self) -> Result<AdminScope> {
        match self.actor.role {
            Role::Admin => Ok(AdminScope { scope: self }),
            Role::Member => Err(Error::Forbidden),
        }
    }
}

impl std::ops::Deref for AdminScope {
    type Target = OrgScope;

    fn deref(&self) -> &OrgScope {
        &self.scope
    }
}

impl AdminScope {
    /// Checks inside a transaction that the admin still is one: the account may have been removed or
    /// demoted, or its password changed, since the request was authenticated.
    ///
    /// # Errors
    /// As [`TenantManager::authority_now`].
    pub(super) async fn keep_authority(&self, store: &Store, tx: &mut Tx) -> Result<()> {
        let before = &self.scope.actor;
        let now = store.account_in(tx, before.org_id, before.account_id).await?;
        still_acts(before, now.as_ref().map(Actor::from)).map(drop)
    }
}

impl TenantManager {
    /// The scope of whoever holds `token`, checked against the account's authority of now.
    ///
    /// # Errors
    /// [`Error::Unauthenticated`] when the token is not good, or not any more; the store's.
    pub async fn authenticate(&self, token: &str) -> Result<OrgScope> {
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
        Ok(OrgScope { actor, token_expires_at: Some(claims.expires_at) })
    }

    /// The scope as it is at this moment, for a request that has waited since it was authenticated.
    ///
    /// # Errors
    /// [`Error::Unauthenticated`] when the token has run out, the password was changed or the
    /// account removed; [`Error::Forbidden`] when an admin was demoted; the store's.
    pub async fn authority_now(&self, scope: &OrgScope) -> Result<OrgScope> {
        if scope.token_expires_at.is_some_and(|until| until <= self.clock.now()) {
            return Err(Error::Unauthenticated);
        }
        let before = scope.actor;
        let now = self.tenancy.cache.authority(before.account_id).await?;
        let now = now.map(|now| Actor {
            org_id: now.org_id,
            role: now.role,
            token_version: now.token_version,
            ..before
        });
        Ok(OrgScope { actor: still_acts(&before, now)?, ..*scope })
    }
}

/// The authority of now, if it is at least the one of before.
fn still_acts(before: &Actor, now: Option<Actor>) -> Result<Actor> {
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
