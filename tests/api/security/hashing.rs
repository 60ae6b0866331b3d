//! Attacks on the hashing queue: a client that fills it must not lock out others.

use std::{net::IpAddr, time::Duration};

use serde_json::{Value, json};
use tokio::{task::JoinSet, time::sleep};

use crate::support::{Client, Database, Org, PASSWORD, ServerProcess, eventually, unique};

/// Hashes of the real cost, one at a time, and the queue of the defaults.
const REAL: [(&str, &str); 4] = [
    ("HASH_MEMORY_KIB", "19456"),
    ("HASH_ITERATIONS", "2"),
    ("HASH_CONCURRENCY", "1"),
    ("LOGIN_FAILURES_PER_ADDRESS", "0"),
];
const CONNECTIONS: usize = 150;
/// Maximum number of hashes per login. With a first-in-first-out queue, each login would wait for
/// 64.
const SHARE: u64 = 16;

/// Sends the bodies repeatedly on 150 connections until dropped.
fn flood(client: &Client, path: &'static str, body: fn(usize) -> Value) -> JoinSet<()> {
    let mut connections = JoinSet::new();
    for number in 0..CONNECTIONS {
        let client = client.clone();
        connections.spawn(async move {
            loop {
                let request = client.request(reqwest::Method::POST, path).json(&body(number));
                Client::try_send(request).await;
                sleep(Duration::from_millis(20)).await;
            }
        });
    }
    connections
}

/// Waits until the flood has filled the queue.
async fn full(client: &Client) {
    eventually("a full queue", || async {
        client.metric("tenantry_hash_queue_depth").await >= 30
            && client.metric("tenantry_hash_queue_rejections_total").await > 0
    })
    .await;
}

/// Logs in to each organization in turn. Asserts that all succeed and wait for few hashes of
/// others.
async fn log_in_to_all(client: &Client, orgs: &[Org]) {
    let hashes = || client.metric("tenantry_hash_seconds_count");
    let before = hashes().await;
    for org in orgs {
        client.log_in(&org.email, PASSWORD).await.expect(200);
    }
    let each = (hashes().await - before) / orgs.len() as u64;
    assert!(each <= SHARE, "{each} hashes for each login");
}

async fn sign_up(client: &Client, count: usize) -> Vec<Org> {
    let mut orgs = Vec::new();
    for _ in 0..count {
        orgs.push(client.sign_up(&unique("Victim ")).await);
    }
    orgs
}

#[tokio::test]
async fn an_admin_adding_members_on_many_connections_does_not_block_logins() {
    let database = Database::new().await;
    let server = ServerProcess::start_with(&database, &REAL);
    let client = &server.client;
    let attacker = client.sign_up("Attacker").await;
    let victims = sign_up(client, 6).await;
    log_in_to_all(client, &victims).await;

    let admin = client.with(&attacker.token);
    let taken = json!({ "email": "taken@example.com", "password": PASSWORD });
    admin.post("/org/members", taken).await.expect(201);
    let flood = flood(&admin, "/org/members", |number| {
        let email = match number % 3 {
            0 => "taken@example.com".to_owned(),
            _ => format!("{}@example.com", unique("fresh")),
        };
        json!({ "email": email, "password": PASSWORD })
    });
    full(client).await;
    log_in_to_all(client, &victims).await;
    // Logins from a new address and additions by other admins get their hashes, too.
    log_in_to_all(&client.from([127, 0, 0, 3].into()), &victims).await;
    for victim in &victims {
        client.with(&victim.token).add_member("member").await;
    }
    sign_up(client, 2).await;
    drop(flood);
    database.drop_all();
}

#[tokio::test]
async fn guesses_on_many_connections_do_not_block_other_addresses() {
    let database = Database::new().await;
    let server = ServerProcess::start_with(&database, &REAL);
    let client = &server.client;
    let victims = sign_up(client, 6).await;
    log_in_to_all(client, &victims).await;

    let stranger: IpAddr = [127, 0, 0, 2].into();
    let flood = flood(
        &client.from(stranger),
        "/auth/login",
        |_| json!({ "email": format!("{}@example.com", unique("guess")), "password": "guessed" }),
    );
    full(client).await;
    log_in_to_all(client, &victims).await;
    log_in_to_all(&client.from([127, 0, 0, 3].into()), &victims).await;
    client.with(&victims[0].token).add_member("member").await;
    sign_up(client, 1).await;
    drop(flood);
    database.drop_all();
}

#[tokio::test]
async fn members_sharing_an_address_with_a_guesser_can_still_log_in() {
    let database = Database::new().await;
    let server = ServerProcess::start_with(&database, &REAL);
    let client = &server.client;
    let victims = sign_up(client, 4).await;
    let flood = flood(
        client,
        "/auth/login",
        |_| json!({ "email": format!("{}@example.com", unique("guess")), "password": "guessed" }),
    );
    full(client).await;
    log_in_to_all(client, &victims).await;
    drop(flood);
    database.drop_all();
}

#[tokio::test]
async fn requests_refused_because_of_stored_data_need_no_hash() {
    let database = Database::new().await;
    let server = ServerProcess::start(&database);
    let client = &server.client;
    let org = client.sign_up("Acme").await;
    let other = client.sign_up("Globex").await;
    let admin = client.with(&org.token);
    let (member, _) = admin.add_member("member").await;
    let before = client.metric("tenantry_hash_seconds_count").await;

    let taken = json!({ "email": other.email, "password": PASSWORD });
    admin.post("/org/members", taken.clone()).await.refused(409, "email_taken");
    let path = format!("/org/members/{member}");
    admin.patch(&path, taken.clone()).await.refused(409, "email_taken");
    admin.put("/org/update", taken.clone()).await.refused(409, "email_taken");
    let name = json!({ "organization_name": "GLOBEX!", "password": PASSWORD });
    admin.put("/org/update", name).await.refused(409, "org_name_taken");
    for unknown in [other.admin_id.as_str(), "68a1f0c2e4b0a1b2c3d4e5f6"] {
        let path = format!("/org/members/{unknown}");
        admin.patch(&path, json!({ "password": PASSWORD })).await.refused(404, "not_found");
    }
    assert_eq!(client.metric("tenantry_hash_seconds_count").await, before);

    // The account's own address and name count as free.
    let own = json!({ "email": org.email, "organization_name": "ACME", "password": PASSWORD });
    admin.put("/org/update", own).await.expect(200);
    assert!(client.metric("tenantry_hash_seconds_count").await > before);
    drop(server);

    let server = ServerProcess::start(&database);
    let client = &server.client;
    client.create("Globex", "new@example.com").await.refused(409, "org_name_taken");
    client.create("Initech", &other.email).await.refused(409, "email_taken");
    assert_eq!(client.metric("tenantry_hash_seconds_count").await, 0);
    drop(server);

    let server = ServerProcess::start_with(&database, &[("MAX_ORGANIZATIONS", "1")]);
    let client = &server.client;
    client.create("Initech", "new@example.com").await.refused(503, "capacity_reached");
    assert_eq!(client.metric("tenantry_hash_seconds_count").await, 0);
    database.drop_all();
}
