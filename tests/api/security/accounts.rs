//! Attacks on accounts: guessed ids, and access that outlives a password.

use serde_json::json;

use crate::support::{Client, PASSWORD, TestApp};

const NEW: &str = "another passphrase";

/// The part of an id after its timestamp, as a number.
fn tail(id: &str) -> u64 {
    u64::from_str_radix(&id[12..], 16).unwrap()
}

#[tokio::test]
async fn the_id_of_an_organization_does_not_reveal_its_account_ids() {
    let app = TestApp::start().await;
    let (mut ids, mut listed) = (Vec::new(), Vec::new());
    let org = app.sign_up("Acme").await;
    let admin = app.with(&org.token);
    listed.push(org.admin_id.clone());
    for _ in 0..5 {
        listed.push(admin.add_member("member").await.0);
    }
    ids.push(org.id.clone());
    ids.extend(listed.clone());
    for (one, two) in ids.iter().zip(&ids[1..]) {
        assert!(tail(one).abs_diff(tail(two)) > 1_000_000, "{one} is next to {two}");
    }
    // Ids still sort by creation time, because lists show the oldest first.
    let members = admin.get("/org/members").await.expect(200);
    let members = members.body.as_array().unwrap().iter();
    let members: Vec<_> = members.map(|member| member["id"].as_str().unwrap()).collect();
    assert_eq!(members, listed);
}

/// Whether the feed can be read.
async fn opens(client: &Client, feed: &str) -> bool {
    client.get(feed).await.status == 200
}

#[tokio::test]
async fn a_new_password_revokes_the_calendar_on_request() {
    let app = TestApp::start().await;
    let org = app.sign_up("Acme").await;
    let admin = app.with(&org.token);
    let (id, token) = admin.add_member("member").await;
    let path = format!("/org/members/{id}");
    let (own, theirs) = (admin.calendar_feed().await, app.with(&token).calendar_feed().await);

    admin.patch(&path, json!({ "password": NEW })).await.expect(200);
    let keep = json!({ "password": NEW, "revoke_calendar": false });
    admin.patch(&path, keep).await.expect(200);
    assert!(opens(&app, &theirs).await);
    // A refused request revokes nothing.
    let refused = json!({ "email": org.email, "password": NEW, "revoke_calendar": true });
    admin.patch(&path, refused).await.refused(409, "email_taken");
    for wrong in [
        json!({ "name": "Grace", "revoke_calendar": true }),
        json!({ "name": "Grace", "revoke_calendar": null }),
    ] {
        admin.patch(&path, wrong).await.invalid(&["revoke_calendar"]);
    }
    assert!(opens(&app, &theirs).await);
    let revoke = json!({ "password": NEW, "revoke_calendar": true });
    admin.patch(&path, revoke.clone()).await.expect(200);
    assert!(!opens(&app, &theirs).await && opens(&app, &own).await);

    let alone = json!({ "email": org.email, "revoke_calendar": true });
    admin.put("/org/update", alone).await.invalid(&["revoke_calendar"]);
    assert!(opens(&app, &own).await);
    admin.put("/org/update", revoke).await.expect(200);
    assert!(!opens(&app, &own).await);
    let again = app.with(&app.token(&org.email, NEW).await);
    assert!(opens(&app, &again.calendar_feed().await).await);
}

#[tokio::test]
async fn an_admin_revokes_only_the_calendar_of_the_named_member() {
    let app = TestApp::start().await;
    let org = app.sign_up("Acme").await;
    let admin = app.with(&org.token);
    let (id, token) = admin.add_member("member").await;
    let member = app.with(&token);
    let (own, theirs) = (admin.calendar_feed().await, member.calendar_feed().await);
    let path = format!("/org/members/{id}/calendar");

    let intruder = app.with(&app.sign_up("Intruder").await.token);
    intruder.delete(&path).await.refused(404, "not_found");
    member.delete(&path).await.refused(403, "forbidden");
    app.delete(&path).await.refused(401, "unauthenticated");
    assert!(opens(&app, &theirs).await);

    for _ in 0..2 {
        let gone = admin.delete(&path).await.expect(204);
        assert_eq!(gone.body, json!(""));
        assert!(!opens(&app, &theirs).await && opens(&app, &own).await);
    }
    for unknown in ["68a1f0c2e4b0a1b2c3d4e5f6", "nobody"] {
        let path = format!("/org/members/{unknown}/calendar");
        admin.delete(&path).await.refused(404, "not_found");
    }
    // The member is still logged in and can create a new feed.
    assert!(opens(&app, &member.calendar_feed().await).await);
    app.log_in(&org.email, PASSWORD).await.expect(200);
}

#[tokio::test]
async fn the_api_documentation_page_stores_no_token_in_the_browser() {
    let app = TestApp::start().await;
    let script = app.get("/docs/swagger-initializer.js").await.expect(200);
    let script = script.body.as_str().unwrap();
    assert!(script.contains("\"tryItOutEnabled\": true"), "{script}");
    assert!(!script.contains("\"persistAuthorization\": true"), "{script}");
}
