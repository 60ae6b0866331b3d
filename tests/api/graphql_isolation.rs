//! Sends every field of the GraphQL schema with another tenant's ids: it must neither read nor
//! change that tenant's data.

use std::collections::BTreeSet;

use async_graphql::parser::{
    parse_query, parse_schema,
    types::{OperationType, Selection, TypeKind, TypeSystemDefinition},
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use chrono::{DateTime, Duration, Utc};
use serde_json::{Value, json};
use tenantry::domain::{AccountId, EventId};

use crate::support::{Client, Event, Reply, TestApp, ahead, code};

/// Who may send a request about data of their own tenant.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Role {
    Everybody,
    Admin,
}
use Role::{Admin, Everybody};

/// Requests that use every field and argument of the root types; variables carry the ids. The
/// request that deletes everything comes last.
#[rustfmt::skip]
const CASES: [(Role, &str); 24] = [
    (Everybody, "{ organization { id name createdAt } }"),
    (Everybody, "query Q($event: ID!) { event(id: $event) { id title } }"),
    (Everybody, "query Q($eventCursor: String) { events(first: 5, after: $eventCursor) {
        edges { cursor node { title } } } }"),
    (Everybody, "{ events { nodes { id title } } }"),
    (Everybody, "query Q($occurrence: ID!) { occurrence(id: $occurrence) { id seatsTaken } }"),
    (Everybody, "query Q($event: ID!, $from: DateTime!, $to: DateTime!) {
        occurrences(from: $from, to: $to, eventId: $event) { nodes { id } } }"),
    (Everybody, "query Q($occurrenceCursor: String, $from: DateTime!, $to: DateTime!) {
        occurrences(from: $from, to: $to, first: 2, after: $occurrenceCursor) {
            nodes { event { title } seatsTaken waitingListLength } } }"),
    (Everybody, "query Q($occurrenceCursor: String, $from: DateTime!, $to: DateTime!) {
        myRegistrations(from: $from, to: $to, includeCancelled: true, first: 5,
            after: $occurrenceCursor) { nodes { member { email } } } }"),
    (Everybody, "{ myRegistrations { nodes { member { email } occurrence { event { title } } } } }"),
    (Admin, "query Q($member: ID!, $occurrenceCursor: String) {
        registrations(memberId: $member, first: 5, after: $occurrenceCursor) { nodes { id } } }"),
    (Admin, "query Q($occurrence: ID!) {
        registrations(occurrenceId: $occurrence, includeCancelled: true) {
            nodes { member { email } } } }"),
    (Admin, "query Q($ownOccurrence: ID!, $memberCursor: String) {
        registrations(occurrenceId: $ownOccurrence, after: $memberCursor) {
            nodes { member { email } } } }"),
    (Admin, r#"mutation Q { createEvent(input: { title: "Own", capacity: 1, timeZone: "UTC",
        startsAt: "2030-01-01T00:00:00", durationMinutes: 1 }) { title } }"#),
    (Admin, r#"mutation Q($event: ID!) { updateEvent(id: $event, input: { title: "Mine" }) {
        event { title } refusal { code } } }"#),
    (Everybody, "mutation Q($occurrence: ID!) { register(occurrenceId: $occurrence) {
        registration { id } refusal { code conflictsWith { id } } } }"),
    (Admin, "mutation Q($ownOccurrence: ID!, $member: ID!) {
        register(occurrenceId: $ownOccurrence, memberId: $member) {
            registration { id } refusal { code conflictsWith { id } } } }"),
    (Everybody, "mutation Q($occurrence: ID!) { joinWaitingList(occurrenceId: $occurrence) {
        entry { position } refusal { code } } }"),
    (Admin, "mutation Q($ownOccurrence: ID!, $member: ID!) {
        joinWaitingList(occurrenceId: $ownOccurrence, memberId: $member) {
            entry { position } refusal { code } } }"),
    (Everybody, "mutation Q($occurrence: ID!) { leaveWaitingList(occurrenceId: $occurrence) {
        left refusal { code } } }"),
    (Admin, "mutation Q($occurrence: ID!, $member: ID!) {
        leaveWaitingList(occurrenceId: $occurrence, memberId: $member) {
            left refusal { code } } }"),
    (Admin, "mutation Q($registration: ID!) { cancelRegistration(id: $registration) {
        registration { id status } refusal { code } } }"),
    (Admin, "mutation Q($occurrence: ID!) { cancelOccurrence(id: $occurrence) { id status } }"),
    (Admin, "mutation Q($event: ID!) { deleteEvent(id: $event, cancelRegistrations: true) {
        deletedId refusal { code } } }"),
    (Everybody, "mutation Q { revokeCalendarFeed createCalendarFeed { url } }"),
];

/// Requests without ids, which show the caller's own data.
fn names_no_id(query: &str) -> bool {
    !query.contains("$event")
        && !query.contains("$occ")
        && !query.contains("$reg")
        && !query.contains("$member")
}

/// A tenant's ids that an intruder would use.
#[derive(Clone)]
struct Ids {
    member: String,
    event: String,
    start: DateTime<Utc>,
}

impl Ids {
    fn occurrence(&self) -> String {
        format!("{}@{}", self.event, self.start.format("%Y-%m-%dT%H:%M:%SZ"))
    }

    /// The variables of all requests, with these ids; `own` is an occurrence of the caller's
    /// tenant.
    fn variables(&self, own: &str) -> Value {
        let cursor = |text: &str| URL_SAFE_NO_PAD.encode(text);
        json!({
            "event": self.event, "member": self.member, "occurrence": self.occurrence(),
            "registration": format!("{}:{}", self.member, self.occurrence()),
            "eventCursor": cursor(&self.event), "memberCursor": cursor(&self.member),
            "occurrenceCursor": cursor(&self.occurrence()), "ownOccurrence": own,
            "from": self.start - Duration::days(30), "to": self.start + Duration::days(30),
        })
    }
}

/// Two tenants. The victim has a weekly event with one seat. A member holds the first seat and the
/// admin waits for it; the admin holds the next one. The intruder has an event before and one
/// after.
struct Scene {
    app: TestApp,
    victim: Client,
    victims_member: Client,
    intruder: Client,
    ids: Ids,
    /// Ids that never existed. They sort like the victim's, so cursors made of them point to the
    /// same place.
    never: Ids,
    feed: String,
    /// An occurrence of the intruder.
    own: String,
    /// Texts that only the victim may see.
    secrets: Vec<String>,
}

impl Scene {
    async fn set() -> Self {
        let app = TestApp::start().await;
        let intruder = app.sign_up("Intruder").await;
        let intruder = app.with(&intruder.token);
        let start = ahead(48);
        let own = Event::once(&intruder, start - Duration::hours(3), 5).await;
        let org = app.sign_up("Victim").await;
        let victim = app.with(&org.token);
        let event = json!({
            "title": "Secret meeting", "capacity": 1, "recurrence": { "frequency": "WEEKLY" },
            "startsAt": start.format("%Y-%m-%dT%H:%M:%S").to_string(),
        });
        let event = Event::create(&victim, event).await;
        // Ids sort by creation time, so this one comes right after the victim's event.
        let no_event = EventId::generate().to_string();
        let (member, token) = victim.add_member("member").await;
        let nobody = AccountId::generate().to_string();
        let victims_member = app.with(&token);
        let later = Event::once(&intruder, start + Duration::hours(3), 5).await;
        let (colleague, _) = intruder.add_member("member").await;
        let own = own.at(start - Duration::hours(3));
        intruder.register_for(&own, Some(&colleague)).await.registration();
        intruder.register(&later.at(start + Duration::hours(3))).await.registration();
        victims_member.register(&event.at(start)).await.registration();
        victim.join(&event.at(start)).await.done("entry");
        victim.register(&event.at(start + Duration::weeks(1))).await.registration();
        let feed = victims_member.calendar_feed().await;
        let secrets = [&org.id, &org.email, &org.admin_id, &member, &event.id, "Secret meeting"];
        let secrets = secrets.map(ToOwned::to_owned).into();
        let never = Ids { member: nobody, event: no_event, start };
        let ids = Ids { member, event: event.id, start };
        Self { app, victim, victims_member, intruder, ids, never, feed, own, secrets }
    }

    /// All data of the victim.
    async fn belongings(&self) -> Vec<Value> {
        let query = "query All($event: ID!, $occurrence: ID!, $member: ID!, $from: DateTime!,
            $to: DateTime!) {
            organization { id name }
            event(id: $event) { id title version updatedAt }
            events { nodes { id } }
            occurrences(from: $from, to: $to) { nodes { id status seatsTaken waitingListLength } }
            occurrence(id: $occurrence) { myWaitingListPosition }
            one: registrations(memberId: $member, includeCancelled: true) {
                nodes { id status createdAt } }
            all: registrations(occurrenceId: $occurrence, includeCancelled: true) {
                nodes { id status createdAt } } }";
        let all = self.victim.query(query, self.ids.variables(&self.own)).await;
        let feed = self.app.get(&self.feed).await.expect(200).body;
        vec![all, feed, self.victim.get("/org/members").await.expect(200).body]
    }
}

async fn send_masked(client: &Client, query: &str, aimed: &Ids, own: &str) -> Reply {
    let mut reply = client.graphql(query, aimed.variables(own)).await;
    // The answer may repeat the ids that the client sent.
    let mut text = reply.body.to_string();
    for id in [&aimed.event, &aimed.member] {
        text = text.replace(id.as_str(), "some-id");
    }
    reply.body = serde_json::from_str(&text).unwrap();
    reply
}

/// The fields and arguments of the root types, such as `Query.event(id)`.
fn fields_of_the_schema() -> BTreeSet<String> {
    let schema = parse_schema(tenantry::web::graphql::GraphQl::new(true).sdl()).unwrap();
    let mut all = BTreeSet::new();
    for definition in schema.definitions {
        let TypeSystemDefinition::Type(kind) = definition else { continue };
        let (name, TypeKind::Object(object)) = (kind.node.name.node, kind.node.kind) else {
            continue;
        };
        if name != "Query" && name != "Mutation" {
            continue;
        }
        for field in object.fields {
            all.insert(format!("{name}.{}", field.node.name.node));
            for argument in field.node.arguments {
                all.insert(format!("{name}.{}({})", field.node.name.node, argument.node.name.node));
            }
        }
    }
    all
}

fn fields_of_the_cases() -> BTreeSet<String> {
    let mut all = BTreeSet::new();
    for (_, query) in CASES {
        let document = parse_query(query).unwrap();
        let (_, operation) = document.operations.iter().next().unwrap();
        let root = match operation.node.ty {
            OperationType::Mutation => "Mutation",
            _ => "Query",
        };
        for selection in &operation.node.selection_set.node.items {
            let Selection::Field(field) = &selection.node else { panic!("{query}") };
            all.insert(format!("{root}.{}", field.node.name.node));
            for (argument, _) in &field.node.arguments {
                all.insert(format!("{root}.{}({argument})", field.node.name.node));
            }
        }
    }
    all
}

#[test]
fn every_field_and_argument_of_the_schema_has_a_case() {
    let (schema, cases) = (fields_of_the_schema(), fields_of_the_cases());
    let missing: Vec<_> = schema.difference(&cases).collect();
    assert!(missing.is_empty(), "without an isolation case: {missing:?}");
    assert!(schema.len() > 40, "the schema was not read: {schema:?}");
}

#[tokio::test]
async fn ids_of_another_tenant_reveal_and_change_nothing() {
    let scene = Scene::set().await;
    let before = scene.belongings().await;
    for (_, query) in CASES {
        let real = send_masked(&scene.intruder, query, &scene.ids, &scene.own).await.expect(200);
        let unreal = send_masked(&scene.intruder, query, &scene.never, &scene.own).await;
        if query.contains("createCalendarFeed") {
            assert_eq!(real.body["data"]["revokeCalendarFeed"], true);
            continue;
        }
        assert_eq!(real.body, unreal.body, "{query}");
        let text = real.body.to_string();
        let leaked = scene.secrets.iter().find(|secret| text.contains(secret.as_str()));
        assert!(leaked.is_none(), "{query} reveals {leaked:?}: {text}");
    }
    assert_eq!(scene.belongings().await, before);
    scene.app.assert_sound().await;
}

#[tokio::test]
async fn lists_show_the_callers_own() {
    let scene = Scene::set().await;
    for (_, query) in CASES.iter().filter(|(_, query)| names_no_id(query)) {
        let own = send_masked(&scene.intruder, query, &scene.ids, &scene.own).await.expect(200);
        assert!(own.body.get("errors").is_none(), "{query}: {own:?}");
    }
    let organization = scene.intruder.query("{ organization { name } }", json!({})).await;
    assert_eq!(organization["organization"]["name"], "Intruder");
    let events = scene.intruder.query("{ events { nodes { title } } }", json!({})).await;
    assert_eq!(
        events["events"]["nodes"],
        json!([
            { "title": "Yoga" }, { "title": "Yoga" }, { "title": "Own" }
        ])
    );
}

/// Control of the tests above: the requests fail only because of the tenant.
#[tokio::test]
async fn the_same_requests_find_the_data_for_its_owner() {
    let scene = Scene::set().await;
    let (ids, own) = (&scene.ids, &scene.own);
    for (_, query) in CASES.iter().filter(|(_, query)| !names_no_id(query)) {
        // For the intruder, `own` is their own occurrence; for the victim, the victim's.
        let victim =
            scene.victim.graphql(query, ids.variables(&ids.occurrence())).await.expect(200);
        let intruder = send_masked(&scene.intruder, query, ids, own).await;
        assert!(victim.body.get("errors").is_none(), "{query}: {victim:?}");
        assert_ne!(victim.body, intruder.body, "{query}");
    }
    let gone = scene.victim.query("{ events { nodes { id } } }", json!({})).await;
    assert_eq!(gone["events"]["nodes"], json!([]), "the victim's admin can delete the event");
}

#[tokio::test]
async fn members_may_do_what_the_contract_allows_and_nothing_else() {
    let scene = Scene::set().await;
    let (_, token) = scene.victim.add_member("member").await;
    let other = scene.app.with(&token);
    let before = scene.belongings().await;
    let variables = scene.ids.variables(&scene.ids.occurrence());
    for (_, query) in CASES.iter().filter(|(role, _)| *role == Admin) {
        let refused = other.graphql(query, variables.clone()).await.expect(200);
        // Members do not see registrations of others.
        let expected =
            if query.contains("cancelRegistration(") { "not_found" } else { "forbidden" };
        assert_eq!(code(&refused), expected, "{query}: {refused:?}");
    }
    assert_eq!(scene.belongings().await, before);
    for (_, query) in CASES.iter().filter(|(role, _)| *role == Everybody) {
        let done = other.graphql(query, variables.clone()).await.expect(200);
        assert!(done.body.get("errors").is_none(), "{query}: {done:?}");
    }
    // Members may name themselves.
    let (occurrence, member) = (scene.ids.occurrence(), &scene.ids.member);
    let named = scene.victims_member.register_for(&occurrence, Some(member)).await;
    named.refused("ALREADY_REGISTERED");
}

#[tokio::test]
async fn without_a_valid_token_no_field_is_answered() {
    let scene = Scene::set().await;
    let before = scene.belongings().await;
    let variables = scene.ids.variables(&scene.own);
    for (_, query) in CASES {
        for client in [&scene.app, &scene.app.with("rubbish")] {
            let refused = client.graphql(query, variables.clone()).await.expect(401);
            assert_eq!(code(&refused), "unauthenticated", "{query}");
            assert_eq!(refused.headers["content-type"], "application/json");
            assert!(!refused.body.to_string().contains("Secret"), "{refused:?}");
        }
        let batch =
            json!([{ "query": query, "variables": variables }, { "query": "{ __typename }" }]);
        scene.app.post("/graphql", batch).await.expect(401);
    }
    assert_eq!(scene.belongings().await, before);
    // The token is checked before the body.
    let rubbish = scene.app.with("rubbish").post("/graphql", json!("rubbish")).await.expect(401);
    assert_eq!(code(&rubbish), "unauthenticated");
}
