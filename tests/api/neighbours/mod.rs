//! One tenant does its worst, and its neighbours notice nothing: no 5xx, and memory stays bounded.

mod events;
mod imports;

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use crate::support::{Client, Org};

/// The most memory that an abuse may need on top of what the idle server has.
const MOST_MEMORY: u64 = 512 << 20;

/// Asks for its own organization all the time that `abuse` takes; the result of that.
async fn beside<T>(server: &Client, quiet: &Org, abuse: impl Future<Output = T>) -> T {
    let (done, answers) = (AtomicBool::new(false), AtomicUsize::new(0));
    let client = server.with(&quiet.token);
    let neighbour = async {
        while !done.load(Ordering::Relaxed) {
            client.get_org(&quiet.name).await.expect(200);
            client.get("/health/live").await.expect(200);
            answers.fetch_add(1, Ordering::Relaxed);
        }
    };
    let abuse = async {
        let outcome = abuse.await;
        done.store(true, Ordering::Relaxed);
        outcome
    };
    let (outcome, ()) = tokio::join!(abuse, neighbour);
    assert!(answers.into_inner() > 0, "the neighbour got no answer at all");
    outcome
}
