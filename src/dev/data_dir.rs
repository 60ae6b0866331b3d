//! The directory of the embedded MongoDB, with its files and locks.

use std::fs::TryLockError;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use fs_err::os::unix::fs::OpenOptionsExt;
use fs_err::{self as fs, File, OpenOptions};

use crate::trust;

/// The locks with which processes share one `mongod`. The kernel releases them when a process ends.
#[derive(Debug, Clone, Copy)]
pub(super) enum Lock {
    /// Held exclusively by the process that is starting `mongod`.
    Start,
    /// Held shared by every process that uses the database.
    Users,
    /// Held exclusively by the watcher.
    Watch,
    /// Held exclusively during a probe, so that two probes never see each other.
    Probe,
}

/// Who holds the users' lock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Occupancy {
    /// No process.
    Unused,
    /// At least one user.
    Used,
    /// The watcher, which is stopping `mongod`.
    Stopping,
}

/// The directory as an absolute path without links, so that all processes use the same path.
#[derive(Debug, Clone)]
pub(super) struct DataDir {
    root: PathBuf,
}

impl DataDir {
    /// Opens the directory and creates missing parts, readable only by the owner.
    pub(super) fn create(dir: &Path) -> io::Result<Self> {
        trust::create_directory(dir)?;
        let this = Self::open(dir)?;
        trust::create_directory(&this.db())?;
        let ignore = this.file(".gitignore");
        if !ignore.exists() {
            create(&ignore)?.write_all(b"*\n")?;
        }
        Ok(this)
    }

    /// Opens an existing directory. No other user may be able to change it, because it records the
    /// process to use and stop, and contains the program to run.
    pub(super) fn open(dir: &Path) -> io::Result<Self> {
        trust::directory(dir, &["bin", "db"])?;
        let root = fs::canonicalize(dir)?;
        Ok(Self { root })
    }

    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    pub(super) fn db(&self) -> PathBuf {
        self.root.join("db")
    }

    pub(super) fn bin(&self) -> PathBuf {
        self.root.join("bin")
    }

    pub(super) fn log(&self) -> PathBuf {
        self.root.join("mongod.log")
    }

    /// The file with the key that `mongod` and its users share.
    pub(super) fn key(&self) -> PathBuf {
        self.root.join("mongod.key")
    }

    pub(super) fn file(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    /// Waits for the lock and holds it exclusively until the file is dropped.
    pub(super) fn lock(&self, lock: Lock) -> io::Result<File> {
        let file = self.lock_file(lock)?;
        uninterrupted(|| file.lock())?;
        Ok(file)
    }

    /// Waits for the lock and holds it shared until the file is dropped.
    pub(super) fn lock_shared(&self, lock: Lock) -> io::Result<File> {
        let file = self.lock_file(lock)?;
        uninterrupted(|| file.lock_shared())?;
        Ok(file)
    }

    /// Whether a process holds the lock exclusively.
    pub(super) fn is_locked(&self, lock: Lock) -> io::Result<bool> {
        let file = self.lock_file(lock)?;
        held(&file, file.try_lock_shared())
    }

    /// Who currently holds the users' lock.
    pub(super) fn occupancy(&self) -> io::Result<Occupancy> {
        let _turn = self.lock(Lock::Probe)?;
        let file = self.lock_file(Lock::Users)?;
        if !held(&file, file.try_lock())? {
            return Ok(Occupancy::Unused);
        }
        if held(&file, file.try_lock_shared())? {
            return Ok(Occupancy::Stopping);
        }
        Ok(Occupancy::Used)
    }

    fn lock_file(&self, lock: Lock) -> io::Result<File> {
        let name = match lock {
            Lock::Start => "start.lock",
            Lock::Users => "users.lock",
            Lock::Watch => "watch.lock",
            Lock::Probe => "probe.lock",
        };
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false).mode(0o600);
        options.open(self.file(name))
    }
}

/// Writes the file atomically: readers see the old text or the new one.
pub(super) fn write_atomically(path: &Path, text: &str) -> io::Result<()> {
    let draft = path.with_extension(format!("{}.tmp", std::process::id()));
    create(&draft)?.write_all(text.as_bytes())?;
    fs::rename(&draft, path)
}

/// Creates an empty file that only the owner can read and write, whatever the umask.
pub(super) fn create(path: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)
}

fn held(file: &File, attempt: Result<(), TryLockError>) -> io::Result<bool> {
    match attempt {
        Ok(()) => Ok(false),
        Err(TryLockError::WouldBlock) => Ok(true),
        Err(TryLockError::Error(error)) => {
            let text = format!("{} cannot be locked: {error}", file.path().display());
            Err(io::Error::new(error.kind(), text))
        }
    }
}

fn uninterrupted(mut wait: impl FnMut() -> io::Result<()>) -> io::Result<()> {
    loop {
        match wait() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            outcome => return outcome,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn other_users_have_no_permissions_in_the_directory() {
        let path = std::env::temp_dir().join(format!("tenantry-data-{}", std::process::id()));
        let dir = DataDir::create(&path).unwrap();
        let _lock = dir.lock(Lock::Start).unwrap();
        write_atomically(&dir.file("port"), "4711").unwrap();
        let entries: Vec<_> = fs::read_dir(dir.root()).unwrap().map(Result::unwrap).collect();
        assert_eq!(entries.len(), 4);
        for entry in entries {
            let mode = entry.metadata().unwrap().permissions().mode();
            assert_eq!(mode & 0o077, 0, "{:?}", entry.path());
        }
        assert!(DataDir::open(&path).is_ok());
        fs::remove_dir_all(&path).unwrap();
    }
}
