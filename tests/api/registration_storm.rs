//! Members and admins at random, all at once, through two servers.

use std::{collections::BTreeMap, sync::Mutex};

use chrono::{DateTime, Duration, Utc};
use futures::future::join_all;
use rand::{Rng, SeedableRng, rngs::StdRng};
use serde_json::json;

use crate::support::{Ask, Client, Event, Journal, Pair, ahead};

const WORKERS: usize = 32;
const STEPS: usize = 20;

/// Words of a server that does as it should, also where it has more to do than it can.
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

/// A time at which something takes place; when it is deleted, something else does.
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

    /// What an admin does, in two words.
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

/// What was done so far, and with what success.
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
        let ask = match rng.random_range(0..100) {
            0..36 => Some(("register", Ask::Register)),
            36..58 => Some(("cancel", Ask::Cancel)),
            58..76 => Some(("join", Ask::Join)),
            76..84 => Some(("leave", Ask::Leave)),
            _ => None,
        };
        let done = match ask {
            Some((name, ask)) => {
                let some = slot.occurrence(&mut rng);
                let occurrence = journal.fit_for(ask, rng.random_range(0..100)).unwrap_or(some);
                (name, journal.ask(server, ask, &occurrence).await)
            }
            None => slot.change(&server.with(admin), &mut rng).await,
        };
        *tally.entry(done).or_default() += 1;
    }
    (journal, tally)
}

/// Lets 32 workers loose on what starts at `starts`, each every day for three days.
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
    // What is rarer may be asked for at the wrong moment every time.
    let changes = ["register", "cancel", "join", "capacity"];
    for name in changes {
        let succeeded = all.get(&(name, "done".to_owned()));
        assert!(succeeded.is_some(), "seed {seed}: not one {name} in {all:?}");
    }
    if starts.len() < 3 {
        let left = seats.left_waiting();
        assert!(left.is_empty(), "seed {seed}: seats are free, and {left:?} wait for them");
    }
}

#[tokio::test]
async fn whatever_32_workers_do_at_once_nothing_contradicts_anything() {
    let pair = Pair::start().await;
    let minutes = [0, 30, 60, 120].map(|minutes| ahead(24) + Duration::minutes(minutes));
    storm(&pair, &minutes).await;
}

/// Nobody is somewhere else at that time, so whoever waits can take any seat.
#[tokio::test]
async fn after_all_changes_nobody_waits_for_a_seat_that_is_free() {
    let pair = Pair::start().await;
    storm(&pair, &[ahead(24), ahead(26)]).await;
}
