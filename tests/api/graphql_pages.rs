//! Paging while items are added and removed, and how many database commands a page needs.

use std::collections::BTreeSet;

use chrono::{DateTime, Duration, Utc};
use serde_json::{Value, json};

use crate::support::{Client, Database, Event, ServerProcess, TestApp, ahead, unique};

const EVENTS: &str = "query P($first: Int, $after: String) {
    list: events(first: $first, after: $after) {
        edges { cursor node { id } } pageInfo { hasNextPage endCursor } } }";
const OCCURRENCES: &str = "query P($from: DateTime!, $to: DateTime!, $first: Int, $after: String) {
    list: occurrences(from: $from, to: $to, first: $first, after: $after) {
        edges { cursor node { id } } pageInfo { hasNextPage endCursor } } }";
const MINE: &str = "query P($first: Int, $after: String) {
    list: myRegistrations(first: $first, after: $after) {
        edges { cursor node { id } } pageInfo { hasNextPage endCursor } } }";
const MEMBERS: &str = "query P($member: ID, $first: Int, $after: String) {
    list: registrations(memberId: $member, first: $first, after: $after) {
        edges { cursor node { id } } pageInfo { hasNextPage endCursor } } }";
const ATTENDEES: &str = "query P($occurrence: ID, $first: Int, $after: String) {
    list: registrations(occurrenceId: $occurrence, first: $first, after: $after) {
        edges { cursor node { id } } pageInfo { hasNextPage endCursor } } }";

/// The ids of a list, read in pages of three; calls `between` after each page.
async fn paged(
    client: &Client,
    query: &str,
    mut variables: Value,
    mut between: impl AsyncFnMut(),
) -> Vec<String> {
    let mut ids = Vec::new();
    variables["first"] = json!(3);
    loop {
        let page = client.query(query, variables.clone()).await["list"].clone();
        let edges = page["edges"].as_array().unwrap();
        assert!(edges.len() <= 3, "{page}");
        ids.extend(edges.iter().map(|edge| edge["node"]["id"].as_str().unwrap().to_owned()));
        if page["pageInfo"]["hasNextPage"] == false {
            return ids;
        }
        assert_eq!(page["pageInfo"]["endCursor"], edges[2]["cursor"]);
        variables["after"] = page["pageInfo"]["endCursor"].clone();
        between().await;
    }
}

/// Asserts that items that existed all the time appear once and in order, and no item appears
/// twice.
#[track_caller]
fn assert_stable(found: &[String], stayed: &[String]) {
    let once: BTreeSet<&String> = found.iter().collect();
    assert_eq!(once.len(), found.len(), "an item appears twice: {found:?}");
    let kept: Vec<&String> = found.iter().filter(|id| stayed.contains(id)).collect();
    assert_eq!(kept, stayed.iter().collect::<Vec<_>>());
}

/// A gym with permanent events every second hour, and passing events in between.
struct Gym {
    admin: Client,
    admin_id: String,
    start: DateTime<Utc>,
    stayed: Vec<Event>,
    passing: Vec<(Event, DateTime<Utc>)>,
}

impl Gym {
    async fn open(app: &TestApp) -> Self {
        let org = app.sign_up("Gym").await;
        let (admin, start) = (app.with(&org.token), ahead(48));
        let mut gym =
            Self { admin, admin_id: org.admin_id, start, stayed: vec![], passing: vec![] };
        for i in 0..10 {
            let event = Event::once(&gym.admin, start + Duration::hours(2 * i), 60).await;
            gym.stayed.push(event);
            gym.passes(1 + 2 * i).await;
        }
        gym
    }

    fn at(&self, hour: i64) -> DateTime<Utc> {
        self.start + Duration::hours(hour)
    }

    async fn passes(&mut self, hour: i64) {
        let start = self.at(hour);
        self.passing.push((Event::once(&self.admin, start, 60).await, start));
    }

    /// Deletes two passing events, one early and one late in the list, and creates two.
    async fn churn(&mut self, round: i64) {
        for at in [self.passing.len() - 1, 0] {
            let (event, _) = self.passing.remove(at);
            event.delete(true).await.done("deletedId");
        }
        self.passes(round % 20).await;
        self.passes(19 - round % 20).await;
    }

    fn ids_of_stayed(&self) -> Vec<String> {
        let hours = (0..).step_by(2);
        self.stayed.iter().zip(hours).map(|(event, hour)| event.at(self.at(hour))).collect()
    }
}

#[tokio::test]
async fn pages_of_events_are_stable_while_events_come_and_go() {
    let app = TestApp::start().await;
    let mut gym = Gym::open(&app).await;
    let (client, mut round) = (gym.admin.clone(), 0);
    let events: Vec<String> = gym.stayed.iter().map(|event| event.id.clone()).collect();
    let found = paged(&client, EVENTS, json!({}), async || {
        round += 1;
        gym.churn(round).await;
    });
    assert_stable(&found.await, &events);

    let (from, to) = (gym.at(-1), gym.at(100));
    let occurrences = gym.ids_of_stayed();
    let window = json!({ "from": from, "to": to });
    let found = paged(&client, OCCURRENCES, window, async || {
        round += 1;
        gym.churn(round).await;
    });
    assert_stable(&found.await, &occurrences);
    assert!(round > 8, "only {round} changes between pages");
}

/// Registers, or cancels if already registered.
async fn toggle(client: &Client, occurrence: &str) {
    let refusal = client.register(occurrence).await.0["refusal"].clone();
    if let Some(held) = refusal["conflictsWith"]["id"].as_str() {
        client.cancel(held).await.done("registration");
    }
}

#[tokio::test]
async fn pages_of_registrations_are_stable_while_seats_are_taken_and_given_back() {
    let app = TestApp::start().await;
    let gym = Gym::open(&app).await;
    let client = gym.admin.clone();
    let mut held = Vec::new();
    for occurrence in gym.ids_of_stayed() {
        held.push(client.register(&occurrence).await.registration());
    }
    for (query, variables) in [(MINE, json!({})), (MEMBERS, json!({ "member": gym.admin_id }))] {
        let mut round = 0;
        let found = paged(&client, query, variables, async || {
            for at in [round, gym.passing.len() - 1 - round] {
                let (event, start) = &gym.passing[at];
                toggle(&client, &event.at(*start)).await;
            }
            round += 1;
        });
        assert_stable(&found.await, &held);
        assert!(round > 2, "only {round} changes between pages");
    }
    app.assert_sound().await;
}

#[tokio::test]
async fn pages_of_attendees_are_stable_while_seats_are_taken_and_given_back() {
    let app = TestApp::start().await;
    let org = app.sign_up("Gym").await;
    let (admin, start) = (app.with(&org.token), ahead(48));
    let event = Event::once(&admin, start, 60).await;
    let occurrence = event.at(start);
    let members = members(&admin, 20).await;
    let mut held = Vec::new();
    for member in &members {
        held.push(admin.register_for(&occurrence, Some(member)).await.registration());
    }
    // Every second member registers and cancels; the others stay registered.
    let (mut round, mut stayed) = (0, held.clone());
    let passing: Vec<String> = (1..20).rev().step_by(2).map(|i| stayed.remove(i)).collect();
    let found = paged(&admin, ATTENDEES, json!({ "occurrence": occurrence }), async || {
        for id in [&passing[round % passing.len()], passing.last().unwrap()] {
            let member = id.split(':').next().unwrap();
            if admin.cancel(id).await.0["registration"].is_null() {
                admin.register_for(&occurrence, Some(member)).await.registration();
            }
        }
        round += 1;
    });
    assert_stable(&found.await, &stayed);
    assert!(round > 3);
}

async fn members(admin: &Client, count: usize) -> Vec<String> {
    let mut ids = Vec::new();
    for _ in 0..count {
        let email = format!("{}@example.com", unique("gymnast"));
        let body = json!({ "email": email, "password": "correct horse battery" });
        let created = admin.post("/org/members", body).await.expect(201);
        ids.push(created.text("id").to_owned());
    }
    ids
}

/// The number of reads for a query once accounts and events are cached. The server's background
/// work may add reads, so this is the minimum of five runs.
async fn reads(client: &Client, query: &str, variables: &Value, expected: usize) -> u64 {
    let mut least = u64::MAX;
    for _ in 0..5 {
        let mut counts = [0; 2];
        for count in &mut counts {
            *count = client.commands("find").await + client.commands("aggregate").await;
            let found = client.query(query, variables.clone()).await;
            assert_eq!(found["list"]["nodes"].as_array().unwrap().len(), expected);
        }
        least = least.min(counts[1] - counts[0]);
    }
    least
}

#[tokio::test]
async fn a_page_of_many_needs_hardly_more_reads_than_a_page_of_one() {
    let database = Database::new().await;
    let quiet = [("MONGO_COMMAND_METRICS", "true"), ("RECOVERY_INTERVAL_SECONDS", "600")];
    let server = ServerProcess::start_with(&database, &quiet);
    let (start, mut costs) = (ahead(48), Vec::new());
    for (events, people) in [(1_u32, 1), (100, 50)] {
        let org = server.client.sign_up(&format!("Gym of {people}")).await;
        let admin = server.client.with(&org.token);
        for hour in 0..events {
            let start = start + Duration::hours(hour.into());
            let event = Event::once(&admin, start, 1).await;
            admin.register(&event.at(start)).await.registration();
        }
        let later = start + Duration::hours(1_000);
        let crowd = Event::once(&admin, later, 50).await;
        for member in members(&admin, people).await {
            admin.register_for(&crowd.at(later), Some(&member)).await.registration();
        }
        let variables = json!({ "from": start, "to": start + Duration::hours(events.into()),
            "occurrence": crowd.at(later) });
        let page = "query P($from: DateTime!, $to: DateTime!) {
            list: occurrences(from: $from, to: $to, first: 100) { nodes {
                id seatsTaken seatsLeft waitingListLength myWaitingListPosition event { title } } } }";
        let mine = "query P { list: myRegistrations(first: 100) { nodes {
            occurrence { startsAt seatsTaken waitingListLength event { title } } member { email } } } }";
        let attendees = "query P($occurrence: ID!) {
            list: registrations(occurrenceId: $occurrence) { nodes {
                occurrence { seatsTaken event { title } } member { name email role } } } }";
        let events = usize::try_from(events).unwrap();
        costs.push([
            reads(&admin, page, &variables, events).await,
            reads(&admin, mine, &variables, events).await,
            reads(&admin, attendees, &variables, people).await,
        ]);
    }
    // A loader collects keys for one millisecond; on a busy machine it may need more batches.
    let bounded = |(one, many): (&u64, &u64)| (2..=6).contains(one) && *many <= 3 * one;
    assert!(costs[0].iter().zip(&costs[1]).all(bounded), "reads for one and for many: {costs:?}");
    drop(server);
    database.drop_all();
}
