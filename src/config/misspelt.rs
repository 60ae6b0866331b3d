//! Variables that look like settings and are not: whoever sets one waits in vain for it to work.

use super::{SECRETS, VARIABLES};

/// Only our settings begin like this, apart from what [`foreign`] knows.
const PREFIXES: [&str; 5] = ["HASH_", "JWT_", "LOGIN_", "MONGO_", "TENANTRY_"];
/// What compose.yaml reads, or the image of MongoDB sets.
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
/// How many letters may be wrong.
const SLIPS: usize = 2;
/// Of a shorter name too many others are that near: `LANG` and `LOG`.
const SHORTEST: usize = 7;

/// A sentence for each variable of the process that was meant to be a setting.
#[must_use]
pub fn in_environment() -> Vec<String> {
    let names = std::env::vars_os().filter_map(|(name, _)| name.into_string().ok());
    let mut warnings: Vec<String> = names.filter_map(|name| looks_like_one(&name)).collect();
    warnings.sort_unstable();
    warnings
}

/// A sentence if the variable of a file with settings is not one.
#[must_use]
pub fn in_file(name: &str) -> Option<String> {
    (!is_known(name) && !foreign(name)).then(|| sentence(name))
}

fn looks_like_one(name: &str) -> Option<String> {
    let ours = PREFIXES.iter().any(|prefix| name.starts_with(prefix));
    let near = || nearest(name).is_some_and(|known| known.len() >= SHORTEST);
    (!is_known(name) && !foreign(name) && (ours || near())).then(|| sentence(name))
}

fn sentence(name: &str) -> String {
    // A broken line of a secret may look like a name.
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

/// What others set: compose, an image of MongoDB, and Kubernetes for services of such a name.
fn foreign(name: &str) -> bool {
    COMPOSE.contains(&name)
        || ["COMPOSE_", "DOCKER_", "RUST_"].iter().any(|prefix| name.starts_with(prefix))
        || ["_INITDB_", "_SERVICE_", "_PORT_"].iter().any(|part| name.contains(part))
        || name.ends_with("_PORT")
}

fn nearest(name: &str) -> Option<String> {
    let name = name.to_ascii_uppercase();
    let far = known().map(|known| (strsim::osa_distance(&name, &known), known));
    far.filter(|(far, _)| *far <= SLIPS).min().map(|(_, known)| known)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_misspelt_setting_is_told_with_the_right_one() {
        for (name, known) in [
            ("MONGO_URL", "MONGO_URI"),
            ("JWT_SECERT", "JWT_SECRET"),
            ("JWT_SECRETFILE", "JWT_SECRET_FILE"),
            ("CORS_ORIGIN", "CORS_ORIGINS"),
            ("public_url", "PUBLIC_URL"),
            ("APP_ENVS", "APP_ENV"),
        ] {
            let expected = format!("{name} is not a setting; did you mean {known}?");
            assert_eq!(looks_like_one(name).as_ref(), Some(&expected));
            assert_eq!(in_file(name), Some(expected));
        }
        for name in ["MONGO_DATABASE", "JWT_TTL", "TENANTRY_HOME", "HASH_COST"] {
            assert!(looks_like_one(name).unwrap().contains(".env.example"), "{name}");
        }
    }

    #[test]
    fn what_is_a_setting_or_belongs_to_others_is_no_slip() {
        let known: Vec<String> = known().collect();
        let settings = known.iter().map(String::as_str);
        // The shell, Docker, Kubernetes for services `mongo` and `tenantry`, the image of MongoDB.
        let others = "COMPOSE_PROJECT_NAME MONGO_INITDB_ROOT_USERNAME MONGO_TAG MONGO_VERSION \
            MONGO_PORT_27017_TCP_ADDR MONGO_SERVICE_HOST TENANTRY_PORT TENANTRY_SERVICE_PORT_HTTP";
        for name in settings.chain(others.split_whitespace()) {
            assert_eq!((looks_like_one(name), in_file(name)), (None, None), "{name}");
        }
        let shell = "LANG LOGNAME PATH HOME PWD TERM USER LC_ALL SHLVL MAIL HOSTNAME EDITOR APP_KEY \
            CARGO_HOME NODE_ENV LOG_DIR BINDIR http_proxy SSH_AUTH_SOCK PORT WORKER_ID";
        for name in shell.split_whitespace() {
            assert_eq!(looks_like_one(name), None, "{name}");
        }
        assert!(in_file("LOG_LEVEL").is_some() && in_file("PORT").is_some());
        assert!(!in_file("dGVzdCBvZiBz").unwrap().contains("dGV"));
    }
}
