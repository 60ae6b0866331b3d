//! Events and registrations, as members and admins use them.

use bson::doc;
use chrono::Duration;
use serde_json::json;

use crate::support::{Client, Event, TestApp, ahead, code};

/// The clients of an admin and of two members with their ids.
async fn people(app: &TestApp) -> (Client, (String, Client), (String, Client)) {
    let org = app.sign_up("Gym").await;
    let admin = app.with(&org.token);
    let (one, one_token) = admin.add_member("member").await;
    let (two, two_token) = admin.add_member("member").await;
    (admin, (one, app.with(&one_token)), (two, app.with(&two_token)))
}

#[tokio::test]
async fn a_seat_can_be_taken_cancelled_and_taken_again() {
    let app = TestApp::start().await;
    let (admin, (member, client), _) = people(&app).await;
    let start = ahead(24);
    let event = Event::once(&admin, start, 2).await;
    let id = event.at(start);

    let first = client.register(&id).await;
    let registration = first.done("registration");
    assert_eq!(registration["status"], "CONFIRMED");
    assert_eq!(registration["member"]["id"], member);
    assert_eq!(registration["occurrence"], json!({ "id": id, "seatsTaken": 1, "seatsLeft": 1 }));

    let again = client.register(&id).await;
    let refusal = again.refused("ALREADY_REGISTERED");
    assert_eq!(refusal["conflictsWith"]["id"], first.registration());

    let cancelled = client.cancel(&first.registration()).await;
    assert_eq!(cancelled.done("registration")["status"], "CANCELLED");
    assert!(cancelled.0["registration"]["cancelledAt"].is_string());
    client.cancel(&first.registration()).await.refused("NOT_REGISTERED");
    assert_eq!(client.occurrence(&id).await["seatsTaken"], 0);

    let back = client.register(&id).await;
    assert_eq!(back.registration(), first.registration());
    assert!(back.0["registration"]["cancelledAt"].is_null());
    app.assert_sound().await;
}

#[tokio::test]
async fn overlapping_registrations_are_refused_but_adjacent_times_are_fine() {
    let app = TestApp::start().await;
    let (admin, (_, client), _) = people(&app).await;
    let start = ahead(24);
    let first = Event::once(&admin, start, 5).await;
    let half_later = Event::once(&admin, start + Duration::minutes(30), 5).await;
    let next = Event::once(&admin, start + Duration::minutes(60), 5).await;

    let held = client.register(&first.at(start)).await.registration();
    let refused = client.register(&half_later.at(start + Duration::minutes(30))).await;
    assert_eq!(refused.refused("TIME_CONFLICT")["conflictsWith"]["id"], held);
    client.register(&next.at(start + Duration::minutes(60))).await.registration();
    client.cancel(&held).await.done("registration");
    // The other registration still conflicts.
    client.register(&half_later.at(start + Duration::minutes(30))).await.refused("TIME_CONFLICT");
    app.assert_sound().await;
}

#[tokio::test]
async fn a_freed_seat_goes_to_the_first_available_waiting_member() {
    let app = TestApp::start().await;
    let (admin, (_, one), (two_id, two)) = people(&app).await;
    let start = ahead(24);
    let event = Event::once(&admin, start, 1).await;
    let other = Event::once(&admin, start, 1).await;
    let id = event.at(start);

    one.join(&id).await.refused("SEATS_AVAILABLE");
    let seat = admin.register(&id).await.registration();
    one.register(&id).await.refused("EVENT_FULL");
    assert_eq!(one.join(&id).await.done("entry")["position"], 1);
    assert_eq!(two.join(&id).await.done("entry")["position"], 2);
    one.join(&id).await.refused("ALREADY_WAITING");
    assert_eq!(two.occurrence(&id).await["myWaitingListPosition"], 2);

    // The first one is busy at that time, so the second one gets the seat.
    one.register(&other.at(start)).await.registration();
    admin.cancel(&seat).await.done("registration");
    let occurrence = two.occurrence(&id).await;
    assert_eq!(occurrence["seatsTaken"], 1);
    assert_eq!(occurrence["waitingListLength"], 1);
    two.register(&id).await.refused("ALREADY_REGISTERED");

    // Added seats also go to available waiting members.
    let held = one.query("{ myRegistrations { edges { node { id } } } }", json!({})).await;
    let held = held["myRegistrations"]["edges"][0]["node"]["id"].as_str().unwrap();
    one.cancel(held).await.done("registration");
    event.update(json!({ "capacity": 2 })).await.done("event");
    assert_eq!(one.occurrence(&id).await["seatsTaken"], 2);
    one.leave(&id).await.refused("NOT_WAITING");

    // Removing a member frees their seats.
    admin.join(&id).await.done("entry");
    admin.delete(&format!("/org/members/{two_id}")).await.expect(200);
    assert_eq!(admin.occurrence(&id).await["seatsTaken"], 2);
    admin.register(&id).await.refused("ALREADY_REGISTERED");
    app.assert_sound().await;
}

#[tokio::test]
async fn a_recurring_event_keeps_its_wall_clock_time_and_seats_per_occurrence() {
    let app = TestApp::start().await;
    let (admin, (_, client), _) = people(&app).await;
    let event = Event::create(
        &admin,
        json!({
            "startsAt": "2027-03-20T09:00:00", "timeZone": "Europe/Berlin", "capacity": 1,
            "recurrence": { "frequency": "WEEKLY", "count": 3,
                "excludedDates": ["2027-04-03T09:00:00"],
                "additionalDates": ["2027-04-04T09:00:00"] },
        }),
    )
    .await;
    let found = admin.occurrences("2027-03-01T00:00:00Z", "2027-05-01T00:00:00Z", 2).await;
    let at = |start: &str| format!("{}@{start}", event.id);
    let (winter, summer, added) =
        (at("2027-03-20T08:00:00Z"), at("2027-03-27T08:00:00Z"), at("2027-04-04T07:00:00Z"));
    assert_eq!(found, [winter.clone(), summer.clone(), added.clone()]);
    client.register(&winter).await.registration();
    client.register(&summer).await.registration();
    admin.register(&winter).await.refused("EVENT_FULL");
    admin.register(&added).await.registration();
    let unknown = client.graphql(
        "mutation R($o: ID!) { register(occurrenceId: $o) { refusal { code } } }",
        json!({ "o": at("2027-04-03T07:00:00Z") }),
    );
    assert_eq!(code(&unknown.await), "not_found");
    app.assert_sound().await;
}

#[tokio::test]
async fn changes_of_an_event_that_would_break_registrations_are_refused() {
    let app = TestApp::start().await;
    let (admin, (_, one), (_, two)) = people(&app).await;
    let start = ahead(48);
    let event = Event::once(&admin, start, 3).await;
    let id = event.at(start);
    let held = one.register(&id).await.registration();
    two.register(&id).await.registration();

    let refused = event.update(json!({ "capacity": 1 })).await;
    let message = refused.refused("CAPACITY_BELOW_TAKEN")["message"].to_string();
    assert!(message.contains("1 more"), "{message}");
    let later = (start + Duration::hours(1)).format("%Y-%m-%dT%H:%M:%S").to_string();
    event.update(json!({ "startsAt": later })).await.refused("HAS_REGISTRATIONS");
    event.update(json!({ "durationMinutes": 30 })).await.refused("HAS_REGISTRATIONS");
    let renamed = event.update(json!({ "title": "Stretching", "capacity": 2 })).await;
    assert_eq!(renamed.done("event")["version"], 2);
    // A rule that keeps the first start cancels no registration.
    let weekly = json!({ "recurrence": { "rule": "FREQ=WEEKLY;COUNT=4" } });
    event.update(weekly).await.done("event");
    assert_eq!(one.occurrence(&id).await["capacity"], 2);

    event.delete(false).await.refused("HAS_REGISTRATIONS");
    event.delete(true).await.done("deletedId");
    assert!(one.query("query E($id: ID!) { event(id: $id) { id } }", json!({ "id": event.id }))
        .await["event"]
        .is_null());
    one.cancel(&held).await.refused("NOT_REGISTERED");
    // Earlier registrations are still shown.
    let query = "{ myRegistrations(includeCancelled: true) {
        edges { node { status occurrence { status event { title } } } } } }";
    let mine = one.query(query, json!({})).await;
    let node = &mine["myRegistrations"]["edges"][0]["node"];
    assert_eq!(node["status"], "CANCELLED");
    assert_eq!(
        node["occurrence"],
        json!({ "status": "CANCELLED", "event": { "title": "Stretching" } })
    );
    app.assert_sound().await;
}

#[tokio::test]
async fn a_cancelled_occurrence_frees_its_members_and_accepts_nobody() {
    let app = TestApp::start().await;
    let (admin, (_, one), (_, two)) = people(&app).await;
    let start = ahead(24);
    let event = Event::once(&admin, start, 2).await;
    let other = Event::once(&admin, start, 2).await;
    let id = event.at(start);
    one.register(&id).await.registration();
    let cancelled = event.cancel_occurrence(&id).await;
    assert_eq!(cancelled, json!({ "id": id, "status": "CANCELLED", "seatsTaken": 0 }));
    assert_eq!(event.cancel_occurrence(&id).await["status"], "CANCELLED");
    assert_eq!(admin.occurrence(&id).await["seatsLeft"], 0);
    two.register(&id).await.refused("OCCURRENCE_CANCELLED");
    two.join(&id).await.refused("OCCURRENCE_CANCELLED");
    one.register(&other.at(start)).await.registration();
    app.assert_sound().await;
}

#[tokio::test]
async fn a_past_occurrence_accepts_no_changes() {
    let app = TestApp::start().await;
    let (admin, (_, client), _) = people(&app).await;
    let start = ahead(-3);
    let event = Event::once(&admin, start, 2).await;
    client.register(&event.at(start)).await.refused("OCCURRENCE_PAST");
    client.join(&event.at(start)).await.refused("OCCURRENCE_PAST");
    let query = "mutation C($id: ID!) { cancelOccurrence(id: $id) { id } }";
    let refused = admin.graphql(query, json!({ "id": event.at(start) })).await;
    assert_eq!(code(&refused), "occurrence_past");
}

#[tokio::test]
async fn members_act_for_themselves_and_admins_for_members() {
    let app = TestApp::start().await;
    let (admin, (one_id, one), (two_id, two)) = people(&app).await;
    let start = ahead(24);
    let event = Event::once(&admin, start, 5).await;
    let id = event.at(start);
    let held = admin.register_for(&id, Some(&one_id)).await.registration();
    let query = "mutation R($o: ID!, $m: ID) { register(occurrenceId: $o, memberId: $m) {
        refusal { code } } }";
    let forbidden = one.graphql(query, json!({ "o": id, "m": two_id })).await;
    assert_eq!(code(&forbidden), "forbidden");
    let unknown = admin.graphql(query, json!({ "o": id, "m": "68a1f0c2e4b0a1b2c3d4e5f6" })).await;
    assert_eq!(code(&unknown), "not_found");
    // A registration of another member is answered like one that never existed.
    let cancel = "mutation C($id: ID!) { cancelRegistration(id: $id) { refusal { code } } }";
    assert_eq!(code(&two.graphql(cancel, json!({ "id": held })).await), "not_found");
    assert_eq!(code(&two.graphql(cancel, json!({ "id": "x" })).await), "not_found");
    admin.cancel(&held).await.done("registration");
    for query in [
        "mutation { deleteEvent(id: \"x\") { deletedId } }",
        "mutation { cancelOccurrence(id: \"x\") { id } }",
        "{ registrations(memberId: \"x\") { edges { node { id } } } }",
    ] {
        assert_eq!(code(&one.graphql(query, json!({})).await), "forbidden", "{query}");
    }
}

#[tokio::test]
async fn moving_an_event_keeps_earlier_registrations_visible() {
    let app = TestApp::start().await;
    let (admin, (_, client), _) = people(&app).await;
    let start = ahead(24);
    let event = Event::once(&admin, start, 2).await;
    let id = event.at(start);
    let held = client.register(&id).await.registration();
    client.cancel(&held).await.done("registration");
    let starts =
        |start: chrono::DateTime<chrono::Utc>| start.format("%Y-%m-%dT%H:%M:%S").to_string();
    let away = json!({ "startsAt": starts(start + Duration::hours(2)) });
    event.update(away).await.done("event");
    let query = "{ myRegistrations(includeCancelled: true) {
        edges { node { id status occurrence { id status seatsLeft } } } } }";
    let mine = client.query(query, json!({})).await;
    let node = &mine["myRegistrations"]["edges"][0]["node"];
    assert_eq!(node["occurrence"], json!({ "id": id, "status": "CANCELLED", "seatsLeft": 0 }));
    client.register(&id).await.refused("OCCURRENCE_CANCELLED");
    // When the event moves back, the earlier registrations are shown again.
    event.update(json!({ "startsAt": starts(start), "durationMinutes": 30 })).await.done("event");
    assert_eq!(client.occurrence(&id).await["status"], "SCHEDULED");
    assert_eq!(client.register(&id).await.registration(), held);
    app.assert_sound().await;
}

#[tokio::test]
async fn a_stored_document_that_does_not_decode_is_an_error() {
    let app = TestApp::start().await;
    let org = app.sign_up("Gym").await;
    let (admin, start) = (app.with(&org.token), ahead(24));
    Event::once(&admin, start, 2).await;
    let tenant = app.database.tenant_of(&org).await;
    let set = doc! { "$set": { "agenda": "third" } };
    tenant.update_one(doc! { "_id.kind": "tenant" }, set).await.unwrap();
    let window = json!({ "from": start, "to": start + Duration::hours(1) });
    let query = "query O($from: DateTime!, $to: DateTime!) {
        occurrences(from: $from, to: $to) { nodes { id } } }";
    assert_eq!(code(&admin.graphql(query, window).await), "internal");
}
