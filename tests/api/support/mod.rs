//! Test helpers: databases, servers, clients.
#![expect(unreachable_pub, reason = "nothing imports a test binary")]

mod app;
mod chart;
mod client;
mod crowd;
mod database;
mod graphql;
mod journal;
mod process;
mod proxy;
mod raw;
mod replica;
mod seats;
mod watch;

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use bson::{DateTime, oid::ObjectId};

pub use app::TestApp;
pub use chart::{Chart, ids};
pub use client::{Client, Org, Reply, patiently, unbusy, unique};
pub use crowd::Member;
pub use database::{Database, embedded_options, mongod_pid, mongod_program};
pub use graphql::{Event, ahead, code, wrong_fields};
pub use journal::{Action, Journal};
pub use process::{
    KillOnDrop, Pair, SOON_LOST, ServerProcess, command, limited, peak_bytes, resident_bytes,
    send_signal,
};
pub use proxy::SilencingProxy;
pub use raw::Raw;
pub use replica::{ReplicaSet, free_port};
pub use seats::Seats;
pub use watch::Watch;

/// An empty directory for a test; each test needs its own name.
pub fn fresh_dir(name: &str) -> PathBuf {
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let _ = std::fs::remove_dir_all(&dir);
    std::fs::create_dir_all(&dir).unwrap();
    dir
}

/// The token secret of all test servers.
pub const SECRET: &str = "a secret of the tests, of forty-two bytes!";
pub const PASSWORD: &str = "correct horse battery";

/// The current time plus `seconds`, which may be negative.
pub fn seconds_from_now(seconds: i64) -> DateTime {
    DateTime::from_millis(DateTime::now().timestamp_millis() + seconds * 1_000)
}

/// An id that looks as if it was made `seconds` ago.
pub fn made_ago(seconds: u32) -> ObjectId {
    let now = u32::try_from(DateTime::now().timestamp_millis() / 1_000).unwrap();
    ObjectId::from_parts(now - seconds, [0; 5], [0; 3])
}

/// How long tests wait for a condition; long enough for a busy machine.
const PATIENCE: Duration = Duration::from_mins(2);

/// Waits until `condition` holds; panics with `what` after two minutes.
pub async fn eventually<F: Future<Output = bool>>(what: &str, mut condition: impl FnMut() -> F) {
    let waiting = async {
        while !condition().await {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    in_time(what, waiting).await;
}

/// Waits for a future; panics with `what` after two minutes.
pub async fn in_time<T>(what: &str, future: impl Future<Output = T>) -> T {
    let output = tokio::time::timeout(PATIENCE, future).await;
    output.unwrap_or_else(|_| panic!("{what} did not happen within {PATIENCE:?}"))
}
