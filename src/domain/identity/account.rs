//! An account that can log in.

use chrono::{DateTime, Utc};

use super::{Email, PasswordDigest, Role};
use crate::domain::{AccountId, Label, OrgId};

/// An account; it belongs to exactly one organization.
#[derive(Clone, Debug)]
pub struct Account {
    /// Its id.
    pub id: AccountId,
    /// The organization that it belongs to.
    pub org_id: OrgId,
    /// The address that it logs in with.
    pub email: Email,
    /// The person's name, if one was given.
    pub name: Option<Label>,
    /// Its role in the organization.
    pub role: Role,
    /// The hash of its password.
    pub password: PasswordDigest,
    /// Tokens with another version are invalid.
    pub token_version: i64,
    /// When it was created.
    pub created_at: DateTime<Utc>,
    /// When it last changed.
    pub updated_at: DateTime<Utc>,
}
