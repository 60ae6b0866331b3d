//! Hashes of new passwords.

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
    /// The hash of a new password that an admin of `org` has set, if any.
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

    /// The hash of a password that an operator has chosen.
    pub(crate) async fn hash_for_operator(&self, password: Password) -> Result<PasswordDigest> {
        self.identity.passwords.hash(HashFor::Operator, password).await
    }
}
