//! Attacks with names that a program and a person compare differently.

use bson::{doc, oid::ObjectId};
use futures::future::join_all;
use serde_json::json;

use crate::support::{Chart, Event, PASSWORD, TestApp, ahead, unique, wrong_fields};

/// Two different names with the same slug, which is cut at its maximum length.
fn same_slug(word: &str) -> [String; 2] {
    let shared = format!("{word} {}", "long ".repeat(9));
    ["North", "South"].map(|end| format!("{shared}{end}"))
}

#[tokio::test]
async fn a_name_with_only_the_same_slug_deletes_nothing() {
    let app = TestApp::start().await;
    let [north, south] = same_slug("Société");
    let org = app.sign_up(&north).await;
    let admin = app.with(&org.token);
    let cut: String = north.chars().take(48).collect();
    for name in [&south, &cut, &format!("{north} 2"), &"société long".to_owned()] {
        admin.delete_org(name).await.refused(403, "forbidden");
    }
    let slug = org_slug(&admin.get_org(&north).await.expect(200).body["collection_name"]);
    admin.delete_org(&slug).await.refused(403, "forbidden");
    // After a rename to a name with the same slug, only the new spelling is accepted.
    admin.rename(&south).await.expect(200);
    admin.delete_org(&north).await.refused(403, "forbidden");
    app.assert_sound().await;
    assert_eq!(app.database.counts().await.0, 1);
    let plain = south.to_uppercase().replace('É', "E").replace(' ', "-");
    admin.delete_org(&plain).await.expect(200);
    assert_eq!(app.database.counts().await, (0, 0, 0));
}

#[tokio::test]
async fn a_name_with_only_the_same_slug_deletes_nothing_during_a_rename() {
    let app = TestApp::start().await;
    let [before, other_before] = same_slug(&unique("Before"));
    let [after, other_after] = same_slug(&unique("After"));
    let org = app.sign_up(&before).await;
    let admin = app.with(&org.token);
    let wrong = [other_before, other_after];
    let attempts = (0..20).map(|turn| admin.delete_org(&wrong[turn % 2]));
    let (renamed, attempts) = tokio::join!(admin.rename(&after), join_all(attempts));
    renamed.expect(200);
    for attempt in attempts {
        attempt.refused(403, "forbidden");
    }
    admin.delete_org(&before).await.refused(403, "forbidden");
    admin.delete_org(&after).await.expect(200);
}

/// Invisible characters and characters that change the text direction.
const HIDDEN: [&str; 5] =
    ["Ada\u{202e}nimdA", "A\u{200b}da", "A\u{200d}da", "\u{2066}Ada", "Ada\u{fe0f}"];

#[tokio::test]
async fn names_with_hidden_characters_or_without_letters_are_refused() {
    let app = TestApp::start().await;
    let org = app.sign_up("Acme").await;
    let admin = app.with(&org.token);
    let (member, _) = admin.add_member("member").await;
    let chart = Chart::create(&admin, "Sales").await;
    let ada = chart.path(&format!("/employees/{}", chart.hire("Ada", None).await));
    let event = Event::once(&admin, ahead(24), 1).await;
    for name in HIDDEN.into_iter().chain(["-", "🎉"]) {
        let named = json!({ "name": name });
        let refused = admin.post("/orgcharts", named.clone()).await.invalid(&["name"]);
        let message = refused.body["errors"][0]["message"].as_str().unwrap();
        assert!(message.contains("invisible") || message.contains("a letter"), "{message}");
        admin.put(&chart.path(""), named.clone()).await.invalid(&["name"]);
        admin.put(&ada, named.clone()).await.invalid(&["name"]);
        admin.patch(&format!("/org/members/{member}"), named).await.invalid(&["name"]);
        app.create(name, "eve@example.com").await.invalid(&["organization_name"]);
        admin.rename(name).await.invalid(&["organization_name"]);
        let new = json!({ "email": "bob@example.com", "password": PASSWORD, "name": name });
        admin.post("/org/members", new).await.invalid(&["name"]);
        let hire = json!({ "name": name, "title": "CTO", "manager_id": 1 });
        admin.post(&chart.path("/employees"), hire).await.invalid(&["name"]);
        let query = "mutation U($id: ID!, $input: UpdateEventInput!) {
            updateEvent(id: $id, input: $input) { event { id } } }";
        let input = json!({ "id": event.id, "input": { "title": name } });
        assert_eq!(wrong_fields(&admin.graphql(query, input).await), ["title"], "{name}");
        let list = format!("name,title,manager\nBob,CEO,\n{name},CTO,Bob\n");
        let request = admin.request(reqwest::Method::POST, &chart.path("/import?replace=true"));
        let request = request.header("content-type", "text/csv").body(list);
        let refused = crate::support::Client::send(request).await.invalid(&["line 3"]);
        assert!(refused.body["errors"][0]["message"].as_str().unwrap().starts_with("name must"));
    }
    // A title may be just a dash, but must not contain these characters either.
    admin.put(&ada, json!({ "title": "-" })).await.expect(200);
    for title in HIDDEN {
        admin.put(&ada, json!({ "title": title })).await.invalid(&["title"]);
    }
}

#[tokio::test]
async fn existing_names_with_hidden_characters_can_be_read_and_changed() {
    const OLD: &str = "A\u{202e}da";
    let app = TestApp::start().await;
    let org = app.sign_up("Acme").await;
    let admin = app.with(&org.token);
    let (member, _) = admin.add_member("member").await;
    let chart = Chart::create(&admin, "Sales").await;
    let ada = chart.path(&format!("/employees/{}", chart.hire("Ada", None).await));
    let event = Event::once(&admin, ahead(24), 1).await;
    let (tenant, accounts) =
        (app.database.tenant_of(&org).await, app.database.master("accounts").await);
    for (kind, field) in [("chart", "name"), ("employee", "name"), ("event", "title")] {
        let set = doc! { "$set": { field: OLD } };
        let done = tenant.update_many(doc! { "_id.kind": kind }, set).await.unwrap();
        assert_eq!(done.modified_count, 1, "{kind}");
    }
    let one = doc! { "_id": ObjectId::parse_str(&member).unwrap() };
    accounts.update_one(one, doc! { "$set": { "name": OLD } }).await.unwrap();

    let member = format!("/org/members/{member}");
    for path in [chart.path(""), ada.clone(), member.clone()] {
        assert_eq!(admin.get(&path).await.expect(200).body["name"], OLD, "{path}");
    }
    let query = "query Q($id: ID!) { event(id: $id) { title } }";
    let found = admin.query(query, json!({ "id": event.id })).await;
    assert_eq!(found["event"]["title"], OLD);
    admin.get(&chart.path("/export")).await.expect(200);
    admin.get(&chart.path("/chart.svg")).await.expect(200);
    app.assert_sound().await;

    let new = json!({ "name": "Ada" });
    admin.put(&ada, json!({ "title": "CEO" })).await.expect(200);
    admin.put(&chart.path(""), new.clone()).await.expect(200);
    admin.put(&ada, new.clone()).await.expect(200);
    admin.patch(&member, new).await.expect(200);
    event.update(json!({ "title": "Ada" })).await.done("event");
    app.assert_sound().await;
}

#[tokio::test]
async fn an_organization_with_a_joiner_in_its_name_is_still_found_renamed_and_deleted() {
    let app = TestApp::start().await;
    let org = app.sign_up("Ac me").await;
    let admin = app.with(&org.token);
    let old = "Ac\u{200d}me";
    let organizations = app.database.master("organizations").await;
    organizations.update_one(doc! {}, doc! { "$set": { "name": old } }).await.unwrap();
    assert_eq!(app.get_org(old).await.expect(200).body["organization_name"], old);
    app.assert_sound().await;
    admin.rename("Acme").await.expect(200);
    admin.rename("Ac me").await.expect(200);
    organizations.update_one(doc! {}, doc! { "$set": { "name": old } }).await.unwrap();
    admin.delete_org(old).await.expect(200);
    assert_eq!(app.database.counts().await, (0, 0, 0));
}

fn org_slug(collection: &serde_json::Value) -> String {
    collection.as_str().unwrap().trim_start_matches("org_").to_owned()
}
