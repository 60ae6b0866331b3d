//! Bodies and answers that never end, and other bytes that fill memory.

use futures::future::join_all;
use tokio::{io::AsyncWriteExt, task::JoinSet};

use crate::support::{Chart, Client, Database, Raw, ServerProcess, TestApp, Watch, eventually};

const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;
/// Memory limit for the bodies of unauthenticated clients, and of one organization, in MiB.
const STRANGER: u64 = 8;
const ORGANIZATION: u64 = 40;
/// Memory limit for answers that nobody reads, in MiB.
const ANSWERS: u64 = 96;
/// Maximum size of a list in bytes.
const LISTED: usize = 32 * MIB;
/// More bytes than such a list needs in chunks of one byte.
const CHUNKED: usize = 16 * LISTED;
/// Far more bytes than the body limit of 1 MiB plus the system's buffers.
const ENDLESS: usize = 16 * MIB;

fn opening(path: &str, kind: &str, token: Option<&str>, length: &str) -> Vec<u8> {
    let token = token.map(|token| format!("authorization: Bearer {token}\r\n")).unwrap_or_default();
    format!("POST {path} HTTP/1.1\r\nhost: x\r\n{token}content-type: {kind}\r\n{length}\r\n\r\n")
        .into_bytes()
}

/// Opens `count` requests and sends their bodies except the last byte; keeps them open until
/// dropped. The server stops reading when its memory for bodies is full.
async fn hold(client: &Client, head: &[u8], size: usize, count: usize) -> JoinSet<()> {
    let mut open = JoinSet::new();
    for mut raw in join_all((0..count).map(|_| Raw::sending(client, head))).await {
        open.spawn(async move {
            let mut left = size - 1;
            while left > 0 {
                let piece = &[b' '; 16 * KIB][..left.min(16 * KIB)];
                if raw.stream.write_all(piece).await.is_err() {
                    return;
                }
                left -= piece.len();
            }
            std::future::pending::<()>().await;
        });
    }
    open
}

/// The same for unauthenticated clients with bodies of 1 MiB, with this length or transfer
/// encoding.
async fn hold_as_stranger(client: &Client, length: &str, count: usize) -> JoinSet<()> {
    let head = opening("/admin/login", "application/json", None, length);
    let chunk = if length.starts_with('t') { "fffff\r\n" } else { "" };
    hold(client, &[&head, chunk.as_bytes()].concat(), MIB, count).await
}

/// Memory used by the bodies of requests, in MiB.
async fn held(client: &Client) -> u64 {
    client.metric("tenantry_body_bytes").await / MIB as u64
}

/// Waits until bodies use this much memory.
async fn holding(client: &Client, mib: u64) {
    eventually("bodies in memory", || async { held(client).await >= mib }).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unfinished_bodies_of_unauthenticated_clients_need_little_memory() {
    let database = Database::new().await;
    let server = ServerProcess::start(&database);
    let client = &server.client;
    let org = client.sign_up("Acme").await;
    let watch = Watch::start(&server).await;
    let upgrade = "connection: upgrade\r\nupgrade: websocket";
    let too_large =
        r#"tenantry_http_request_seconds_count{method="POST",route="/admin/login",status="413"}"#;
    for (length, is_buffered) in [
        (&format!("content-length: {MIB}"), true),
        (&"transfer-encoding: chunked".to_owned(), true),
        // The HTTP library reads these to their end, whatever their length says.
        (&upgrade.to_owned(), false),
        (&format!("content-length: 1\r\n{upgrade}"), false),
    ] {
        let refused = client.metric(too_large).await + 300;
        let open = hold_as_stranger(client, length, 300).await;
        if is_buffered {
            holding(client, STRANGER).await;
        } else {
            eventually("refusals", || async { client.metric(too_large).await >= refused }).await;
        }
        // Other clients can log in and send a body that does not fit into the buffer of the head.
        client.token(&org.email, crate::support::PASSWORD).await;
        let chart = Chart::create(&client.with(&org.token), "Everybody").await;
        let mut list = String::from("id,name,title,manager_id\n1,Ada,CEO,\n");
        list.extend((2..2_000).map(|id| format!("{id},Somebody,Engineer,1\n")));
        let request = client.with(&org.token);
        let request = request.request(reqwest::Method::POST, &chart.path("/import"));
        let request = request.header("content-type", "text/csv").body(list);
        Client::send(request).await.expect(200);
        assert!(held(client).await <= STRANGER);
        drop(open);
        eventually("free memory", || async { held(client).await == 0 }).await;
    }
    watch.assert_unharmed().await;
    drop(server);
    database.drop_all();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unfinished_lists_of_an_admin_need_little_memory() {
    let database = Database::new().await;
    let server = ServerProcess::start(&database);
    let greedy = server.client.sign_up("Greedy").await;
    let chart = Chart::create(&server.client.with(&greedy.token), "Everybody").await;
    let other = server.client.sign_up("Acme").await;
    let watch = Watch::start(&server).await;
    let length = format!("content-length: {LISTED}");
    let head = opening(&chart.path("/import"), "text/csv", Some(&greedy.token), &length);
    let open = hold(&server.client, &head, LISTED, 20).await;
    holding(&server.client, 32).await;
    let own = Chart::create(&server.client.with(&other.token), "Everybody").await;
    let list = format!("id,name,title,manager_id\n1,Ada,{},\n", "x".repeat(100));
    let request =
        server.client.with(&other.token).request(reqwest::Method::POST, &own.path("/import"));
    let list = list + &" ".repeat(100 * KIB);
    let request = request.header("content-type", "text/csv").body(list);
    let answer = Client::send(request).await;
    assert!([200, 400].contains(&answer.status), "{answer:?}");
    assert!(held(&server.client).await <= ORGANIZATION);
    drop(open);
    watch.assert_unharmed().await;
    drop(server);
    database.drop_all();
}

/// Negative control of the two tests above.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_limit_bodies_fill_the_memory() {
    let database = Database::new().await;
    let unbounded = [("FAILPOINTS", "bodies.unbounded=return")];
    let server = ServerProcess::start_with(&database, &unbounded);
    let length = format!("content-length: {MIB}");
    let _open = hold_as_stranger(&server.client, &length, 60).await;
    holding(&server.client, 60).await;
    drop(server);
    database.drop_all();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn endless_chunks_do_not_keep_a_thread_busy() {
    let database = Database::new().await;
    let server = ServerProcess::start(&database);
    let org = server.client.sign_up("Acme").await;
    let watch = Watch::start(&server).await;
    let chunked = "transfer-encoding: chunked";
    let login = opening("/admin/login", "application/json", None, chunked);
    let list = opening("/orgcharts/1/import", "text/csv", Some(&org.token), chunked);
    let nowhere = opening("/health/live", "text/plain", None, chunked);
    let mut floods = Vec::new();
    for head in [login, list, nowhere] {
        for (start, repeated) in [
            ("5;", "x"),
            ("5 ", " "),
            ("", "0"),
            ("0\r\nx:", "y"),
            ("0\r\n", "x: y\r\n"),
            ("", "1;x\r\n \r\n"),
        ] {
            let start = [&head, start.as_bytes()].concat();
            floods.push(flood(&server.client, start, repeated, CHUNKED));
        }
    }
    let sent = join_all(floods).await;
    assert!(sent.iter().all(|sent| *sent < CHUNKED), "the server reads without end: {sent:?}");
    assert!(sent[0] < ENDLESS, "{sent:?}");
    watch.assert_unharmed().await;
    drop(server);
    database.drop_all();
}

/// Negative control of the test above.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_limit_bytes_around_a_body_are_read_without_end() {
    let database = Database::new().await;
    let unbounded = [("FAILPOINTS", "framing.unbounded=return"), ("BODY_TIMEOUT_SECONDS", "600")];
    let server = ServerProcess::start_with(&database, &unbounded);
    let chunked = "transfer-encoding: chunked";
    let mut head = opening("/admin/login", "application/json", None, chunked);
    head.extend_from_slice(b"5;");
    assert!(flood(&server.client, head, "x", ENDLESS).await >= ENDLESS);
    drop(server);
    database.drop_all();
}

/// Sends the same bytes until the server closes the connection or has read `enough` bytes; returns
/// how many it has read.
async fn flood(client: &Client, start: Vec<u8>, repeated: &str, enough: usize) -> usize {
    let mut raw = Raw::sending(client, &start).await;
    let piece = repeated.repeat(64 * KIB / repeated.len());
    let mut sent = 0;
    while sent < enough && raw.stream.write_all(piece.as_bytes()).await.is_ok() {
        sent += piece.len();
    }
    sent
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pipelined_requests_need_little_memory_and_time() {
    const CONNECTIONS: u64 = 200;
    let database = Database::new().await;
    // A queue for all logins, so none is refused.
    let slow = [("HASH_ITERATIONS", "500"), ("HASH_MEMORY_KIB", "8192"), ("HASH_QUEUE", "1000")];
    let server = ServerProcess::start_with(&database, &slow);
    let mut watch = Watch::start(&server).await;
    let body = r#"{"email": "ada@example.com", "password": "wrong password"}"#;
    let length = format!("content-length: {}", body.len());
    let login = opening("/admin/login", "application/json", None, &length);
    // A head of 200 bytes that needs about 20 KB of memory when parsed.
    let names: String =
        ('a'..='z').flat_map(|c| [format!("{c}:\n"), format!("{c}{c}:\n")]).collect();
    let head = format!("GET /org/get?organization_name=x HTTP/1.1\nhost:x\n{names}\n");
    let bytes = [&login, body.as_bytes(), head.repeat(1_000).as_bytes()].concat();
    let mut open = Vec::new();
    for _ in 0..CONNECTIONS {
        let raw = Raw::connect(&server.client).await;
        let _ = raw.stream.try_write(&bytes);
        open.push(raw);
    }
    let client = &server.client;
    let queued = || async {
        let waiting = client.metric("tenantry_hash_queue_depth").await;
        // One more hash is running.
        waiting + client.metric("tenantry_hash_seconds_count").await + 1 >= CONNECTIONS
    };
    eventually("waiting logins", queued).await;
    watch.probe_more().await;
    drop(open);
    watch.assert_unharmed().await;
    drop(server);
    database.drop_all();
}

/// A chart whose list has four megabytes, and its admin's token.
async fn large_chart(client: &Client) -> (Chart, String) {
    let org = client.sign_up("Acme").await;
    let admin = client.with(&org.token);
    let chart = Chart::create(&admin, "Everybody").await;
    let mut list = String::from("id,name,title,manager_id\n1,Ada,CEO,\n");
    let long = format!("x{}", "🧘".repeat(127));
    list.extend((2..4_500).map(|id| format!("{id},{long},{long},1\n")));
    let request = admin.request(reqwest::Method::POST, &chart.path("/import"));
    Client::send(request.header("content-type", "text/csv").body(list)).await.expect(200);
    (chart, org.token)
}

/// Connections that request the list and read nothing beyond the system's buffers.
async fn request_without_reading(chart: &Chart, token: &str) -> Vec<Raw> {
    let get = format!(
        "GET {} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {token}\r\n\r\n",
        chart.path("/export"),
    );
    let mut unread = Vec::new();
    for _ in 0..24 {
        let raw = Raw::sending(&chart.client, get.as_bytes()).await;
        raw.stream.readable().await.unwrap();
        unread.push(raw);
    }
    unread
}

/// Memory used by answers, in MiB.
async fn unread(client: &Client) -> u64 {
    client.metric("tenantry_answer_bytes").await / MIB as u64
}

/// Disables the time limit for slow readers.
const PATIENT: (&str, &str) = ("WRITE_TIMEOUT_SECONDS", "600");

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unread_answers_need_little_memory() {
    let database = Database::new().await;
    let server = ServerProcess::start_with(&database, &[PATIENT]);
    let (chart, token) = large_chart(&server.client).await;
    let watch = Watch::start(&server).await;
    let _unread = request_without_reading(&chart, &token).await;
    // A client that reads still gets the whole answer, although the memory for answers is full.
    let whole = chart.client.request(reqwest::Method::GET, &chart.path("/export"));
    assert!(Client::send(whole).await.expect(200).body.as_str().unwrap().len() > 4_000_000);
    let evicted = r#"tenantry_connections_given_up_total{reason="no_room"}"#;
    eventually("an eviction", || async { server.client.metric(evicted).await > 0 }).await;
    assert!(unread(&server.client).await <= ANSWERS);
    watch.assert_unharmed().await;
    drop(server);
    database.drop_all();
}

/// Negative control of the test above.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_limit_unread_answers_fill_the_memory() {
    let database = Database::new().await;
    let unbounded = ("FAILPOINTS", "answers.unbounded=return");
    let server = ServerProcess::start_with(&database, &[PATIENT, unbounded]);
    let (chart, token) = large_chart(&server.client).await;
    let _unread = request_without_reading(&chart, &token).await;
    let mib = unread(&server.client).await;
    assert!(mib > ANSWERS, "{mib} MiB");
    drop(server);
    database.drop_all();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_refused_by_the_http_library_get_the_usual_answer() {
    let app = TestApp::start_with(|settings| settings.server.header_timeout_seconds = 1).await;
    let large = format!("GET / HTTP/1.1\r\nx: {}\r\n\r\n", "y".repeat(200_000));
    for (bytes, status, code) in [
        ("GET / HTTP/1.1\r\nno colon\r\n\r\n", 400, "validation"),
        ("rubbish\r\n\r\n", 400, "validation"),
        ("GET / HTTP/1.1\r\nx: ", 408, "too_slow"),
        (large.as_str(), 431, "too_large"),
    ] {
        let answer = Raw::sending(&app, bytes.as_bytes()).await.rest().await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{answer}");
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        for header in ["x-request-id", "x-content-type-options: nosniff", "no-store"] {
            assert!(head.contains(header), "{head}");
        }
        assert!(head.contains("content-type: application/problem+json"), "{head}");
        let problem: serde_json::Value = serde_json::from_str(body).unwrap();
        assert_eq!((&problem["code"], &problem["status"]), (&code.into(), &status.into()));
    }
}
