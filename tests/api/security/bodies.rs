//! Bodies that never end, and what is on the wire beside them.

use std::time::Duration;

use futures::future::join_all;
use tokio::io::AsyncWriteExt;

use crate::support::{Chart, Client, Database, Raw, ServerProcess, TestApp, Watch, eventually};

const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;

fn opening(path: &str, kind: &str, token: Option<&str>, length: &str) -> Vec<u8> {
    let token = token.map(|token| format!("authorization: Bearer {token}\r\n")).unwrap_or_default();
    format!("POST {path} HTTP/1.1\r\nhost: x\r\n{token}content-type: {kind}\r\n{length}\r\n\r\n")
        .into_bytes()
}

/// Opens a request and sends as much of a body as the server takes, but for the last byte.
async fn hold(client: &Client, head: &[u8], size: usize) -> Raw {
    let mut raw = Raw::sending(client, head).await;
    let sending = async {
        let mut left = size - 1;
        while left > 0 {
            let piece = &[b' '; 16 * KIB][..left.min(16 * KIB)];
            raw.stream.write_all(piece).await?;
            left -= piece.len();
        }
        std::io::Result::Ok(())
    };
    // The server does not read what it has no room for.
    let _ = tokio::time::timeout(Duration::from_secs(1), sending).await;
    raw
}

fn start(database: &Database) -> ServerProcess {
    ServerProcess::start_with(database, &[("WORKERS", "2"), ("BODY_TIMEOUT_SECONDS", "15")])
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bodies_of_strangers_that_never_end_take_little_memory() {
    let database = Database::new().await;
    let server = start(&database);
    let org = server.client.sign_up("Acme").await;
    let watch = Watch::start(&server).await;
    let upgrade = "connection: upgrade\r\nupgrade: websocket";
    for length in [
        &format!("content-length: {MIB}"),
        "transfer-encoding: chunked",
        // The library reads these to their end, whatever they say.
        upgrade,
        &format!("content-length: 1\r\n{upgrade}"),
    ] {
        let head = opening("/admin/login", "application/json", None, length);
        let chunk = if length.starts_with('t') { "fffff\r\n" } else { "" };
        let head = [&head, chunk.as_bytes()].concat();
        let open = join_all((0..300).map(|_| hold(&server.client, &head, MIB))).await;
        // Everybody else logs in, and says more than fits beside a head.
        server.client.token(&org.email, crate::support::PASSWORD).await;
        let chart = Chart::create(&server.client.with(&org.token), "Everybody").await;
        let mut list = String::from("id,name,title,manager_id\n1,Ada,CEO,\n");
        list.extend((2..2_000).map(|id| format!("{id},Somebody,Engineer,1\n")));
        let request = server.client.with(&org.token);
        let request = request.request(reqwest::Method::POST, &chart.path("/import"));
        let request = request.header("content-type", "text/csv").body(list);
        Client::send(request).await.expect(200);
        drop(open);
    }
    watch.assert_unharmed().await;
    drop(server);
    database.drop_all();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lists_of_an_admin_that_never_end_take_little_memory() {
    let database = Database::new().await;
    let server = start(&database);
    let greedy = server.client.sign_up("Greedy").await;
    let chart = Chart::create(&server.client.with(&greedy.token), "Everybody").await;
    let other = server.client.sign_up("Acme").await;
    let watch = Watch::start(&server).await;
    let length = format!("content-length: {}", 32 * MIB);
    let head = opening(&chart.path("/import"), "text/csv", Some(&greedy.token), &length);
    let open = join_all((0..20).map(|_| hold(&server.client, &head, 32 * MIB))).await;
    let own = Chart::create(&server.client.with(&other.token), "Everybody").await;
    let list = format!("id,name,title,manager_id\n1,Ada,{},\n", "x".repeat(100));
    let request =
        server.client.with(&other.token).request(reqwest::Method::POST, &own.path("/import"));
    let list = list + &" ".repeat(100 * KIB);
    let request = request.header("content-type", "text/csv").body(list);
    let answer = Client::send(request).await;
    assert!([200, 400].contains(&answer.status), "{answer:?}");
    drop(open);
    watch.assert_unharmed().await;
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
            floods.push(flood(&server.client, [&head, start.as_bytes()].concat(), forever));
        }
    }
    join_all(floods).await;
    watch.assert_unharmed().await;
    drop(server);
    database.drop_all();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_that_wait_behind_others_take_little_memory_and_no_time() {
    let database = Database::new().await;
    let slow = [("HASH_ITERATIONS", "60"), ("HASH_MEMORY_KIB", "65536"), ("WORKERS", "1")];
    let server = ServerProcess::start_with(&database, &slow);
    let watch = Watch::start(&server).await;
    let body = r#"{"email": "ada@example.com", "password": "wrong password"}"#;
    let length = format!("content-length: {}", body.len());
    let login = opening("/admin/login", "application/json", None, &length);
    // A head of two hundred bytes that takes some twenty kilobytes when it is read.
    let names: String =
        ('a'..='z').flat_map(|c| [format!("{c}:\n"), format!("{c}{c}:\n")]).collect();
    let head = format!("GET /org/get?organization_name=x HTTP/1.1\nhost:x\n{names}\n");
    let bytes = [&login, body.as_bytes(), head.repeat(1_000).as_bytes()].concat();
    let mut open = Vec::new();
    for _ in 0..200 {
        let raw = Raw::connect(&server.client).await;
        let _ = raw.stream.try_write(&bytes);
        open.push(raw);
    }
    tokio::time::sleep(Duration::from_secs(3)).await;
    drop(open);
    watch.assert_unharmed().await;
    drop(server);
    database.drop_all();
}

/// Sends the same for ever, until the server has closed the connection.
async fn flood(client: &Client, start: Vec<u8>, forever: &str) {
    let raw = Raw::sending(client, &start).await;
    let (mut reader, mut writer) = raw.stream.into_split();
    let piece = forever.repeat(64 * KIB / forever.len());
    let sending = tokio::spawn(async move {
        let mut sent = 0;
        while sent < 4_096 * MIB && writer.write_all(piece.as_bytes()).await.is_ok() {
            sent += piece.len();
        }
        sent
    });
    let mut answer = Vec::new();
    let _ = tokio::io::AsyncReadExt::read_to_end(&mut reader, &mut answer).await;
    let sent = sending.await.unwrap();
    assert!(sent < 4_096 * MIB, "the server reads for ever");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_that_nobody_reads_take_little_memory() {
    let database = Database::new().await;
    // Nobody is given up for being slow.
    let patient = [("WORKERS", "2"), ("WRITE_TIMEOUT_SECONDS", "600")];
    let server = ServerProcess::start_with(&database, &patient);
    let org = server.client.sign_up("Acme").await;
    let admin = server.client.with(&org.token);
    let chart = Chart::create(&admin, "Everybody").await;
    let mut list = String::from("id,name,title,manager_id\n1,Ada,CEO,\n");
    let title = "x".repeat(100);
    list.extend((2..20_000).map(|id| format!("{id},{title},{title},1\n")));
    let request = admin.request(reqwest::Method::POST, &chart.path("/import"));
    Client::send(request.header("content-type", "text/csv").body(list)).await.expect(200);
    let watch = Watch::start(&server).await;
    let get = format!(
        "GET {} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {}\r\n\r\n",
        chart.path("/export"),
        org.token,
    );
    // Four megabytes each, of which nobody takes more than the system's buffers hold.
    let mut unread = Vec::new();
    for _ in 0..40 {
        let raw = Raw::sending(&server.client, get.as_bytes()).await;
        raw.stream.readable().await.unwrap();
        unread.push(raw);
    }
    // Who reads gets all of it, though there is no room left.
    let whole = Client::send(admin.request(reqwest::Method::GET, &chart.path("/export"))).await;
    assert!(whole.expect(200).body.as_str().unwrap().len() > 4_000_000);
    eventually("an eviction", || async {
        let metrics = server.client.get("/metrics").await;
        metrics.body.as_str().unwrap().contains("reason=\"no_room\"")
    })
    .await;
    watch.assert_unharmed().await;
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
