//! Unfinished work of a process is continued by another one: it does not block other work, and a
//! process does not take over work that is still running.

use std::{process::Stdio, time::Duration};

use bson::{DateTime, Document, doc, oid::ObjectId};
use rustix::process::Signal;
use tenantry::domain::scheduling::OccurrenceId;

use crate::support::{
    Client, Database, Event, Org, ServerProcess, TestApp, ahead, command, eventually, made_ago,
    seconds_from_now, send_signal,
};

/// A patience in milliseconds that never ends within a test.
const ENDLESS: u64 = 600_000;

/// Inserts a mass cancellation as a dead process leaves it.
async fn leave_mass_cancellation(
    database: &Database,
    id: ObjectId,
    org: &Org,
    occurrence: &OccurrenceId,
) {
    let cancellation = doc! {
        "_id": id,
        "org_id": ObjectId::parse_str(&org.id).unwrap(),
        "owner": ObjectId::new(),
        "kind": "cancel_occurrence",
        "event": occurrence.event.object_id(),
        "start": DateTime::from_chrono(occurrence.start),
        "lease_until": seconds_from_now(-3_600),
    };
    database.master("tasks").await.insert_one(cancellation).await.unwrap();
}

/// Inserts one that fails after the patience, because its tenant's collection is missing.
async fn leave_failing_mass_cancellation(database: &Database, client: &Client) -> ObjectId {
    let lost = client.sign_up("Lost").await;
    database.tenant("org_lost").await.drop().await.unwrap();
    let (id, event) = (ObjectId::new(), ObjectId::new().into());
    leave_mass_cancellation(database, id, &lost, &OccurrenceId { event, start: ahead(24) }).await;
    id
}

async fn lease_of(database: &Database, id: ObjectId) -> DateTime {
    let found = database.master("tasks").await.find_one(doc! { "_id": id }).await.unwrap();
    *found.unwrap().get_datetime("lease_until").unwrap()
}

async fn set_lease(database: &Database, collection: &str, filter: Document, lease: DateTime) {
    let set = doc! { "$set": { "lease_until": lease } };
    database.master(collection).await.update_one(filter, set).await.unwrap();
}

/// Waits until a process has claimed the mass cancellation and renewed its lease.
async fn wait_for_renewal(database: &Database, id: ObjectId) {
    eventually("a claim", || async { lease_of(database, id).await > DateTime::now() }).await;
    let claimed = lease_of(database, id).await;
    eventually("a renewal", || async { lease_of(database, id).await > claimed }).await;
}

#[tokio::test]
async fn failing_work_does_not_block_other_work() {
    let database = Database::new().await;
    let armed = [("FAILPOINTS", "rename.after_record=return")];
    let mut dying = ServerProcess::start_with(&database, &armed);
    let client = dying.client.clone();
    let failing = leave_failing_mass_cancellation(&database, &client).await;
    let gym = client.sign_up("Gym").await;
    let start = ahead(24);
    let admin = client.with(&gym.token);
    let occurrence = Event::once(&admin, start, 1).await.at(start);
    admin.register(&occurrence).await.registration();
    let body = serde_json::json!({ "organization_name": "Climbing" });
    let rename = admin.request(reqwest::Method::PUT, "/org/update").json(&body);
    assert!(Client::try_send(rename).await.is_none());
    dying.died(&database).await;
    leave_mass_cancellation(&database, ObjectId::new(), &gym, &occurrence.parse().unwrap()).await;
    // So that the cancellation that never ends is met first.
    set_lease(&database, "tasks", doc! { "_id": failing }, DateTime::MIN).await;
    set_lease(&database, "tasks", doc! { "exclusive": true }, seconds_from_now(3)).await;

    let patience = ENDLESS.to_string();
    let server = ServerProcess::start_with(&database, &[("PATIENCE_MS", &patience)]);
    eventually("the rename", || async { database.counts().await.2 == 0 }).await;
    eventually("the other cancellation", || async { database.seat_tasks().await == 1 }).await;
    assert_eq!(database.seats(&gym).await.at(&occurrence), (0, 0));
    server.client.get_org("Climbing").await.expect(200);
    wait_for_renewal(&database, failing).await;
    drop(server);
    database.drop_all();
}

/// The collection has been moved since the server looked up its location.
#[tokio::test]
async fn a_rename_retries_until_it_finds_the_collection() {
    let database = Database::new().await;
    let patience = ENDLESS.to_string();
    let settings = [("PATIENCE_MS", patience.as_str()), ("MONGO_COMMAND_METRICS", "true")];
    let server = ServerProcess::start_with(&database, &settings);
    let org = server.client.sign_up("Acme").await;
    let move_by_hand = async |from: &str, to: &str| {
        let name = |collection: &str| format!("{}.{collection}", database.tenants);
        let rename = doc! { "renameCollection": name(from), "to": name(to) };
        database.client().await.database("admin").run_command(rename).await.unwrap();
    };
    let lookups = || server.client.commands("listCollections");
    move_by_hand("org_acme", "elsewhere").await;
    let before = lookups().await;
    let admin = server.client.with(&org.token);
    let renaming = tokio::spawn(async move { admin.rename("Globex").await });
    // Each attempt looks at both places.
    eventually("another try", || async { lookups().await > before + 2 }).await;
    move_by_hand("elsewhere", "org_acme").await;
    renaming.await.unwrap().expect(200);
    database.assert_recovered().await;
    drop(server);
    database.drop_all();
}

#[tokio::test]
async fn a_shutdown_leaves_endless_work_to_the_next_process() {
    let database = Database::new().await;
    let patience = ENDLESS.to_string();
    let mut server = ServerProcess::start_with(&database, &[("PATIENCE_MS", &patience)]);
    let failing = leave_failing_mass_cancellation(&database, &server.client).await;
    wait_for_renewal(&database, failing).await;
    send_signal(server.pid(), Signal::TERM);
    eventually("the server's end", || {
        let ended = server.is_dead();
        async move { ended }
    })
    .await;
    assert!(server.wait());
    assert_eq!(database.seat_tasks().await, 1);
    database.drop_all();
}

#[tokio::test]
async fn a_closed_change_stream_reports_an_error() {
    let database = Database::new().await;
    let store = database.store().await;
    let mut changes = store.changes(Duration::from_millis(100)).await.unwrap();
    // Dropping the master database ends the stream.
    database.client().await.database(&database.master).drop().await.unwrap();
    let error = loop {
        if let Err(error) = changes.next().await {
            break error;
        }
    };
    assert_eq!(error.detail().unwrap(), "the change stream was closed by the database");
    database.drop_all();
}

/// The record is an hour old, but its last progress is recent: the first of two batches was just
/// done.
#[tokio::test]
async fn work_with_recent_progress_is_not_stuck() {
    let database = Database::new().await;
    let before = ServerProcess::start(&database);
    let gym = before.client.sign_up("Gym").await;
    // More registrations than one transaction cancels.
    let members = database.add_members(&gym, 600).await;
    let start = ahead(24);
    let admin = before.client.with(&gym.token);
    let occurrence = Event::once(&admin, start, 1_000).await.at(start);
    members[0].at(&before.client).register(&occurrence).await.registration();
    database.seat_all(&gym, &occurrence, &members).await;
    drop(before);
    leave_mass_cancellation(&database, made_ago(3_600), &gym, &occurrence.parse().unwrap()).await;

    let mut dying = command(&database)
        .env("FAILPOINTS", "mass_cancellation.before_close=return")
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    eventually("the server's death", || {
        let dead = dying.try_wait().unwrap().is_some();
        async move { dead }
    })
    .await;
    assert_eq!(database.seats(&gym).await.at(&occurrence), (0, 0));
    assert_eq!(database.seat_tasks().await, 1);
    let output = command(&database).arg("verify").output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    database.drop_all();
}

#[tokio::test]
async fn a_process_does_not_claim_its_own_work() {
    let app = TestApp::start_with(|settings| {
        settings.operations.patience_ms = ENDLESS;
        settings.operations.recovery_interval_seconds = 1;
        settings.operations.lease_seconds = 1;
    })
    .await;
    let id = leave_failing_mass_cancellation(&app.database, &app).await;
    wait_for_renewal(&app.database, id).await;
    // As if the renewals had not got through.
    set_lease(&app.database, "tasks", doc! { "_id": id }, DateTime::MIN).await;
    let recovered = tokio::time::timeout(Duration::from_secs(30), app.manager.recover()).await;
    assert_eq!(recovered.unwrap().unwrap(), 0);
    // Another process can claim it.
    let other = app.database.store().await;
    eventually("another's take-over", || async {
        set_lease(&app.database, "tasks", doc! { "_id": id }, DateTime::MIN).await;
        other.claim_task(&[]).await.unwrap().is_some()
    })
    .await;
}
