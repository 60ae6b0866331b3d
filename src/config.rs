//! Settings: defaults, then the profile's file, then the environment. What is wrong stops the start
//! with a sentence that names the key.

use std::{net::IpAddr, path::PathBuf, time::Duration};

use config::{Config, File, FileFormat};
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;

use crate::auth::{HashParameters, ThrottleSettings};

/// Everything that can be set.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// The profile.
    pub env: Profile,
    /// The HTTP side.
    pub server: ServerSettings,
    /// The database.
    pub mongo: MongoSettings,
    /// The database of the default start.
    pub embedded: EmbeddedSettings,
    /// Password hashing.
    pub hash: HashParameters,
    /// Limits on guessing and signing up.
    pub throttle: ThrottleSettings,
    /// Tokens.
    pub jwt: JwtSettings,
    /// Renames and deletes.
    pub operations: OperationSettings,
    /// Logs.
    pub log: LogSettings,
}

/// For whom the server runs.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "lowercase")]
pub enum Profile {
    /// For whoever works on it.
    Development,
    /// For others.
    Production,
}

/// The HTTP side.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ServerSettings {
    /// Address and port to listen on; port 0 takes a free one.
    pub bind: String,
    /// Threads that answer requests; 0 for one per core.
    pub workers: usize,
    /// Seconds after which a request is given up.
    pub request_timeout_seconds: u64,
    /// Seconds that a shutdown waits for requests under way.
    pub shutdown_timeout_seconds: u64,
    /// The most bytes of a request's body.
    pub body_limit_bytes: usize,
    /// Reverse proxies whose `X-Forwarded-For` is believed.
    #[serde(deserialize_with = "list")]
    pub trusted_proxies: Vec<IpAddr>,
    /// Origins of pages that may call the API.
    #[serde(deserialize_with = "list")]
    pub cors_origins: Vec<String>,
}

/// The database.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MongoSettings {
    /// A connection string.
    pub uri: Option<SecretString>,
    /// Or a host,
    pub host: Option<String>,
    /// its port,
    pub port: u16,
    /// a user
    pub user: Option<String>,
    /// and its password.
    pub password: Option<SecretString>,
    /// The master database.
    pub master_db: String,
    /// The tenants' database.
    pub tenant_db: String,
    /// Milliseconds that a call waits for a server it can use.
    pub selection_timeout_ms: u64,
    /// Milliseconds that a transaction is retried.
    pub transaction_deadline_ms: u64,
}

/// The database of the default start.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EmbeddedSettings {
    /// Where its program, data and log are.
    pub dir: PathBuf,
    /// A `mongod` to use instead of the one on `PATH` or the fetched one.
    pub mongod: Option<PathBuf>,
    /// Its cache in GiB.
    pub cache_gb: f64,
}

/// Tokens.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JwtSettings {
    /// `HS256` or `EdDSA`.
    pub algorithm: JwtAlgorithm,
    /// The secret of HS256.
    pub secret: Option<SecretString>,
    /// The secret before it, whose tokens are still taken.
    pub previous_secret: Option<SecretString>,
    /// The Ed25519 private key of EdDSA, PKCS 8 in PEM.
    pub key_file: Option<PathBuf>,
    /// The key before it, whose tokens are still taken.
    pub previous_key_file: Option<PathBuf>,
    /// `iss`.
    pub issuer: String,
    /// `aud`.
    pub audience: String,
    /// Minutes that a token is good for.
    pub access_token_expire_minutes: u64,
}

/// How tokens are signed.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq)]
pub enum JwtAlgorithm {
    /// HMAC with SHA-256.
    HS256,
    /// Ed25519.
    EdDSA,
}

/// Renames and deletes.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OperationSettings {
    /// Seconds that an operation belongs to the process that drives it.
    pub lease_seconds: u64,
    /// Seconds between two looks for operations that another process has left.
    pub recovery_interval_seconds: u64,
    /// Milliseconds that a request waits for a tenant that is being moved.
    pub patience_ms: u64,
}

/// Logs.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LogSettings {
    /// A `tracing` filter, such as `info` or `tenantry=debug`.
    pub filter: String,
    /// How lines look.
    pub format: LogFormat,
}

/// How log lines look.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    Pretty,
    /// For machines.
    Json,
}

/// Why the settings cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct SettingsError(String);

/// Every environment variable and the key that it sets.
pub const VARIABLES: [(&str, &str); 42] = [
    ("APP_ENV", "env"),
    ("BIND", "server.bind"),
    ("WORKERS", "server.workers"),
    ("REQUEST_TIMEOUT_SECONDS", "server.request_timeout_seconds"),
    ("SHUTDOWN_TIMEOUT_SECONDS", "server.shutdown_timeout_seconds"),
    ("BODY_LIMIT_BYTES", "server.body_limit_bytes"),
    ("TRUSTED_PROXIES", "server.trusted_proxies"),
    ("CORS_ORIGINS", "server.cors_origins"),
    ("MONGO_URI", "mongo.uri"),
    ("MONGO_HOST", "mongo.host"),
    ("MONGO_PORT", "mongo.port"),
    ("MONGO_USER", "mongo.user"),
    ("MONGO_PASSWORD", "mongo.password"),
    ("MASTER_DB", "mongo.master_db"),
    ("TENANT_DB", "mongo.tenant_db"),
    ("MONGO_SELECTION_TIMEOUT_MS", "mongo.selection_timeout_ms"),
    ("TRANSACTION_DEADLINE_MS", "mongo.transaction_deadline_ms"),
    ("TENANTRY_DIR", "embedded.dir"),
    ("TENANTRY_MONGOD", "embedded.mongod"),
    ("TENANTRY_MONGOD_CACHE_GB", "embedded.cache_gb"),
    ("HASH_MEMORY_KIB", "hash.memory_kib"),
    ("HASH_ITERATIONS", "hash.iterations"),
    ("HASH_PARALLELISM", "hash.parallelism"),
    ("HASH_CONCURRENCY", "hash.concurrency"),
    ("HASH_QUEUE", "hash.queue"),
    ("LOGIN_FAILURES_PER_ACCOUNT", "throttle.login_failures_per_account"),
    ("LOGIN_FAILURES_PER_ADDRESS", "throttle.login_failures_per_address"),
    ("LOGIN_WINDOW_MINUTES", "throttle.login_window_minutes"),
    ("SIGN_UPS_PER_ADDRESS_MINUTE", "throttle.sign_ups_per_address_minute"),
    ("JWT_ALGORITHM", "jwt.algorithm"),
    ("JWT_SECRET", "jwt.secret"),
    ("JWT_PREVIOUS_SECRET", "jwt.previous_secret"),
    ("JWT_KEY_FILE", "jwt.key_file"),
    ("JWT_PREVIOUS_KEY_FILE", "jwt.previous_key_file"),
    ("JWT_ISSUER", "jwt.issuer"),
    ("JWT_AUDIENCE", "jwt.audience"),
    ("ACCESS_TOKEN_EXPIRE_MINUTES", "jwt.access_token_expire_minutes"),
    ("OPERATION_LEASE_SECONDS", "operations.lease_seconds"),
    ("RECOVERY_INTERVAL_SECONDS", "operations.recovery_interval_seconds"),
    ("PATIENCE_MS", "operations.patience_ms"),
    ("LOG", "log.filter"),
    ("LOG_FORMAT", "log.format"),
];

/// Variables that may also be given as `<NAME>_FILE`, the path of a file that holds the value.
pub const SECRETS: [&str; 4] = ["MONGO_URI", "MONGO_PASSWORD", "JWT_SECRET", "JWT_PREVIOUS_SECRET"];

/// Short secrets can be guessed offline from one token (RFC 8725, 3.5).
const SECRET_MIN_BYTES: usize = 32;
const DEFAULTS: &str = include_str!("../config/default.toml");
const DEVELOPMENT: &str = include_str!("../config/development.toml");
const PRODUCTION: &str = include_str!("../config/production.toml");

impl Settings {
    /// Reads the settings; `variable` looks up an environment variable. The files in `config/` of
    /// the working directory, where there are any, take the place of the built-in ones.
    ///
    /// # Errors
    /// [`SettingsError`], which names the key and its variable.
    pub fn load(variable: impl Fn(&str) -> Option<String>) -> Result<Self, SettingsError> {
        let profile = variable("APP_ENV").unwrap_or_else(|| "development".to_owned());
        let built_in = match profile.as_str() {
            "production" => PRODUCTION,
            "development" => DEVELOPMENT,
            _ => {
                return Err(SettingsError(
                    "APP_ENV must be `development` or `production`".to_owned(),
                ));
            }
        };
        let mut builder = Config::builder()
            .add_source(File::from_str(DEFAULTS, FileFormat::Toml))
            .add_source(File::with_name("config/default.toml").required(false))
            .add_source(File::from_str(built_in, FileFormat::Toml))
            .add_source(File::with_name(&format!("config/{profile}.toml")).required(false));
        builder = builder.set_override("env", profile).map_err(|e| SettingsError(e.to_string()))?;
        for (name, key) in VARIABLES {
            if let Some(value) = read(&variable, name)? {
                builder =
                    builder.set_override(key, value).map_err(|e| SettingsError(e.to_string()))?;
            }
        }
        let settings: Self =
            builder.build().and_then(Config::try_deserialize).map_err(|e| explain(&e))?;
        settings.check()?;
        Ok(settings)
    }

    /// Reads the settings from the process's environment.
    ///
    /// # Errors
    /// As [`Settings::load`].
    pub fn from_environment() -> Result<Self, SettingsError> {
        Self::load(|name| std::env::var(name).ok())
    }

    fn check(&self) -> Result<(), SettingsError> {
        let wrong = |text: &str| Err(SettingsError(text.to_owned()));
        if self.mongo.uri.is_some() && self.mongo.host.is_some() {
            return wrong("set MONGO_URI or MONGO_HOST, not both");
        }
        if self.mongo.user.is_some() != self.mongo.password.is_some() {
            return wrong("MONGO_USER and MONGO_PASSWORD go together");
        }
        if self.mongo.master_db == self.mongo.tenant_db {
            return wrong("MASTER_DB and TENANT_DB must not be the same database");
        }
        for (name, value) in
            [("MASTER_DB", &self.mongo.master_db), ("TENANT_DB", &self.mongo.tenant_db)]
        {
            if value.is_empty()
                || value.len() > 63
                || value.contains(['/', '\\', '.', ' ', '"', '$', '\0'])
            {
                return wrong(&format!("{name} is not a name that MongoDB takes for a database"));
            }
        }
        for (name, value) in [
            ("REQUEST_TIMEOUT_SECONDS", self.server.request_timeout_seconds),
            ("ACCESS_TOKEN_EXPIRE_MINUTES", self.jwt.access_token_expire_minutes),
            ("LOGIN_WINDOW_MINUTES", self.throttle.login_window_minutes),
            ("OPERATION_LEASE_SECONDS", self.operations.lease_seconds),
            ("RECOVERY_INTERVAL_SECONDS", self.operations.recovery_interval_seconds),
        ] {
            if value == 0 {
                return wrong(&format!("{name} must be greater than 0"));
            }
        }
        self.check_tokens()
    }

    fn check_tokens(&self) -> Result<(), SettingsError> {
        let wrong = |text: &str| Err(SettingsError(text.to_owned()));
        let secrets =
            [("JWT_SECRET", &self.jwt.secret), ("JWT_PREVIOUS_SECRET", &self.jwt.previous_secret)];
        for (name, secret) in secrets {
            let length = secret.as_ref().map(|secret| secret.expose_secret().len());
            if length.is_some_and(|length| length < SECRET_MIN_BYTES) {
                return wrong(&format!("{name} is too short: it must have at least 32 bytes"));
            }
        }
        match self.jwt.algorithm {
            JwtAlgorithm::EdDSA if self.jwt.key_file.is_none() => {
                wrong("JWT_ALGORITHM is EdDSA, so JWT_KEY_FILE must name an Ed25519 private key")
            }
            JwtAlgorithm::HS256 if self.env == Profile::Production && self.jwt.secret.is_none() => {
                wrong(
                    "in production JWT_SECRET (or JWT_SECRET_FILE) must be set to a secret of at \
                     least 32 bytes; `openssl rand -base64 48` makes one",
                )
            }
            _ => Ok(()),
        }
    }
}

impl ServerSettings {
    /// After how long a request is given up.
    #[must_use]
    pub const fn request_timeout(&self) -> Duration {
        Duration::from_secs(self.request_timeout_seconds)
    }
}

/// The variable's value, or the content of the file that its `_FILE` sibling names. An empty one is
/// as good as none: that is how compose files pass what is not set.
fn read(
    variable: &impl Fn(&str) -> Option<String>,
    name: &str,
) -> Result<Option<String>, SettingsError> {
    let value = variable(name).filter(|value| !value.is_empty());
    let file = SECRETS
        .contains(&name)
        .then(|| variable(&format!("{name}_FILE")))
        .flatten()
        .filter(|path| !path.is_empty());
    match (value, file) {
        (Some(_), Some(_)) => Err(SettingsError(format!("set {name} or {name}_FILE, not both"))),
        (None, Some(path)) => std::fs::read_to_string(&path)
            .map(|content| Some(content.trim_end_matches(['\r', '\n']).to_owned()))
            .map_err(|e| SettingsError(format!("{name}_FILE: {path} cannot be read: {e}"))),
        (value, None) => Ok(value),
    }
}

/// The library's reason with the variable's name beside the key's. Values stay out of it: they may
/// be secrets.
fn explain(error: &config::ConfigError) -> SettingsError {
    let text = match error {
        config::ConfigError::Type { key: Some(key), expected, .. } => {
            format!("{key} must be {expected}")
        }
        config::ConfigError::At { error, key: Some(key), .. } => format!("{key}: {error}"),
        other => other.to_string(),
    };
    let variable = VARIABLES.iter().find(|(_, key)| text.contains(key)).map(|(name, _)| *name);
    SettingsError(match variable {
        Some(name) => format!("{name}: {text}"),
        None => text,
    })
}

/// A list, or one text with commas, which is how the environment says it.
fn list<'de, D, T>(deserializer: D) -> Result<Vec<T>, D::Error>
where
    D: serde::Deserializer<'de>,
    T: std::str::FromStr + Deserialize<'de>,
    T::Err: std::fmt::Display,
{
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum OneOrMany {
        One(String),
        Many(Vec<String>),
    }
    let items = match OneOrMany::deserialize(deserializer)? {
        OneOrMany::One(text) => text.split(',').map(str::to_owned).collect(),
        OneOrMany::Many(items) => items,
    };
    items
        .iter()
        .map(|item| item.trim())
        .filter(|item| !item.is_empty())
        .map(|item| item.parse().map_err(|e| serde::de::Error::custom(format!("`{item}`: {e}"))))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(variables: &[(&str, &str)]) -> Result<Settings, String> {
        Settings::load(|name| {
            variables.iter().find(|(n, _)| *n == name).map(|(_, value)| (*value).to_owned())
        })
        .map_err(|e| e.to_string())
    }

    #[test]
    fn the_defaults_are_a_development_profile_on_the_embedded_database() {
        let settings = load(&[]).unwrap();
        assert_eq!(settings.env, Profile::Development);
        assert!(settings.mongo.uri.is_none() && settings.mongo.host.is_none());
        assert_eq!(settings.throttle.sign_ups_per_address_minute, 0);
        assert_eq!(settings.hash.memory_kib, 19_456);
    }

    #[test]
    fn the_environment_wins() {
        let settings = load(&[
            ("BIND", "127.0.0.1:0"),
            ("MONGO_PORT", "27099"),
            ("CORS_ORIGINS", "https://a.example, https://b.example"),
            ("TRUSTED_PROXIES", "10.0.0.1"),
        ])
        .unwrap();
        assert_eq!(settings.server.bind, "127.0.0.1:0");
        assert_eq!(settings.mongo.port, 27_099);
        assert_eq!(settings.server.cors_origins, ["https://a.example", "https://b.example"]);
        assert_eq!(settings.server.trusted_proxies.len(), 1);
    }

    #[test]
    fn production_wants_a_secret_of_its_own() {
        let refusal = load(&[("APP_ENV", "production")]).unwrap_err();
        assert!(refusal.contains("JWT_SECRET"), "{refusal}");
        let refusal = load(&[("APP_ENV", "production"), ("JWT_SECRET", "short")]).unwrap_err();
        assert!(refusal.contains("JWT_SECRET") && !refusal.contains("`short`"), "{refusal}");
        let secret = "0123456789abcdef0123456789abcdef";
        let settings = load(&[("APP_ENV", "production"), ("JWT_SECRET", secret)]).unwrap();
        assert_eq!(settings.throttle.sign_ups_per_address_minute, 60);
        assert_eq!(settings.log.format, LogFormat::Json);
    }

    #[test]
    fn wrong_values_name_their_variable() {
        for (name, value) in [
            ("APP_ENV", "staging"),
            ("MONGO_PORT", "many"),
            ("MONGO_PORT", "70000"),
            ("WORKERS", "-1"),
            ("JWT_ALGORITHM", "none"),
            ("JWT_ALGORITHM", "EdDSA"),
            ("TRUSTED_PROXIES", "proxy.example"),
            ("MONGO_USER", "ada"),
            ("MASTER_DB", "a.b"),
            ("REQUEST_TIMEOUT_SECONDS", "0"),
            ("TENANTRY_MONGOD_CACHE_GB", "lots"),
        ] {
            let refusal = load(&[(name, value)]).unwrap_err();
            assert!(refusal.contains(name), "{name}={value}: {refusal}");
        }
    }

    #[test]
    fn secrets_may_come_from_files() {
        let file = std::env::temp_dir().join(format!("tenantry-secret-{}", std::process::id()));
        std::fs::write(&file, "0123456789abcdef0123456789abcdef\n").unwrap();
        let path = file.to_str().unwrap();
        let settings = load(&[("JWT_SECRET_FILE", path)]).unwrap();
        assert_eq!(settings.jwt.secret.unwrap().expose_secret().len(), 32);
        let refusal = load(&[("JWT_SECRET_FILE", path), ("JWT_SECRET", "x")]).unwrap_err();
        assert!(refusal.contains("not both"), "{refusal}");
        std::fs::remove_file(&file).unwrap();
        let refusal = load(&[("JWT_SECRET_FILE", path)]).unwrap_err();
        assert!(refusal.contains("JWT_SECRET_FILE"), "{refusal}");
    }

    #[test]
    fn the_example_file_lists_every_variable_and_no_other() {
        let example = include_str!("../.env.example");
        let mut listed: Vec<&str> = example
            .lines()
            .map(|line| line.trim_start_matches("# "))
            .filter_map(|line| line.split_once('=').map(|(name, _)| name))
            .filter(|name| name.bytes().all(|b| b.is_ascii_uppercase() || b == b'_'))
            .collect();
        let mut known: Vec<String> = VARIABLES.iter().map(|(name, _)| (*name).to_owned()).collect();
        known.extend(SECRETS.iter().map(|name| format!("{name}_FILE")));
        listed.sort_unstable();
        known.sort_unstable();
        assert_eq!(listed, known);
    }
}
