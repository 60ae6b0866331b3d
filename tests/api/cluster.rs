//! Two servers on one database: a change through one takes effect on the other.

use serde_json::json;

use crate::support::{PASSWORD, Pair, eventually};

#[tokio::test]
async fn a_new_password_through_one_revokes_tokens_on_the_other() {
    let pair = Pair::start().await;
    let org = pair.one.client.sign_up("Acme").await;
    let other = pair.two.client.with(&org.token);
    other.get("/org/members").await.expect(200);
    other.get("/org/members").await.expect(200);
    let body = json!({ "password": "another password" });
    pair.one.client.with(&org.token).put("/org/update", body).await.expect(200);
    eventually("the end of the token", || async { other.get("/org/members").await.status == 401 })
        .await;
    pair.two.client.token(&org.email, "another password").await;
}

#[tokio::test]
async fn a_rename_through_one_is_seen_by_the_other() {
    let pair = Pair::start().await;
    let org = pair.one.client.sign_up("Acme").await;
    let (one, two) = (pair.one.client.with(&org.token), pair.two.client.with(&org.token));
    two.get_org("acme").await.expect(200);
    for name in ["Globex", "Initech", "Acme", "Globex"] {
        one.rename(name).await.expect(200);
        // No cache has an entry for the new name.
        assert_eq!(two.get_org(name).await.expect(200).text("id"), org.id);
        eventually("the new name in the old entry", || async {
            two.get_org(name).await.text("organization_name") == name
        })
        .await;
    }
    eventually("the end of the old name", || async { two.get_org("acme").await.status == 404 })
        .await;
}

#[tokio::test]
async fn a_delete_through_one_is_seen_by_the_other() {
    let pair = Pair::start().await;
    let org = pair.one.client.sign_up("Acme").await;
    let (_, member) = pair.one.client.with(&org.token).add_member("member").await;
    let two = &pair.two.client;
    two.with(&member).get_org("acme").await.expect(200);
    pair.one.client.with(&org.token).delete_org("acme").await.expect(200);
    for token in [&org.token, &member] {
        let client = two.with(token);
        eventually("the end of the token", || async { client.get_org("acme").await.status == 401 })
            .await;
    }
    two.log_in(&org.email, PASSWORD).await.refused(401, "invalid_credentials");
    two.create("Acme", &org.email).await.expect(201);
}

#[tokio::test]
async fn a_changed_address_through_one_is_shown_by_the_other() {
    let pair = Pair::start().await;
    let org = pair.one.client.sign_up("Acme").await;
    let (one, two) = (pair.one.client.with(&org.token), pair.two.client.with(&org.token));
    assert_eq!(two.get_org("acme").await.body["admin"]["email"], org.email);
    one.put("/org/update", json!({ "email": "new@example.com" })).await.expect(200);
    eventually("the new address", || async {
        two.get_org("acme").await.body["admin"]["email"] == "new@example.com"
    })
    .await;
}

#[tokio::test]
async fn a_demotion_through_one_counts_on_the_other() {
    let pair = Pair::start().await;
    let org = pair.one.client.sign_up("Acme").await;
    let (id, token) = pair.one.client.with(&org.token).add_member("admin").await;
    let two = pair.two.client.with(&token);
    two.get("/org/members").await.expect(200);
    let path = format!("/org/members/{id}");
    pair.one.client.with(&org.token).patch(&path, json!({ "role": "member" })).await.expect(200);
    eventually("the demotion", || async { two.get("/org/members").await.status == 403 }).await;
}

/// Caches must stay trusted while changes never pause.
#[tokio::test]
async fn caches_stay_in_use_during_a_steady_stream_of_changes() {
    let pair = Pair::start().await;
    let busy = pair.one.client.sign_up("Busy").await;
    pair.one.client.sign_up("Quiet").await;
    let lookups = async |outcome: &str| {
        let labels = format!(r#"{{cache="organization",outcome="{outcome}"}}"#);
        pair.two.client.metric(&format!("tenantry_cache_lookups_total{labels}")).await
    };
    pair.two.client.get_org("quiet").await.expect(200);
    let admin = pair.one.client.with(&busy.token);
    let (mut before, started) = ((0, 0), std::time::Instant::now());
    for round in 0.. {
        let spelling = if round % 2 == 0 { "BUSY" } else { "Busy" };
        admin.rename(spelling).await.expect(200);
        pair.two.client.get_org("quiet").await.expect(200);
        // Longer than the time for which a silent change stream is trusted.
        if started.elapsed().as_secs() < 3 {
            before = (lookups("hit").await, lookups("bypass").await);
        } else if started.elapsed().as_secs() >= 4 {
            break;
        }
    }
    let (hits, bypassed) = (lookups("hit").await - before.0, lookups("bypass").await - before.1);
    assert!(hits > bypassed, "{hits} hits, {bypassed} bypassed");
}

#[tokio::test]
async fn renames_through_both_at_once_end_in_one_name() {
    let pair = Pair::start().await;
    let org = pair.one.client.sign_up("Acme").await;
    let (one, two) = (pair.one.client.with(&org.token), pair.two.client.with(&org.token));
    for round in 0..5 {
        let (left, right) = (format!("Left {round}"), format!("Right {round}"));
        let (a, b) = tokio::join!(one.rename(&left), two.rename(&right));
        for reply in [a, b] {
            assert!([200, 503].contains(&reply.status), "{reply:?}");
        }
        let mut found = 0;
        for name in [&left, &right] {
            found += u8::from(one.get_org(name).await.status == 200);
        }
        assert_eq!(found, 1);
    }
    let store = pair.database.store().await;
    assert_eq!(store.tenant_collections().await.unwrap().len(), 1);
}
