//! Kills the primary of a replica set twice during many registrations. Confirmed seats are kept,
//! and confirmed cancellations too.

use std::{
    path::Path,
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
};

use chrono::Duration;
use futures::future::{join, join_all};
use rand::{Rng, SeedableRng, rngs::StdRng};
use tokio::time::{Duration as Time, Instant, sleep};

use crate::support::{
    Action, Client, Database, Event, Journal, ReplicaSet, SOON_LOST, ServerProcess, ahead,
};

const CLIENTS: usize = 24;
const SEATS: i64 = 8;

/// Outcomes of a working server, and the one of a server without its database. That one need not
/// occur: a new primary may be elected before a client's time limit.
const FINE: [&str; 10] = [
    "done",
    "EVENT_FULL",
    "ALREADY_REGISTERED",
    "NOT_REGISTERED",
    "ALREADY_WAITING",
    "NOT_WAITING",
    "SEATS_AVAILABLE",
    "not_found",
    "busy",
    "database_unavailable",
];

/// Counts confirmations while the members work.
#[derive(Default)]
struct Progress {
    done: AtomicBool,
    confirmed: AtomicUsize,
}

impl Progress {
    /// Waits until there are `than` more confirmations.
    async fn more(&self, than: usize) {
        let wanted = self.confirmed.load(Ordering::Relaxed) + than;
        let until = Instant::now() + Time::from_mins(1);
        while self.confirmed.load(Ordering::Relaxed) < wanted {
            assert!(Instant::now() < until, "nothing was confirmed any more");
            sleep(Time::from_millis(10)).await;
        }
    }
}

async fn send_to(
    server: &Client,
    occurrences: &[String],
    progress: &Progress,
    mut journal: Journal,
    mut rng: StdRng,
) -> Journal {
    while !progress.done.load(Ordering::Relaxed) {
        let action = match rng.random_range(0..10) {
            0..5 => Action::Register,
            5..8 => Action::Cancel,
            8 => Action::Join,
            _ => Action::Leave,
        };
        let some = &occurrences[rng.random_range(0..occurrences.len())];
        let fit = journal.fit_for(action, rng.random_range(0..100));
        let word = journal.send(server, action, fit.as_ref().unwrap_or(some)).await;
        if word == "done" {
            progress.confirmed.fetch_add(1, Ordering::Relaxed);
        } else {
            assert!(FINE.contains(&word.as_str()), "{word} to {action:?}");
        }
    }
    journal
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_that_was_confirmed_is_lost_when_primaries_are_killed() {
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join("failover");
    let mut set = ReplicaSet::start(&dir).await;
    let database = Database::at(&set.uri());
    let server = ServerProcess::start_with(&database, &[SOON_LOST]);
    let org = server.client.sign_up("Gym").await;
    let admin = server.client.with(&org.token);
    let starts = (0..4).map(|hours| ahead(24) + Duration::hours(hours));
    let events = starts.map(async |start| Event::once(&admin, start, SEATS).await.at(start));
    let occurrences = join_all(events).await;
    let members = database.add_members(&org, CLIENTS).await;

    let (seed, progress) = (rand::random(), Progress::default());
    let clients = join_all(members.into_iter().zip(seed..).map(|(member, seed)| {
        let rng = StdRng::seed_from_u64(seed);
        send_to(&server.client, &occurrences, &progress, Journal::of(member), rng)
    }));
    let kills = async {
        for _ in 0..2 {
            progress.more(60).await;
            let primary = set.primary().await;
            set.kill(primary);
            set.primary().await;
            progress.more(60).await;
            set.restart(primary).await;
        }
        progress.done.store(true, Ordering::Relaxed);
    };
    let (journals, ()) = join(clients, kills).await;

    database.assert_recovered().await;
    let seats = database.seats(&org).await;
    seats.assert_sound();
    assert!(seats.left_waiting().is_empty(), "seats are free, but members wait for them");
    for journal in &journals {
        journal.assert_kept(&seats);
    }
}
