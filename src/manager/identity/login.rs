//! Logging in.

use std::{net::IpAddr, time::Duration};

use crate::{
    auth::HashFor,
    domain::{
        identity::{Account, Email, Password, Role},
        tenancy::Organization,
    },
    error::{Error, Result},
    manager::TenantManager,
};

/// The input of a login, not yet parsed.
pub struct Login {
    /// The e-mail address.
    pub email: String,
    /// The password.
    pub password: String,
    /// The client's address.
    pub address: IpAddr,
}

/// Which accounts may log in.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum LoginKind {
    /// Only admins.
    Admin,
    /// Every account.
    Any,
}

/// A successful login.
pub struct Session {
    /// The bearer token.
    pub token: String,
    /// How long the token is valid.
    pub lifetime: Duration,
    /// The account that logged in.
    pub account: Account,
    /// The account's organization.
    pub organization: std::sync::Arc<Organization>,
}

impl TenantManager {
    /// Issues a token for an e-mail address and a password.
    ///
    /// Every failure costs one hash and returns the same error: an unknown address, a wrong
    /// password, a member at the admin login, an organization that is being deleted (OWASP
    /// Authentication Cheat Sheet, "Authentication Responses").
    ///
    /// # Errors
    /// [`Error::InvalidCredentials`] for every refused login; [`Error::Throttled`] after too many
    /// failures; [`Error::Busy`] if the hashing queue is full.
    pub async fn log_in(&self, login: Login, kind: LoginKind) -> Result<Session> {
        // A malformed address matches no account; its failures are counted under the raw text.
        let email = Email::parse(&login.email).unwrap_or_else(|_| {
            Email::from_stored(login.email.chars().take(Email::MAX_BYTES).collect())
        });
        self.identity.logins.check(&email, login.address)?;
        let account = self.store.account_by_email(&email).await?;
        let digest = account.as_ref().map(|account| account.password.clone());
        let who = HashFor::Login {
            address: login.address,
            email: email.clone(),
            familiar: self.identity.logins.is_familiar(&email, login.address),
        };
        let matches = match Password::attempt(login.password) {
            Some(password) => self.identity.passwords.verify(who, password, digest).await?,
            None => self.identity.passwords.verify(who, Password::longest(), None).await?,
        };
        let admitted = account
            .filter(|account| matches && (kind == LoginKind::Any || account.role == Role::Admin));
        let session = match admitted {
            Some(account) => self.open_session(account).await?,
            None => None,
        };
        let Some(session) = session else {
            self.identity.logins.failed(&email, login.address);
            count("refused");
            return Err(Error::InvalidCredentials);
        };
        self.identity.logins.succeeded(&email, login.address);
        count("ok");
        Ok(session)
    }

    async fn open_session(&self, account: Account) -> Result<Option<Session>> {
        let organization = self.tenancy.cache.organization(account.org_id).await?;
        let Some(organization) = organization.filter(|org| org.is_usable()) else {
            return Ok(None);
        };
        let token = self.identity.tokens.issue(&account, self.clock.now())?;
        Ok(Some(Session {
            token,
            lifetime: self.identity.tokens.lifetime(),
            account,
            organization,
        }))
    }
}

fn count(outcome: &'static str) {
    metrics::counter!("tenantry_logins_total", "outcome" => outcome).increment(1);
}
