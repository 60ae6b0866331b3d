//! Organizations: the fields and statuses of the API contract.

use reqwest::Method;
use serde_json::json;

use crate::support::{Client, PASSWORD, Reply, TestApp};

fn fields(reply: &Reply) -> Vec<&str> {
    let mut fields: Vec<&str> =
        reply.body.as_object().unwrap().keys().map(String::as_str).collect();
    fields.sort_unstable();
    fields
}

const PUBLIC: [&str; 6] =
    ["collection_name", "created_at", "id", "organization_name", "status", "updated_at"];

#[tokio::test]
async fn signing_up_returns_the_organization_and_its_location() {
    let app = TestApp::start().await;
    let created = app.create("  Acme,  Inc. ", "Ada@Example.com").await.expect(201);
    assert_eq!(created.text("organization_name"), "Acme,  Inc.");
    assert_eq!(created.text("collection_name"), "org_acme_inc");
    assert_eq!(created.text("status"), "active");
    assert_eq!(created.body["admin"]["email"], "ada@example.com");
    assert!(created.text("created_at").ends_with('Z'));
    assert_eq!(fields(&created).len(), PUBLIC.len() + 1);
    let location = created.headers["location"].to_str().unwrap();
    assert_eq!(app.get(location).await.expect(200).body["id"], created.body["id"]);
    assert_eq!(app.database.tenant_collections().await, ["org_acme_inc"]);
}

#[tokio::test]
async fn only_its_own_admins_see_the_collection_of_an_organization() {
    let app = TestApp::start().await;
    let (acme, globex) = (app.sign_up("Acme").await, app.sign_up("Globex").await);
    let (_, member) = app.with(&acme.token).add_member("member").await;

    let own = app.with(&acme.token).get_org("ACME").await.expect(200);
    assert_eq!(own.body["admin"], json!({ "id": acme.admin_id, "email": acme.email }));
    assert_eq!(own.body["location"]["cluster"], "default");
    assert_eq!(own.body["location"]["database"], app.database.tenants);
    assert_eq!(own.body["location"]["collection"], "org_acme");
    for other in [(*app).clone(), app.with(&globex.token), app.with(&member)] {
        assert_eq!(fields(&other.get_org("acme").await.expect(200)), PUBLIC);
    }
}

#[tokio::test]
async fn an_admin_sees_a_changed_address_at_once() {
    let app = TestApp::start().await;
    let org = app.sign_up("Acme").await;
    let admin = app.with(&org.token);
    for round in 0..5 {
        assert!(admin.get_org("acme").await.body["admin"]["email"].is_string());
        let email = format!("ada{round}@example.com");
        let path = format!("/org/members/{}", org.admin_id);
        let changed = match round % 2 {
            0 => admin.patch(&path, json!({ "email": email })).await,
            _ => admin.put("/org/update", json!({ "email": email })).await,
        };
        changed.expect(200);
        assert_eq!(admin.get_org("acme").await.body["admin"]["email"], email);
    }
}

#[tokio::test]
async fn a_name_is_found_in_any_case_and_without_accents_or_punctuation() {
    let app = TestApp::start().await;
    let org = app.sign_up("Ärger & Söhne").await;
    for name in ["arger sohne", "ARGER_SOHNE", "Ärger, Söhne!"] {
        assert_eq!(app.get_org(name).await.expect(200).text("id"), org.id);
    }
    app.get_org("arger").await.refused(404, "not_found");
    app.get_org("..").await.invalid(&["organization_name"]);
    app.get("/org/get").await.invalid(&["organization_name"]);
    app.get("/org/get?organization_name=a&name=b").await.invalid(&["name"]);
}

#[tokio::test]
async fn names_that_read_the_same_are_the_same_name() {
    let app = TestApp::start().await;
    app.sign_up("Acme Inc").await;
    for name in ["acme inc", "ACME, INC.", "Acmé-Inc", "acme_inc"] {
        app.create(name, "else@example.com").await.refused(409, "org_name_taken");
    }
    app.create("Acme Incorporated", "else@example.com").await.expect(201);
}

#[tokio::test]
async fn an_address_belongs_to_one_account_of_the_platform() {
    let app = TestApp::start().await;
    let acme = app.sign_up("Acme").await;
    app.create("Globex", &acme.email.to_uppercase()).await.refused(409, "email_taken");
    assert_eq!(app.database.tenant_collections().await, ["org_acme"]);
    assert_eq!(app.database.counts().await, (1, 1, 0));
}

#[tokio::test]
async fn every_wrong_field_is_named_at_once() {
    let app = TestApp::start().await;
    let body = json!({ "organization_name": "..", "email": "ada", "password": "short" });
    app.post("/org/create", body).await.invalid(&["organization_name", "email", "password"]);
    let org = app.sign_up("Acme").await;
    let admin = app.with(&org.token);
    let body = json!({ "organization_name": "x".repeat(500), "email": "@", "password": "x" });
    admin.put("/org/update", body).await.invalid(&["organization_name", "email", "password"]);
    admin.put("/org/update", json!({})).await.invalid(&[""]);
    admin.put("/org/update", json!({ "email": null })).await.invalid(&[""]);
}

#[tokio::test]
async fn renaming_moves_the_collection_and_frees_the_old_name() {
    let app = TestApp::start().await;
    let org = app.sign_up("Acme").await;
    let renamed = app.with(&org.token).rename("Globex, Inc.").await.expect(200);
    assert_eq!(renamed.text("id"), org.id);
    assert_eq!(renamed.text("organization_name"), "Globex, Inc.");
    assert_eq!(renamed.text("collection_name"), "org_globex_inc");
    assert_eq!(renamed.text("status"), "active");
    assert_eq!(renamed.body["admin"]["email"], org.email);
    app.get_org("Acme").await.refused(404, "not_found");
    assert_eq!(app.get_org("globex inc").await.expect(200).text("id"), org.id);
    // The token stays valid, and another organization may take the old name.
    app.with(&org.token).get("/org/members").await.expect(200);
    app.sign_up("Acme").await;
    app.assert_sound().await;
}

#[tokio::test]
async fn an_equivalent_name_is_changed_without_renaming_the_collection() {
    let app = TestApp::start().await;
    let org = app.sign_up("Acme Inc").await;
    let respelled = app.with(&org.token).rename("ACME, Inc.").await.expect(200);
    assert_eq!(respelled.text("organization_name"), "ACME, Inc.");
    assert_eq!(respelled.text("collection_name"), "org_acme_inc");
    let again = app.with(&org.token).rename("ACME, Inc.").await.expect(200);
    assert_eq!(again.body["updated_at"], respelled.body["updated_at"]);
    app.assert_sound().await;
}

#[tokio::test]
async fn a_name_of_another_organization_is_refused_and_both_stay_unchanged() {
    let app = TestApp::start().await;
    let (acme, globex) = (app.sign_up("Acme").await, app.sign_up("Globex").await);
    for name in ["Globex", "GLOBEX!", "glöbex"] {
        app.with(&acme.token).rename(name).await.refused(409, "org_name_taken");
    }
    assert_eq!(app.get_org("acme").await.expect(200).text("id"), acme.id);
    assert_eq!(app.get_org("globex").await.expect(200).text("id"), globex.id);
    assert_eq!(app.database.tenant_collections().await, ["org_acme", "org_globex"]);
    app.assert_sound().await;
}

#[tokio::test]
async fn a_refused_change_changes_nothing() {
    let app = TestApp::start().await;
    let (acme, globex) = (app.sign_up("Acme").await, app.sign_up("Globex").await);
    let admin = app.with(&acme.token);
    let taken =
        json!({ "organization_name": "Free", "email": globex.email, "password": "another one" });
    admin.put("/org/update", taken).await.refused(409, "email_taken");
    let taken = json!({ "organization_name": "Globex", "email": "new@example.com", "password": "another one" });
    admin.put("/org/update", taken).await.refused(409, "org_name_taken");
    app.get_org("free").await.expect(404);
    app.token(&acme.email, PASSWORD).await;
    admin.get("/org/members").await.expect(200);
}

#[tokio::test]
async fn an_admin_changes_name_address_and_password_at_once() {
    let app = TestApp::start().await;
    let org = app.sign_up("Acme").await;
    let all = json!({ "organization_name": "Globex", "email": "New@Example.com", "password": "another password" });
    let changed = app.with(&org.token).put("/org/update", all).await.expect(200);
    assert_eq!(changed.body["admin"]["email"], "new@example.com");
    app.with(&org.token).get("/org/members").await.refused(401, "unauthenticated");
    app.log_in(&org.email, PASSWORD).await.refused(401, "invalid_credentials");
    app.log_in("new@example.com", PASSWORD).await.refused(401, "invalid_credentials");
    let token = app.token("new@example.com", "another password").await;
    app.with(&token).get_org("globex").await.expect(200);
}

#[tokio::test]
async fn deleting_removes_everything_and_frees_the_name() {
    let app = TestApp::start().await;
    let org = app.sign_up("Acme").await;
    let (_, member) = app.with(&org.token).add_member("member").await;
    let deleted = app.with(&org.token).delete_org("acme").await.expect(200);
    assert_eq!(fields(&deleted), ["deleted_at", "id", "organization_name"]);
    assert_eq!(deleted.text("id"), org.id);
    for token in [&org.token, &member] {
        app.with(token).get_org("acme").await.refused(401, "unauthenticated");
    }
    app.get_org("acme").await.refused(404, "not_found");
    app.log_in(&org.email, PASSWORD).await.refused(401, "invalid_credentials");
    assert_eq!(app.database.counts().await, (0, 0, 0));
    assert!(app.database.tenant_collections().await.is_empty());
    app.create("Acme", &org.email).await.expect(201);
}

#[tokio::test]
async fn the_name_to_delete_may_be_in_the_query_or_the_body() {
    let app = TestApp::start().await;
    let org = app.sign_up("Acme").await;
    let admin = app.with(&org.token);
    let delete = || admin.request(Method::DELETE, "/org/delete");
    Client::send(delete()).await.invalid(&["organization_name"]);
    let both = delete().query(&[("organization_name", "acme")]);
    let body = json!({ "organization_name": "globex" });
    Client::send(both.json(&body)).await.invalid(&["organization_name"]);
    Client::send(delete().body("organization_name=acme")).await.expect(415);
    Client::send(delete().json(&json!({ "organization_name": "acme" }))).await.expect(200);
}

#[tokio::test]
async fn deleting_another_organization_is_refused_without_revealing_whether_it_exists() {
    let app = TestApp::start().await;
    let (acme, globex) = (app.sign_up("Acme").await, app.sign_up("Globex").await);
    let (_, member) = app.with(&acme.token).add_member("member").await;
    let mut answers = Vec::new();
    for name in ["Globex", "Nobody"] {
        let mut reply = app.with(&acme.token).delete_org(name).await.refused(403, "forbidden");
        reply.body["request_id"] = json!("");
        answers.push(reply.body);
    }
    assert_eq!(answers[0], answers[1]);
    app.with(&member).delete_org("acme").await.refused(403, "forbidden");
    app.delete_org("acme").await.refused(401, "unauthenticated");
    assert_eq!(app.get_org("globex").await.expect(200).text("id"), globex.id);
    assert_eq!(app.get_org("acme").await.expect(200).text("id"), acme.id);
}

#[tokio::test]
async fn odd_names_get_the_documented_answer() {
    let app = TestApp::start().await;
    let long = "x".repeat(500);
    for name in ["", "   ", "..", "🦄🔥", "a\u{0}b", "a\u{202E}b", "\n", "___", long.as_str()] {
        app.create(name, "odd@example.com").await.invalid(&["organization_name"]);
    }
    let odd = [
        ("a/b", "org_a_b"),
        ("$x", "org_x"),
        ("system.", "org_system"),
        ("../../etc", "org_etc"),
        ("שלום", "org_shlvm"),
        ("ısparta", "org_isparta"),
        ("Drop; db.dropDatabase()", "org_drop_db_dropdatabase"),
    ];
    for (number, (name, collection)) in odd.into_iter().enumerate() {
        let created = app.create(name, &format!("odd{number}@example.com")).await.expect(201);
        assert_eq!(created.text("collection_name"), collection);
        assert_eq!(app.get_org(name).await.expect(200).body["id"], created.body["id"]);
    }
    // The operation that renames to a name starting with a dollar must take it literally.
    let org = app.sign_up("Plain").await;
    let renamed = app.with(&org.token).rename("$name").await.expect(200);
    assert_eq!(renamed.text("organization_name"), "$name");
    app.assert_sound().await;
}
