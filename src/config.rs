//! Settings: defaults, then the profile's file, then the environment. Wrong values stop the start
//! with a sentence that names each of them.

pub mod misspelt;
mod public_url;
mod rules;
mod traces;
mod variables;

use std::{
    net::IpAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use config::{Config, ConfigBuilder, File, FileFormat, builder::DefaultState};
use secrecy::SecretString;
use serde::Deserialize;
use validator::Validate;

pub use public_url::PublicUrl;
use rules::sentences;
pub use traces::TraceSettings;
pub use variables::{SECRETS, VARIABLES};
use variables::{explain, list, read};

use crate::{
    auth::{HashParameters, ThrottleSettings},
    trust::{self, Closed},
};

/// All settings.
#[derive(Clone, Debug, Deserialize, Validate)]
#[serde(deny_unknown_fields)]
#[validate(schema(function = rules::has_secret, skip_on_field_errors = false))]
#[validate(schema(function = rules::has_public_url, skip_on_field_errors = false))]
pub struct Settings {
    /// The profile, which selects defaults and stricter rules.
    pub env: Profile,
    /// The HTTP server.
    #[validate(nested)]
    pub server: ServerSettings,
    /// The database.
    #[validate(nested)]
    pub mongo: MongoSettings,
    /// The embedded database.
    #[validate(nested)]
    pub embedded: EmbeddedSettings,
    /// Password hashing.
    #[validate(nested)]
    pub hash: HashParameters,
    /// Limits on guessing and signing up.
    #[validate(nested)]
    pub throttle: ThrottleSettings,
    /// Tokens.
    #[validate(nested)]
    pub jwt: JwtSettings,
    /// GraphQL.
    pub graphql: GraphQlSettings,
    /// Renames and deletes.
    #[validate(nested)]
    pub operations: OperationSettings,
    /// Logs.
    pub log: LogSettings,
    /// Traces.
    #[validate(nested)]
    pub traces: TraceSettings,
}

/// The environment that the server runs in.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "lowercase")]
pub enum Profile {
    /// A developer's machine.
    Development,
    /// A deployment that others use.
    Production,
}

/// The HTTP server.
#[derive(Clone, Debug, Deserialize, Validate)]
#[serde(deny_unknown_fields)]
pub struct ServerSettings {
    /// Address and port to listen on; port 0 means any free one.
    pub bind: String,
    /// Threads that answer requests; 0 for one per core.
    pub workers: usize,
    /// Maximum number of connected clients; 0 for as many as the open file limit allows.
    pub max_connections: usize,
    /// Seconds for a client to send the head of a request.
    #[validate(range(min = 1, max = DAY))]
    pub header_timeout_seconds: u64,
    /// Seconds for a client to send a body.
    #[validate(range(min = 1, max = DAY))]
    pub body_timeout_seconds: u64,
    /// Seconds after which a request is aborted, not counting the wait for its body.
    #[validate(range(min = 1, max = DAY))]
    pub request_timeout_seconds: u64,
    /// Seconds for a client to read each 16 KiB of an answer.
    #[validate(range(min = 1, max = DAY))]
    pub write_timeout_seconds: u64,
    /// Seconds that a connection may idle between two requests.
    #[validate(range(min = 1, max = DAY))]
    pub keep_alive_seconds: u64,
    /// Seconds that a shutdown waits for running requests.
    #[validate(range(max = DAY))]
    pub shutdown_timeout_seconds: u64,
    /// Maximum size of a request's body in bytes.
    #[validate(range(min = 1))]
    pub body_limit_bytes: usize,
    /// Reverse proxies whose `X-Forwarded-For` is trusted.
    #[serde(deserialize_with = "list")]
    pub trusted_proxies: Vec<IpAddr>,
    /// Where clients reach the server, for links in answers. Defaults to the socket's address in
    /// development; required in production.
    pub public_url: Option<PublicUrl>,
    /// Origins of pages that may call the API.
    #[serde(deserialize_with = "list")]
    pub cors_origins: Vec<String>,
}

/// The database.
#[derive(Clone, Debug, Deserialize, Validate)]
#[serde(deny_unknown_fields)]
#[validate(schema(function = rules::is_one_server, skip_on_field_errors = false))]
#[validate(schema(function = rules::has_whole_login, skip_on_field_errors = false))]
#[validate(schema(function = rules::has_two_databases, skip_on_field_errors = false))]
pub struct MongoSettings {
    /// A connection string, instead of `host`.
    pub uri: Option<SecretString>,
    /// A host, instead of `uri`.
    pub host: Option<String>,
    /// The host's port.
    #[validate(range(min = 1))]
    pub port: u16,
    /// The user; set together with `password`.
    pub user: Option<String>,
    /// The user's password.
    pub password: Option<SecretString>,
    /// Name of the master database.
    #[validate(custom(function = rules::is_database_name))]
    pub master_db: String,
    /// Name of the tenants' database.
    #[validate(custom(function = rules::is_database_name))]
    pub tenant_db: String,
    /// Maximum number of organizations; 0 for as many collections as the database's file handles
    /// allow.
    pub max_organizations: u64,
    /// Milliseconds that an operation waits for a suitable MongoDB server.
    #[validate(range(max = DAY_MS))]
    pub selection_timeout_ms: u64,
    /// Milliseconds that the database has to answer a command.
    #[validate(range(min = LEAST_MS, max = DAY_MS))]
    pub transaction_deadline_ms: u64,
    /// Whether every command is timed for the metrics.
    pub command_metrics: bool,
}

/// The embedded database.
#[derive(Clone, Debug, Deserialize, Validate)]
#[serde(deny_unknown_fields)]
pub struct EmbeddedSettings {
    /// Directory of its program, data and log.
    pub dir: PathBuf,
    /// A `mongod` to use instead of the one on `PATH` or the downloaded one.
    pub mongod: Option<PathBuf>,
    /// Size of its cache in GiB.
    #[validate(custom(function = rules::is_cache_size))]
    pub cache_gb: f64,
}

/// Tokens.
#[derive(Clone, Debug, Deserialize, Validate)]
#[serde(deny_unknown_fields)]
#[validate(schema(function = rules::has_long_secret, skip_on_field_errors = false))]
#[validate(schema(function = rules::has_long_previous_secret, skip_on_field_errors = false))]
#[validate(schema(function = rules::has_key, skip_on_field_errors = false))]
pub struct JwtSettings {
    /// The signature algorithm.
    pub algorithm: JwtAlgorithm,
    /// The secret of HS256.
    pub secret: Option<SecretString>,
    /// Previous secret; its tokens are still accepted during rotation.
    pub previous_secret: Option<SecretString>,
    /// The Ed25519 private key of EdDSA, PKCS #8 in PEM.
    pub key_file: Option<PathBuf>,
    /// Previous key; its tokens are still accepted during rotation.
    pub previous_key_file: Option<PathBuf>,
    /// The `iss` claim.
    pub issuer: String,
    /// The `aud` claim.
    pub audience: String,
    /// Minutes for which a token is valid.
    #[validate(range(min = 1, max = 5_256_000))]
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
    /// Whether clients may read the schema by introspection.
    pub introspection: bool,
}

/// Renames and deletes.
#[derive(Clone, Debug, Deserialize, Validate)]
#[serde(deny_unknown_fields)]
pub struct OperationSettings {
    /// Seconds that a process keeps the lease of an operation that it runs.
    #[validate(range(min = 1, max = DAY))]
    pub lease_seconds: u64,
    /// Seconds between two searches for operations whose process has ended.
    #[validate(range(min = 1, max = DAY))]
    pub recovery_interval_seconds: u64,
    /// Milliseconds that a request has for everything it waits for.
    #[validate(range(min = LEAST_MS, max = DAY_MS))]
    pub patience_ms: u64,
}

/// Logs.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LogSettings {
    /// A `tracing` filter, such as `info` or `tenantry=debug`.
    pub filter: String,
    /// The format of a line.
    pub format: LogFormat,
}

/// The format of log lines.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    Pretty,
    /// For programs.
    Json,
}

/// Why the settings cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct SettingsError(String);

/// Short secrets can be guessed offline from one token (RFC 8725, 3.5).
pub(crate) const SECRET_MIN_BYTES: usize = 32;
/// Upper bound of durations, against typing errors and overflowing clocks.
const DAY: u64 = 24 * 60 * 60;
const DAY_MS: u64 = DAY * 1000;
/// Less would fail every request.
const LEAST_MS: u64 = 100;
const DEFAULTS: &str = include_str!("../config/default.toml");
const DEVELOPMENT: &str = include_str!("../config/development.toml");
const PRODUCTION: &str = include_str!("../config/production.toml");

impl Settings {
    /// Reads the settings; `variable` looks up an environment variable. Files in `config/` of the
    /// working directory override the built-in ones.
    ///
    /// # Errors
    /// [`SettingsError`] with one line for each wrong value, which names its key or variable.
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
            // The files can name the `mongod` to run.
            trust::file(Path::new(file), Closed::Shared)
                .map_err(|e| SettingsError(e.to_string()))?;
        }
        let [defaults, of_profile] = &files;
        let builder = Config::builder()
            .add_source(File::from_str(DEFAULTS, FileFormat::Toml))
            .add_source(File::with_name(defaults).required(false))
            .add_source(File::from_str(built_in, FileFormat::Toml))
            .add_source(File::with_name(of_profile).required(false))
            .set_override("env", profile)
            .map_err(|e| SettingsError(e.to_string()))?;
        let mut wrong = Vec::new();
        let settings = Self::read(&builder, variable, &mut wrong)?;
        let found = settings.validate().err().map(|errors| sentences(&errors)).unwrap_or_default();
        let reported = |sentence: &String| wrong.iter().any(|(name, _)| sentence.contains(name));
        let found: Vec<String> = found.into_iter().filter(|sentence| !reported(sentence)).collect();
        let mut wrong: Vec<String> = wrong.into_iter().map(|(_, text)| text).chain(found).collect();
        wrong.sort_unstable();
        if wrong.is_empty() { Ok(settings) } else { Err(SettingsError(wrong.join("\n"))) }
    }

    /// Applies the variables to the files. A variable with an unreadable value is reported and left
    /// out, so that the others are still checked.
    fn read(
        files: &ConfigBuilder<DefaultState>,
        variable: impl Fn(&str) -> Option<String>,
        wrong: &mut Vec<(&'static str, String)>,
    ) -> Result<Self, SettingsError> {
        let mut given = Vec::new();
        for (name, key) in VARIABLES {
            match read(&variable, name) {
                Ok(value) => given.extend(value.map(|value| (name, key, value))),
                Err(error) => wrong.push((name, error.0)),
            }
        }
        loop {
            let built = given
                .iter()
                .try_fold(files.clone(), |all, (_, key, value)| {
                    all.set_override(key, value.as_str())
                })
                .and_then(|builder| builder.build()?.try_deserialize());
            let error = match built {
                Ok(settings) => return Ok(settings),
                Err(error) => explain(&error),
            };
            let at = given.iter().position(|(name, ..)| error.0.starts_with(&format!("{name}:")));
            let Some(at) = at else { return Err(error) };
            wrong.push((given.remove(at).0, error.0));
        }
    }

    /// Reads the settings from the process's environment.
    ///
    /// # Errors
    /// Same as [`Settings::load`].
    pub fn from_environment() -> Result<Self, SettingsError> {
        Self::load(|name| std::env::var(name).ok())
    }
}

impl ServerSettings {
    /// Time limit for a client to send the head of a request.
    #[must_use]
    pub const fn header_timeout(&self) -> Duration {
        Duration::from_secs(self.header_timeout_seconds)
    }

    /// Time limit for a client to send a body.
    #[must_use]
    pub const fn body_timeout(&self) -> Duration {
        Duration::from_secs(self.body_timeout_seconds)
    }

    /// Time limit for a request, not counting the wait for its body.
    #[must_use]
    pub const fn request_timeout(&self) -> Duration {
        Duration::from_secs(self.request_timeout_seconds)
    }
}
