//! An organization whose members register for events, and clients that read.

use std::time::Instant;

use chrono::Duration;
use futures::future::join_all;
use rand::{Rng, SeedableRng, rngs::StdRng};
use reqwest::Method;
use serde_json::json;

use super::{
    any,
    day::{Answer, Day},
};
use crate::support::{Action, Chart, Client, Database, Event, Journal, Member, Org, ahead};

const EVENTS: i64 = 4;
const SEATS: i64 = 2;
/// Outcomes of a server with a database, a server without one, and a stopped server.
const FINE: [&str; 12] = [
    "done",
    "EVENT_FULL",
    "TIME_CONFLICT",
    "ALREADY_REGISTERED",
    "NOT_REGISTERED",
    "ALREADY_WAITING",
    "NOT_WAITING",
    "SEATS_AVAILABLE",
    "not_found",
    "busy",
    "database_unavailable",
    "silence",
];

pub(super) struct Tenant {
    pub(super) number: u64,
    pub(super) org: Org,
    pub(super) chart: Chart,
    members: Vec<Member>,
    occurrences: Vec<String>,
}

impl Tenant {
    /// Creates a chart with a CEO, and pairs of overlapping events.
    pub(super) async fn open(
        database: &Database,
        server: &Client,
        number: usize,
        members: usize,
    ) -> Self {
        let org = server.sign_up(&format!("Tenant {number}")).await;
        let admin = server.with(&org.token);
        let chart = Chart::create(&admin, "Everybody").await;
        assert_eq!(chart.hire("Chief", None).await, 1);
        let starts = (0..EVENTS).map(|event| ahead(24) + Duration::hours(event / 2));
        let events = starts.map(async |start| Event::once(&admin, start, SEATS).await.at(start));
        let occurrences = join_all(events).await;
        let members = database.add_members(&org, members).await;
        Self { number: number as u64, org, chart, members, occurrences }
    }

    /// All members register and cancel at random; returns the recorded answers.
    pub(super) async fn register_at_random(&self, day: &Day, mut rng: StdRng) -> Vec<Journal> {
        let visits = self.members.iter().map(|member| {
            let rng = StdRng::seed_from_u64(rng.random());
            self.visit(day, Journal::of(member.clone()), rng)
        });
        join_all(visits.collect::<Vec<_>>()).await
    }

    async fn visit(&self, day: &Day, mut journal: Journal, mut rng: StdRng) -> Journal {
        while !day.is_over() {
            let (action, what) = match rng.random_range(0..10) {
                0..5 => (Action::Register, "register"),
                5..8 => (Action::Cancel, "cancel"),
                8 => (Action::Join, "join"),
                _ => (Action::Leave, "leave"),
            };
            let some = &self.occurrences[rng.random_range(0..self.occurrences.len())];
            let fit = journal.fit_for(action, rng.random_range(0..100));
            let (server, sent) = (any(day, &mut rng), Instant::now());
            let word = journal.send(&server, action, fit.as_ref().unwrap_or(some)).await;
            assert!(FINE.contains(&word.as_str()), "{word} for {action:?}");
            day.record(what, &word, word == "done", sent).await;
        }
        journal
    }
}

/// Reads until the day is over; nothing may be missing.
pub(super) async fn read_at_random(day: &Day, tenants: &[Tenant], mut rng: StdRng) {
    let (from, to) = (ahead(0).to_rfc3339(), ahead(48).to_rfc3339());
    while !day.is_over() {
        let tenant = &tenants[rng.random_range(0..tenants.len())];
        let client = any(day, &mut rng).with(&tenant.org.token);
        let (what, request) = match rng.random_range(0..4) {
            0 => ("members", client.request(Method::GET, "/org/members")),
            1 => ("tree", client.request(Method::GET, &tenant.chart.path("/tree"))),
            2 => ("employees", client.request(Method::GET, &tenant.chart.path("/employees"))),
            _ => {
                let query = "query($from: DateTime!, $to: DateTime!) {
                    occurrences(from: $from, to: $to, first: 10) { edges { node { id seatsTaken } } }
                }";
                let variables = json!({ "from": from, "to": to });
                let body = json!({ "query": query, "variables": variables });
                ("occurrences", client.request(Method::POST, "/graphql").json(&body))
            }
        };
        match day.send(what, request).await {
            Answer::Done(reply) if what == "occurrences" => {
                let edges = reply.body["data"]["occurrences"]["edges"].as_array();
                let there = edges.is_some_and(|edges| edges.len() == tenant.occurrences.len());
                let busy = reply.body["errors"][0]["extensions"]["code"].as_str();
                let busy = busy.is_some_and(|code| FINE.contains(&code) && code != "not_found");
                assert!(there || busy, "{reply:?}");
            }
            Answer::Done(_) | Answer::Unknown => {}
            Answer::Refused(reply) => panic!("{reply:?} for {what}"),
        }
    }
}
