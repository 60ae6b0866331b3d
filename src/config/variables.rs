//! Environment variables of the settings.

use std::path::Path;

use serde::Deserialize;

use super::SettingsError;
use crate::trust;

/// Each environment variable with the key that it sets.
pub const VARIABLES: [(&str, &str); 54] = [
    ("APP_ENV", "env"),
    ("BIND", "server.bind"),
    ("WORKERS", "server.workers"),
    ("MAX_CONNECTIONS", "server.max_connections"),
    ("HEADER_TIMEOUT_SECONDS", "server.header_timeout_seconds"),
    ("BODY_TIMEOUT_SECONDS", "server.body_timeout_seconds"),
    ("REQUEST_TIMEOUT_SECONDS", "server.request_timeout_seconds"),
    ("WRITE_TIMEOUT_SECONDS", "server.write_timeout_seconds"),
    ("KEEP_ALIVE_SECONDS", "server.keep_alive_seconds"),
    ("SHUTDOWN_TIMEOUT_SECONDS", "server.shutdown_timeout_seconds"),
    ("BODY_LIMIT_BYTES", "server.body_limit_bytes"),
    ("TRUSTED_PROXIES", "server.trusted_proxies"),
    ("PUBLIC_URL", "server.public_url"),
    ("CORS_ORIGINS", "server.cors_origins"),
    ("GRAPHQL_INTROSPECTION", "graphql.introspection"),
    ("MONGO_URI", "mongo.uri"),
    ("MONGO_HOST", "mongo.host"),
    ("MONGO_PORT", "mongo.port"),
    ("MONGO_USER", "mongo.user"),
    ("MONGO_PASSWORD", "mongo.password"),
    ("MASTER_DB", "mongo.master_db"),
    ("TENANT_DB", "mongo.tenant_db"),
    ("MAX_ORGANIZATIONS", "mongo.max_organizations"),
    ("MONGO_SELECTION_TIMEOUT_MS", "mongo.selection_timeout_ms"),
    ("TRANSACTION_DEADLINE_MS", "mongo.transaction_deadline_ms"),
    ("MONGO_COMMAND_METRICS", "mongo.command_metrics"),
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
    ("CALENDAR_POLLS_PER_MINUTE", "throttle.calendar_polls_per_minute"),
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
    ("OTEL_EXPORTER_OTLP_ENDPOINT", "traces.endpoint"),
    ("OTEL_TRACES_SAMPLER_ARG", "traces.ratio"),
];

/// Variables whose value may come from a file, named by `<NAME>_FILE`.
pub const SECRETS: [&str; 4] = ["MONGO_URI", "MONGO_PASSWORD", "JWT_SECRET", "JWT_PREVIOUS_SECRET"];

/// The variable's value, or the content of the file that `<NAME>_FILE` names. An empty value counts
/// as unset, because Compose files pass unset variables as empty ones.
pub(super) fn read(
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
        (None, Some(path)) => {
            trust::named(Path::new(&path))
                .map_err(|e| SettingsError(format!("{name}_FILE: {e}")))?;
            std::fs::read_to_string(&path)
                .map(|content| Some(content.trim_end_matches(['\r', '\n']).to_owned()))
                .map_err(|e| SettingsError(format!("{name}_FILE: {path} cannot be read: {e}")))
        }
        (value, None) => Ok(value),
    }
}

/// The library's reason, prefixed with the name of the variable. Never contains the value, which may
/// be a secret.
pub(super) fn explain(error: &config::ConfigError) -> SettingsError {
    let text = match error {
        config::ConfigError::Type { key: Some(key), expected, .. } => {
            format!("{key} must be {expected}")
        }
        // The other lines of the reason quote the file.
        config::ConfigError::FileParse { uri, cause } => {
            let reason = cause.to_string();
            let reason = reason.lines().next().unwrap_or_default();
            format!("{}: {reason}", uri.as_deref().unwrap_or("a settings file"))
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

/// A list, or one comma-separated text, as in environment variables.
pub(super) fn list<'de, D, T>(deserializer: D) -> Result<Vec<T>, D::Error>
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
    use std::{fs::Permissions, os::unix::fs::PermissionsExt};

    use secrecy::ExposeSecret;

    use super::*;
    use crate::config::{LogFormat, Profile, Settings};

    fn load(variables: &[(&str, &str)]) -> Result<Settings, String> {
        Settings::load(|name| {
            variables.iter().find(|(n, _)| *n == name).map(|(_, value)| (*value).to_owned())
        })
        .map_err(|e| e.to_string())
    }

    #[test]
    fn the_defaults_are_the_development_profile_and_the_embedded_database() {
        let settings = load(&[]).unwrap();
        assert_eq!(settings.env, Profile::Development);
        assert!(settings.mongo.uri.is_none() && settings.mongo.host.is_none());
        assert_eq!(settings.throttle.sign_ups_per_address_minute, 0);
        assert_eq!(settings.hash.memory_kib, 19_456);
    }

    #[test]
    fn the_environment_overrides_the_files() {
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
    fn production_requires_a_long_secret() {
        let refusal = load(&[("APP_ENV", "production")]).unwrap_err();
        assert!(refusal.contains("JWT_SECRET"), "{refusal}");
        let refusal = load(&[("APP_ENV", "production"), ("JWT_SECRET", "short")]).unwrap_err();
        assert!(refusal.contains("JWT_SECRET") && !refusal.contains("`short`"), "{refusal}");
        let secret = "0123456789abcdef0123456789abcdef";
        let url = ("PUBLIC_URL", "https://api.example.com");
        let settings = load(&[("APP_ENV", "production"), ("JWT_SECRET", secret), url]).unwrap();
        assert_eq!(settings.throttle.sign_ups_per_address_minute, 60);
        assert_eq!(settings.log.format, LogFormat::Json);
    }

    #[test]
    fn production_requires_a_public_url() {
        let production =
            [("APP_ENV", "production"), ("JWT_SECRET", "0123456789abcdef0123456789abcdef")];
        let refusal = load(&production).unwrap_err();
        assert!(refusal.contains("PUBLIC_URL"), "{refusal}");
        let url = ("PUBLIC_URL", "https://api.example.com/");
        let settings = load(&[production[0], production[1], url]).unwrap();
        assert_eq!(settings.server.public_url.unwrap().to_string(), "https://api.example.com");
        assert!(load(&[]).unwrap().server.public_url.is_none());
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
            ("PUBLIC_URL", "api.example.com"),
            ("PUBLIC_URL", "https://api.example.com/?a=b"),
            ("MASTER_DB", "a.b"),
            ("HEADER_TIMEOUT_SECONDS", "0"),
            ("BODY_TIMEOUT_SECONDS", "soon"),
            ("REQUEST_TIMEOUT_SECONDS", "0"),
            ("WRITE_TIMEOUT_SECONDS", "0"),
            ("KEEP_ALIVE_SECONDS", "0"),
            ("MAX_CONNECTIONS", "-1"),
            ("REQUEST_TIMEOUT_SECONDS", "86401"),
            ("ACCESS_TOKEN_EXPIRE_MINUTES", "307445734561825861"),
            ("LOGIN_WINDOW_MINUTES", "5256001"),
            ("OPERATION_LEASE_SECONDS", "9223372036854775807"),
            ("PATIENCE_MS", "86400001"),
            ("PATIENCE_MS", "99"),
            ("TRANSACTION_DEADLINE_MS", "0"),
            ("TENANTRY_MONGOD_CACHE_GB", "lots"),
            ("OTEL_EXPORTER_OTLP_ENDPOINT", "localhost:4318"),
            ("OTEL_EXPORTER_OTLP_ENDPOINT", "grpc://localhost:4317"),
            ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://"),
            ("OTEL_TRACES_SAMPLER_ARG", "1.5"),
            ("OTEL_TRACES_SAMPLER_ARG", "NaN"),
            ("OTEL_TRACES_SAMPLER_ARG", "all"),
        ] {
            let refusal = load(&[(name, value)]).unwrap_err();
            assert!(refusal.contains(name), "{name}={value}: {refusal}");
        }
    }

    #[test]
    fn the_longest_durations_are_accepted() {
        load(&[
            ("REQUEST_TIMEOUT_SECONDS", "86400"),
            ("ACCESS_TOKEN_EXPIRE_MINUTES", "5256000"),
            ("LOGIN_WINDOW_MINUTES", "5256000"),
            ("PATIENCE_MS", "86400000"),
        ])
        .unwrap();
    }

    #[test]
    fn a_user_of_an_external_database_needs_a_password() {
        let refusal = load(&[("MONGO_HOST", "db"), ("MONGO_USER", "ada")]).unwrap_err();
        assert!(refusal.contains("MONGO_PASSWORD"), "{refusal}");
        load(&[("MONGO_USER", "ada")]).unwrap();
    }

    #[test]
    fn secrets_may_come_from_files() {
        let file = std::env::temp_dir().join(format!("tenantry-secret-{}", std::process::id()));
        std::fs::write(&file, "0123456789abcdef0123456789abcdef\n").unwrap();
        let path = file.to_str().unwrap();
        let settings = load(&[("JWT_SECRET_FILE", path)]).unwrap();
        assert_eq!(settings.jwt.secret.unwrap().expose_secret().len(), 32);
        // Secret mounts are readable by all users, but must not be writable by them.
        for (mode, refused) in [(0o444, false), (0o666, true)] {
            std::fs::set_permissions(&file, Permissions::from_mode(mode)).unwrap();
            let refusal = load(&[("JWT_SECRET_FILE", path)]).err();
            assert_eq!(refusal.is_some(), refused, "{refusal:?}");
            assert!(refusal.is_none_or(|text| text.contains("chmod") && text.contains(path)));
        }
        std::fs::set_permissions(&file, Permissions::from_mode(0o600)).unwrap();
        let refusal = load(&[("JWT_SECRET_FILE", path), ("JWT_SECRET", "x")]).unwrap_err();
        assert!(refusal.contains("not both"), "{refusal}");
        std::fs::remove_file(&file).unwrap();
        let refusal = load(&[("JWT_SECRET_FILE", path)]).unwrap_err();
        assert!(refusal.contains("JWT_SECRET_FILE"), "{refusal}");
    }

    #[test]
    fn the_example_file_lists_every_variable_and_no_other() {
        let example = include_str!("../../.env.example");
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
