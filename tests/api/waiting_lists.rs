//! Long waiting lists, and more lists than one command can look up.

use chrono::Duration;
use serde_json::json;
use tenantry::domain::{
    AccountId,
    scheduling::{OccurrenceId, RegistrationId},
};

use crate::support::{Event, TestApp, ahead, eventually};

#[tokio::test]
async fn a_freed_seat_goes_to_the_first_available_member_anywhere_in_the_list() {
    let app = TestApp::start().await;
    let org = app.sign_up("Gym").await;
    let (admin, start) = (app.with(&org.token), ahead(24));
    let wanted = Event::once(&admin, start, 1).await;
    let other = Event::once(&admin, start, 100).await;
    let seat = admin.register(&wanted.at(start)).await.registration();
    // 100 members are busy at that time, more than the first two batches of candidates.
    let members = app.database.add_members(&org, 104).await;
    for (place, member) in (1..).zip(&members) {
        let client = member.at(&app);
        assert_eq!(client.join(&wanted.at(start)).await.done("entry")["position"], place);
        if place <= 100 {
            client.register(&other.at(start)).await.registration();
        }
    }
    admin.cancel(&seat).await.done("registration");
    let holds = async |member: usize| {
        let seats = app.database.seats(&org).await;
        seats.holds(&wanted.at(start), &members[member].id)
    };
    assert!(holds(100).await && !holds(101).await);

    wanted.update(json!({ "capacity": 3 })).await.done("event");
    assert!(holds(101).await && holds(102).await && !holds(103).await);
    let occurrence = members[0].at(&app).occurrence(&wanted.at(start)).await;
    assert_eq!(occurrence["waitingListLength"], 101);
    assert_eq!(occurrence["myWaitingListPosition"], 1);
    app.assert_sound().await;
}

#[tokio::test]
async fn added_seats_are_filled_from_every_waiting_list_of_an_event() {
    let app = TestApp::start().await;
    let org = app.sign_up("Gym").await;
    let (admin, start) = (app.with(&org.token), ahead(24));
    let hourly = json!({ "startsAt": start.format("%Y-%m-%dT%H:%M:%S").to_string(), "capacity": 1,
        "recurrence": { "rule": "FREQ=DAILY;BYHOUR=0,2,4,6,8,10,12,14,16,18,20,22;COUNT=60" } });
    let event = Event::create(&admin, hourly).await;
    let (from, to) = (start, start + Duration::days(7));
    let ids = admin.occurrences(&from.to_rfc3339(), &to.to_rfc3339(), 100).await;
    assert_eq!(ids.len(), 60);
    let member = app.database.add_members(&org, 1).await.remove(0);
    let client = member.at(&app);
    for id in &ids {
        admin.register(id).await.registration();
        client.join(id).await.done("entry");
    }
    event.update(json!({ "capacity": 2 })).await.done("event");
    eventually("all seats", || async { app.database.seats(&org).await.of(&member.id) == 60 }).await;
    app.database.no_tasks().await;
    app.assert_sound().await;
}

#[tokio::test]
async fn moving_an_event_removes_the_waiting_lists_of_its_old_times() {
    let app = TestApp::start().await;
    let org = app.sign_up("Gym").await;
    let (admin, start) = (app.with(&org.token), ahead(24));
    let local = |hours| (start + Duration::hours(hours)).format("%Y-%m-%dT%H:%M:%S").to_string();
    let daily = json!({ "startsAt": local(0), "capacity": 1,
        "recurrence": { "frequency": "DAILY", "count": 3 } });
    let event = Event::create(&admin, daily.clone()).await;
    let other = Event::create(&admin, daily).await;
    let client = app.database.add_members(&org, 1).await.remove(0).at(&app);
    for day in 0..3 {
        let start = start + Duration::days(day);
        client.register(&other.at(start)).await.registration();
        let seat = admin.register(&event.at(start)).await.registration();
        client.join(&event.at(start)).await.done("entry");
        // The seat is freed, but the waiting member is busy.
        admin.cancel(&seat).await.done("registration");
    }
    assert_eq!(app.database.seats(&org).await.lists(), 3);
    event.update(json!({ "startsAt": local(2) })).await.done("event");
    assert_eq!(app.database.seats(&org).await.lists(), 0);
    app.assert_sound().await;
}

#[tokio::test]
async fn more_ids_than_fit_into_one_command_are_looked_up() {
    let app = TestApp::start().await;
    let org = app.sign_up("Gym").await;
    let (admin, start) = (app.with(&org.token), ahead(24));
    let event = Event::once(&admin, start, 1).await;
    let held = admin.register(&event.at(start)).await.registration();
    let held: RegistrationId = held.parse().unwrap();
    let made_up = |hour: i64| {
        let occurrence = OccurrenceId { start: start + Duration::hours(hour), ..held.occurrence };
        RegistrationId { member: AccountId::generate(), occurrence }
    };
    // With 140 bytes per key, one command would hold at most 120,000 keys.
    let mut ids: Vec<RegistrationId> = (0..130_000).map(made_up).collect();
    ids.push(held);
    let found = app.manager.registrations_among(&app.context(&org).await, ids).await.unwrap();
    assert_eq!(found.iter().map(|found| found.id).collect::<Vec<_>>(), [held]);
}
