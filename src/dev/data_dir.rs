//! The directory of the embedded MongoDB: its files and its locks.

use std::fs::TryLockError;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use fs_err::os::unix::fs::OpenOptionsExt;
use fs_err::{self as fs, File, OpenOptions};

use crate::trust;

/// The locks by which processes share one `mongod`; the kernel releases them when a process ends.
#[derive(Debug, Clone, Copy)]
pub(super) enum Lock {
    /// Held exclusively by the one process that is starting.
    Start,
    /// Held shared by every process that uses the database.
    Users,
    /// Held exclusively by the watcher.
    Watch,
    /// Held exclusively for the moment of a probe, so that two probes never see each other.
    Probe,
}

/// Who holds the users' lock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Occupancy {
    /// Nobody.
    Unused,
    /// At least one user.
    Used,
    /// The watcher, which is stopping `mongod`.
    Stopping,
}

/// The directory, as an absolute path without links, so that every process names it alike.
#[derive(Debug, Clone)]
pub(super) struct DataDir {
    root: PathBuf,
}

impl DataDir {
    /// Opens the directory and creates what is missing of it, readable for its owner alone.
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

    /// Opens a directory that is there, and that nobody else can change: it names the process that
    /// is used and stopped, and holds the program that is run.
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

    pub(super) fn file(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    /// Waits for the lock and holds it alone until the file is dropped.
    pub(super) fn lock(&self, lock: Lock) -> io::Result<File> {
        let file = self.lock_file(lock)?;
        uninterrupted(|| file.lock())?;
        Ok(file)
    }

    /// Waits for the lock and holds it together with others until the file is dropped.
    pub(super) fn lock_shared(&self, lock: Lock) -> io::Result<File> {
        let file = self.lock_file(lock)?;
        uninterrupted(|| file.lock_shared())?;
        Ok(file)
    }

    /// Whether anybody holds the lock alone.
    pub(super) fn is_locked(&self, lock: Lock) -> io::Result<bool> {
        let file = self.lock_file(lock)?;
        held(&file, file.try_lock_shared())
    }

    /// Who holds the users' lock at this moment.
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

/// Writes the file in one piece: readers see the old text or the new one.
pub(super) fn write_atomically(path: &Path, text: &str) -> io::Result<()> {
    let draft = path.with_extension(format!("{}.tmp", std::process::id()));
    create(&draft)?.write_all(text.as_bytes())?;
    fs::rename(&draft, path)
}

/// An empty file that nobody else can write, whatever the process's umask allows.
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
    fn nothing_in_the_directory_is_open_to_others() {
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
