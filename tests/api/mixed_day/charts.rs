//! Who keeps a chart: hires, gives titles, moves, promotes and lets go.

use std::collections::{BTreeMap, BTreeSet};

use rand::{Rng, rngs::StdRng};
use reqwest::{Method, RequestBuilder};
use serde_json::json;

use super::{
    any,
    day::{Answer, Day},
};
use crate::support::{Chart, Client, Org};

/// The only one who changes the chart.
pub(super) struct ChartKeeper {
    token: String,
    chart: Chart,
    /// Who is in it for sure, with the title where that is sure, too.
    people: BTreeMap<i64, Option<String>>,
    gone: BTreeSet<i64>,
    /// Who may have gone.
    unsure: BTreeSet<i64>,
    /// How many may have come.
    strangers: usize,
}

impl ChartKeeper {
    /// The chart has one employee, its CEO.
    pub(super) fn of(org: &Org, chart: &Chart) -> Self {
        Self {
            token: org.token.clone(),
            chart: chart.clone(),
            people: BTreeMap::from([(1, None)]),
            gone: BTreeSet::new(),
            unsure: BTreeSet::new(),
            strangers: 0,
        }
    }

    pub(super) async fn work(mut self, day: &Day, mut rng: StdRng) -> Self {
        for turn in 0_u64.. {
            if day.is_over() {
                break;
            }
            let client = any(day, &mut rng).with(&self.token);
            let some = |rng: &mut StdRng| {
                let number = rng.random_range(0..self.people.len());
                *self.people.keys().nth(number).unwrap()
            };
            let (one, other) = (some(&mut rng), some(&mut rng));
            match rng.random_range(0..10) {
                0..4 => self.hire(day, &client, one).await,
                4..6 => self.retitle(day, &client, one, format!("Title {turn}")).await,
                6..8 => self.reorder(day, &client, one, other).await,
                _ => self.let_go(day, &client, one, turn % 2 == 0).await,
            }
        }
        self
    }

    fn to(&self, client: &Client, method: Method, rest: &str) -> RequestBuilder {
        client.request(method, &self.chart.path(&format!("/employees{rest}")))
    }

    async fn hire(&mut self, day: &Day, client: &Client, manager: i64) {
        let body = json!({ "name": "Somebody", "title": "New", "manager_id": manager });
        match day.ask("hire", self.to(client, Method::POST, "").json(&body)).await {
            Answer::Done(reply) => {
                let id = reply.body["id"].as_i64().unwrap();
                self.people.insert(id, Some("New".to_owned()));
            }
            Answer::Refused(reply) => panic!("{reply:?} under {manager}"),
            Answer::Unknown => self.strangers += 1,
        }
    }

    async fn retitle(&mut self, day: &Day, client: &Client, who: i64, title: String) {
        let request = self.to(client, Method::PUT, &format!("/{who}"));
        let answer = day.ask("retitle", request.json(&json!({ "title": title }))).await;
        let title = match answer {
            Answer::Done(_) => Some(title),
            Answer::Refused(reply) => panic!("{reply:?} for {who}"),
            Answer::Unknown => None,
        };
        self.people.insert(who, title);
    }

    /// Moves, and where that cannot be, promotes.
    async fn reorder(&mut self, day: &Day, client: &Client, who: i64, under: i64) {
        let request = self.to(client, Method::PUT, &format!("/{who}"));
        let moved = day.ask("move", request.json(&json!({ "manager_id": under }))).await;
        let Answer::Refused(reply) = moved else { return };
        assert_eq!(reply.status, 409, "{reply:?} for {who} under {under}");
        let request = self.to(client, Method::PUT, &format!("/{who}/promote"));
        if let Answer::Refused(reply) = day.ask("promote", request).await {
            panic!("{reply:?} for {who}");
        }
    }

    async fn let_go(&mut self, day: &Day, client: &Client, who: i64, direct: bool) {
        let rest = format!("/{who}?reparent={}", if direct { "direct" } else { "all" });
        match day.ask("let go", self.to(client, Method::DELETE, &rest)).await {
            Answer::Done(_) => {
                self.people.remove(&who);
                self.gone.insert(who);
            }
            Answer::Refused(reply) => {
                reply.refused(409, "chart_ceo_protected");
            }
            Answer::Unknown => {
                // Somebody has to be there for sure.
                if self.people.len() > 1 {
                    self.people.remove(&who);
                    self.unsure.insert(who);
                }
            }
        }
    }

    pub(super) async fn assert_kept(&self, server: &Client) {
        let chart = Chart { id: self.chart.id, client: server.with(&self.token) };
        let found: BTreeMap<i64, String> = chart
            .people()
            .await
            .iter()
            .map(|person| {
                let title = person["title"].as_str().unwrap().to_owned();
                (person["id"].as_i64().unwrap(), title)
            })
            .collect();
        for (id, title) in &self.people {
            let there = found.get(id).unwrap_or_else(|| panic!("{id} is lost"));
            assert!(title.as_ref().is_none_or(|title| title == there), "{id}: {title:?}, {there}");
        }
        assert!(self.gone.iter().all(|id| !found.contains_key(id)), "somebody is back");
        let known = |id: &i64| self.people.contains_key(id) || self.unsure.contains(id);
        let strangers = found.keys().filter(|id| !known(id)).count();
        assert!(strangers <= self.strangers, "{strangers} whom nobody has hired");
    }
}
