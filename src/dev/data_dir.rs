//! The directory of the embedded MongoDB: its files and its locks.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

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
        let mut builder = DirBuilder::new();
        builder.recursive(true).mode(0o700).create(dir)?;
        let this = Self::open(dir)?;
        builder.create(this.db())?;
        let ignore = this.file(".gitignore");
        if !ignore.exists() {
            fs::write(ignore, "*\n")?;
        }
        Ok(this)
    }

    /// Opens a directory that is there.
    pub(super) fn open(dir: &Path) -> io::Result<Self> {
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
        held(file.try_lock_shared())
    }

    /// Who holds the users' lock at this moment.
    pub(super) fn occupancy(&self) -> io::Result<Occupancy> {
        let _turn = self.lock(Lock::Probe)?;
        let file = self.lock_file(Lock::Users)?;
        if !held(file.try_lock())? {
            return Ok(Occupancy::Unused);
        }
        if held(file.try_lock_shared())? {
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
        OpenOptions::new().read(true).write(true).create(true).truncate(false).open(self.file(name))
    }
}

/// Writes the file in one piece: readers see the old text or the new one.
pub(super) fn write_atomically(path: &Path, text: &str) -> io::Result<()> {
    let draft = path.with_extension(format!("{}.tmp", std::process::id()));
    fs::write(&draft, text)?;
    fs::rename(&draft, path)
}

fn held(attempt: Result<(), TryLockError>) -> io::Result<bool> {
    match attempt {
        Ok(()) => Ok(false),
        Err(TryLockError::WouldBlock) => Ok(true),
        Err(TryLockError::Error(error)) => Err(error),
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
