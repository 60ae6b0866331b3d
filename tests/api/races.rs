//! Concurrent requests for one name or one address: exactly one wins, and the others leave nothing.

use bson::doc;
use futures::future::{join, join_all};

use crate::support::{Client, Database, Reply, ServerProcess, TestApp, patiently};

const RACERS: usize = 32;

fn winners(replies: &[Reply], status: u16) -> usize {
    replies.iter().filter(|reply| reply.status == status).count()
}

#[tokio::test]
async fn of_many_sign_ups_for_one_name_exactly_one_wins() {
    let app = TestApp::start().await;
    let replies = race_for_one_name(&app, 1).await;
    assert_eq!(winners(&replies, 201), 1);
    for reply in replies.into_iter().filter(|reply| reply.status != 201) {
        reply.refused(409, "org_name_taken");
    }
    assert_eq!(app.database.counts().await, (1, 1, 0));
    assert_eq!(app.database.tenant_collections().await, ["org_acme_inc_1"]);
    app.assert_sound().await;
}

/// Negative control of the test above: without the unique index and the named collection, several
/// sign-ups succeed.
#[tokio::test]
async fn without_its_index_a_name_is_taken_many_times() {
    let database = Database::new().await;
    let unmade = [("FAILPOINTS", "create.skip_collection=return")];
    let server = ServerProcess::start_with(&database, &unmade);
    database.master("organizations").await.drop_index("slugs_unique").await.unwrap();
    let seen = is_won_twice(async |round| race_for_one_name(&server.client, round).await).await;
    drop(server);
    database.drop_all();
    assert!(seen, "no race was won twice");
}

async fn race_for_one_name(client: &Client, round: usize) -> Vec<Reply> {
    let spellings = ["Acme Inc", "ACME, Inc.", "acme-inc", "Acmé  Inc"];
    let race = (0..RACERS).map(async |i| {
        let name = format!("{} {round}", spellings[i % 4]);
        let email = format!("racer{i}in{round}@example.com");
        patiently(async || client.create(&name, &email).await).await
    });
    join_all(race).await
}

#[tokio::test]
async fn of_many_sign_ups_with_one_address_exactly_one_wins() {
    let app = TestApp::start().await;
    let replies = race_for_one_address(&app, 1).await;
    assert_eq!(winners(&replies, 201), 1);
    for reply in replies.into_iter().filter(|reply| reply.status != 201) {
        reply.refused(409, "email_taken");
    }
    assert_eq!(app.database.counts().await, (1, 1, 0));
    assert_eq!(app.database.tenant_collections().await.len(), 1);
    app.assert_sound().await;
}

/// Negative control of the test above, without the unique index.
#[tokio::test]
async fn without_its_index_an_address_is_taken_many_times() {
    let app = TestApp::start().await;
    app.database.master("accounts").await.drop_index("email_unique").await.unwrap();
    assert!(is_won_twice(async |round| race_for_one_address(&app, round).await).await);
}

async fn race_for_one_address(client: &Client, round: usize) -> Vec<Reply> {
    let email = format!("one{round}@example.com");
    let race = (0..RACERS).map(async |i| {
        let name = format!("Org {i} {round}");
        patiently(async || client.create(&name, &email).await).await
    });
    join_all(race).await
}

/// Whether several sign-ups win in one of ten races.
async fn is_won_twice(race: impl AsyncFn(usize) -> Vec<Reply>) -> bool {
    for round in 0..10 {
        if winners(&race(round).await, 201) > 1 {
            return true;
        }
    }
    false
}

#[tokio::test]
async fn of_four_renames_to_one_free_name_one_wins_and_the_others_keep_theirs() {
    let app = TestApp::start().await;
    for round in 0..5 {
        let names: Vec<String> = (0..4).map(|i| format!("Racer {round} {i}")).collect();
        let orgs = join_all(names.iter().map(|name| app.sign_up(name))).await;
        let target = format!("Prize {round}");
        let replies = join_all(orgs.iter().map(|org| {
            let admin = app.with(&org.token);
            let target = &target;
            async move { patiently(async || admin.rename(target).await).await }
        }))
        .await;
        assert_eq!(winners(&replies, 200), 1, "{replies:?}");
        for (org, reply) in orgs.iter().zip(replies) {
            let name = if reply.status == 200 { &target } else { &org.name };
            let found = app.with(&org.token).get_org(name).await.expect(200);
            assert_eq!(found.text("id"), org.id);
            assert_eq!(found.text("status"), "active");
            if reply.status != 200 {
                reply.refused(409, "org_name_taken");
            }
        }
    }
    app.assert_sound().await;
}

#[tokio::test]
async fn sign_ups_and_renames_for_one_name_never_share_it() {
    let app = TestApp::start().await;
    for round in 0..5 {
        let org = app.sign_up(&format!("Old {round}")).await;
        let target = format!("New {round}");
        let admin = app.with(&org.token);
        let newcomer = format!("newcomer{round}@example.com");
        let rename = patiently(async || admin.rename(&target).await);
        let create = patiently(async || app.create(&target, &newcomer).await);
        let (renamed, created) = join(rename, create).await;
        assert_eq!(u8::from(renamed.status == 200) + u8::from(created.status == 201), 1);
    }
    app.assert_sound().await;
}

#[tokio::test]
async fn renames_and_deletes_of_one_organization_end_in_one_state() {
    let app = TestApp::start().await;
    for round in 0..5 {
        let org = app.sign_up(&format!("Torn {round}")).await;
        let (one, two) = (app.with(&org.token), app.with(&org.token));
        let name = format!("Torn {round}");
        let target = format!("Moved {round}");
        let rename = patiently(async || one.rename(&target).await);
        let (renamed, deleted) =
            join(rename, patiently(async || two.delete_org(&name).await)).await;
        assert!([200, 401].contains(&renamed.status), "{renamed:?}");
        // The retry of a delete that succeeded after its first answer finds no account any more.
        assert!([200, 401, 403].contains(&deleted.status), "{deleted:?}");
        let gone = deleted.status != 403;
        assert_eq!(app.get_org(&target).await.status, if gone { 404 } else { 200 });
        app.get_org(&name).await.expect(404);
    }
    app.assert_sound().await;
}

#[tokio::test]
async fn a_stray_collection_is_never_taken_over() {
    let database = Database::new().await;
    let app = TestApp::on(database, |_| {}).await;
    let stray = app.database.tenant("org_stray").await;
    stray.insert_one(doc! { "_id": 1 }).await.unwrap();
    app.create("Stray", "stray@example.com").await.refused(409, "org_name_taken");
    let org = app.sign_up("Acme").await;
    app.with(&org.token).rename("stray").await.refused(409, "org_name_taken");
    assert_eq!(stray.count_documents(doc! {}).await.unwrap(), 1);
    assert_eq!(app.database.counts().await, (1, 1, 0));
}
