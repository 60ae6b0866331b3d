//! The accounts of an organization.

use futures::{
    StreamExt,
    future::{join, join_all},
    stream,
};
use serde_json::{Value, json};

use crate::support::{Client, Database, PASSWORD, ServerProcess, TestApp, patiently, unique};

#[tokio::test]
async fn admins_add_read_change_and_remove_accounts() {
    let app = TestApp::start().await;
    let org = app.sign_up("Acme").await;
    let admin = app.with(&org.token);
    let body = json!({ "email": "Grace@Example.com", "password": PASSWORD, "name": " Grace " });
    let created = admin.post("/org/members", body).await.expect(201);
    assert_eq!(created.text("email"), "grace@example.com");
    assert_eq!(created.text("name"), "Grace");
    assert_eq!(created.text("role"), "member");
    let path = created.headers["location"].to_str().unwrap().to_owned();
    assert_eq!(path, format!("/org/members/{}", created.text("id")));
    assert_eq!(admin.get(&path).await.expect(200).body, created.body);

    let change = json!({ "name": null, "role": "admin", "email": "g@example.com" });
    let changed = admin.patch(&path, change).await.expect(200);
    assert_eq!(changed.body["name"], Value::Null);
    assert_eq!(changed.text("role"), "admin");
    app.log_in("g@example.com", PASSWORD).await.expect(200);

    let deleted = admin.delete(&path).await.expect(200);
    assert_eq!(deleted.body["id"], created.body["id"]);
    assert!(deleted.body["deleted_at"].is_string());
    admin.get(&path).await.refused(404, "not_found");
    admin.delete(&path).await.refused(404, "not_found");
    app.log_in("g@example.com", PASSWORD).await.refused(401, "invalid_credentials");
}

#[tokio::test]
async fn wrong_input_names_its_fields() {
    let app = TestApp::start().await;
    let org = app.sign_up("Acme").await;
    let admin = app.with(&org.token);
    let body = json!({ "email": "x", "password": "x", "name": "", "role": "owner" });
    admin.post("/org/members", body).await.invalid(&["email", "password", "name", "role"]);
    let path = format!("/org/members/{}", org.admin_id);
    admin.patch(&path, json!({})).await.invalid(&[""]);
    admin.patch(&path, json!({ "role": "root" })).await.invalid(&["role"]);
    admin.patch(&path, json!({ "rolle": "admin" })).await.invalid(&["rolle"]);
    admin.get("/org/members/nobody").await.refused(404, "not_found");
    for query in ["limit=0", "limit=1001", "limit=-1", "limit=many"] {
        admin.get(&format!("/org/members?{query}")).await.invalid(&["limit"]);
    }
    admin.get("/org/members?cursor=x").await.invalid(&["cursor"]);
    admin.get("/org/members?page=2").await.invalid(&["page"]);
}

#[tokio::test]
async fn members_may_not_manage_accounts() {
    let app = TestApp::start().await;
    let org = app.sign_up("Acme").await;
    let (id, token) = app.with(&org.token).add_member("member").await;
    let member = app.with(&token);
    let path = format!("/org/members/{id}");
    member.get("/org/members").await.refused(403, "forbidden");
    member.get(&path).await.refused(403, "forbidden");
    member.patch(&path, json!({ "role": "admin" })).await.refused(403, "forbidden");
    member.delete(&path).await.refused(403, "forbidden");
    member.post("/org/members", json!({})).await.refused(403, "forbidden");
    member.rename("Mine").await.refused(403, "forbidden");
}

#[tokio::test]
async fn a_changed_role_takes_effect_at_once() {
    let app = TestApp::start().await;
    let org = app.sign_up("Acme").await;
    let (id, token) = app.with(&org.token).add_member("admin").await;
    app.with(&token).get("/org/members").await.expect(200);
    let path = format!("/org/members/{id}");
    app.with(&org.token).patch(&path, json!({ "role": "member" })).await.expect(200);
    app.with(&token).get("/org/members").await.refused(403, "forbidden");
    app.with(&org.token).delete(&path).await.expect(200);
    app.with(&token).get("/org/members").await.refused(401, "unauthenticated");
}

#[tokio::test]
async fn pages_list_every_account_once() {
    let app = TestApp::start().await;
    let org = app.sign_up("Acme").await;
    let admin = app.with(&org.token);
    for _ in 0..6 {
        admin.add_member("member").await;
    }
    let whole = admin.get("/org/members").await.expect(200);
    assert!(!whole.headers.contains_key("link"));
    let (mut seen, mut next) = (Vec::new(), Some("/org/members?limit=3".to_owned()));
    while let Some(path) = next {
        let page = admin.get(&path).await.expect(200);
        let items = page.body.as_array().unwrap();
        assert!((1..=3).contains(&items.len()));
        seen.extend(items.clone());
        next = page.headers.get("link").map(|link| {
            let link = link.to_str().unwrap();
            let (path, rel) = link.split_once('>').unwrap();
            assert_eq!(rel, "; rel=\"next\"");
            path.trim_start_matches('<').to_owned()
        });
    }
    assert_eq!(Value::from(seen), whole.body);
}

#[tokio::test]
async fn the_last_admin_cannot_be_demoted_or_removed() {
    let app = TestApp::start().await;
    let org = app.sign_up("Acme").await;
    let admin = app.with(&org.token);
    let own = format!("/org/members/{}", org.admin_id);
    admin.add_member("member").await;
    admin.delete(&own).await.refused(409, "last_admin");
    admin.patch(&own, json!({ "role": "member" })).await.refused(409, "last_admin");
    admin.add_member("admin").await;
    admin.delete(&own).await.expect(200);
    app.assert_sound().await;
}

/// Two admins demote each other at once; returns how many succeed.
async fn duel(client: &Client) -> usize {
    let org = client.sign_up(&unique("Duel ")).await;
    let (id, token) = client.with(&org.token).add_member("admin").await;
    let demote = async |token: &str, whom: &str| {
        let (admin, path) = (client.with(token), format!("/org/members/{whom}"));
        patiently(async || admin.patch(&path, json!({ "role": "member" })).await).await
    };
    let (a, b) = join(demote(&org.token, &id), demote(&token, &org.admin_id)).await;
    [a, b].iter().filter(|reply| reply.status == 200).count()
}

#[tokio::test]
async fn two_admins_who_demote_each_other_at_once_do_not_both_succeed() {
    let app = TestApp::start().await;
    for _ in 0..8 {
        assert_eq!(duel(&app).await, 1);
    }
    app.assert_sound().await;
}

/// Negative control of the test above.
#[tokio::test]
async fn without_a_touch_two_admins_demote_each_other() {
    let database = Database::new().await;
    let untouched = [("FAILPOINTS", "accounts.skip_touch=return")];
    let server = ServerProcess::start_with(&database, &untouched);
    let both = stream::iter(0..20).any(async |_| duel(&server.client).await == 2).await;
    drop(server);
    database.drop_all();
    assert!(both, "no two demotions met");
}

#[tokio::test]
async fn of_many_accounts_with_one_address_exactly_one_is_created() {
    let app = TestApp::start().await;
    let orgs = join_all((0..4).map(|i| app.sign_up(["A", "B", "C", "D"][i]))).await;
    let body = json!({ "email": "same@example.com", "password": PASSWORD });
    let tries = orgs.iter().cycle().take(16).map(|org| {
        let (client, body) = (app.with(&org.token), body.clone());
        async move { client.post("/org/members", body).await }
    });
    let replies = join_all(tries).await;
    assert_eq!(replies.iter().filter(|reply| reply.status == 201).count(), 1);
    for reply in replies.into_iter().filter(|reply| reply.status != 201) {
        reply.refused(409, "email_taken");
    }
}
