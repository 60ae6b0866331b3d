//! Words that a later release has stored: an older server refuses or ignores them, and never answers
//! 500.

use bson::{doc, oid::ObjectId};
use serde_json::json;

use crate::support::{Event, PASSWORD, TestApp, ahead};

#[tokio::test]
async fn unknown_words_never_make_a_500() {
    let app = TestApp::start().await;
    let org = app.sign_up("Acme").await;
    let admin = app.with(&org.token);
    let (member, token) = admin.add_member("member").await;
    let start = ahead(24);
    let event = Event::once(&admin, start, 2).await;
    let seat = app.with(&token).register(&event.at(start)).await.registration();
    let unheard = |field: &str| doc! { "$set": { field: "unheard of" } };

    let accounts = app.database.master("accounts").await;
    let id = doc! { "_id": ObjectId::parse_str(&member).unwrap() };
    accounts.update_one(id, unheard("role")).await.unwrap();
    app.with(&token).get("/orgcharts").await.expect(200);
    app.with(&token).get("/org/members").await.refused(403, "forbidden");
    let members = admin.get("/org/members").await.expect(200);
    assert!(members.body.to_string().contains(&member), "{members:?}");

    let tenant = app.database.tenant("org_acme").await;
    tenant.update_many(doc! { "_id.kind": "registration" }, unheard("status")).await.unwrap();
    tenant.update_many(doc! { "_id.kind": "occurrence" }, unheard("status")).await.unwrap();
    let refused = app.with(&token).cancel(&seat).await;
    refused.refused("NOT_REGISTERED");
    assert_eq!(admin.occurrence(&event.at(start)).await["status"], "CANCELLED");

    let organizations = app.database.master("organizations").await;
    organizations.update_one(doc! {}, unheard("status")).await.unwrap();
    app.get_org("Acme").await.expect(404);
    app.log_in(&org.email, PASSWORD).await.refused(401, "invalid_credentials");
    let wrong = json!({ "organization_name": "Other" });
    admin.put("/org/update", wrong).await.refused(401, "unauthenticated");
}
