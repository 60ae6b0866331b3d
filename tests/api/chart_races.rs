//! Concurrent and random changes of one chart. The chart must always be one valid tree.

use std::{cell::Cell, collections::BTreeSet};

use bson::doc;
use futures::future::{join, join_all};
use rand::{Rng, SeedableRng, rngs::StdRng};
use reqwest::Method;
use serde_json::{Value, json};

use crate::{
    chart_limits::{Managers, Stored, prepared, read_tree},
    support::{Chart, Client, Database, Pair, Reply, ServerProcess, patiently},
};

/// A change of the chart's structure.
#[derive(Clone, Copy, Debug)]
enum Change {
    Hire { manager: i64 },
    Move { who: i64, manager: i64 },
    Leave { who: i64, with_all: bool },
    Promote { who: i64 },
}

impl Change {
    /// A random change, mostly of existing employees, sometimes of unknown ones.
    fn random(rng: &mut StdRng, people: &Managers) -> Self {
        let ids: Vec<i64> = people.keys().copied().chain([1_000_000]).collect();
        let mut anyone = || ids[rng.random_range(0..ids.len())];
        let (who, manager) = (anyone(), anyone());
        match rng.random_range(0..10) {
            0..4 => Self::Hire { manager },
            4..7 => Self::Move { who, manager },
            7 => Self::Leave { who, with_all: true },
            8 => Self::Leave { who, with_all: false },
            _ => Self::Promote { who },
        }
    }

    async fn send(self, chart: &Chart) -> Reply {
        let client = &chart.client;
        let path = |rest: String| chart.path(&format!("/employees{rest}"));
        match self {
            Self::Hire { manager } => {
                let body = json!({ "name": "X", "title": "Y", "manager_id": manager });
                client.post(&path(String::new()), body).await
            }
            Self::Move { who, manager } => {
                client.put(&path(format!("/{who}")), json!({ "manager_id": manager })).await
            }
            Self::Leave { who, with_all } => {
                let mode = if with_all { "all" } else { "direct" };
                client.delete(&path(format!("/{who}?reparent={mode}"))).await
            }
            Self::Promote { who } => {
                Client::send(client.request(Method::PUT, &path(format!("/{who}/promote")))).await
            }
        }
    }

    /// Applies the change to a simple model; returns the expected status. `next` is the next new
    /// id.
    fn apply(self, people: &mut Managers, next: i64) -> u16 {
        let is_below = |people: &Managers, who: i64, top: i64| {
            std::iter::successors(people[&who], |above| people[above]).any(|above| above == top)
        };
        match self {
            Self::Hire { manager } if people.contains_key(&manager) => {
                people.insert(next, Some(manager));
                return 201;
            }
            Self::Hire { .. } => return 400,
            Self::Move { who, .. } | Self::Leave { who, .. } | Self::Promote { who }
                if !people.contains_key(&who) =>
            {
                return 404;
            }
            Self::Move { manager, .. } if !people.contains_key(&manager) => return 400,
            Self::Move { who, .. } | Self::Leave { who, .. } if people[&who].is_none() => {
                return 409;
            }
            Self::Move { who, manager } => {
                if who == manager || is_below(people, manager, who) {
                    return 409;
                }
                people.insert(who, Some(manager));
            }
            Self::Leave { who, with_all } => {
                let manager = people[&who];
                let before = people.clone();
                people.remove(&who);
                for (id, reports_to) in people {
                    if before[id] == Some(who) || (with_all && is_below(&before, *id, who)) {
                        *reports_to = manager;
                    }
                }
            }
            Self::Promote { who } => {
                let ceo = people.iter().find(|(_, manager)| manager.is_none()).map(|(id, _)| *id);
                people.insert(ceo.unwrap(), Some(who));
                people.insert(who, None);
            }
        }
        200
    }
}

/// A list about an employee; `None` if the employee does not exist.
async fn list(chart: &Chart, id: i64, name: &str) -> Option<Vec<Value>> {
    let path = chart.path(&format!("/employees/{id}/{name}?limit=1000"));
    let mut reply = chart.client.get(&path).await;
    if reply.status == 404 {
        return None;
    }
    reply = reply.expect(200);
    Some(reply.body.as_array_mut().unwrap().drain(..).collect())
}

/// Asserts that each person in the chain reports to the next, and the last one to nobody.
async fn read_chain(chart: &Chart, id: i64) {
    let Some(chain) = list(chart, id, "manager_chain").await else { return };
    let managers = chain.iter().map(|person| person["manager_id"].as_i64());
    let next = chain.iter().skip(1).map(|person| person["id"].as_i64()).chain([None]);
    assert!(managers.eq(next.take(chain.len())), "the chain of {id} is broken: {chain:#?}");
}

/// Asserts that everyone in the subtree but its root reports to someone in it, one level higher.
async fn read_subtree(chart: &Chart, id: i64) {
    let Some(team) = list(chart, id, "subtree").await else { return };
    let place = |person: &Value| (person["id"].as_i64(), person["depth"].as_i64().unwrap());
    let places: BTreeSet<_> = team.iter().map(place).collect();
    for person in &team {
        let (who, depth) = place(person);
        let fits = if depth == 0 {
            who == Some(id)
        } else {
            places.contains(&(person["manager_id"].as_i64(), depth - 1))
        };
        assert!(fits, "the manager of {who:?} is not in the subtree of {id}: {team:#?}");
    }
}

/// Reads continuously until `done`.
async fn read_all(chart: &Chart, mut rng: StdRng, done: &Cell<bool>) {
    while !done.get() {
        let tree = read_tree(chart).await;
        let id = *tree.keys().nth(rng.random_range(0..tree.len())).unwrap();
        read_chain(chart, id).await;
        read_subtree(chart, id).await;
    }
}

#[tokio::test]
async fn readers_of_a_chart_never_see_an_invalid_tree_during_64_changes_at_once() {
    let (app, chart, stored) = prepared().await;
    let above = doc! { "$filter": { "input": [1, 2, 4, 8], "cond": { "$lt": ["$$this", "$n"] } } };
    stored.fill(30, above).await;
    let seed = rand::random();
    let mut rng = StdRng::seed_from_u64(seed);
    let done = Cell::new(false);
    let writing = async {
        for round in 0..2 {
            let people = stored.assert_valid().await;
            let changes: Vec<_> = (0..64).map(|_| Change::random(&mut rng, &people)).collect();
            let sent = changes.iter().map(|change| patiently(async || change.send(&chart).await));
            let replies = join_all(sent).await;
            for (change, reply) in changes.iter().zip(&replies) {
                let fine = [200, 201, 400, 404, 409].contains(&reply.status);
                assert!(fine, "round {round}, seed {seed}: {change:?}: {reply:?}");
            }
            let succeeded = replies.iter().filter(|reply| reply.status < 300).count();
            assert!(succeeded > 20, "seed {seed}: only {succeeded} of 64 changes succeeded");
        }
        done.set(true);
    };
    let reader = |seed| read_all(&chart, StdRng::seed_from_u64(seed), &done);
    join(writing, join(reader(seed), reader(!seed))).await;
    assert_eq!(read_tree(&chart).await, stored.assert_valid().await, "seed {seed}");
    app.assert_sound().await;
}

/// MongoDB reads this many documents in several batches, which need a snapshot to be consistent.
#[tokio::test]
async fn the_tree_of_a_large_chart_is_consistent_while_its_ceo_and_teams_change() {
    const PEOPLE: i64 = 4_000;
    let (_app, chart, stored) = prepared().await;
    let above = doc! { "$filter": { "input": [1, 2], "cond": { "$lt": ["$$this", "$n"] } } };
    stored.fill(PEOPLE, above).await;
    let done = Cell::new(false);
    let writing = async {
        for _ in 0..2 {
            Change::Promote { who: PEOPLE }.send(&chart).await.expect(200);
            Change::Move { who: 2, manager: PEOPLE }.send(&chart).await.expect(200);
            Change::Move { who: 1, manager: 3 }.send(&chart).await.expect(200);
            Change::Promote { who: 1 }.send(&chart).await.expect(200);
            Change::Move { who: 3, manager: 2 }.send(&chart).await;
            Change::Move { who: 2, manager: 1 }.send(&chart).await.expect(200);
        }
        done.set(true);
    };
    let reading = async {
        while !done.get() {
            assert_eq!(read_tree(&chart).await.len(), usize::try_from(PEOPLE).unwrap());
        }
    };
    join(writing, reading).await;
    stored.assert_valid().await;
}

/// Three employees, of whom 2 and 3 report to 1, and two servers that pause between their reads and
/// their commit.
struct Trio {
    pair: Pair,
    charts: [Chart; 2],
    stored: Stored,
}

impl Trio {
    async fn new(points: &str) -> Self {
        let points = format!("{points};chart.before_commit=sleep(30)");
        let pair = Pair::armed(&points, &points).await;
        let org = pair.one.client.sign_up("Acme").await;
        let chart = Chart::create(&pair.one.client.with(&org.token), "Engineering").await;
        let stored = Stored::of(&pair.database, &org, &chart).await;
        for manager in [None, Some(1), Some(1)] {
            chart.hire("Person", manager).await;
        }
        let other = Chart { client: pair.two.client.with(&org.token), ..chart };
        Self { charts: [chart, other], stored, pair }
    }

    /// Moves 2 below 3 and 3 below 2 at once, each through one server.
    async fn cross(&self) -> (Reply, Reply) {
        let [one, two] = &self.charts;
        let one = async || Change::Move { who: 2, manager: 3 }.send(one).await;
        let two = async || Change::Move { who: 3, manager: 2 }.send(two).await;
        join(patiently(one), patiently(two)).await
    }

    /// Undoes the successful move, so that both report to 1.
    async fn uncross(&self, mover: i64) {
        let back = async || Change::Move { who: mover, manager: 1 }.send(&self.charts[0]).await;
        patiently(back).await.expect(200);
    }
}

#[tokio::test]
async fn of_two_moves_that_together_form_a_cycle_one_is_refused() {
    let trio = Trio::new("").await;
    for _ in 0..10 {
        let (one, two) = trio.cross().await;
        let (won, lost, mover) = if one.status == 200 { (one, two, 2) } else { (two, one, 3) };
        won.expect(200);
        lost.refused(409, "chart_cycle");
        trio.stored.assert_valid().await;
        trio.uncross(mover).await;
    }
    let retries = r#"tenantry_transaction_retries_total{transaction="employee.update"}"#;
    let (one, two) = (&trio.pair.one.client, &trio.pair.two.client);
    assert_ne!((one.metric(retries).await, two.metric(retries).await), (0, 0), "no two moves met");
}

/// Negative control of the test above: only the write to the chart's document makes the moves
/// conflict. Snapshot isolation and the validator accept both.
#[tokio::test]
async fn without_the_write_to_the_chart_two_moves_form_a_cycle() {
    let trio = Trio::new("chart.skip_touch=return").await;
    for _ in 0..20 {
        let (one, two) = trio.cross().await;
        if one.status == 200 && two.status == 200 {
            let why = trio.stored.managers().await.expect_err("no cycle");
            assert_eq!(why, "2 reports to Some(3) and has other ancestors");
            let one = doc! { "_id": trio.stored.key(2), "manager": 3 };
            let two = doc! { "_id": trio.stored.key(3), "manager": 2 };
            let both = trio.stored.collection.count_documents(doc! { "$or": [one, two] });
            assert_eq!(both.await.unwrap(), 2, "2 and 3 do not report to each other");
            return;
        }
        trio.uncross(if one.status == 200 { 2 } else { 3 }).await;
    }
    panic!("no two moves met");
}

#[tokio::test]
async fn a_long_random_sequence_of_changes_matches_a_simple_model() {
    const SEED: u64 = 20_261_121;
    let (app, chart, stored) = prepared().await;
    let mut next = chart.hire("CEO", None).await + 1;
    let (mut rng, mut people) = (StdRng::seed_from_u64(SEED), Managers::from([(1, None)]));
    for step in 1..=240 {
        let change = Change::random(&mut rng, &people);
        let expected = change.apply(&mut people, next);
        let reply = change.send(&chart).await;
        assert_eq!(reply.status, expected, "seed {SEED}, step {step}: {change:?}: {reply:?}");
        next += i64::from(expected == 201);
        if step % 20 == 0 {
            assert_eq!(stored.assert_valid().await, people, "seed {SEED}, step {step}");
        }
    }
    assert_eq!(read_tree(&chart).await, people, "seed {SEED}");
    app.assert_sound().await;
}

/// Changes in one process are queued per chart, so their transactions never conflict.
#[tokio::test]
async fn changes_of_charts_in_one_process_never_conflict() {
    let database = Database::new().await;
    let server = ServerProcess::start(&database);
    let org = server.client.sign_up("Acme").await;
    let admin = server.client.with(&org.token);
    join_all((0..32).map(|_| Chart::create(&admin, "Chart"))).await;
    let chart = Chart { id: 1, client: admin.clone() };
    chart.hire("Ada", None).await;
    let (one, rename) = (chart.path(""), json!({ "name": "Renamed" }));
    let hiring = join_all((0..24).map(|_| chart.hire("Bob", Some(1))));
    let renaming = join_all((0..8).map(|_| admin.put(&one, rename.clone())));
    let (_, renamed) = join(hiring, renaming).await;
    assert!(renamed.iter().all(|reply| reply.status == 200), "{renamed:?}");
    // The deletion comes in between; later hires find no chart.
    let person = json!({ "name": "Cy", "title": "Engineer", "manager_id": 1 });
    let (people, path) = (|| person.clone(), chart.path("/employees"));
    let hiring = join_all((0..16).map(|_| admin.post(&path, people())));
    let (hired, deleted) = join(hiring, admin.delete(&one)).await;
    deleted.expect(200);
    assert!(hired.iter().all(|reply| [201, 404].contains(&reply.status)), "{hired:?}");
    let metrics = admin.get("/metrics").await.expect(200).body;
    for transaction in ["chart.create", "chart.update", "chart.delete", "employee.create"] {
        let line = format!(r#"tenantry_transaction_retries_total{{transaction="{transaction}"}}"#);
        assert!(!metrics.as_str().unwrap().contains(&line), "{metrics}");
    }
    admin.get(&one).await.refused(404, "not_found");
    drop(server);
    database.drop_all();
}
