//! The authenticated account of a request.

use strum::{AsRefStr, EnumString, IntoStaticStr};

use super::Account;
use crate::domain::{AccountId, OrgId};

/// What an account may do in its organization.
#[derive(Clone, Copy, Debug, Eq, PartialEq, AsRefStr, EnumString, IntoStaticStr)]
#[strum(serialize_all = "lowercase")]
pub enum Role {
    /// May change the organization and everything in it.
    Admin,
    /// May read the organization's data and change only its own.
    Member,
}

/// An account whose token was checked against its current role and token version.
#[derive(Clone, Copy, Debug)]
pub struct Actor {
    /// The account that the token names.
    pub account_id: AccountId,
    /// The organization that the account belongs to.
    pub org_id: OrgId,
    /// The account's current role, not the token's.
    pub role: Role,
    /// The account's token version. If the stored one differs, this actor is no longer valid.
    pub token_version: i64,
}

impl From<&Account> for Actor {
    fn from(account: &Account) -> Self {
        Self {
            account_id: account.id,
            org_id: account.org_id,
            role: account.role,
            token_version: account.token_version,
        }
    }
}
