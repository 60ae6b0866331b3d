//! JSON Web Tokens: one pinned algorithm, checked issuer and audience (RFC 7519, RFC 8725).

use std::time::Duration;

use chrono::{DateTime, Utc};
use ed25519_dalek::{SigningKey, pkcs8::DecodePrivateKey};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{
    domain::{Account, AccountId, OrgId},
    error::{Error, Result},
};

/// What tokens are made and checked with.
#[derive(Clone, Debug)]
pub struct TokenSettings {
    /// The signing keys.
    pub keys: Keys,
    /// `iss` of every token.
    pub issuer: String,
    /// `aud` of every token.
    pub audience: String,
    /// How long a token is good for.
    pub lifetime: Duration,
}

/// The signing key, which also pins the algorithm, and the one before it while keys are rotated.
#[derive(Clone, Debug)]
pub enum Keys {
    /// HMAC with SHA-256.
    Hs256 {
        /// The secret that signs.
        secret: SecretString,
        /// A secret whose tokens are still taken.
        previous: Option<SecretString>,
    },
    /// Ed25519.
    EdDsa {
        /// The private key, PKCS 8 in PEM.
        private_pem: SecretString,
        /// A private key whose tokens are still taken.
        previous_pem: Option<SecretString>,
    },
}

/// The claims of a token of ours.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Claims {
    /// The account.
    pub sub: String,
    /// Its organization.
    pub org_id: String,
    /// Its role when the token was made; for clients, authority is looked up.
    pub role: String,
    /// The account's token version: a token with another one is dead.
    pub ver: i64,
    /// Who made it.
    pub iss: String,
    /// For whom.
    pub aud: String,
    /// When, in seconds since 1970.
    pub iat: i64,
    /// Until when, in seconds since 1970.
    pub exp: i64,
    /// Its own identity.
    pub jti: String,
}

/// Makes and checks tokens.
pub struct TokenIssuer {
    header: Header,
    signing: EncodingKey,
    verifying: Vec<DecodingKey>,
    validation: Validation,
    issuer: String,
    audience: String,
    lifetime: Duration,
}

impl TokenIssuer {
    /// Reads the keys.
    ///
    /// # Errors
    /// [`Error::Internal`] when a PEM is not an Ed25519 private key.
    pub fn new(settings: TokenSettings) -> Result<Self> {
        let (algorithm, signing, verifying) = match &settings.keys {
            Keys::Hs256 { secret, previous } => {
                let verifying = std::iter::once(secret).chain(previous);
                (
                    Algorithm::HS256,
                    EncodingKey::from_secret(secret.expose_secret().as_bytes()),
                    verifying
                        .map(|s| DecodingKey::from_secret(s.expose_secret().as_bytes()))
                        .collect(),
                )
            }
            Keys::EdDsa { private_pem, previous_pem } => {
                let verifying = std::iter::once(private_pem).chain(previous_pem);
                let signing = EncodingKey::from_ed_pem(private_pem.expose_secret().as_bytes())
                    .map_err(not_a_key)?;
                (Algorithm::EdDSA, signing, verifying.map(public_key).collect::<Result<_>>()?)
            }
        };
        let mut validation = Validation::new(algorithm);
        validation.leeway = 0;
        validation.set_issuer(&[&settings.issuer]);
        validation.set_audience(&[&settings.audience]);
        validation.set_required_spec_claims(&["exp", "iss", "aud", "sub"]);
        Ok(Self {
            header: Header::new(algorithm),
            signing,
            verifying,
            validation,
            issuer: settings.issuer,
            audience: settings.audience,
            lifetime: settings.lifetime,
        })
    }

    /// How long a new token is good for.
    #[must_use]
    pub const fn lifetime(&self) -> Duration {
        self.lifetime
    }

    /// A token for `account`.
    ///
    /// # Errors
    /// [`Error::Internal`] when signing fails.
    pub fn issue(&self, account: &Account, now: DateTime<Utc>) -> Result<String> {
        let issued_at = now.timestamp();
        let claims = Claims {
            sub: account.id.to_string(),
            org_id: account.org_id.to_string(),
            role: account.role.as_str().to_owned(),
            ver: account.token_version,
            iss: self.issuer.clone(),
            aud: self.audience.clone(),
            iat: issued_at,
            exp: issued_at.saturating_add_unsigned(self.lifetime.as_secs()),
            jti: Uuid::now_v7().to_string(),
        };
        jsonwebtoken::encode(&self.header, &claims, &self.signing)
            .map_err(|e| Error::Internal(format!("a token was not signed: {e}")))
    }

    /// The claims of a token that we made and that has not run out.
    ///
    /// # Errors
    /// [`Error::Unauthenticated`] for every other token, whatever is wrong with it.
    pub fn check(&self, token: &str) -> Result<CheckedClaims> {
        self.verifying
            .iter()
            .find_map(|key| jsonwebtoken::decode::<Claims>(token, key, &self.validation).ok())
            .and_then(|data| CheckedClaims::of(&data.claims))
            .ok_or(Error::Unauthenticated)
    }
}

/// Claims whose signature, issuer, audience and time are good.
#[derive(Clone, Copy, Debug)]
pub struct CheckedClaims {
    /// The account.
    pub account_id: AccountId,
    /// Its organization.
    pub org_id: OrgId,
    /// The account's token version at the time.
    pub token_version: i64,
}

impl CheckedClaims {
    fn of(claims: &Claims) -> Option<Self> {
        Some(Self {
            account_id: claims.sub.parse().ok()?,
            org_id: claims.org_id.parse().ok()?,
            token_version: claims.ver,
        })
    }
}

fn public_key(private_pem: &SecretString) -> Result<DecodingKey> {
    let key = SigningKey::from_pkcs8_pem(private_pem.expose_secret()).map_err(not_a_key)?;
    Ok(DecodingKey::from_ed_der(key.verifying_key().as_bytes()))
}

fn not_a_key(error: impl std::fmt::Display) -> Error {
    Error::Internal(format!(
        "the JWT key file is not an Ed25519 private key in PKCS 8 PEM: {error}"
    ))
}
