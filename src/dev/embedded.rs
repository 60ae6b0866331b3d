//! Starts, uses and leaves the embedded MongoDB.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use fs_err::File;
use tokio::task::spawn_blocking;
use tokio::time::{Instant, sleep};

use super::{
    binary::Binary,
    data_dir::{DataDir, Lock, Occupancy},
    error::EmbeddedError,
    launch::{Ended, Launch},
    process::Mongod,
    watcher,
};
use crate::store::driver::replica_set::{REPLICA_SET, ensure_primary};

const POLL: Duration = Duration::from_millis(20);
/// After a crash, `mongod` reads the metadata of all collections, which takes long if there are
/// many.
const READY_WITHIN: Duration = Duration::from_mins(10);
const STOPPED_WITHIN: Duration = Duration::from_secs(70);
const ATTEMPTS: usize = 4;
const MISSED_LOOKS: u32 = 15;

/// The options of the embedded MongoDB.
#[derive(Debug, Clone)]
pub struct EmbeddedOptions {
    /// The directory of its data, log and locks; processes that use the same directory share it.
    pub dir: PathBuf,
    /// The `mongod` to run; if `None`, the one on `PATH` or one that is downloaded once.
    pub mongod: Option<PathBuf>,
    /// The program that runs [`watch`](super::watch) if called as `embedded-watch --dir <dir>`.
    pub supervisor: PathBuf,
    /// The cache size of the storage engine in GB, at least 0.25.
    pub cache_gb: f64,
}

/// A running MongoDB that this process uses. After a drop, the watcher stops it if it was the last
/// use.
#[derive(Debug)]
pub struct Embedded {
    dir: DataDir,
    supervisor: PathBuf,
    mongod: Mongod,
    attached: bool,
    users: File,
}

impl Embedded {
    /// Attaches to the `mongod` of the directory, or starts it, and waits until it accepts writes.
    ///
    /// # Errors
    ///
    /// If there is no `mongod` to run, or it does not become ready.
    pub async fn start(options: &EmbeddedOptions) -> Result<Self, EmbeddedError> {
        let began = Instant::now();
        let dir =
            DataDir::create(&options.dir).map_err(EmbeddedError::io("create its directory"))?;
        let (starting, users, new_watcher) = enter(&dir, options).await?;
        let (mongod, attached) = settle(&dir, options).await?;
        drop(starting);
        tracing::info!(
            pid = mongod.pid,
            port = mongod.port,
            version = mongod.version.as_deref().unwrap_or("unknown"),
            milliseconds = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX),
            "{}",
            match (attached, new_watcher) {
                (false, _) => "started the embedded MongoDB",
                (true, false) => "attached to the embedded MongoDB",
                (true, true) => "took over an embedded MongoDB without a watcher",
            }
        );
        Ok(Self { dir, supervisor: options.supervisor.clone(), mongod, attached, users })
    }

    /// The connection string.
    #[must_use]
    pub fn uri(&self) -> String {
        format!("mongodb://127.0.0.1:{}/?replicaSet={REPLICA_SET}", self.mongod.port)
    }

    /// Whether it was already running.
    #[must_use]
    pub fn attached(&self) -> bool {
        self.attached
    }

    /// Its port on the loopback address.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.mongod.port
    }

    /// Its version, such as `6.0.5`, if known.
    #[must_use]
    pub fn version(&self) -> Option<&str> {
        self.mongod.version.as_deref()
    }

    /// Stops using the database. The last user returns after `mongod` has ended, any other user
    /// immediately.
    ///
    /// # Errors
    ///
    /// If no watcher can be started to stop `mongod`, or it does not end in time.
    pub async fn stop(self) -> Result<(), EmbeddedError> {
        let io = EmbeddedError::io("look at its locks");
        let (dir, supervisor) = (self.dir.clone(), self.supervisor);
        // The watcher may have been killed, and without one nothing would stop `mongod`.
        blocking(move || watcher::ensure(&dir, &supervisor)).await?;
        drop(self.users);
        let until = Instant::now() + STOPPED_WITHIN;
        loop {
            let occupancy = self.dir.occupancy().map_err(io)?;
            let left = match occupancy {
                Occupancy::Used => true,
                Occupancy::Unused => find(&self.dir).await?.is_none(),
                Occupancy::Stopping => false,
            };
            if left {
                return Ok(());
            }
            if Instant::now() >= until {
                let seconds = STOPPED_WITHIN.as_secs();
                return Err(EmbeddedError::StillRunning { seconds });
            }
            sleep(POLL).await;
        }
    }
}

/// Takes the locks of a starting process in order and ensures that a watcher runs; `true` if it is
/// new.
async fn enter(
    dir: &DataDir,
    options: &EmbeddedOptions,
) -> Result<(File, File, bool), EmbeddedError> {
    let (dir, supervisor) = (dir.clone(), options.supervisor.clone());
    blocking(move || {
        let io = EmbeddedError::io("take its locks");
        if dir.is_locked(Lock::Start).map_err(io)? {
            tracing::info!("another process is starting the embedded MongoDB, waiting for it");
        }
        let starting = dir.lock(Lock::Start).map_err(io)?;
        let users = dir.lock_shared(Lock::Users).map_err(io)?;
        let new_watcher = watcher::ensure(&dir, &supervisor)?;
        Ok((starting, users, new_watcher))
    })
    .await
}

/// Finds or launches `mongod` until one is ready; `true` if it was already running.
async fn settle(dir: &DataDir, options: &EmbeddedOptions) -> Result<(Mongod, bool), EmbeddedError> {
    let mut binary = None;
    let mut move_port = false;
    for _ in 0..ATTEMPTS {
        if let Some(found) = find(dir).await? {
            if is_ready(dir, &found).await? {
                return Ok((found, true));
            }
            // It was already ending.
            continue;
        }
        let located = match binary.take() {
            Some(binary) => binary,
            None => locate(dir, options).await?,
        };
        let binary = &*binary.insert(located);
        let launch = Launch::start(dir, binary, options.cache_gb, move_port)
            .map_err(EmbeddedError::io("start mongod"))?;
        if is_ready(dir, &launch.mongod).await? {
            return Ok((launch.mongod, false));
        }
        match launch.why_ended(dir) {
            Ended::PortTaken => move_port = true,
            Ended::DirectoryTaken => sleep(POLL).await,
            Ended::Failed(reason) => return Err(ended(dir, reason)),
        }
    }
    let reason = "its port or its directory was in use in every attempt";
    Err(ended(dir, reason.to_owned()))
}

async fn find(dir: &DataDir) -> Result<Option<Mongod>, EmbeddedError> {
    let dir = dir.clone();
    blocking(move || Mongod::find(&dir).map_err(EmbeddedError::io("look for its process"))).await
}

async fn locate(dir: &DataDir, options: &EmbeddedOptions) -> Result<Binary, EmbeddedError> {
    let (dir, named) = (dir.clone(), options.mongod.clone());
    blocking(move || Binary::locate(&dir, named.as_deref())).await
}

/// Waits until the process accepts writes; `false` if it ended instead.
async fn is_ready(dir: &DataDir, mongod: &Mongod) -> Result<bool, EmbeddedError> {
    let db = dir.db();
    let ready = ensure_primary(mongod.port, &db, READY_WITHIN);
    // On a busy machine, a process that is just executing `mongod` may briefly seem to be gone.
    let gone = async {
        let mut missed = 0;
        while missed < MISSED_LOOKS {
            missed = if mongod.is_alive(dir) { 0 } else { missed + 1 };
            sleep(POLL).await;
        }
    };
    tokio::select! {
        outcome = ready => outcome.map(|()| true).map_err(|source| EmbeddedError::NotReady {
            port: mongod.port,
            log: dir.log(),
            source,
        }),
        () = gone => Ok(false),
    }
}

fn ended(dir: &DataDir, reason: String) -> EmbeddedError {
    EmbeddedError::Ended { reason, log: dir.log() }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, EmbeddedError> + Send + 'static,
) -> Result<T, EmbeddedError> {
    let outcome = spawn_blocking(work).await.map_err(io::Error::other);
    outcome.map_err(EmbeddedError::io("run its start"))?
}
