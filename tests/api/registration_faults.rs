//! Kills the server between any two steps of a change of seats and starts another one. The change
//! is complete or absent, and everything acknowledged is kept.

use serde_json::json;

use crate::support::{Client, Database, Event, Member, Org, Reply, ServerProcess, ahead};

/// More registrations than one transaction cancels.
const MANY: usize = 600;

/// An organization, its members, and an event at which the first member holds a seat.
struct Stage {
    database: Database,
    org: Org,
    members: Vec<Member>,
    event: String,
    occurrence: String,
}

impl Stage {
    async fn set(members: usize, capacity: i64) -> Self {
        let database = Database::new().await;
        let server = ServerProcess::start(&database);
        let org = server.client.sign_up("Gym").await;
        let members = database.add_members(&org, members).await;
        let start = ahead(24);
        let event = Event::once(&server.client.with(&org.token), start, capacity).await;
        let occurrence = event.at(start);
        members[0].at(&server.client).register(&occurrence).await.registration();
        Self { event: event.id, database, org, members, occurrence }
    }

    /// Sends a mutation as `token` to a server that dies at `point`; returns the next server.
    async fn killed_at(&self, point: &str, token: &str, mutation: &str) -> ServerProcess {
        let armed = format!("{point}=return");
        let mut server = ServerProcess::start_with(&self.database, &[("FAILPOINTS", &armed)]);
        let client = server.client.with(token);
        let body = json!({ "query": format!("mutation {{ {mutation} }}") });
        let request = client.request(reqwest::Method::POST, "/graphql").json(&body);
        let reply: Option<Reply> = Client::try_send(request).await;
        assert!(reply.is_none(), "the server answered instead of dying at {point}: {reply:?}");
        server.died(&self.database).await;
        let next = ServerProcess::start(&self.database);
        self.database.assert_recovered().await;
        next
    }

    /// The number of registrations at the occurrence.
    async fn held(&self) -> usize {
        let seats = self.database.seats(&self.org).await;
        seats.assert_sound();
        seats.at(&self.occurrence).0
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        self.database.drop_all();
    }
}

const STEPS: [(&str, bool); 3] = [
    ("registration.before_write", false),
    ("registration.before_commit", false),
    ("registration.after_commit", true),
];

#[tokio::test]
async fn an_interrupted_registration_is_complete_or_absent() {
    for (point, done) in STEPS {
        let stage = Stage::set(2, 2).await;
        let second = &stage.members[1];
        let register =
            format!("register(occurrenceId: \"{}\") {{ refusal {{ code }} }}", stage.occurrence);
        let server = stage.killed_at(point, &second.token, &register).await;
        assert_eq!(stage.held().await, if done { 2 } else { 1 }, "{point}");
        let again = second.at(&server.client).register_patiently(&stage.occurrence).await;
        assert_eq!(again, if done { "ALREADY_REGISTERED" } else { "done" }, "{point}");
    }
}

#[tokio::test]
async fn an_interrupted_cancellation_passes_the_seat_on_or_keeps_it() {
    for (point, done) in STEPS {
        let stage = Stage::set(2, 1).await;
        let (first, second) = (&stage.members[0], &stage.members[1]);
        {
            let server = ServerProcess::start(&stage.database);
            assert_eq!(second.at(&server.client).join_outcome(&stage.occurrence).await, "done");
        }
        let cancel = format!(
            "cancelRegistration(id: \"{}:{}\") {{ refusal {{ code }} }}",
            first.id, stage.occurrence
        );
        stage.killed_at(point, &first.token, &cancel).await;
        // The waiting member gets the seat in the same transaction.
        assert_eq!(stage.held().await, 1, "{point}");
        let seats = stage.database.seats(&stage.org).await;
        let holder = if done { second } else { first };
        assert!(seats.holds(&stage.occurrence, &holder.id), "{point}");
    }
}

#[tokio::test]
async fn an_interrupted_occurrence_cancellation_is_finished_or_absent() {
    let steps = [
        ("occurrence_cancel.before_commit", MANY),
        ("occurrence_cancel.after_commit", 0),
        ("mass_cancellation.before_batch", 0),
        ("mass_cancellation.before_commit", 0),
        ("mass_cancellation.before_close", 0),
    ];
    for (point, left) in steps {
        let stage = Stage::set(MANY, 1_000).await;
        stage.database.seat_all(&stage.org, &stage.occurrence, &stage.members).await;
        let cancel = format!("cancelOccurrence(id: \"{}\") {{ id }}", stage.occurrence);
        stage.killed_at(point, &stage.org.token, &cancel).await;
        assert_eq!(stage.held().await, left, "{point}");
        let seats = stage.database.seats(&stage.org).await;
        assert_eq!(seats.takes_place(&stage.occurrence), left > 0, "{point}");
    }
}

#[tokio::test]
async fn an_interrupted_event_deletion_is_finished_or_absent() {
    let steps = [
        ("event_delete.before_commit", MANY),
        ("event_delete.after_commit", 0),
        ("mass_cancellation.before_commit", 0),
    ];
    for (point, left) in steps {
        let stage = Stage::set(MANY, 1_000).await;
        stage.database.seat_all(&stage.org, &stage.occurrence, &stage.members).await;
        let delete = format!(
            "deleteEvent(id: \"{}\", cancelRegistrations: true) {{ deletedId }}",
            stage.event
        );
        let server = stage.killed_at(point, &stage.org.token, &delete).await;
        assert_eq!(stage.held().await, left, "{point}");
        let admin = server.client.with(&stage.org.token);
        let query = "query E($id: ID!) { event(id: $id) { id } }";
        let found = admin.query(query, json!({ "id": stage.event })).await;
        assert_eq!(found["event"].is_null(), left == 0, "{point}");
    }
}

#[tokio::test]
async fn an_interrupted_capacity_increase_fills_the_seats_or_is_absent() {
    let steps = [
        ("event_update.before_fill", 1),
        ("event_update.before_commit", 1),
        ("event_update.after_commit", 2),
    ];
    for (point, held) in steps {
        let stage = Stage::set(2, 1).await;
        {
            let server = ServerProcess::start(&stage.database);
            assert_eq!(
                stage.members[1].at(&server.client).join_outcome(&stage.occurrence).await,
                "done"
            );
        }
        let update = format!(
            "updateEvent(id: \"{}\", input: {{ capacity: 2 }}) {{ refusal {{ code }} }}",
            stage.event
        );
        stage.killed_at(point, &stage.org.token, &update).await;
        assert_eq!(stage.held().await, held, "{point}");
    }
}
