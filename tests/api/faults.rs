//! Kills the server between any two steps of create, rename and delete and starts another one. The
//! state is the old or the new one, acknowledged writes are kept, and nothing is left over.

use serde_json::json;

use crate::support::{
    Client, Database, Org, PASSWORD, Reply, ServerProcess, eventually, patiently,
};

/// Runs `act` against a server that dies at `point`, then starts another one on the same database.
async fn killed_at<F: Future<Output = Option<Reply>>>(
    database: &Database,
    point: &str,
    act: impl FnOnce(Client) -> F,
) -> ServerProcess {
    let armed = format!("{point}=return");
    let mut server = ServerProcess::start_with(database, &[("FAILPOINTS", &armed)]);
    let reply = act(server.client.clone()).await;
    assert!(reply.is_none(), "the server answered instead of dying at {point}: {reply:?}");
    server.died(database).await;
    ServerProcess::start(database)
}

fn put(client: &Client, body: &serde_json::Value) -> impl Future<Output = Option<Reply>> + use<> {
    Client::try_send(client.request(reqwest::Method::PUT, "/org/update").json(body))
}

async fn prepared(database: &Database) -> Org {
    let server = ServerProcess::start(database);
    server.client.sign_up("Acme").await
}

#[tokio::test]
async fn an_interrupted_sign_up_leaves_all_or_nothing() {
    let points = [
        ("create.before", false),
        ("create.after_account", false),
        ("create.after_organization", false),
        ("create.after_collection", false),
        ("create.before_commit", false),
        ("create.after_commit", true),
    ];
    for (point, exists) in points {
        let database = Database::new().await;
        let body =
            json!({ "organization_name": "Acme", "email": "a@example.com", "password": PASSWORD });
        let server = killed_at(&database, point, |client| {
            Client::try_send(client.request(reqwest::Method::POST, "/org/create").json(&body))
        })
        .await;
        database.assert_recovered().await;
        let client = &server.client;
        client.get_org("acme").await.expect(if exists { 200 } else { 404 });
        assert_eq!(client.log_in("a@example.com", PASSWORD).await.status == 200, exists, "{point}");
        let again = patiently(async || client.create("Acme", "a@example.com").await).await;
        again.expect(if exists { 409 } else { 201 });
        database.assert_recovered().await;
        drop(server);
        database.drop_all();
    }
}

#[tokio::test]
async fn an_interrupted_rename_ends_with_one_name_and_all_data() {
    let points = [
        ("rename.before", false),
        ("rename.after_record", true),
        ("rename.after_move", true),
        ("rename.after_close", true),
    ];
    for (point, renamed) in points {
        let database = Database::new().await;
        let org = prepared(&database).await;
        let body = json!({ "organization_name": "Globex", "password": "another password" });
        let server =
            killed_at(&database, point, |client| put(&client.with(&org.token), &body)).await;
        database.assert_recovered().await;
        let client = &server.client;
        let (name, password, gone) = if renamed {
            ("globex", "another password", "acme")
        } else {
            ("acme", PASSWORD, "globex")
        };
        eventually("the name", || async { client.get_org(name).await.status == 200 }).await;
        client.get_org(gone).await.expect(404);
        assert_eq!(database.tenant_collections().await, [format!("org_{name}")], "{point}");
        // Name and password were one change: both or neither are there.
        let token = client.token(&org.email, password).await;
        let admin = client.with(&token);
        patiently(async || admin.rename("Initech").await).await.expect(200);
        drop(server);
        database.drop_all();
    }
}

#[tokio::test]
async fn a_tenant_is_readable_while_its_rename_waits_for_recovery() {
    for point in ["rename.after_record", "rename.after_move"] {
        let database = Database::new().await;
        let org = prepared(&database).await;
        let body = json!({ "organization_name": "Globex" });
        let armed = format!("{point}=return");
        // The lease is too long for a takeover within this test.
        let lease = ("OPERATION_LEASE_SECONDS", "600");
        let mut dying = ServerProcess::start_with(&database, &[("FAILPOINTS", &armed), lease]);
        assert!(put(&dying.client.with(&org.token), &body).await.is_none());
        dying.died(&database).await;
        let server = ServerProcess::start(&database);
        for name in ["acme", "globex"] {
            let found = server.client.with(&org.token).get_org(name).await.expect(200);
            assert_eq!(found.text("id"), org.id, "{point}");
        }
        server.client.with(&org.token).get("/org/members").await.expect(200);
        drop(server);
        database.drop_all();
    }
}

#[tokio::test]
async fn an_interrupted_delete_is_finished_and_frees_the_name() {
    let points = [
        "delete.after_record",
        "delete.after_drop",
        "delete.after_some_accounts",
        "delete.after_close",
    ];
    for point in points {
        let database = Database::new().await;
        let org = prepared(&database).await;
        let server = killed_at(&database, point, |client| {
            let request = client.with(&org.token).request(reqwest::Method::DELETE, "/org/delete");
            Client::try_send(request.query(&[("organization_name", "acme")]))
        })
        .await;
        // From the first step on the account is locked out, even before recovery has finished.
        server.client.with(&org.token).get("/org/members").await.refused(401, "unauthenticated");
        server.client.get_org("acme").await.expect(404);
        database.assert_recovered().await;
        assert_eq!(database.counts().await, (0, 0, 0), "{point}");
        assert!(database.tenant_collections().await.is_empty(), "{point}");
        server.client.create("Acme", &org.email).await.expect(201);
        drop(server);
        database.drop_all();
    }
}

/// A process executes the drop of a delete late, after another process finished the delete. It must
/// not affect an organization that has since signed up with the same name.
#[tokio::test]
async fn a_late_drop_does_not_affect_a_new_organization_of_the_same_name() {
    let database = Database::new().await;
    let store = database.store().await;
    let server = ServerProcess::start(&database);
    let org = server.client.sign_up("Acme").await;
    let location = store.organization(org.id.parse().unwrap()).await.unwrap().unwrap().location;
    let old = store.collection_identity(&location).await.unwrap().unwrap();
    server.client.with(&org.token).delete_org("acme").await.expect(200);
    let namesake = server.client.sign_up("Acme").await;
    store.drop_collection(&location, old).await.unwrap();
    store.drop_collection(&location, [0; 16]).await.unwrap();
    database.assert_recovered().await;
    server.client.with(&namesake.token).rename("Still here").await.expect(200);
    drop(server);
    database.drop_all();
}
