//! Settings: defaults, then the profile's file, then the environment. What is wrong stops the start
//! with a sentence that names the key.

pub mod misspelt;
mod public_url;
mod traces;
mod variables;

use std::{
    net::IpAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use config::{Config, File, FileFormat};
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;

pub use public_url::PublicUrl;
pub use traces::TraceSettings;
pub use variables::{SECRETS, VARIABLES};
use variables::{explain, list, read};

use crate::{
    auth::{HashParameters, ThrottleSettings},
    trust::{self, Closed},
};

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
    /// GraphQL.
    pub graphql: GraphQlSettings,
    /// Renames and deletes.
    pub operations: OperationSettings,
    /// Logs.
    pub log: LogSettings,
    /// Traces.
    pub traces: TraceSettings,
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
    /// The most clients that are connected at once; 0 for as many as there are descriptors for.
    pub max_connections: usize,
    /// Seconds that a client may take over the head of a request.
    pub header_timeout_seconds: u64,
    /// Seconds that a client may take over a body.
    pub body_timeout_seconds: u64,
    /// Seconds after which a request is given up, the wait for its body apart.
    pub request_timeout_seconds: u64,
    /// Seconds that a client may take over each 16 KiB of an answer.
    pub write_timeout_seconds: u64,
    /// Seconds that a connection may idle between two requests.
    pub keep_alive_seconds: u64,
    /// Seconds that a shutdown waits for requests under way.
    pub shutdown_timeout_seconds: u64,
    /// The most bytes of a request's body.
    pub body_limit_bytes: usize,
    /// Reverse proxies whose `X-Forwarded-For` is believed.
    #[serde(deserialize_with = "list")]
    pub trusted_proxies: Vec<IpAddr>,
    /// Where clients reach the server, for links in answers; in development else the socket's.
    pub public_url: Option<PublicUrl>,
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
    /// The most organizations; 0 for as many collections as the database's file handles allow.
    pub max_organizations: u64,
    /// Milliseconds that a call waits for a server it can use.
    pub selection_timeout_ms: u64,
    /// Milliseconds that a transaction is retried.
    pub transaction_deadline_ms: u64,
    /// Whether every command is timed for the metrics.
    pub command_metrics: bool,
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

/// GraphQL.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GraphQlSettings {
    /// Whether clients may ask what is in the schema.
    pub introspection: bool,
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

/// Short secrets can be guessed offline from one token (RFC 8725, 3.5).
pub(crate) const SECRET_MIN_BYTES: usize = 32;
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
        let files = ["config/default.toml".to_owned(), format!("config/{profile}.toml")];
        for file in &files {
            // They can name the program that is run.
            trust::file(Path::new(file), Closed::Shared)
                .map_err(|e| SettingsError(e.to_string()))?;
        }
        let [defaults, of_profile] = &files;
        let mut builder = Config::builder()
            .add_source(File::from_str(DEFAULTS, FileFormat::Toml))
            .add_source(File::with_name(defaults).required(false))
            .add_source(File::from_str(built_in, FileFormat::Toml))
            .add_source(File::with_name(of_profile).required(false));
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
        let external = self.mongo.uri.is_some() || self.mongo.host.is_some();
        if external && self.mongo.user.is_some() != self.mongo.password.is_some() {
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
        self.check_times()?;
        self.check_tokens()?;
        self.traces.check()?;
        if self.env == Profile::Production && self.server.public_url.is_none() {
            return wrong(
                "in production PUBLIC_URL must be set to where clients reach the server, such as \
                 https://api.example.com",
            );
        }
        Ok(())
    }

    /// What is longer than any of these is a slip, and would overflow a clock sooner or later.
    fn check_times(&self) -> Result<(), SettingsError> {
        const DAY: u64 = 24 * 60 * 60;
        const TEN_YEARS: u64 = 10 * 365 * 24 * 60;
        let (server, mongo, operations) = (&self.server, &self.mongo, &self.operations);
        for (name, value, range) in [
            ("REQUEST_TIMEOUT_SECONDS", server.request_timeout_seconds, 1..=DAY),
            ("HEADER_TIMEOUT_SECONDS", server.header_timeout_seconds, 1..=DAY),
            ("BODY_TIMEOUT_SECONDS", server.body_timeout_seconds, 1..=DAY),
            ("WRITE_TIMEOUT_SECONDS", server.write_timeout_seconds, 1..=DAY),
            ("KEEP_ALIVE_SECONDS", server.keep_alive_seconds, 1..=DAY),
            ("SHUTDOWN_TIMEOUT_SECONDS", server.shutdown_timeout_seconds, 0..=DAY),
            ("MONGO_SELECTION_TIMEOUT_MS", mongo.selection_timeout_ms, 0..=DAY * 1000),
            ("TRANSACTION_DEADLINE_MS", mongo.transaction_deadline_ms, 0..=DAY * 1000),
            ("ACCESS_TOKEN_EXPIRE_MINUTES", self.jwt.access_token_expire_minutes, 1..=TEN_YEARS),
            ("LOGIN_WINDOW_MINUTES", self.throttle.login_window_minutes, 1..=TEN_YEARS),
            ("OPERATION_LEASE_SECONDS", operations.lease_seconds, 1..=DAY),
            ("RECOVERY_INTERVAL_SECONDS", operations.recovery_interval_seconds, 1..=DAY),
            ("PATIENCE_MS", operations.patience_ms, 0..=DAY * 1000),
        ] {
            if value < *range.start() {
                return Err(SettingsError(format!("{name} must be greater than 0")));
            }
            if value > *range.end() {
                return Err(SettingsError(format!("{name} must be at most {}", range.end())));
            }
        }
        Ok(())
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
    /// How long a client may take over the head of a request.
    #[must_use]
    pub const fn header_timeout(&self) -> Duration {
        Duration::from_secs(self.header_timeout_seconds)
    }

    /// How long a client may take over a body.
    #[must_use]
    pub const fn body_timeout(&self) -> Duration {
        Duration::from_secs(self.body_timeout_seconds)
    }

    /// After how long a request is given up.
    #[must_use]
    pub const fn request_timeout(&self) -> Duration {
        Duration::from_secs(self.request_timeout_seconds)
    }
}
