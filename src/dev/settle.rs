//! Takes the locks of a directory, and finds or starts the `mongod` that serves it.

use std::io;
use std::time::Duration;

use fs_err::File;
use secrecy::SecretString;
use tokio::task::spawn_blocking;
use tokio::time::sleep;

use super::{
    EmbeddedOptions,
    binary::Binary,
    data_dir::{DataDir, Lock},
    error::EmbeddedError,
    key,
    launch::{Ended, Port, Running},
    process::Mongod,
    watcher,
};
use crate::store::driver::replica_set::ensure_primary;

const POLL: Duration = Duration::from_millis(20);
/// After a crash, `mongod` reads the metadata of all collections, which takes long if there are
/// many.
const READY_WITHIN: Duration = Duration::from_mins(10);
const ATTEMPTS: usize = 4;
const MISSED_LOOKS: u32 = 15;

/// What a process that starts `mongod` holds.
pub(super) struct Entered {
    pub(super) starting: File,
    pub(super) users: File,
    pub(super) key: SecretString,
    pub(super) new_watcher: bool,
}

/// Takes the locks of a starting process in order, ensures that a watcher runs, and reads the key.
pub(super) async fn enter(
    dir: &DataDir,
    options: &EmbeddedOptions,
) -> Result<Entered, EmbeddedError> {
    let (dir, supervisor) = (dir.clone(), options.supervisor.clone());
    blocking(move || {
        let io = EmbeddedError::io("take its locks");
        if dir.is_locked(Lock::Start).map_err(io)? {
            tracing::info!("another process is starting the embedded MongoDB, waiting for it");
        }
        let starting = dir.lock(Lock::Start).map_err(io)?;
        let users = dir.lock_shared(Lock::Users).map_err(io)?;
        let new_watcher = watcher::ensure(&dir, &supervisor)?;
        let key = key::ensure(&dir)?;
        Ok(Entered { starting, users, key, new_watcher })
    })
    .await
}

/// Finds or launches `mongod` until one is ready. The caller holds the start lock and the users'
/// lock, and a watcher runs.
pub(super) async fn settle(
    dir: &DataDir,
    options: &EmbeddedOptions,
    key: &SecretString,
    mut port: Port,
) -> Result<Running, EmbeddedError> {
    let mut binary = None;
    for _ in 0..ATTEMPTS {
        if let Some(found) = find(dir).await? {
            let found = Running::found(dir, found);
            if is_ready(dir, &found.mongod, key).await? {
                return Ok(found);
            }
            // It was already ending.
            continue;
        }
        let located = match binary.take() {
            Some(binary) => binary,
            None => locate(dir, options).await?,
        };
        let binary = &*binary.insert(located);
        let started = Running::start(dir, binary, options.cache_gb, port)
            .map_err(EmbeddedError::io("start mongod"))?;
        if is_ready(dir, &started.mongod, key).await? {
            return Ok(started);
        }
        match (started.why_not_started(dir).await, port) {
            (Ended::PortTaken, Port::Only(_)) | (Ended::DirectoryTaken, _) => sleep(POLL).await,
            (Ended::PortTaken, _) => port = Port::Other,
            (Ended::Failed(reason), _) => return Err(ended(dir, reason)),
        }
    }
    let reason = "its port or its directory was in use in every attempt";
    Err(ended(dir, reason.to_owned()))
}

/// The `mongod` that serves the directory, if one runs.
pub(super) async fn find(dir: &DataDir) -> Result<Option<Mongod>, EmbeddedError> {
    let dir = dir.clone();
    blocking(move || Mongod::find(&dir).map_err(EmbeddedError::io("look for its process"))).await
}

async fn locate(dir: &DataDir, options: &EmbeddedOptions) -> Result<Binary, EmbeddedError> {
    let (dir, named) = (dir.clone(), options.mongod.clone());
    blocking(move || Binary::locate(&dir, named.as_deref())).await
}

/// Waits until the process accepts writes; `false` if it ended instead.
async fn is_ready(
    dir: &DataDir,
    mongod: &Mongod,
    key: &SecretString,
) -> Result<bool, EmbeddedError> {
    let db = dir.db();
    let ready = ensure_primary(mongod.port, &db, key, READY_WITHIN);
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

/// Runs work that blocks on a thread for that.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, EmbeddedError> + Send + 'static,
) -> Result<T, EmbeddedError> {
    let outcome = spawn_blocking(work).await.map_err(io::Error::other);
    outcome.map_err(EmbeddedError::io("run its start"))?
}
