//! Rules on settings beyond ranges, and the error sentences for broken rules.

use std::borrow::Cow;

use secrecy::{ExposeSecret, SecretString};
use validator::{ValidationError, ValidationErrors};

use super::{
    JwtAlgorithm, JwtSettings, MongoSettings, Profile, SECRET_MIN_BYTES, Settings, VARIABLES,
};
use crate::shape::{rule, wrong_fields};

/// A sentence for each broken rule, with the name of its variable.
pub(super) fn sentences(errors: &ValidationErrors) -> Vec<String> {
    let with_name = |(key, message): (String, Cow<'_, str>)| {
        let variable = VARIABLES.iter().find(|(_, known)| *known == key);
        variable.map_or_else(|| message.to_string(), |(name, _)| format!("{name} {message}"))
    };
    wrong_fields(errors).into_iter().map(with_name).collect()
}

pub(super) fn has_public_url(settings: &Settings) -> Result<(), ValidationError> {
    rule(
        settings.env != Profile::Production || settings.server.public_url.is_some(),
        "in production PUBLIC_URL must be set to where clients reach the server, such as \
         https://api.example.com",
    )
}

pub(super) fn has_secret(settings: &Settings) -> Result<(), ValidationError> {
    let needed =
        settings.env == Profile::Production && settings.jwt.algorithm == JwtAlgorithm::HS256;
    rule(
        !needed || settings.jwt.secret.is_some(),
        "in production JWT_SECRET (or JWT_SECRET_FILE) must be set to a secret of at least 32 bytes; \
         `openssl rand -base64 48` makes one",
    )
}

pub(super) fn is_one_server(mongo: &MongoSettings) -> Result<(), ValidationError> {
    let both = mongo.uri.is_some() && mongo.host.is_some();
    rule(!both, "set MONGO_URI or MONGO_HOST, not both")
}

pub(super) fn has_whole_login(mongo: &MongoSettings) -> Result<(), ValidationError> {
    let external = mongo.uri.is_some() || mongo.host.is_some();
    let whole = mongo.user.is_some() == mongo.password.is_some();
    rule(!external || whole, "MONGO_USER and MONGO_PASSWORD must be set together")
}

pub(super) fn has_two_databases(mongo: &MongoSettings) -> Result<(), ValidationError> {
    let two = mongo.master_db != mongo.tenant_db;
    rule(two, "MASTER_DB and TENANT_DB must not be the same database")
}

pub(super) fn is_database_name(name: &str) -> Result<(), ValidationError> {
    let fits = (1..=63).contains(&name.len());
    let valid = fits && !name.contains(['/', '\\', '.', ' ', '"', '$', '\0']);
    rule(valid, "is not a valid name of a MongoDB database")
}

/// The range that MongoDB accepts.
pub(super) fn is_cache_size(gib: f64) -> Result<(), ValidationError> {
    rule((0.25..=10_000.0).contains(&gib), "must be 0.25 to 10000")
}

pub(super) fn has_long_secret(jwt: &JwtSettings) -> Result<(), ValidationError> {
    let long = is_long(jwt.secret.as_ref());
    rule(long, "JWT_SECRET is too short: it must have at least 32 bytes")
}

pub(super) fn has_long_previous_secret(jwt: &JwtSettings) -> Result<(), ValidationError> {
    let long = is_long(jwt.previous_secret.as_ref());
    rule(long, "JWT_PREVIOUS_SECRET is too short: it must have at least 32 bytes")
}

fn is_long(secret: Option<&SecretString>) -> bool {
    secret.is_none_or(|secret| secret.expose_secret().len() >= SECRET_MIN_BYTES)
}

pub(super) fn has_key(jwt: &JwtSettings) -> Result<(), ValidationError> {
    rule(
        jwt.algorithm != JwtAlgorithm::EdDSA || jwt.key_file.is_some(),
        "JWT_ALGORITHM is EdDSA, so JWT_KEY_FILE must name an Ed25519 private key",
    )
}

#[cfg(test)]
mod tests {
    use crate::config::Settings;

    fn wrong(variables: &[(&str, &str)]) -> Vec<String> {
        let load = Settings::load(|name| {
            let given = variables.iter().find(|(known, _)| *known == name);
            given.map(|(_, value)| (*value).to_owned())
        });
        load.unwrap_err().to_string().lines().map(str::to_owned).collect()
    }

    #[test]
    fn all_wrong_settings_are_reported_at_once() {
        let wrong = wrong(&[
            ("WORKERS", "-1"),
            ("MONGO_PORT", "many"),
            ("BODY_LIMIT_BYTES", "0"),
            ("REQUEST_TIMEOUT_SECONDS", "86401"),
            ("PATIENCE_MS", "86400001"),
            ("HASH_ITERATIONS", "0"),
            ("LOGIN_WINDOW_MINUTES", "0"),
            ("TENANTRY_MONGOD_CACHE_GB", "0.1"),
            ("MASTER_DB", "a.b"),
            ("TENANT_DB", "a.b"),
            ("MONGO_URI", "mongodb://a"),
            ("MONGO_HOST", "a"),
            ("JWT_SECRET", "short"),
            ("JWT_PREVIOUS_SECRET", "short"),
            ("JWT_ALGORITHM", "EdDSA"),
        ]);
        let (with_reason, wrong): (Vec<_>, Vec<_>) =
            wrong.into_iter().partition(|sentence| sentence.contains(": "));
        let starts = with_reason.iter().map(|sentence| sentence.split(": ").next().unwrap());
        assert_eq!(
            starts.collect::<Vec<_>>(),
            [
                "JWT_PREVIOUS_SECRET is too short",
                "JWT_SECRET is too short",
                "MONGO_PORT",
                "WORKERS"
            ]
        );
        assert_eq!(
            wrong,
            [
                "BODY_LIMIT_BYTES must be at least 1",
                "HASH_ITERATIONS must be at least 1",
                "JWT_ALGORITHM is EdDSA, so JWT_KEY_FILE must name an Ed25519 private key",
                "LOGIN_WINDOW_MINUTES must be 1 to 5256000",
                "MASTER_DB and TENANT_DB must not be the same database",
                "MASTER_DB is not a valid name of a MongoDB database",
                "PATIENCE_MS must be 100 to 86400000",
                "REQUEST_TIMEOUT_SECONDS must be 1 to 86400",
                "TENANTRY_MONGOD_CACHE_GB must be 0.25 to 10000",
                "TENANT_DB is not a valid name of a MongoDB database",
                "set MONGO_URI or MONGO_HOST, not both",
            ]
        );
    }

    #[test]
    fn an_unreadable_variable_is_reported_once() {
        let secret = ("JWT_SECRET", "0123456789abcdef0123456789abcdef");
        let wrong = wrong(&[("APP_ENV", "production"), secret, ("PUBLIC_URL", "api.example.com")]);
        assert_eq!(wrong.len(), 1, "{wrong:?}");
        assert!(wrong[0].starts_with("PUBLIC_URL: "), "{wrong:?}");
    }

    #[test]
    fn each_lane_of_a_hash_needs_memory() {
        let lanes = [("HASH_MEMORY_KIB", "31"), ("HASH_PARALLELISM", "4")];
        assert_eq!(wrong(&lanes), ["HASH_MEMORY_KIB must be at least 8 times HASH_PARALLELISM"]);
    }
}
