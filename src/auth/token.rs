//! JSON Web Tokens with one pinned algorithm and checked issuer and audience (RFC 7519, RFC 8725).

use std::time::Duration;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use chrono::{DateTime, Utc};
use ed25519_dalek::{SigningKey, pkcs8::DecodePrivateKey};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{
    domain::{AccountId, OrgId, identity::Account},
    error::{Error, Result},
};

/// The settings for issuing and checking tokens.
#[derive(Clone, Debug)]
pub struct TokenSettings {
    /// The signing keys.
    pub keys: Keys,
    /// `iss` of every token.
    pub issuer: String,
    /// `aud` of every token.
    pub audience: String,
    /// How long a token is valid.
    pub lifetime: Duration,
}

/// The signing key, which also pins the algorithm, and the previous key during rotation.
#[derive(Clone, Debug)]
pub enum Keys {
    /// HMAC with SHA-256.
    Hs256 {
        /// The signing secret.
        secret: SecretString,
        /// The previous secret, whose tokens are still accepted.
        previous: Option<SecretString>,
    },
    /// Ed25519.
    EdDsa {
        /// The private key in PKCS 8 PEM.
        private_pem: SecretString,
        /// The previous private key, whose tokens are still accepted.
        previous_pem: Option<SecretString>,
    },
}

/// The claims of our tokens.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Claims {
    /// The account.
    pub sub: String,
    /// Its organization.
    pub org_id: String,
    /// Its role when the token was issued; for clients only, the server looks the role up.
    pub role: String,
    /// The account's token version; a token with another version is invalid.
    pub ver: i64,
    /// The issuer.
    pub iss: String,
    /// The audience.
    pub aud: String,
    /// When it was issued, in seconds since 1970.
    pub iat: i64,
    /// When it expires, in seconds since 1970.
    pub exp: i64,
    /// The token's id.
    pub jti: String,
}

/// Issues and checks tokens.
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
    /// [`Error::Internal`] if a PEM is not an Ed25519 private key.
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
                let previous = previous_pem.as_ref().map(|pem| ("JWT_PREVIOUS_KEY_FILE", pem));
                let verifying = std::iter::once((KEY_FILE, private_pem)).chain(previous);
                let signing = EncodingKey::from_ed_pem(private_pem.expose_secret().as_bytes())
                    .map_err(|e| not_a_key(KEY_FILE, e))?;
                (Algorithm::EdDSA, signing, verifying.map(public_key).collect::<Result<_>>()?)
            }
        };
        let mut validation = Validation::new(algorithm);
        validation.leeway = 0;
        validation.validate_nbf = true;
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

    /// How long a new token is valid.
    #[must_use]
    pub const fn lifetime(&self) -> Duration {
        self.lifetime
    }

    /// Issues a token for `account`.
    ///
    /// # Errors
    /// [`Error::Internal`] if signing fails.
    pub fn issue(&self, account: &Account, now: DateTime<Utc>) -> Result<String> {
        let issued_at = now.timestamp();
        let claims = Claims {
            sub: account.id.to_string(),
            org_id: account.org_id.to_string(),
            role: account.role.as_ref().to_owned(),
            ver: account.token_version,
            iss: self.issuer.clone(),
            aud: self.audience.clone(),
            iat: issued_at,
            exp: issued_at.saturating_add_unsigned(self.lifetime.as_secs()),
            jti: Uuid::now_v7().to_string(),
        };
        jsonwebtoken::encode(&self.header, &claims, &self.signing)
            .map_err(|e| Error::Internal(format!("cannot sign a token: {e}")))
    }

    /// Checks a token and returns its claims.
    ///
    /// # Errors
    /// [`Error::Unauthenticated`] if we did not issue the token or it has expired.
    pub fn check(&self, token: &str) -> Result<CheckedClaims> {
        self.verifying
            .iter()
            .find_map(|key| jsonwebtoken::decode::<Claims>(token, key, &self.validation).ok())
            .filter(|_| !has_extensions(token))
            .and_then(|data| CheckedClaims::of(&data.claims))
            .ok_or(Error::Unauthenticated)
    }
}

/// Claims whose signature, issuer, audience and expiry were checked.
#[derive(Clone, Copy, Debug)]
pub struct CheckedClaims {
    /// The account.
    pub account_id: AccountId,
    /// Its organization.
    pub org_id: OrgId,
    /// The account's token version when the token was issued.
    pub token_version: i64,
    /// When the token expires.
    pub expires_at: DateTime<Utc>,
}

impl CheckedClaims {
    fn of(claims: &Claims) -> Option<Self> {
        Some(Self {
            account_id: claims.sub.parse().ok()?,
            org_id: claims.org_id.parse().ok()?,
            token_version: claims.ver,
            expires_at: DateTime::from_timestamp(claims.exp, 0)?,
        })
    }
}

/// Whether the header uses extensions, which we do not support: `crit` lists required ones, and
/// `b64` says that the claims are not encoded. A token with either must be refused (RFC 7515,
/// 4.1.11; RFC 7797, 6).
fn has_extensions(token: &str) -> bool {
    let header = token.split('.').next().and_then(|header| URL_SAFE_NO_PAD.decode(header).ok());
    let header = header.and_then(|header| {
        serde_json::from_slice::<serde_json::Map<String, serde_json::Value>>(&header).ok()
    });
    header.is_none_or(|header| header.contains_key("crit") || header.contains_key("b64"))
}

const KEY_FILE: &str = "JWT_KEY_FILE";

fn public_key((setting, private_pem): (&str, &SecretString)) -> Result<DecodingKey> {
    let key = SigningKey::from_pkcs8_pem(private_pem.expose_secret());
    let key = key.map_err(|e| not_a_key(setting, e))?;
    Ok(DecodingKey::from_ed_der(key.verifying_key().as_bytes()))
}

fn not_a_key(setting: &str, error: impl std::fmt::Display) -> Error {
    Error::Internal(format!("{setting} is not an Ed25519 private key in PKCS 8 PEM: {error}"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;
    use crate::domain::{
        hostile::{almost, any_text},
        identity::{Email, PasswordDigest, Role},
    };

    const SECRET: &str = "a secret of the tests, of 32 bytes and more";

    fn issuer() -> TokenIssuer {
        TokenIssuer::new(TokenSettings {
            keys: Keys::Hs256 { secret: SECRET.to_owned().into(), previous: None },
            issuer: "tenantry".to_owned(),
            audience: "tenantry".to_owned(),
            lifetime: Duration::from_hours(1),
        })
        .unwrap()
    }

    fn account(id: [u8; 12], org: [u8; 12], token_version: i64) -> Account {
        Account {
            id: bson::oid::ObjectId::from_bytes(id).into(),
            org_id: bson::oid::ObjectId::from_bytes(org).into(),
            email: Email::from_stored("ada@example.com".to_owned()),
            name: None,
            role: Role::Member,
            password: PasswordDigest::new(String::new()),
            token_version,
            created_at: DateTime::UNIX_EPOCH,
            updated_at: DateTime::UNIX_EPOCH,
        }
    }

    /// A time in 2096, so that tokens issued then have not expired.
    fn then() -> DateTime<Utc> {
        DateTime::from_timestamp(4_000_000_000, 0).unwrap()
    }

    fn tokens() -> impl Strategy<Value = String> {
        any::<[u8; 12]>().prop_map(|id| issuer().issue(&account(id, id, 1), then()).unwrap())
    }

    /// A JSON value for a claim or header.
    fn values() -> impl Strategy<Value = Value> {
        prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<u64>().prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            any_text().prop_map(Value::from),
            "[0-9a-f]{24}".prop_map(Value::from),
            any_text().prop_map(|text| json!([text, "tenantry"])),
            any_text().prop_map(|text| json!({ text: "tenantry" })),
        ]
    }

    proptest! {
        #[test]
        fn an_issued_token_is_read_back_unchanged(id: [u8; 12], org: [u8; 12], version: i64) {
            let account = account(id, org, version);
            let claims = issuer().check(&issuer().issue(&account, then()).unwrap()).unwrap();
            prop_assert_eq!((claims.account_id, claims.org_id), (account.id, account.org_id));
            prop_assert_eq!(claims.token_version, version);
        }

        #[test]
        fn hostile_texts_are_refused(raw in prop_oneof![any_text(), "[A-Za-z0-9_.-]{0,200}"]) {
            prop_assert!(matches!(issuer().check(&raw), Err(Error::Unauthenticated)));
        }

        #[test]
        fn a_changed_token_is_refused(
            (token, changed) in tokens().prop_flat_map(|t| (Just(t.clone()), almost(Just(t)))),
        ) {
            prop_assert_eq!(issuer().check(&changed).is_ok(), changed == token, "{}", changed);
        }

        #[test]
        fn hostile_claims_with_a_valid_signature_are_refused_or_read_unchanged(
            claim in prop::sample::select(vec![
                "sub", "org_id", "role", "ver", "iss", "aud", "iat", "exp", "nbf", "jti",
            ]),
            value in values(),
        ) {
            let mut claims = json!({
                "sub": "0123456789abcdef01234567", "org_id": "0123456789abcdef01234568",
                "role": "admin", "ver": 7, "iss": "tenantry", "aud": "tenantry",
                "iat": 4_000_000_000_i64, "exp": 4_000_003_600_i64, "jti": "x",
            });
            claims[claim] = value;
            let key = EncodingKey::from_secret(SECRET.as_bytes());
            let token = jsonwebtoken::encode(&Header::default(), &claims, &key).unwrap();
            if let Ok(checked) = issuer().check(&token) {
                prop_assert_eq!(checked.account_id.to_string(), claims["sub"].as_str().unwrap());
                prop_assert_eq!(checked.org_id.to_string(), claims["org_id"].as_str().unwrap());
                prop_assert_eq!(claims["ver"].as_i64(), Some(checked.token_version));
                prop_assert_eq!(&claims["iss"], "tenantry");
                prop_assert_eq!(&claims["aud"], "tenantry");
            }
        }

        #[test]
        fn critical_header_extensions_with_a_valid_signature_are_refused(
            name in prop::sample::select(vec!["crit", "b64", "typ", "cty", "kid", "x"]),
            value in values(),
        ) {
            let mut header = json!({ "alg": "HS256" });
            header[name] = value;
            let token = issuer().issue(&account([1; 12], [2; 12], 1), then()).unwrap();
            let body = token.split('.').nth(1).unwrap();
            let signed = format!("{}.{body}", URL_SAFE_NO_PAD.encode(header.to_string()));
            let key = EncodingKey::from_secret(SECRET.as_bytes());
            let signature =
                jsonwebtoken::crypto::sign(signed.as_bytes(), &key, Algorithm::HS256).unwrap();
            let accepted = issuer().check(&format!("{signed}.{signature}")).is_ok();
            prop_assert!(!accepted || !matches!(name, "crit" | "b64"), "{}", header);
        }
    }
}
