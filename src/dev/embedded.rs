//! Starts, uses and leaves the embedded MongoDB.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use fs_err::File;
use secrecy::{ExposeSecret, SecretString};
use tokio::time::{Instant, sleep};
use tokio_util::task::AbortOnDropHandle;

use super::{
    data_dir::{DataDir, Occupancy},
    error::EmbeddedError,
    launch::Port,
    process::Mongod,
    restart::Restarts,
    settle::{blocking, enter, find, settle},
    watcher,
};
use crate::store::driver::replica_set::{REPLICA_SET, USER};

const POLL: Duration = Duration::from_millis(20);
const STOPPED_WITHIN: Duration = Duration::from_secs(70);

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

/// A MongoDB that this process uses, and starts again whenever it ends. After a drop, the watcher
/// stops it if it was the last use.
#[derive(Debug)]
pub struct Embedded {
    dir: DataDir,
    supervisor: PathBuf,
    mongod: Mongod,
    attached: bool,
    key: SecretString,
    restarting: AbortOnDropHandle<()>,
    users: Arc<File>,
}

impl Embedded {
    /// Attaches to the `mongod` of the directory, or starts it, and waits until it accepts writes.
    /// From then on a task on the caller's runtime starts it again whenever it ends.
    ///
    /// # Errors
    ///
    /// If there is no `mongod` to run, or it does not become ready.
    pub async fn start(options: &EmbeddedOptions) -> Result<Self, EmbeddedError> {
        let began = Instant::now();
        let dir =
            DataDir::create(&options.dir).map_err(EmbeddedError::io("create its directory"))?;
        let entered = enter(&dir, options).await?;
        let running = settle(&dir, options, &entered.key, Port::Last).await?;
        drop(entered.starting);
        let (mongod, attached) = (running.mongod.clone(), running.is_found());
        tracing::info!(
            pid = mongod.pid,
            port = mongod.port,
            version = mongod.version.as_deref().unwrap_or("unknown"),
            milliseconds = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX),
            "{}",
            match (attached, entered.new_watcher) {
                (false, _) => "started the embedded MongoDB",
                (true, false) => "attached to the embedded MongoDB",
                (true, true) => "took over an embedded MongoDB without a watcher",
            }
        );
        let users = Arc::new(entered.users);
        let restarts = Restarts {
            dir: dir.clone(),
            options: options.clone(),
            key: entered.key.clone(),
            port: mongod.port,
            users: Arc::clone(&users),
        };
        let restarting = AbortOnDropHandle::new(tokio::spawn(restarts.run(running)));
        let (supervisor, key) = (options.supervisor.clone(), entered.key);
        Ok(Self { dir, supervisor, mongod, attached, key, restarting, users })
    }

    /// The connection string, which contains the password.
    #[must_use]
    pub fn uri(&self) -> SecretString {
        let (key, port) = (self.key.expose_secret(), self.mongod.port);
        format!("mongodb://{USER}:{key}@127.0.0.1:{port}/?replicaSet={REPLICA_SET}").into()
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
        // From here on nothing in this process starts it.
        self.restarting.abort();
        let _ = self.restarting.await;
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
