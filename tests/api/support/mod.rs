//! What tests stand on: a database, a server, a client.
#![expect(unreachable_pub, reason = "a test binary has no outside")]

mod app;
mod chart;
mod client;
mod crowd;
mod database;
mod graphql;
mod journal;
mod process;
mod raw;
mod replica;
mod seats;
mod watch;

use std::time::Duration;

use bson::{DateTime, oid::ObjectId};

pub use app::TestApp;
pub use chart::Chart;
pub use client::{Client, Org, Reply, patiently, unbusy, unique};
pub use crowd::Member;
pub use database::{Database, embedded_options, mongod_pid, mongod_program};
pub use graphql::{Event, ahead, code, wrong_fields};
pub use journal::{Ask, Journal};
pub use process::{Ending, Pair, SOON_LOST, ServerProcess, command, limited};
pub use raw::Raw;
pub use replica::{ReplicaSet, free_port};
pub use seats::Seats;
pub use watch::Watch;

/// A secret for servers that share tokens.
pub const SECRET: &str = "a secret of the tests, of forty-two bytes!";
pub const PASSWORD: &str = "correct horse battery";

/// That many seconds from this moment, or before it.
pub fn seconds_from_now(seconds: i64) -> DateTime {
    DateTime::from_millis(DateTime::now().timestamp_millis() + seconds * 1_000)
}

/// An id as of a document that is that old.
pub fn made_ago(seconds: u32) -> ObjectId {
    let now = u32::try_from(DateTime::now().timestamp_millis() / 1_000).unwrap();
    ObjectId::from_parts(now - seconds, [0; 5], [0; 3])
}

/// What must happen at all happens within this time, also on a busy machine.
const PATIENCE: Duration = Duration::from_mins(2);

/// Waits until `condition` holds; panics with `what` if it never does.
pub async fn eventually<F: Future<Output = bool>>(what: &str, mut condition: impl FnMut() -> F) {
    let waiting = async {
        while !condition().await {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    in_time(what, waiting).await;
}

/// Waits for what must happen; panics with `what` if it never does.
pub async fn in_time<T>(what: &str, happening: impl Future<Output = T>) -> T {
    let happening = tokio::time::timeout(PATIENCE, happening).await;
    happening.unwrap_or_else(|_| panic!("{what} did not happen within {PATIENCE:?}"))
}
