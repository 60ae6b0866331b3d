//! Who is asking.

use strum::{AsRefStr, EnumString, IntoStaticStr};

use super::Account;
use crate::domain::{AccountId, OrgId};

/// What an account may do in its organization.
#[derive(Clone, Copy, Debug, Eq, PartialEq, AsRefStr, EnumString, IntoStaticStr)]
#[strum(serialize_all = "lowercase")]
pub enum Role {
    /// May change the organization and everything in it.
    Admin,
    /// May read what the organization holds and manage what is its own.
    Member,
}

/// An account whose token was checked against its authority of now.
#[derive(Clone, Copy, Debug)]
pub struct Actor {
    /// The account that the token names.
    pub account_id: AccountId,
    /// The organization that the account belongs to.
    pub org_id: OrgId,
    /// The role of now, not the one of when the token was made.
    pub role: Role,
    /// The version of the account's tokens: another one, and this authority is over.
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
