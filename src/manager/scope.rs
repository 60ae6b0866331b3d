//! Permissions as types: who holds a scope may do what takes one, and nothing checks twice.

use super::TenantManager;
use crate::{
    domain::{AccountId, Actor, OrgId, Role},
    error::{Error, Result},
};

/// The right to work inside one tenant, as any account of it. Only the manager makes one.
#[derive(Clone, Copy, Debug)]
pub struct OrgScope {
    actor: Actor,
}

/// The right to do what only admins of the tenant may.
#[derive(Clone, Copy, Debug)]
pub struct AdminScope {
    scope: OrgScope,
}

impl OrgScope {
    /// The scope of an account whose authority the manager knows.
    pub(super) const fn of(actor: Actor) -> Self {
        Self { actor }
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

impl TenantManager {
    /// The scope of whoever holds `token`, checked against the account's authority of now.
    ///
    /// # Errors
    /// [`Error::Unauthenticated`] when the token is not good, or not any more; the store's.
    pub async fn authenticate(&self, token: &str) -> Result<OrgScope> {
        let claims = self.tokens.check(token)?;
        let authority =
            self.directory.authority(claims.account_id).await?.ok_or(Error::Unauthenticated)?;
        if authority.org_id != claims.org_id || authority.token_version != claims.token_version {
            return Err(Error::Unauthenticated);
        }
        let actor =
            Actor { account_id: claims.account_id, org_id: authority.org_id, role: authority.role };
        Ok(OrgScope::of(actor))
    }
}
