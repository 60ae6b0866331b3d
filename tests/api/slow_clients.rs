//! Slow and misbehaving clients: each is disconnected in time, and other clients are not affected.

use std::{
    io::{BufRead, BufReader, ErrorKind},
    time::Duration,
};

use rustix::process::Signal;
use tenantry::config::Settings;
use tokio::time::timeout;

use crate::support::{
    Chart, Client, Database, KillOnDrop, Raw, ServerProcess, TestApp, command, eventually,
    send_signal,
};

const LIVE: &[u8] = b"GET /health/live HTTP/1.1\r\nhost: x\r\n\r\n";
const OK: &str = "HTTP/1.1 200 OK\r\n";
/// The end of the answer to [`LIVE`].
const ALIVE: &str = r#"{"status":"ok"}"#;
const SLOW_HASHES: [(&str, &str); 3] =
    [("HASH_MEMORY_KIB", "262144"), ("HASH_ITERATIONS", "10"), ("HASH_CONCURRENCY", "1")];

fn impatient(settings: &mut Settings) {
    settings.server.header_timeout_seconds = 1;
    settings.server.body_timeout_seconds = 1;
    settings.server.write_timeout_seconds = 1;
}

fn post(path: &str, kind: &str, token: &str, length: &str) -> Vec<u8> {
    format!(
        "POST {path} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {token}\r\n\
         content-type: {kind}\r\n{length}\r\n\r\n"
    )
    .into_bytes()
}

fn login(length: &str) -> Vec<u8> {
    post("/admin/login", "application/json", "", length)
}

#[track_caller]
fn starts(answer: &str, status: u16) {
    assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{answer:.500}");
}

#[tokio::test]
async fn a_head_that_does_not_arrive_in_time_gets_408() {
    let app = TestApp::start_with(impatient).await;
    let mut silent = Raw::connect(&app).await;
    let trickling = Raw::sending(&app, b"GET /health/live HTTP/1.1\r\nx: ").await;
    let (silent, trickling) = tokio::join!(silent.rest(), trickling.rest_while_trickling(b"x"));
    starts(&silent, 408);
    starts(&trickling, 408);
    app.get("/health/live").await.expect(200);
}

#[tokio::test]
async fn a_later_head_that_does_not_arrive_in_time_ends_the_connection() {
    let app = TestApp::start_with(impatient).await;
    let mut after = Raw::sending(&app, LIVE).await;
    starts(&after.until(ALIVE).await, 200);
    after.send(b"GET / HTTP/1.1\r\nx: ").await;
    let together = [LIVE, b"GET / HTTP/1.1\r\nx: "].concat();
    let mut together = Raw::sending(&app, &together).await;
    starts(&together.until(ALIVE).await, 200);
    let ends = tokio::join!(after.rest_while_trickling(b"x"), together.rest_while_trickling(b"x"));
    assert_eq!(ends, (String::new(), String::new()));
    app.get("/health/live").await.expect(200);
}

#[tokio::test]
async fn a_body_that_does_not_arrive_in_time_gets_408() {
    let app = TestApp::start_with(impatient).await;
    let org = app.sign_up("Acme").await;
    let chart = Chart::create(&app.with(&org.token), "Everybody").await;
    let import = chart.path("/import");
    let json = "application/json";
    for (path, kind, length) in [
        ("/admin/login", json, "content-length: 500"),
        ("/admin/login", json, "transfer-encoding: chunked"),
        ("/graphql", json, "content-length: 500"),
        (&import, "text/csv", "content-length: 30000000"),
    ] {
        let slow = Raw::sending(&app, &post(path, kind, &org.token, length)).await;
        let piece: &[u8] = if length.starts_with('t') { b"1\r\n \r\n" } else { b" " };
        let answer = slow.rest_while_trickling(piece).await;
        starts(&answer, 408);
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        assert!(head.contains("application/problem+json"), "{path}: {head}");
        assert!(body.contains(r#""code":"too_slow""#), "{path}: {body}");
    }
    app.get_org("Acme").await.expect(200);
}

#[tokio::test]
async fn the_wait_for_a_body_does_not_count_towards_the_request_timeout() {
    let app = TestApp::start_with(|settings| settings.server.request_timeout_seconds = 2).await;
    let body = r#"{"email": "ada@example.com", "password": "wrong password"}"#;
    let mut slow = Raw::sending(&app, &login(&format!("content-length: {}", body.len()))).await;
    for byte in body.as_bytes().chunks(2) {
        slow.send(byte).await;
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    starts(&slow.until("}").await, 401);
}

#[tokio::test]
async fn a_body_after_an_early_answer_is_not_read_forever() {
    let app = TestApp::start_with(impatient).await;
    let chunked = post("/nowhere", "text/plain", "", "transfer-encoding: chunked");
    let sized = post("/nowhere", "text/plain", "", "content-length: 100000000");
    let chunked = Raw::sending(&app, &chunked).await.rest_while_trickling(b"1\r\n \r\n");
    let sized = Raw::sending(&app, &sized).await.rest_while_trickling(b" ");
    let (chunked, sized) = tokio::join!(chunked, sized);
    starts(&chunked, 401);
    starts(&sized, 401);
}

#[tokio::test]
async fn a_client_that_closes_only_its_sending_side_gets_its_answer() {
    let app = TestApp::start().await;
    let mut half = Raw::sending(&app, LIVE).await;
    tokio::io::AsyncWriteExt::shutdown(&mut half.stream).await.unwrap();
    let answer = half.rest().await;
    assert!(answer.starts_with(OK) && answer.ends_with(ALIVE), "{answer}");
}

#[tokio::test]
async fn a_truncated_body_gets_400() {
    let app = TestApp::start().await;
    for length in ["content-length: 500", "transfer-encoding: chunked"] {
        let mut half = Raw::sending(&app, &login(length)).await;
        half.send(b"1\r\n{\r\n").await;
        tokio::io::AsyncWriteExt::shutdown(&mut half.stream).await.unwrap();
        starts(&half.rest().await, 400);
    }
}

#[tokio::test]
async fn heads_that_are_too_large_or_contradict_themselves_end_the_connection() {
    let app = TestApp::start().await;
    let line =
        |path: &str, headers: &str| format!("GET {path} HTTP/1.1\r\nhost: x\r\n{headers}\r\n");
    let long = "a".repeat(1_000_000);
    for (head, status) in [
        (line("/", &format!("x: {long}\r\n")), 431),
        (line(&format!("/{long}"), ""), 431),
        (line("/", &"a: b\r\n".repeat(10_000)), 431),
        (line(&format!("/{}", &long[..70_000]), ""), 400),
        (line("/", "content-length: 5\r\ntransfer-encoding: chunked\r\n"), 400),
        (line("/", "content-length: 5\r\ncontent-length: 6\r\n"), 400),
        (line("/", "content-length: -1\r\n"), 400),
        (line("/", "no colon\r\n"), 400),
    ] {
        let answer = Raw::sending(&app, head.as_bytes()).await.rest().await;
        // A client that is cut off while sending may not receive the answer.
        if head.len() < 128 * 1024 || !answer.is_empty() {
            starts(&answer, status);
        }
    }
    let mut broken = Raw::sending(&app, &login("transfer-encoding: chunked")).await;
    broken.send(b"zz\r\n").await;
    starts(&broken.rest().await, 400);
    app.get("/health/live").await.expect(200);
}

/// Whether the server has closed the connection, without reading from it.
fn is_closed(client: &Raw) -> bool {
    loop {
        match client.stream.try_write(LIVE) {
            Ok(_) => {}
            Err(error) => return error.kind() != ErrorKind::WouldBlock,
        }
    }
}

#[tokio::test]
async fn a_client_that_reads_no_answers_is_disconnected() {
    let app = TestApp::start_with(impatient).await;
    let request = b"GET /openapi.json HTTP/1.1\r\nhost: x\r\n\r\n".repeat(200);
    let silent = Raw::sending(&app, &request).await;
    eventually("the end", || async { is_closed(&silent) }).await;
    app.get("/health/live").await.expect(200);
}

#[tokio::test]
async fn a_client_that_reads_slowly_gets_all_answers() {
    let app = TestApp::start_with(impatient).await;
    let request = b"GET /openapi.json HTTP/1.1\r\nhost: x\r\n\r\n".repeat(20);
    let mut slow = Raw::sending(&app, &request).await;
    slow.send(b"GET /health/live HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await;
    let mut answers = Vec::new();
    let mut piece = vec![0; 64 * 1024];
    loop {
        let read = tokio::io::AsyncReadExt::read(&mut slow.stream, &mut piece).await.unwrap();
        if read == 0 {
            break;
        }
        answers.extend_from_slice(&piece[..read]);
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    let answers = String::from_utf8_lossy(&answers);
    assert_eq!(answers.matches(OK).count(), 21);
    assert!(answers.ends_with(ALIVE));
}

#[tokio::test]
async fn pipelined_requests_are_read_as_they_are_answered() {
    const ASKED: usize = 5_000;
    let database = Database::new().await;
    let server = ServerProcess::start_with(&database, &SLOW_HASHES);
    let body = r#"{"email": "ada@example.com", "password": "wrong password"}"#;
    let mut flood = login(&format!("content-length: {}", body.len()));
    flood.extend_from_slice(body.as_bytes());
    let mut flooding = Raw::sending(&server.client, &flood).await;
    let (mut reader, mut writer) = flooding.stream.split();
    let asking = async {
        let all = [&LIVE.repeat(ASKED - 1), &LIVE[..LIVE.len() - 2], b"connection: close\r\n\r\n"];
        tokio::io::AsyncWriteExt::write_all(&mut writer, &all.concat()).await
    };
    let mut answers = Vec::new();
    let (sent, read) =
        tokio::join!(asking, tokio::io::AsyncReadExt::read_to_end(&mut reader, &mut answers));
    assert!(sent.is_ok() && read.is_ok());
    assert_eq!(String::from_utf8_lossy(&answers).matches(OK).count(), ASKED);
    drop(server);
    database.drop_all();
}

/// Sends `requests` requests for unknown paths at once and reads all answers.
async fn answered(client: &Client, requests: usize) {
    let request = "GET /nowhere HTTP/1.1\r\nhost: x\r\n\r\n".repeat(requests - 1)
        + "GET /nowhere HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
    let mut raw = Raw::sending(client, request.as_bytes()).await;
    let answers = raw.rest().await;
    assert_eq!(answers.matches("HTTP/1.1 404 ").count(), requests);
}

#[tokio::test]
async fn an_unread_log_blocks_neither_requests_nor_the_shutdown_and_lost_lines_are_counted() {
    const LOST: &str = "tenantry_log_lines_lost_total";
    let database = Database::new().await;
    let mut server = KillOnDrop(command(&database).spawn().unwrap());
    let mut log = BufReader::new(server.0.stdout.take().unwrap());
    let mut base = String::new();
    while !base.contains("API       ") {
        base.clear();
        assert!(log.read_line(&mut base).unwrap() > 0);
    }
    let base = base.split_once("API       ").unwrap().1.trim().to_owned();
    let client = Client::new(base);
    assert_eq!(client.metric(LOST).await, 0);
    // From here on nobody reads the log. Each request writes a line.
    let lost = async {
        while client.metric(LOST).await == 0 {
            answered(&client, 500).await;
        }
    };
    timeout(Duration::from_mins(2), lost).await.expect("no line was lost");
    answered(&client, 500).await;
    assert!(client.metric(LOST).await >= 500);

    send_signal(server.0.id(), Signal::TERM);
    assert!(server.status().success());
    database.drop_all();
}
