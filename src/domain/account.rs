//! Somebody who can log in.

use chrono::{DateTime, Utc};
use unicode_normalization::UnicodeNormalization;

use super::{AccountId, Email, Invalid, OrgId, PasswordDigest, Role};

/// An account; it belongs to exactly one organization.
#[derive(Clone, Debug)]
pub struct Account {
    /// Its identity.
    pub id: AccountId,
    /// The organization that it belongs to.
    pub org_id: OrgId,
    /// What it logs in with.
    pub email: Email,
    /// The person's name, if one was given.
    pub name: Option<AccountName>,
    /// What it may do.
    pub role: Role,
    /// The hash of its password.
    pub password: PasswordDigest,
    /// Tokens that carry another number are dead.
    pub token_version: i64,
    /// When it was made.
    pub created_at: DateTime<Utc>,
    /// When it last changed.
    pub updated_at: DateTime<Utc>,
}

/// A person's name: 1 to 128 characters, trimmed, in Unicode NFC.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct AccountName(String);

impl AccountName {
    /// The most characters that a person's name may have.
    pub const MAX_CHARS: usize = 128;

    /// Trims and normalizes `raw`.
    ///
    /// # Errors
    /// [`Invalid`] when nothing is left, when it is too long or has control characters.
    pub fn parse(raw: &str) -> Result<Self, Invalid> {
        let name: String = raw.trim().nfc().collect();
        if name.is_empty() {
            return Err(Invalid("must not be empty"));
        }
        if name.chars().nth(Self::MAX_CHARS).is_some() {
            return Err(Invalid("must have at most 128 characters"));
        }
        if name.chars().any(char::is_control) {
            return Err(Invalid("must not contain control characters"));
        }
        Ok(Self(name))
    }

    /// A name that the database already holds.
    #[must_use]
    pub const fn from_stored(stored: String) -> Self {
        Self(stored)
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}
