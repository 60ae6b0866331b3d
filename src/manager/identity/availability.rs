//! What is refused before it costs a hash. A unique index decides all the same: what is free here
//! may be taken a moment later.

use crate::{
    auth::HashFor,
    domain::{
        AccountId, OrgId,
        identity::{Email, Password, PasswordDigest},
        tenancy::OrgName,
    },
    error::{Error, Result},
    manager::TenantManager,
};

impl TenantManager {
    /// Refuses an address that an account other than `own` has.
    pub(in crate::manager) async fn refuse_taken_email(
        &self,
        email: &Email,
        own: Option<AccountId>,
    ) -> Result<()> {
        let holder = self.store.account_by_email(email).await?;
        if holder.is_some_and(|holder| Some(holder.id) != own) {
            return Err(Error::EmailTaken);
        }
        Ok(())
    }

    /// Refuses a name that an organization other than `own` has, or is taking.
    pub(in crate::manager) async fn refuse_taken_name(
        &self,
        name: &OrgName,
        own: Option<OrgId>,
    ) -> Result<()> {
        let holder = self.store.organization_by_slug(name.slug()).await?;
        if holder.is_some_and(|holder| Some(holder.id) != own) {
            return Err(Error::OrgNameTaken);
        }
        Ok(())
    }

    /// The hash of a new password that an admin of `org` has set, if any.
    pub(in crate::manager) async fn hash_for(
        &self,
        org: OrgId,
        password: Option<Password>,
    ) -> Result<Option<PasswordDigest>> {
        match password {
            Some(password) => Ok(Some(self.passwords.hash(HashFor::Org(org), password).await?)),
            None => Ok(None),
        }
    }
}
