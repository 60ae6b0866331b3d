//! Signs organizations up, logs in, deletes and renames them.

use std::collections::BTreeMap;

use rand::{Rng, rngs::StdRng};
use reqwest::Method;
use serde_json::json;

use super::{
    any,
    day::{Answer, Day},
};
use crate::support::{Client, Org, PASSWORD};

/// Signs organizations up and deletes some of them.
pub(super) struct Founder {
    number: u64,
    /// Existing organizations and the e-mail addresses of their admins.
    alive: BTreeMap<String, String>,
    gone: Vec<String>,
}

impl Founder {
    pub(super) fn new(number: u64) -> Self {
        Self { number, alive: BTreeMap::new(), gone: Vec::new() }
    }

    pub(super) async fn work(mut self, day: &Day, mut rng: StdRng) -> Self {
        for turn in 0_u64.. {
            if day.is_over() {
                break;
            }
            let server = any(day, &mut rng);
            let chosen = rng.random_range(0..self.alive.len().max(1));
            let chosen = self.alive.iter().nth(chosen).map(|(name, email)| (name.clone(), email));
            match (chosen, rng.random_range(0..10)) {
                (Some((name, email)), 0..2) => {
                    let email = email.clone();
                    self.delete(day, &server, name, &email).await;
                }
                (Some((_, email)), 2..6) => {
                    log_in(day, &server, email).await;
                }
                _ => self.found(day, &server, turn).await,
            }
        }
        self
    }

    async fn found(&mut self, day: &Day, server: &Client, turn: u64) {
        let name = format!("Founded {} {turn}", self.number);
        let email = format!("founder{}n{turn}@example.com", self.number);
        let body = json!({ "organization_name": name, "email": email, "password": PASSWORD });
        let request = server.request(Method::POST, "/org/create").json(&body);
        match day.send("sign up", request).await {
            Answer::Done(_) => {
                self.alive.insert(name, email);
            }
            // No other client uses that name or address.
            Answer::Refused(reply) => panic!("{reply:?} for {name}"),
            Answer::Unknown => {}
        }
    }

    async fn delete(&mut self, day: &Day, server: &Client, name: String, email: &str) {
        let Some(token) = log_in(day, server, email).await else { return };
        let request = server.with(&token).request(Method::DELETE, "/org/delete");
        let request = request.query(&[("organization_name", &name)]);
        // Even a failed request may have deleted it.
        self.alive.remove(&name);
        match day.send("delete", request).await {
            Answer::Done(_) => self.gone.push(name),
            Answer::Refused(reply) => panic!("{reply:?} for {name}"),
            Answer::Unknown => {}
        }
    }

    pub(super) async fn assert_kept(&self, server: &Client) {
        for (name, email) in &self.alive {
            server.get_org(name).await.expect(200);
            let admin = server.with(&server.token(email, PASSWORD).await);
            admin.get("/org/members").await.expect(200);
        }
        for name in &self.gone {
            server.get_org(name).await.refused(404, "not_found");
        }
    }
}

/// A token, if a server answers.
async fn log_in(day: &Day, server: &Client, email: &str) -> Option<String> {
    let body = json!({ "email": email, "password": PASSWORD });
    let request = server.request(Method::POST, "/auth/login").json(&body);
    match day.send("log in", request).await {
        Answer::Done(reply) => Some(reply.text("access_token").to_owned()),
        Answer::Refused(reply) => panic!("{reply:?} for {email}"),
        Answer::Unknown => None,
    }
}

/// Renames one organization repeatedly.
pub(super) struct Renamer {
    org: Org,
    /// The last confirmed name, and later names that may have been set.
    names: Vec<String>,
}

impl Renamer {
    pub(super) fn of(org: &Org) -> Self {
        Self { org: org.clone(), names: vec![org.name.clone()] }
    }

    pub(super) async fn work(mut self, day: &Day) -> Self {
        for turn in 0_usize.. {
            if day.is_over() {
                break;
            }
            let name = format!("{} {turn}", self.org.name);
            let client = day.server(turn % 2).with(&self.org.token);
            let body = json!({ "organization_name": name });
            match day.send("rename", client.request(Method::PUT, "/org/update").json(&body)).await {
                Answer::Done(_) => self.names = vec![name],
                Answer::Refused(reply) => panic!("{reply:?} for {name}"),
                Answer::Unknown => self.names.push(name),
            }
        }
        self
    }

    pub(super) async fn assert_kept(&self, server: &Client) {
        let mut found = Vec::new();
        for name in &self.names {
            let reply = server.get_org(name).await;
            if reply.status == 200 && reply.body["id"] == self.org.id.as_str() {
                found.push(name);
            }
        }
        assert_eq!(
            found.len(),
            1,
            "the name must be one of {:?}, but these are found: {found:?}",
            self.names
        );
    }
}
