//! Finds a `mongod` that is new enough, or downloads one.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

use fs_err as fs;

use super::{data_dir::DataDir, download, error::EmbeddedError};
use crate::trust;

const OLDEST_MAJOR: u32 = 6;

/// A `mongod` that can be run.
#[derive(Debug, Clone)]
pub(super) struct Binary {
    pub(super) path: PathBuf,
    pub(super) version: String,
}

impl Binary {
    /// Returns the `mongod` at `named`, or the one on `PATH`, or the downloaded one, which it
    /// downloads if necessary.
    pub(super) fn locate(dir: &DataDir, named: Option<&Path>) -> Result<Self, EmbeddedError> {
        if let Some(path) = named {
            return Self::check(path).map_err(EmbeddedError::no_mongod);
        }
        if let Some(path) = on_path() {
            match Self::check(&path) {
                Ok(binary) => return Ok(binary),
                Err(reason) => tracing::warn!(%reason, "the mongod on PATH cannot be used"),
            }
        }
        let cached = dir.bin().join("mongod");
        if !cached.exists() {
            download::fetch(dir, &cached)?;
        }
        download::check_cached(&cached)?;
        Self::check(&cached).map_err(EmbeddedError::no_mongod)
    }

    fn check(path: &Path) -> Result<Self, String> {
        let shown = path.display();
        // The server is started in another directory than this process.
        let path = fs::canonicalize(path).map_err(|error| error.to_string())?;
        trust::named(&path).map_err(|distrust| distrust.to_string())?;
        let output = Command::new(&path).arg("--version").current_dir("/").output();
        let output = output.map_err(|error| format!("{shown} cannot be run: {error}"))?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            return Err(format!("{shown} does not run here: {}", said.trim()));
        }
        let version = version_in(&String::from_utf8_lossy(&output.stdout))
            .ok_or_else(|| format!("{shown} does not print its version"))?;
        let major = version.split('.').next().and_then(|text| text.parse().ok());
        if major.is_none_or(|major: u32| major < OLDEST_MAJOR) {
            return Err(format!("{shown} is MongoDB {version}"));
        }
        Ok(Self { path, version })
    }
}

/// Skips relative directories, because another user may own the working directory.
fn on_path() -> Option<PathBuf> {
    let path = env::var_os("PATH")?;
    found_in(env::split_paths(&path))
}

fn found_in(dirs: impl Iterator<Item = PathBuf>) -> Option<PathBuf> {
    dirs.filter(|dir| dir.is_absolute())
        .map(|dir| dir.join("mongod"))
        .find(|candidate| candidate.is_file())
}

fn version_in(text: &str) -> Option<String> {
    let first = text.lines().next()?;
    first.strip_prefix("db version v").map(|version| version.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn relative_directories_on_path_are_skipped() {
        let dirs = ["", ".", "target", "../target"].map(PathBuf::from);
        assert_eq!(found_in(dirs.into_iter()), None);
    }

    #[test]
    fn the_version_is_read_from_the_first_line() {
        assert_eq!(version_in("db version v6.0.5\nBuild Info: {").as_deref(), Some("6.0.5"));
        assert_eq!(version_in("something else"), None);
    }
}
