//! Hashing of new passwords.

use crate::{
    auth::HashFor,
    domain::{
        OrgId,
        identity::{Password, PasswordDigest},
    },
    error::Result,
    manager::TenantManager,
};

impl TenantManager {
    /// Hashes the new password that an admin of `org` sets, if there is one.
    pub(in crate::manager) async fn hash_for(
        &self,
        org: OrgId,
        password: Option<Password>,
    ) -> Result<Option<PasswordDigest>> {
        match password {
            Some(password) => {
                Ok(Some(self.identity.passwords.hash(HashFor::Org(org), password).await?))
            }
            None => Ok(None),
        }
    }

    /// Hashes a password that the operator sets.
    pub(crate) async fn hash_for_operator(&self, password: Password) -> Result<PasswordDigest> {
        self.identity.passwords.hash(HashFor::Operator, password).await
    }
}
