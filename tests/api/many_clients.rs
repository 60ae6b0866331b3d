//! Thousands of connections that do nothing: what they cost, and that others are served meanwhile.

use std::fs;

use futures::{StreamExt, stream};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::support::{Client, Database, Raw, ServerProcess, eventually};

const CROWD: usize = 5_000;
/// What a connection may cost the server, in KiB.
const EACH: usize = 64;
const LIVE: &[u8] = b"GET /health/live HTTP/1.1\r\nhost: x\r\n\r\n";
const LONG: [(&str, &str); 2] = [("HEADER_TIMEOUT_SECONDS", "600"), ("KEEP_ALIVE_SECONDS", "600")];

/// This process needs as many descriptors as it makes connections.
fn raise_limit() {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    setrlimit(Resource::Nofile, raised).unwrap();
    let most = limit.maximum.unwrap_or(u64::MAX);
    let needed = CROWD as u64 + 1_000;
    assert!(most >= needed, "the limit of open files is {most}: this test needs {needed}");
}

/// Connections of which every second one has asked something before.
async fn crowd(client: &Client, size: usize) -> Vec<Raw> {
    let connect = |number: usize| async move {
        let mut raw = Raw::connect(client).await;
        if number.is_multiple_of(2) {
            raw.send(LIVE).await;
            raw.until("}").await;
        }
        raw
    };
    stream::iter((0..size).map(connect)).buffer_unordered(100).collect().await
}

async fn connections(client: &Client) -> usize {
    let metrics = client.get("/metrics").await.expect(200);
    let metrics = metrics.body.as_str().unwrap();
    let line = metrics.lines().find_map(|line| line.strip_prefix("tenantry_connections "));
    line.expect("no gauge").parse().unwrap()
}

/// The memory that the server holds, in KiB.
fn resident(server: &ServerProcess) -> usize {
    let status = fs::read_to_string(format!("/proc/{}/status", server.pid())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches("kB").trim().parse().unwrap()
}

#[tokio::test]
async fn five_thousand_idle_connections_cost_little_and_harm_nobody() {
    raise_limit();
    let database = Database::new().await;
    let server = ServerProcess::start_with(&database, &LONG);
    let client = &server.client;
    let org = client.sign_up("Acme").await;
    let before = resident(&server);
    let mut held = Vec::new();
    for round in ["First", "Second"] {
        let crowd = crowd(client, CROWD).await;
        eventually("a full house", || async { connections(client).await > CROWD }).await;
        client.with(&org.token).get("/org/members").await.expect(200);
        client.sign_up(round).await;
        held.push(resident(&server));
        drop(crowd);
        eventually("an empty house", || async { connections(client).await < 100 }).await;
    }
    let grown = held[0].saturating_sub(before);
    assert!(grown < CROWD * EACH, "{CROWD} connections cost {grown} KiB");
    let more = held[1].saturating_sub(held[0]);
    // What the first ones left would be as much again; the allocator takes some of it anew.
    assert!(more < grown / 4 * 3, "{more} KiB more the second time, after {grown} KiB");
    drop(server);
    database.drop_all();
}

#[tokio::test]
async fn who_comes_when_all_connections_are_taken_waits_for_one() {
    let database = Database::new().await;
    let settings = [("MAX_CONNECTIONS", "20"), ("HEADER_TIMEOUT_SECONDS", "1")];
    let server = ServerProcess::start_with(&database, &settings);
    let silent = stream::iter(0..60).then(|_| Raw::connect(&server.client));
    let silent: Vec<Raw> = silent.collect().await;
    assert!(connections(&server.client).await <= 21);
    server.client.get_org("nobody").await.refused(404, "not_found");
    drop((silent, server));
    database.drop_all();
}

#[tokio::test]
async fn connections_leave_descriptors_for_the_database() {
    let database = Database::new().await;
    let server = ServerProcess::start_limited(&database, 200, &[("HEADER_TIMEOUT_SECONDS", "1")]);
    let silent = stream::iter(0..300).then(|_| Raw::connect(&server.client));
    let silent: Vec<Raw> = silent.collect().await;
    server.client.sign_up("Acme").await;
    drop((silent, server));
    database.drop_all();
}

#[tokio::test]
async fn a_server_that_ran_out_of_descriptors_serves_again_afterwards() {
    let database = Database::new().await;
    let settings = [LONG.as_slice(), &[("MAX_CONNECTIONS", "10000")]].concat();
    let mut server = ServerProcess::start_limited(&database, 200, &settings);
    let silent = stream::iter(0..300).then(|_| Raw::connect(&server.client));
    let silent: Vec<Raw> = silent.collect().await;
    let descriptors = format!("/proc/{}/fd", server.pid());
    let open = || async { fs::read_dir(&descriptors).unwrap().count() };
    eventually("the end of all descriptors", || async { open().await >= 200 }).await;
    drop(silent);
    eventually("room", || async { open().await < 100 }).await;
    server.client.sign_up("Acme").await;
    assert!(!server.is_dead());
    drop(server);
    database.drop_all();
}
