//! Random concurrent requests of members and admins through two servers.

use std::{collections::BTreeMap, sync::Mutex};

use chrono::{DateTime, Duration, Utc};
use futures::future::join_all;
use rand::{Rng, SeedableRng, rngs::StdRng};
use serde_json::json;

use crate::support::{Action, Client, Event, Journal, Pair, ahead};

const WORKERS: usize = 32;
const STEPS: usize = 20;

/// Outcomes of a working server, including an overloaded one.
const FINE: [&str; 13] = [
    "done",
    "EVENT_FULL",
    "TIME_CONFLICT",
    "ALREADY_REGISTERED",
    "NOT_REGISTERED",
    "OCCURRENCE_CANCELLED",
    "ALREADY_WAITING",
    "NOT_WAITING",
    "SEATS_AVAILABLE",
    "CAPACITY_BELOW_TAKEN",
    "HAS_REGISTRATIONS",
    "not_found",
    "busy",
];

/// A start time with an event; when it is deleted, another event takes its place.
struct Slot {
    start: DateTime<Utc>,
    days: i64,
    event: Mutex<Event>,
}

impl Slot {
    async fn open(admin: &Client, start: DateTime<Utc>, days: i64) -> Self {
        let event = Mutex::new(Self::fill(admin, start, days).await);
        Self { start, days, event }
    }

    async fn fill(admin: &Client, start: DateTime<Utc>, days: i64) -> Event {
        let fields = json!({
            "startsAt": start.format("%Y-%m-%dT%H:%M:%S").to_string(), "capacity": 3,
            "recurrence": { "frequency": "DAILY", "count": days },
        });
        Event::create(admin, fields).await
    }

    fn event(&self) -> Event {
        self.event.lock().unwrap().clone()
    }

    fn occurrence(&self, rng: &mut StdRng) -> String {
        self.event().at(self.start + Duration::days(rng.random_range(0..self.days)))
    }

    /// A random change by an admin; returns its name and outcome.
    async fn change(&self, admin: &Client, rng: &mut StdRng) -> (&'static str, String) {
        let id = self.event().id;
        let update = |input: String| {
            format!("updateEvent(id: \"{id}\", input: {{ {input} }}) {{ refusal {{ code }} }}")
        };
        match rng.random_range(0..24) {
            0..16 => {
                let capacity = update(format!("capacity: {}", rng.random_range(1..6)));
                ("capacity", admin.outcome(&capacity).await)
            }
            16..20 => {
                let minutes = rng.random_range(5..=6) * 10;
                let duration = update(format!("durationMinutes: {minutes}"));
                ("duration", admin.outcome(&duration).await)
            }
            20..22 => {
                let occurrence = self.occurrence(rng);
                let cancel = format!("cancelOccurrence(id: \"{occurrence}\") {{ id }}");
                ("cancel occurrence", admin.outcome(&cancel).await)
            }
            _ => {
                let arguments = format!("id: \"{id}\", cancelRegistrations: true");
                let delete = format!("deleteEvent({arguments}) {{ refusal {{ code }} }}");
                let word = admin.outcome(&delete).await;
                if word == "done" {
                    let next = Self::fill(admin, self.start, self.days).await;
                    *self.event.lock().unwrap() = next;
                }
                ("delete", word)
            }
        }
    }
}

/// Counts each change and its outcome.
type Tally = BTreeMap<(&'static str, String), usize>;

async fn work(
    pair: &Pair,
    slots: &[Slot],
    admin: &str,
    mut journal: Journal,
    mut rng: StdRng,
) -> (Journal, Tally) {
    let mut tally = Tally::new();
    for _ in 0..STEPS {
        let server = pair.client(rng.random_range(0..2));
        let slot = &slots[rng.random_range(0..slots.len())];
        let action = match rng.random_range(0..100) {
            0..36 => Some(("register", Action::Register)),
            36..58 => Some(("cancel", Action::Cancel)),
            58..76 => Some(("join", Action::Join)),
            76..84 => Some(("leave", Action::Leave)),
            _ => None,
        };
        let done = match action {
            Some((name, action)) => {
                let some = slot.occurrence(&mut rng);
                let occurrence = journal.fit_for(action, rng.random_range(0..100)).unwrap_or(some);
                (name, journal.send(server, action, &occurrence).await)
            }
            None => slot.change(&server.with(admin), &mut rng).await,
        };
        *tally.entry(done).or_default() += 1;
    }
    (journal, tally)
}

/// Runs 32 workers on events at `starts`, each repeated daily for three days.
async fn storm(pair: &Pair, starts: &[DateTime<Utc>]) {
    let seed: u64 = rand::random();
    let (org, admin) = pair.sign_up().await;
    let slots = starts.iter().map(|start| Slot::open(&admin, *start, 3));
    let slots = join_all(slots).await;
    let members = pair.database.add_members(&org, WORKERS).await;
    let workers = members.into_iter().zip(seed..).map(|(member, seed)| {
        work(pair, &slots, &org.token, Journal::of(member), StdRng::seed_from_u64(seed))
    });
    let worked = join_all(workers).await;
    let seats = pair.assert_sound(&org).await;
    let mut all = Tally::new();
    for (journal, tally) in worked {
        journal.assert_kept(&seats);
        for (done, count) in tally {
            *all.entry(done).or_default() += count;
        }
    }
    let wrong: Vec<_> = all.keys().filter(|(_, word)| !FINE.contains(&word.as_str())).collect();
    assert!(wrong.is_empty(), "seed {seed}: {wrong:?}");
    // Rarer changes may fail every time.
    let changes = ["register", "cancel", "join", "capacity"];
    for name in changes {
        let succeeded = all.get(&(name, "done".to_owned()));
        assert!(succeeded.is_some(), "seed {seed}: no {name} succeeded: {all:?}");
    }
    if starts.len() < 3 {
        let left = seats.left_waiting();
        assert!(left.is_empty(), "seed {seed}: seats are free, but {left:?} wait for them");
    }
}

#[tokio::test]
async fn random_changes_by_32_workers_leave_consistent_documents() {
    let pair = Pair::start().await;
    let minutes = [0, 30, 60, 120].map(|minutes| ahead(24) + Duration::minutes(minutes));
    storm(&pair, &minutes).await;
}

/// These times do not overlap, so each waiting member can take any seat.
#[tokio::test]
async fn after_random_changes_no_member_waits_for_a_free_seat() {
    let pair = Pair::start().await;
    storm(&pair, &[ahead(24), ahead(26)]).await;
}
