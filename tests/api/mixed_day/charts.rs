//! Edits a chart: hires, retitles, moves, promotes and removes employees.

use std::collections::{BTreeMap, BTreeSet};

use rand::{Rng, rngs::StdRng};
use reqwest::{Method, RequestBuilder};
use serde_json::json;

use super::{
    any,
    day::{Answer, Day},
};
use crate::support::{Chart, Client, Org};

/// The only editor of its chart.
pub(super) struct ChartKeeper {
    token: String,
    chart: Chart,
    /// Employees that certainly exist, each with the title if it is certain.
    people: BTreeMap<i64, Option<String>>,
    gone: BTreeSet<i64>,
    /// Employees that may have been removed.
    unsure: BTreeSet<i64>,
    /// Number of employees that may have been hired.
    unsure_hires: usize,
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
            unsure_hires: 0,
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
                _ => self.remove(day, &client, one, turn % 2 == 0).await,
            }
        }
        self
    }

    fn to(&self, client: &Client, method: Method, rest: &str) -> RequestBuilder {
        client.request(method, &self.chart.path(&format!("/employees{rest}")))
    }

    async fn hire(&mut self, day: &Day, client: &Client, manager: i64) {
        let body = json!({ "name": "Somebody", "title": "New", "manager_id": manager });
        match day.send("hire", self.to(client, Method::POST, "").json(&body)).await {
            Answer::Done(reply) => {
                let id = reply.body["id"].as_i64().unwrap();
                self.people.insert(id, Some("New".to_owned()));
            }
            Answer::Refused(reply) => panic!("{reply:?} under {manager}"),
            Answer::Unknown => self.unsure_hires += 1,
        }
    }

    async fn retitle(&mut self, day: &Day, client: &Client, employee: i64, title: String) {
        let request = self.to(client, Method::PUT, &format!("/{employee}"));
        let answer = day.send("retitle", request.json(&json!({ "title": title }))).await;
        let title = match answer {
            Answer::Done(_) => Some(title),
            Answer::Refused(reply) => panic!("{reply:?} for {employee}"),
            Answer::Unknown => None,
        };
        self.people.insert(employee, title);
    }

    /// Moves the employee, or promotes if that is refused.
    async fn reorder(&mut self, day: &Day, client: &Client, employee: i64, under: i64) {
        let request = self.to(client, Method::PUT, &format!("/{employee}"));
        let moved = day.send("move", request.json(&json!({ "manager_id": under }))).await;
        let Answer::Refused(reply) = moved else { return };
        assert_eq!(reply.status, 409, "{reply:?} for {employee} under {under}");
        let request = self.to(client, Method::PUT, &format!("/{employee}/promote"));
        if let Answer::Refused(reply) = day.send("promote", request).await {
            panic!("{reply:?} for {employee}");
        }
    }

    async fn remove(&mut self, day: &Day, client: &Client, employee: i64, direct: bool) {
        let rest = format!("/{employee}?reparent={}", if direct { "direct" } else { "all" });
        match day.send("remove", self.to(client, Method::DELETE, &rest)).await {
            Answer::Done(_) => {
                self.people.remove(&employee);
                self.gone.insert(employee);
            }
            Answer::Refused(reply) => {
                reply.refused(409, "chart_ceo_protected");
            }
            Answer::Unknown => {
                // At least one employee must certainly exist.
                if self.people.len() > 1 {
                    self.people.remove(&employee);
                    self.unsure.insert(employee);
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
        assert!(self.gone.iter().all(|id| !found.contains_key(id)), "a removed employee is back");
        let known = |id: &i64| self.people.contains_key(id) || self.unsure.contains(id);
        let strangers = found.keys().filter(|id| !known(id)).count();
        assert!(strangers <= self.unsure_hires, "{strangers} employees that nobody hired");
    }
}
