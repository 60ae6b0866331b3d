//! Bodies that never end, and what is on the wire beside them.

use futures::future::join_all;
use tokio::{io::AsyncWriteExt, task::JoinSet};

use crate::support::{Chart, Client, Database, Raw, ServerProcess, TestApp, Watch, eventually};

const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;
/// What the bodies of a stranger may take, and those of an organization, in MiB.
const STRANGER: u64 = 8;
const ORGANIZATION: u64 = 40;
/// What answers that nobody reads may take, in MiB.
const ANSWERS: u64 = 96;
/// How long a list may be, in bytes.
const LISTED: usize = 32 * MIB;
/// More than such a list takes in chunks of one byte.
const CHUNKED: usize = 16 * LISTED;
/// Far more than a megabyte without any body, and what systems hold of it, in bytes.
const ENDLESS: usize = 16 * MIB;

fn opening(path: &str, kind: &str, token: Option<&str>, length: &str) -> Vec<u8> {
    let token = token.map(|token| format!("authorization: Bearer {token}\r\n")).unwrap_or_default();
    format!("POST {path} HTTP/1.1\r\nhost: x\r\n{token}content-type: {kind}\r\n{length}\r\n\r\n")
        .into_bytes()
}

/// Opens so many requests and sends their bodies but for the last byte, until dropped. The server
/// does not read what it has no room for.
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

/// The same with bodies of one MiB of strangers, begun in one of these ways.
async fn hold_as_stranger(client: &Client, length: &str, count: usize) -> JoinSet<()> {
    let head = opening("/admin/login", "application/json", None, length);
    let chunk = if length.starts_with('t') { "fffff\r\n" } else { "" };
    hold(client, &[&head, chunk.as_bytes()].concat(), MIB, count).await
}

/// What the bodies of requests take, in MiB.
async fn held(client: &Client) -> u64 {
    client.metric("tenantry_body_bytes").await / MIB as u64
}

/// Waits until the bodies of requests take so much.
async fn holding(client: &Client, mib: u64) {
    eventually("bodies that take room", || async { held(client).await >= mib }).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bodies_of_strangers_that_never_end_take_little_memory() {
    let database = Database::new().await;
    let server = ServerProcess::start(&database);
    let client = &server.client;
    let org = client.sign_up("Acme").await;
    let watch = Watch::start(&server).await;
    let upgrade = "connection: upgrade\r\nupgrade: websocket";
    let too_large =
        r#"tenantry_http_request_seconds_count{method="POST",route="/admin/login",status="413"}"#;
    for (length, takes_room) in [
        (&format!("content-length: {MIB}"), true),
        (&"transfer-encoding: chunked".to_owned(), true),
        // The library reads these to their end, whatever they say.
        (&upgrade.to_owned(), false),
        (&format!("content-length: 1\r\n{upgrade}"), false),
    ] {
        let refused = client.metric(too_large).await + 300;
        let open = hold_as_stranger(client, length, 300).await;
        if takes_room {
            holding(client, STRANGER).await;
        } else {
            eventually("refusals", || async { client.metric(too_large).await >= refused }).await;
        }
        // Everybody else logs in, and says more than fits beside a head.
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
        eventually("room", || async { held(client).await == 0 }).await;
    }
    watch.assert_unharmed().await;
    drop(server);
    database.drop_all();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lists_of_an_admin_that_never_end_take_little_memory() {
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

/// The control of the two tests above.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_limit_bodies_take_as_much_as_they_like() {
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
async fn chunks_without_an_end_keep_no_thread_busy() {
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
        for (start, forever) in [
            ("5;", "x"),
            ("5 ", " "),
            ("", "0"),
            ("0\r\nx:", "y"),
            ("0\r\n", "x: y\r\n"),
            ("", "1;x\r\n \r\n"),
        ] {
            let start = [&head, start.as_bytes()].concat();
            floods.push(flood(&server.client, start, forever, CHUNKED));
        }
    }
    let sent = join_all(floods).await;
    assert!(sent.iter().all(|sent| *sent < CHUNKED), "the server reads for ever: {sent:?}");
    assert!(sent[0] < ENDLESS, "{sent:?}");
    watch.assert_unharmed().await;
    drop(server);
    database.drop_all();
}

/// The control of the test above.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_limit_what_is_no_body_is_read_for_ever() {
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

/// Sends the same for ever, until the server has closed the connection or has read enough; how many
/// bytes it has taken.
async fn flood(client: &Client, start: Vec<u8>, forever: &str, enough: usize) -> usize {
    let mut raw = Raw::sending(client, &start).await;
    let piece = forever.repeat(64 * KIB / forever.len());
    let mut sent = 0;
    while sent < enough && raw.stream.write_all(piece.as_bytes()).await.is_ok() {
        sent += piece.len();
    }
    sent
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_that_wait_behind_others_take_little_memory_and_no_time() {
    const CONNECTIONS: u64 = 200;
    let database = Database::new().await;
    // Nobody is sent away from the queue.
    let slow = [("HASH_ITERATIONS", "500"), ("HASH_MEMORY_KIB", "8192"), ("HASH_QUEUE", "1000")];
    let server = ServerProcess::start_with(&database, &slow);
    let mut watch = Watch::start(&server).await;
    let body = r#"{"email": "ada@example.com", "password": "wrong password"}"#;
    let length = format!("content-length: {}", body.len());
    let login = opening("/admin/login", "application/json", None, &length);
    // A head of two hundred bytes that takes some twenty kilobytes when it is read.
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
    let came = || async {
        let waiting = client.metric("tenantry_hash_queue_depth").await;
        // And one is being hashed.
        waiting + client.metric("tenantry_hash_seconds_count").await + 1 >= CONNECTIONS
    };
    eventually("logins that wait", came).await;
    watch.goes_on().await;
    drop(open);
    watch.assert_unharmed().await;
    drop(server);
    database.drop_all();
}

/// A chart of which a list takes four megabytes, and the token of its admin.
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

/// Connections that have asked for the list, of which nobody takes more than the system's buffers
/// hold.
async fn ask_without_reading(chart: &Chart, token: &str) -> Vec<Raw> {
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

/// What answers take, in MiB.
async fn unread(client: &Client) -> u64 {
    client.metric("tenantry_answer_bytes").await / MIB as u64
}

/// Nobody is given up for being slow.
const PATIENT: (&str, &str) = ("WRITE_TIMEOUT_SECONDS", "600");

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_that_nobody_reads_take_little_memory() {
    let database = Database::new().await;
    let server = ServerProcess::start_with(&database, &[PATIENT]);
    let (chart, token) = large_chart(&server.client).await;
    let watch = Watch::start(&server).await;
    let _unread = ask_without_reading(&chart, &token).await;
    // Who reads gets all of it, though there is no room left.
    let whole = chart.client.request(reqwest::Method::GET, &chart.path("/export"));
    assert!(Client::send(whole).await.expect(200).body.as_str().unwrap().len() > 4_000_000);
    let evicted = r#"tenantry_connections_given_up_total{reason="no_room"}"#;
    eventually("an eviction", || async { server.client.metric(evicted).await > 0 }).await;
    assert!(unread(&server.client).await <= ANSWERS);
    watch.assert_unharmed().await;
    drop(server);
    database.drop_all();
}

/// The control of the test above.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_limit_answers_take_as_much_as_they_like() {
    let database = Database::new().await;
    let unbounded = ("FAILPOINTS", "answers.unbounded=return");
    let server = ServerProcess::start_with(&database, &[PATIENT, unbounded]);
    let (chart, token) = large_chart(&server.client).await;
    let _unread = ask_without_reading(&chart, &token).await;
    let mib = unread(&server.client).await;
    assert!(mib > ANSWERS, "{mib} MiB");
    drop(server);
    database.drop_all();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_http_library_refuses_is_answered_like_anything_else() {
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
