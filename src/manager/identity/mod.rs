//! Accounts and logins.

mod accounts;
mod login;
mod passwords;

pub use accounts::{MemberInput, MemberPatch};
pub use login::{Login, LoginKind, Session};

use super::ManagerSettings;
use crate::{
    auth::{LoginThrottle, PasswordHasher, TokenIssuer},
    error::Result,
};

/// State of the identity module.
pub(super) struct Identity {
    pub(super) passwords: PasswordHasher,
    pub(super) tokens: TokenIssuer,
    logins: LoginThrottle,
}

impl Identity {
    pub(super) fn new(settings: ManagerSettings) -> Result<Self> {
        Ok(Self {
            passwords: PasswordHasher::start(settings.hash)?,
            tokens: TokenIssuer::new(settings.tokens)?,
            logins: LoginThrottle::new(&settings.throttle),
        })
    }
}
