//! The key of the embedded MongoDB, which only its owner can read.

use secrecy::{ExposeSecret, SecretString};

use rand::distr::{Alphanumeric, SampleString};

use super::{
    data_dir::{DataDir, write_atomically},
    error::EmbeddedError,
};
use crate::trust::{self, Closed};

/// 285 random bits. Letters and digits need no escaping in a connection string, and `mongod`
/// accepts them in a key file.
const LENGTH: usize = 48;

/// Reads the key, or generates it if there is none. The caller holds the start lock.
///
/// The key is stored only here, so a data directory without it gets a new one.
pub(super) fn ensure(dir: &DataDir) -> Result<SecretString, EmbeddedError> {
    let path = dir.key();
    let io = EmbeddedError::io("use its key");
    let found = trust::read(&path, Closed::Private).map_err(|distrust| io(distrust.into()))?;
    if let Some(key) = found.filter(|key| key.len() == LENGTH) {
        return Ok(key.into());
    }
    let key = SecretString::from(Alphanumeric.sample_string(&mut rand::rng(), LENGTH));
    write_atomically(&path, key.expose_secret()).map_err(io)?;
    Ok(key)
}

#[cfg(test)]
mod tests {
    use fs_err as fs;

    use super::*;

    #[test]
    fn a_key_is_kept_and_one_that_was_cut_short_is_replaced() {
        let path = std::env::temp_dir().join(format!("tenantry-key-{}", std::process::id()));
        let dir = DataDir::create(&path).unwrap();
        let key = || ensure(&dir).unwrap().expose_secret().to_owned();
        let first = key();
        assert_eq!(first.len(), LENGTH);
        assert_eq!(key(), first);
        fs::write(dir.key(), &first[..LENGTH - 1]).unwrap();
        assert_ne!(key(), first);
        fs::remove_dir_all(&path).unwrap();
    }
}
