//! Starts the embedded MongoDB again whenever its process ends.

use std::sync::Arc;
use std::time::Duration;

use fs_err::File;
use secrecy::SecretString;
use tokio::time::{Instant, sleep};

use super::{
    EmbeddedOptions,
    data_dir::DataDir,
    error::EmbeddedError,
    launch::{Port, Running},
    settle::{enter, settle},
};

const POLL: Duration = Duration::from_millis(100);
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);
/// After this time without an end, the next pause is the first one again.
const STEADY_AFTER: Duration = Duration::from_mins(1);

/// Keeps the `mongod` of a directory running while this process uses it.
///
/// It holds the users' lock itself. So if it is dropped while it starts a process, the watcher,
/// which waits for that lock, finds and stops the process.
pub(super) struct Restarts {
    pub(super) dir: DataDir,
    pub(super) options: EmbeddedOptions,
    pub(super) key: SecretString,
    /// The connections of this process are to this port.
    pub(super) port: u16,
    #[expect(dead_code, reason = "a lock is held, not read")]
    pub(super) users: Arc<File>,
}

impl Restarts {
    /// Waits for the end of the process and starts it again on the same port, until dropped.
    pub(super) async fn run(self, mut running: Running) {
        let mut pause = FIRST_PAUSE;
        loop {
            let ready = Instant::now();
            while running.mongod.is_alive(&self.dir) {
                sleep(POLL).await;
            }
            let ended = Instant::now();
            if ended - ready >= STEADY_AFTER {
                pause = FIRST_PAUSE;
            }
            let (pid, port) = (running.mongod.pid, self.port);
            let how = running.how_ended(&self.dir).await;
            tracing::error!(
                pid,
                port,
                free_mb = self.free_megabytes(),
                restart_in_ms = milliseconds(pause),
                "the embedded MongoDB ended and is started again: {how}"
            );
            running = self.restart(&mut pause).await;
            tracing::info!(
                pid = running.mongod.pid,
                port = running.mongod.port,
                milliseconds = milliseconds(ended.elapsed()),
                "the embedded MongoDB is back"
            );
        }
    }

    /// Tries to start it until that succeeds.
    async fn restart(&self, pause: &mut Duration) -> Running {
        loop {
            sleep(*pause).await;
            *pause = (*pause * 2).min(LONGEST_PAUSE);
            match self.try_restart().await {
                Ok(running) if running.mongod.port == self.port => {
                    if !running.is_found() {
                        metrics::counter!("tenantry_embedded_restarts_total").increment(1);
                    }
                    return running;
                }
                Ok(running) => tracing::error!(
                    port = running.mongod.port,
                    "another process has started the embedded MongoDB on another port: restart \
                     this server"
                ),
                Err(error) => tracing::error!(
                    free_mb = self.free_megabytes(),
                    restart_in_ms = milliseconds(*pause),
                    "the embedded MongoDB does not start: {error}"
                ),
            }
        }
    }

    /// Another process of the directory may be first; then this one uses what that has started.
    async fn try_restart(&self) -> Result<Running, EmbeddedError> {
        let _entered = enter(&self.dir, &self.options).await?;
        settle(&self.dir, &self.options, &self.key, Port::Only(self.port)).await
    }

    fn free_megabytes(&self) -> Option<u64> {
        let found = rustix::fs::statvfs(self.dir.db()).ok()?;
        Some(found.f_bavail.saturating_mul(found.f_frsize) / 1_000_000)
    }
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
