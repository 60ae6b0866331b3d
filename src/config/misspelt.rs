//! Warnings about variables that look like misspelt settings.

use super::{SECRETS, VARIABLES};

/// Variables with these prefixes are ours, except those that [`is_foreign`] recognizes.
const PREFIXES: [&str; 5] = ["HASH_", "JWT_", "LOGIN_", "MONGO_", "TENANTRY_"];
/// Read by compose.yaml or set by the MongoDB image.
const COMPOSE: [&str; 9] = [
    "API_ADDRESS",
    "API_PORT",
    "MONGO_CACHE_GB",
    "MONGO_MAJOR",
    "MONGO_PACKAGE",
    "MONGO_REPO",
    "MONGO_TAG",
    "MONGO_VERSION",
    "TENANTRY_TAG",
];
/// Maximum edit distance between a misspelt name and the setting.
const MAX_DISTANCE: usize = 2;
/// Shorter settings are too similar to unrelated variables, such as `LOG` to `LANG`.
const MIN_LENGTH: usize = 7;

/// A warning for each environment variable that looks like a misspelt setting.
#[must_use]
pub fn in_environment() -> Vec<String> {
    let names = std::env::vars_os().filter_map(|(name, _)| name.into_string().ok());
    let mut warnings: Vec<String> = names.filter_map(|name| misspelt(&name)).collect();
    warnings.sort_unstable();
    warnings
}

/// A warning if a variable in `.env` is not a setting.
#[must_use]
pub fn in_file(name: &str) -> Option<String> {
    (!is_known(name) && !is_foreign(name)).then(|| sentence(name))
}

fn misspelt(name: &str) -> Option<String> {
    let ours = PREFIXES.iter().any(|prefix| name.starts_with(prefix));
    let similar = || nearest(name).is_some_and(|known| known.len() >= MIN_LENGTH);
    (!is_known(name) && !is_foreign(name) && (ours || similar())).then(|| sentence(name))
}

fn sentence(name: &str) -> String {
    // A line of a broken multi-line secret may parse as a name, so other names are not printed.
    let plain = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_';
    match nearest(name) {
        Some(known) => format!("{name} is not a setting; did you mean {known}?"),
        None if name.chars().all(plain) => {
            format!("{name} is not a setting; .env.example lists them all")
        }
        None => "a name in .env is not a setting; .env.example lists them all".to_owned(),
    }
}

fn known() -> impl Iterator<Item = String> {
    let files = SECRETS.iter().map(|name| format!("{name}_FILE"));
    VARIABLES.iter().map(|(name, _)| (*name).to_owned()).chain(files)
}

fn is_known(name: &str) -> bool {
    known().any(|known| known == name)
}

/// Whether Compose, a MongoDB image or Kubernetes (for a service with our prefix) sets it.
fn is_foreign(name: &str) -> bool {
    COMPOSE.contains(&name)
        || ["COMPOSE_", "DOCKER_", "RUST_"].iter().any(|prefix| name.starts_with(prefix))
        || ["_INITDB_", "_SERVICE_", "_PORT_"].iter().any(|part| name.contains(part))
        || name.ends_with("_PORT")
}

fn nearest(name: &str) -> Option<String> {
    let name = name.to_ascii_uppercase();
    let distances = known().map(|known| (strsim::osa_distance(&name, &known), known));
    distances.filter(|(distance, _)| *distance <= MAX_DISTANCE).min().map(|(_, known)| known)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_misspelt_setting_is_reported_with_the_right_one() {
        for (name, known) in [
            ("MONGO_URL", "MONGO_URI"),
            ("JWT_SECERT", "JWT_SECRET"),
            ("JWT_SECRETFILE", "JWT_SECRET_FILE"),
            ("CORS_ORIGIN", "CORS_ORIGINS"),
            ("public_url", "PUBLIC_URL"),
            ("APP_ENVS", "APP_ENV"),
        ] {
            let expected = format!("{name} is not a setting; did you mean {known}?");
            assert_eq!(misspelt(name).as_ref(), Some(&expected));
            assert_eq!(in_file(name), Some(expected));
        }
        for name in ["MONGO_DATABASE", "JWT_TTL", "TENANTRY_HOME", "HASH_COST"] {
            assert!(misspelt(name).unwrap().contains(".env.example"), "{name}");
        }
    }

    #[test]
    fn settings_and_foreign_variables_are_not_reported() {
        let known: Vec<String> = known().collect();
        let settings = known.iter().map(String::as_str);
        // Set by Compose, the MongoDB image, or Kubernetes for services `mongo` and `tenantry`.
        let others = "COMPOSE_PROJECT_NAME MONGO_INITDB_ROOT_USERNAME MONGO_TAG MONGO_VERSION \
            MONGO_PORT_27017_TCP_ADDR MONGO_SERVICE_HOST TENANTRY_PORT TENANTRY_SERVICE_PORT_HTTP";
        for name in settings.chain(others.split_whitespace()) {
            assert_eq!((misspelt(name), in_file(name)), (None, None), "{name}");
        }
        let shell = "LANG LOGNAME PATH HOME PWD TERM USER LC_ALL SHLVL MAIL HOSTNAME EDITOR APP_KEY \
            CARGO_HOME NODE_ENV LOG_DIR BINDIR http_proxy SSH_AUTH_SOCK PORT WORKER_ID";
        for name in shell.split_whitespace() {
            assert_eq!(misspelt(name), None, "{name}");
        }
        assert!(in_file("LOG_LEVEL").is_some() && in_file("PORT").is_some());
        assert!(!in_file("dGVzdCBvZiBz").unwrap().contains("dGV"));
    }
}
