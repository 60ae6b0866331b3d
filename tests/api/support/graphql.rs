//! GraphQL requests.

use std::cell::Cell;

use chrono::{DateTime, Duration, SubsecRound, Utc};
use serde_json::{Value, json};
use tenantry::domain::{Clock, SystemClock};

use super::{Client, Reply, patiently};

/// An event and a client that may change it.
#[derive(Clone)]
pub struct Event {
    pub id: String,
    pub client: Client,
}

/// A mutation's payload: a result or a refusal.
#[derive(Debug)]
pub struct Payload(pub Value);

/// The first full hour that is at least `hours` in the future.
pub fn ahead(hours: i64) -> DateTime<Utc> {
    let later = SystemClock.now() + Duration::hours(hours + 1);
    let seconds = later.timestamp().rem_euclid(3_600);
    later.trunc_subsecs(0) - Duration::seconds(seconds)
}

/// The first error's code.
#[track_caller]
pub fn code(reply: &Reply) -> &str {
    let code = reply.body["errors"][0]["extensions"]["code"].as_str();
    code.unwrap_or_else(|| panic!("no code: {reply:?}"))
}

/// The fields that the first error names, which must be a validation error.
#[track_caller]
pub fn wrong_fields(reply: &Reply) -> Vec<&str> {
    assert_eq!(code(reply), "validation", "{reply:?}");
    let errors = reply.body["errors"][0]["extensions"]["errors"].as_array();
    let errors = errors.unwrap_or_else(|| panic!("no fields: {reply:?}"));
    errors.iter().map(|error| error["field"].as_str().unwrap()).collect()
}

impl Client {
    /// Sends a query and returns the answer.
    pub async fn graphql(&self, query: &str, variables: Value) -> Reply {
        self.post("/graphql", json!({ "query": query, "variables": variables })).await
    }

    /// Sends a query that must succeed; returns its data.
    pub async fn query(&self, query: &str, variables: Value) -> Value {
        let reply = self.graphql(query, variables).await.expect(200);
        assert!(reply.body.get("errors").is_none(), "{query}: {:?}", reply.body);
        reply.body["data"].clone()
    }

    /// A mutation's outcome as one word: `done`, the code of its refusal or error, or `silence` if
    /// the connection fails.
    pub async fn outcome(&self, mutation: &str) -> String {
        let body = json!({ "query": format!("mutation {{ {mutation} }}") });
        let request = self.request(reqwest::Method::POST, "/graphql").json(&body);
        match Self::try_send(request).await {
            Some(reply) => reply.word(),
            None => "silence".to_owned(),
        }
    }

    /// Registers with retries; returns the outcome.
    pub async fn register_patiently(&self, occurrence: &str) -> String {
        let mutation = format!("register(occurrenceId: \"{occurrence}\") {{ refusal {{ code }} }}");
        let body = json!({ "query": format!("mutation {{ {mutation} }}") });
        let tries = Cell::new(0);
        let reply = patiently(async || {
            tries.set(tries.get() + 1);
            self.post("/graphql", body.clone()).await
        });
        match reply.await.word().as_str() {
            // An earlier attempt succeeded, but its answer said otherwise.
            "ALREADY_REGISTERED" if tries.get() > 1 => "done".to_owned(),
            word => word.to_owned(),
        }
    }

    /// Registers; returns the outcome.
    pub async fn register_outcome(&self, occurrence: &str) -> String {
        let mutation = format!("register(occurrenceId: \"{occurrence}\") {{ refusal {{ code }} }}");
        self.outcome(&mutation).await
    }

    /// Registers a member; returns the outcome.
    pub async fn register_for_outcome(&self, occurrence: &str, member: &str) -> String {
        let arguments = format!("occurrenceId: \"{occurrence}\", memberId: \"{member}\"");
        self.outcome(&format!("register({arguments}) {{ refusal {{ code }} }}")).await
    }

    /// Cancels a member's registration; returns the outcome.
    pub async fn cancel_outcome(&self, occurrence: &str, member: &str) -> String {
        let id = format!("{member}:{occurrence}");
        self.outcome(&format!("cancelRegistration(id: \"{id}\") {{ refusal {{ code }} }}")).await
    }

    /// Joins the waiting list; returns the outcome.
    pub async fn join_outcome(&self, occurrence: &str) -> String {
        let arguments = format!("occurrenceId: \"{occurrence}\"");
        self.outcome(&format!("joinWaitingList({arguments}) {{ refusal {{ code }} }}")).await
    }

    /// Leaves the waiting list; returns the outcome.
    pub async fn leave_outcome(&self, occurrence: &str) -> String {
        let arguments = format!("occurrenceId: \"{occurrence}\"");
        self.outcome(&format!("leaveWaitingList({arguments}) {{ refusal {{ code }} }}")).await
    }

    pub async fn register(&self, occurrence: &str) -> Payload {
        self.register_for(occurrence, None).await
    }

    pub async fn register_for(&self, occurrence: &str, member: Option<&str>) -> Payload {
        let query = "mutation R($o: ID!, $m: ID) { register(occurrenceId: $o, memberId: $m) {
            registration { id status createdAt cancelledAt member { id }
                occurrence { id seatsTaken seatsLeft } }
            refusal { code message conflictsWith { id status } } } }";
        let data = self.query(query, json!({ "o": occurrence, "m": member })).await;
        Payload(data["register"].clone())
    }

    pub async fn cancel(&self, registration: &str) -> Payload {
        let query = "mutation C($id: ID!) { cancelRegistration(id: $id) {
            registration { id status cancelledAt occurrence { id seatsTaken } }
            refusal { code message } } }";
        let data = self.query(query, json!({ "id": registration })).await;
        Payload(data["cancelRegistration"].clone())
    }

    pub async fn join(&self, occurrence: &str) -> Payload {
        let query = "mutation J($o: ID!) { joinWaitingList(occurrenceId: $o) {
            entry { position joinedAt member { id } occurrence { id waitingListLength } }
            refusal { code message } } }";
        let data = self.query(query, json!({ "o": occurrence })).await;
        Payload(data["joinWaitingList"].clone())
    }

    pub async fn leave(&self, occurrence: &str) -> Payload {
        let query = "mutation L($o: ID!) { leaveWaitingList(occurrenceId: $o) {
            left refusal { code message } } }";
        let data = self.query(query, json!({ "o": occurrence })).await;
        Payload(data["leaveWaitingList"].clone())
    }

    pub async fn occurrence(&self, id: &str) -> Value {
        let query = "query O($id: ID!) { occurrence(id: $id) {
            id startsAt endsAt capacity seatsTaken seatsLeft status waitingListLength
            myWaitingListPosition event { id title } } }";
        self.query(query, json!({ "id": id })).await["occurrence"].clone()
    }

    /// Creates a calendar feed; returns its path.
    pub async fn calendar_feed(&self) -> String {
        let data = self.query("mutation { createCalendarFeed { url } }", json!({})).await;
        let url = data["createCalendarFeed"]["url"].as_str().unwrap();
        url[url.find("/calendar/").unwrap()..].to_owned()
    }

    /// The ids of all occurrences, read in pages of `first`.
    pub async fn occurrences(&self, from: &str, to: &str, first: i64) -> Vec<String> {
        let query = "query O($from: DateTime!, $to: DateTime!, $first: Int, $after: String) {
            occurrences(from: $from, to: $to, first: $first, after: $after) {
                edges { cursor node { id } } pageInfo { hasNextPage endCursor } } }";
        let (mut ids, mut after) = (Vec::new(), Value::Null);
        loop {
            let variables = json!({ "from": from, "to": to, "first": first, "after": after });
            let page = self.query(query, variables).await["occurrences"].clone();
            let edges = page["edges"].as_array().unwrap();
            ids.extend(edges.iter().map(|edge| edge["node"]["id"].as_str().unwrap().to_owned()));
            if page["pageInfo"]["hasNextPage"] == false {
                return ids;
            }
            after = page["pageInfo"]["endCursor"].clone();
        }
    }
}

impl Reply {
    /// The answer as one word, see [`Client::outcome`].
    fn word(&self) -> String {
        // A request that timed out is answered with a problem.
        if let Some(code) = self.body["code"].as_str() {
            return code.to_owned();
        }
        if self.body.get("errors").is_some() {
            return code(self).to_owned();
        }
        assert_eq!(self.status, 200, "{self:?}");
        let data = self.body["data"].as_object().unwrap();
        let payload = data.values().next().unwrap();
        payload["refusal"]["code"].as_str().unwrap_or("done").to_owned()
    }
}

impl Event {
    /// Creates a single event of one hour, in UTC.
    pub async fn once(client: &Client, start: DateTime<Utc>, capacity: i64) -> Self {
        let local = start.format("%Y-%m-%dT%H:%M:%S").to_string();
        Self::create(client, json!({ "startsAt": local, "capacity": capacity })).await
    }

    /// Creates an event; `fields` override the defaults.
    pub async fn create(client: &Client, fields: Value) -> Self {
        let mut input = json!({
            "title": "Yoga", "timeZone": "UTC", "durationMinutes": 60, "capacity": 10,
            "startsAt": ahead(24).format("%Y-%m-%dT%H:%M:%S").to_string(),
        });
        for (name, value) in fields.as_object().unwrap() {
            input[name] = value.clone();
        }
        let query = "mutation E($i: CreateEventInput!) { createEvent(input: $i) { id } }";
        let data = client.query(query, json!({ "i": input })).await;
        let id = data["createEvent"]["id"].as_str().unwrap().to_owned();
        Self { id, client: client.clone() }
    }

    /// The id of the occurrence that starts at `start`.
    pub fn at(&self, start: DateTime<Utc>) -> String {
        format!("{}@{}", self.id, start.format("%Y-%m-%dT%H:%M:%SZ"))
    }

    pub async fn update(&self, input: Value) -> Payload {
        let query =
            "mutation U($id: ID!, $i: UpdateEventInput!) { updateEvent(id: $id, input: $i) {
            event { id title capacity version description recurrence { rule } }
            refusal { code message } } }";
        let data = self.client.query(query, json!({ "id": self.id, "i": input })).await;
        Payload(data["updateEvent"].clone())
    }

    pub async fn delete(&self, cancel: bool) -> Payload {
        let query = "mutation D($id: ID!, $c: Boolean) {
            deleteEvent(id: $id, cancelRegistrations: $c) {
                deletedId refusal { code message } } }";
        let data = self.client.query(query, json!({ "id": self.id, "c": cancel })).await;
        Payload(data["deleteEvent"].clone())
    }

    pub async fn cancel_occurrence(&self, occurrence: &str) -> Value {
        let query = "mutation C($id: ID!) { cancelOccurrence(id: $id) { id status seatsTaken } }";
        self.client.query(query, json!({ "id": occurrence })).await["cancelOccurrence"].clone()
    }
}

impl Payload {
    /// Asserts that there is no refusal; returns the field.
    #[track_caller]
    pub fn done(&self, field: &str) -> &Value {
        assert!(self.0["refusal"].is_null() && !self.0[field].is_null(), "{self:?}");
        &self.0[field]
    }

    /// Asserts that there is a registration; returns its id.
    #[track_caller]
    pub fn registration(&self) -> String {
        self.done("registration")["id"].as_str().unwrap().to_owned()
    }

    #[track_caller]
    pub fn refused(&self, code: &str) -> &Value {
        assert_eq!(self.0["refusal"]["code"], code, "{self:?}");
        &self.0["refusal"]
    }
}
