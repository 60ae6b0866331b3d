//! Opens the database of a command: the configured one, or the embedded one.

use std::{io::Write, path::Path};

use base64::prelude::{BASE64_URL_SAFE_NO_PAD, Engine};
use fs_err::{self as fs, os::unix::fs::OpenOptionsExt};
use rand::RngCore;
use secrecy::SecretString;

use super::Failure;
use crate::{
    config::{JwtAlgorithm, SECRET_MIN_BYTES, Settings},
    dev::{Embedded, EmbeddedOptions},
    startup,
    store::driver::StoreSettings,
    trust::{self, Closed},
};

/// The file name of the development secret.
const SECRET: &str = "jwt_secret";

/// The database that a command uses.
pub(super) struct Database {
    embedded: Option<Embedded>,
    /// How to connect to it.
    pub(super) settings: StoreSettings,
    /// The development secret, which is stored in the directory of the embedded database.
    pub(super) secret: Option<SecretString>,
    /// A description for the user.
    pub(super) description: String,
}

impl Database {
    /// Returns the configured database, or starts the embedded one.
    pub(super) async fn open(settings: &Settings) -> Result<Self, Failure> {
        let external = settings.mongo.uri.is_some() || settings.mongo.host.is_some();
        let secret = development_secret(settings)?;
        if external {
            return Ok(Self {
                embedded: None,
                settings: startup::store_settings(settings, None),
                secret,
                description: "MongoDB as configured".to_owned(),
            });
        }
        let embedded = Embedded::start(&EmbeddedOptions {
            dir: settings.embedded.dir.clone(),
            mongod: settings.embedded.mongod.clone(),
            supervisor: std::env::current_exe()
                .map_err(|e| format!("the program's own file cannot be found: {e}"))?,
            cache_gb: settings.embedded.cache_gb,
        })
        .await
        .map_err(|e| e.to_string())?;
        let description = format!(
            "embedded MongoDB {} on port {}, data in {}",
            embedded.version().unwrap_or("(attached)"),
            embedded.port(),
            settings.embedded.dir.display(),
        );
        Ok(Self {
            settings: startup::store_settings(settings, Some(embedded.uri())),
            embedded: Some(embedded),
            secret,
            description,
        })
    }

    /// Whether it is the embedded database.
    pub(super) const fn is_embedded(&self) -> bool {
        self.embedded.is_some()
    }

    /// Stops using the embedded database; the last user stops it.
    pub(super) async fn close(self) -> Result<(), Failure> {
        if let Some(embedded) = self.embedded {
            embedded.stop().await.map_err(|e| e.to_string())?;
        }
        Ok(())
    }
}

/// In development, generates a random secret once and stores it, so that tokens stay valid after a
/// restart.
fn development_secret(settings: &Settings) -> Result<Option<SecretString>, Failure> {
    let jwt = &settings.jwt;
    if jwt.algorithm != JwtAlgorithm::HS256 || jwt.secret.is_some() {
        return Ok(None);
    }
    let dir = &settings.embedded.dir;
    trust::create_directory(dir)?;
    trust::directory(dir, &[])?;
    let path = dir.join(SECRET);
    if !path.exists() {
        write_secret(dir, &path)?;
    }
    read_secret(&path).map(Some)
}

/// Reads the secret. Anyone who knows it can issue tokens for any admin, so it must be private and
/// long enough.
fn read_secret(path: &Path) -> Result<SecretString, Failure> {
    let text = trust::read(path, Closed::Private)?.unwrap_or_default();
    let secret = text.trim();
    if secret.len() < SECRET_MIN_BYTES {
        let text = format!(
            "{} is too short: it must have at least {SECRET_MIN_BYTES} bytes; remove it, and the \
             next start makes a new one",
            path.display(),
        );
        return Err(text.into());
    }
    Ok(secret.to_owned().into())
}

/// Writes the secret to a temporary file and links it into place, so that two servers that start at
/// the same time read the same secret.
fn write_secret(dir: &Path, path: &Path) -> Result<(), Failure> {
    let mut bytes = [0_u8; 32];
    rand::rng().fill_bytes(&mut bytes);
    let secret = BASE64_URL_SAFE_NO_PAD.encode(bytes);
    let aside = dir.join(format!("{SECRET}.{}", std::process::id()));
    // A file left by an earlier process with the same id may be readable by others.
    let _ = fs::remove_file(&aside);
    let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&aside)?;
    file.write_all(secret.as_bytes())?;
    file.sync_all()?;
    match fs::hard_link(&aside, path) {
        Err(e) if e.kind() != std::io::ErrorKind::AlreadyExists => return Err(e.into()),
        _ => {}
    }
    fs::remove_file(&aside)?;
    Ok(())
}
