//! The server killed between any two steps of a change of seats, and started again: all of it or
//! nothing, and everything that was acknowledged.

use serde_json::json;

use crate::support::{Client, Database, Event, Member, Org, Reply, ServerProcess, ahead};

/// More seats than one transaction gives back.
const MANY: usize = 600;

/// An organization with two members and an event with one seat, which the first of them holds.
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

    /// Sends a mutation as `token` to a server that dies at `point`; the next server.
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

    /// Seats held at the occurrence.
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
async fn a_registration_that_is_cut_short_is_all_there_or_not_at_all() {
    for (point, done) in STEPS {
        let stage = Stage::set(2, 2).await;
        let second = &stage.members[1];
        let register =
            format!("register(occurrenceId: \"{}\") {{ refusal {{ code }} }}", stage.occurrence);
        let server = stage.killed_at(point, &second.token, &register).await;
        assert_eq!(stage.held().await, if done { 2 } else { 1 }, "{point}");
        let again = second.at(&server.client).registers_in_the_end(&stage.occurrence).await;
        assert_eq!(again, if done { "ALREADY_REGISTERED" } else { "done" }, "{point}");
    }
}

#[tokio::test]
async fn a_cancellation_that_is_cut_short_moves_the_seat_or_leaves_it() {
    for (point, done) in STEPS {
        let stage = Stage::set(2, 1).await;
        let (first, second) = (&stage.members[0], &stage.members[1]);
        {
            let server = ServerProcess::start(&stage.database);
            assert_eq!(second.at(&server.client).joins(&stage.occurrence).await, "done");
        }
        let cancel = format!(
            "cancelRegistration(id: \"{}:{}\") {{ refusal {{ code }} }}",
            first.id, stage.occurrence
        );
        stage.killed_at(point, &first.token, &cancel).await;
        // The one who waits gets the seat in the same moment.
        assert_eq!(stage.held().await, 1, "{point}");
        let seats = stage.database.seats(&stage.org).await;
        let holder = if done { second } else { first };
        assert!(seats.holds(&stage.occurrence, &holder.id), "{point}");
    }
}

#[tokio::test]
async fn a_call_off_that_is_cut_short_is_finished_or_never_was() {
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
async fn a_deletion_that_is_cut_short_is_finished_or_never_was() {
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
async fn more_seats_that_are_cut_short_are_given_out_or_do_not_exist() {
    let steps = [
        ("event_update.before_fill", 1),
        ("event_update.before_commit", 1),
        ("event_update.after_commit", 2),
    ];
    for (point, held) in steps {
        let stage = Stage::set(2, 1).await;
        {
            let server = ServerProcess::start(&stage.database);
            assert_eq!(stage.members[1].at(&server.client).joins(&stage.occurrence).await, "done");
        }
        let update = format!(
            "updateEvent(id: \"{}\", input: {{ capacity: 2 }}) {{ refusal {{ code }} }}",
            stage.event
        );
        stage.killed_at(point, &stage.org.token, &update).await;
        assert_eq!(stage.held().await, held, "{point}");
    }
}
