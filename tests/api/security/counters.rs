//! Attacks on counters: removing things that do not exist must not make a count negative.

use serde_json::json;
use tenantry::domain::{AccountId, EventId};

use crate::support::{Chart, Event, TestApp, ahead, code};

#[tokio::test]
async fn nobody_can_be_removed_from_an_empty_chart() {
    let app = TestApp::start().await;
    let admin = app.sign_up_admin("Acme").await;
    let chart = Chart::create(&admin, "Empty").await;
    for id in ["1", "2", "9007199254740991"] {
        for query in ["", "?reparent=direct"] {
            let path = chart.path(&format!("/employees/{id}{query}"));
            let refused = admin.delete(&path).await.refused(404, "not_found");
            assert_eq!(refused.text("detail"), "No such employee.");
        }
    }
    let refused = admin.delete("/orgcharts/2/employees/1").await.refused(404, "not_found");
    assert_eq!(refused.text("detail"), "No such org chart.");
    // The same for a chart whose employees were removed.
    chart.hire("Ada", None).await;
    chart.hire("Bob", Some(1)).await;
    admin.delete(&chart.path("/employees/2")).await.expect(200);
    admin.delete(&chart.path("/employees/2")).await.refused(404, "not_found");
    let got = admin.get(&chart.path("")).await.expect(200);
    assert_eq!(got.body["employee_count"], 1);
    app.assert_sound().await;
}

#[tokio::test]
async fn unknown_employees_cannot_be_moved_or_promoted() {
    let app = TestApp::start().await;
    let admin = app.sign_up_admin("Acme").await;
    let chart = Chart::create(&admin, "Empty").await;
    let (person, promote) = (chart.path("/employees/1"), chart.path("/employees/1/promote"));
    admin.put(&person, json!({ "name": "Eve" })).await.refused(404, "not_found");
    admin.put(&person, json!({ "manager_id": 1 })).await.refused(404, "not_found");
    admin.put(&promote, json!({})).await.refused(404, "not_found");
    app.assert_sound().await;
}

#[tokio::test]
async fn unknown_accounts_and_charts_cannot_be_removed() {
    let app = TestApp::start().await;
    let admin = app.sign_up_admin("Acme").await;
    let (member, _) = admin.add_member("member").await;
    let path = format!("/org/members/{member}");
    admin.delete(&path).await.expect(200);
    admin.delete(&path).await.refused(404, "not_found");
    let unknown = format!("/org/members/{}", AccountId::generate());
    admin.delete(&unknown).await.refused(404, "not_found");
    admin.delete("/orgcharts/1").await.refused(404, "not_found");
    let chart = Chart::create(&admin, "Sales").await;
    admin.delete(&chart.path("")).await.expect(200);
    admin.delete(&chart.path("")).await.refused(404, "not_found");
    assert_eq!(Chart::create(&admin, "Next").await.id, 2);
    app.assert_sound().await;
}

#[tokio::test]
async fn unknown_events_cannot_be_deleted() {
    let app = TestApp::start().await;
    let admin = app.sign_up_admin("Acme").await;
    let event = Event::once(&admin, ahead(24), 1).await;
    event.delete(true).await.done("deletedId");
    for id in [event.id.clone(), EventId::generate().to_string()] {
        let query = format!("mutation {{ deleteEvent(id: \"{id}\") {{ deletedId }} }}");
        assert_eq!(code(&admin.graphql(&query, json!({})).await), "not_found");
    }
    let query =
        format!("mutation {{ cancelOccurrence(id: \"{}\") {{ id }} }}", event.at(ahead(24)));
    assert_eq!(code(&admin.graphql(&query, json!({})).await), "not_found");
    app.assert_sound().await;
}

#[tokio::test]
async fn seats_and_waiting_places_that_nobody_holds_cannot_be_given_back() {
    let app = TestApp::start().await;
    let admin = app.sign_up_admin("Acme").await;
    let (member, token) = admin.add_member("member").await;
    let (client, start) = (app.with(&token), ahead(24));
    let event = Event::once(&admin, start, 1).await;
    let id = event.at(start);
    assert_eq!(client.cancel_outcome(&id, &member).await, "not_found");
    assert_eq!(client.leave_outcome(&id).await, "NOT_WAITING");

    admin.register(&id).await.registration();
    // A waiting member has never held a seat.
    client.join(&id).await.done("entry");
    assert_eq!(client.cancel_outcome(&id, &member).await, "not_found");
    assert_eq!(client.leave_outcome(&id).await, "done");
    assert_eq!(client.leave_outcome(&id).await, "NOT_WAITING");
    let occurrence = admin.occurrence(&id).await;
    assert_eq!(
        (&occurrence["seatsTaken"], &occurrence["waitingListLength"]),
        (&json!(1), &json!(0))
    );

    // Cancelling the occurrence has already cancelled all registrations.
    event.cancel_occurrence(&id).await;
    assert_eq!(event.cancel_occurrence(&id).await["seatsTaken"], 0);
    assert_eq!(client.cancel_outcome(&id, &member).await, "not_found");
    assert_eq!(client.leave_outcome(&id).await, "NOT_WAITING");
    app.assert_sound().await;
}
