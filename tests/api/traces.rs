//! Traces: what a collector receives, and that its failures do not affect clients.

use std::{
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use reqwest::Method;
use rustix::process::Signal;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

use crate::support::{Client, Database, ServerProcess, eventually, send_signal};

const ENDPOINT: &str = "OTEL_EXPORTER_OTLP_ENDPOINT";

/// A collector that answers each batch with the same status, or never.
struct Collector {
    endpoint: String,
    batches: Arc<Mutex<Vec<Batch>>>,
}

struct Batch {
    head: String,
    body: Vec<u8>,
}

impl Collector {
    async fn answering(status: Option<&'static str>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let batches = Arc::<Mutex<Vec<Batch>>>::default();
        let received = Arc::clone(&batches);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(receive(stream, status, Arc::clone(&received)));
            }
        });
        Self { endpoint, batches }
    }

    fn count(&self) -> usize {
        self.batches.lock().unwrap().len()
    }
}

async fn receive(mut stream: TcpStream, status: Option<&str>, batches: Arc<Mutex<Vec<Batch>>>) {
    loop {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let Ok(byte) = stream.read_u8().await else { return };
            head.push(byte);
        }
        let head = String::from_utf8(head).unwrap().to_ascii_lowercase();
        let (_, length) = head.split_once("content-length: ").unwrap();
        let mut body = vec![0; length.split("\r\n").next().unwrap().parse().unwrap()];
        stream.read_exact(&mut body).await.unwrap();
        batches.lock().unwrap().push(Batch { head, body });
        let Some(status) = status else { return std::future::pending().await };
        let answer = format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\n\r\n");
        stream.write_all(answer.as_bytes()).await.unwrap();
    }
}

/// Stops the server while the collector keeps running; returns how long it took.
async fn stop(server: &mut ServerProcess) -> Duration {
    let started = Instant::now();
    send_signal(server.pid(), Signal::TERM);
    eventually("the end", || {
        let dead = server.is_dead();
        async move { dead }
    })
    .await;
    assert!(server.wait(), "the server did not end with success");
    started.elapsed()
}

async fn traced(client: &Client, path: &str, parent: &str) {
    let request = client.request(Method::GET, path).header("traceparent", parent);
    Client::send(request).await.expect(200);
}

fn holds(batches: &[Batch], text: impl AsRef<[u8]>) -> bool {
    let text = text.as_ref();
    batches.iter().any(|batch| batch.body.windows(text.len()).any(|piece| piece == text))
}

#[tokio::test]
async fn a_collector_gets_a_span_for_each_request_in_its_callers_trace() {
    let collector = Collector::answering(Some("200 OK")).await;
    let database = Database::new().await;
    let mut server =
        ServerProcess::start_with(&database, &[(ENDPOINT, &format!("{}/", collector.endpoint))]);
    let client = server.client.clone();
    client.sign_up("Hush").await;
    let path = "/org/get?organization_name=Hush";
    traced(&client, path, "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01").await;
    traced(&client, path, "00-1af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00").await;
    traced(&client, path, "00-2af7651916cd43dd8448eb211c80319c-b7ad6b7169203331").await;
    client.get("/nowhere/hush").await.expect(404);
    client.get("/health/live").await.expect(200);
    // Spans that the timer has not exported yet are exported at the end.
    stop(&mut server).await;
    let batches = collector.batches.lock().unwrap();
    assert!(batches.iter().all(|batch| batch.head.starts_with("post /v1/traces http/1.1\r\n")));
    assert!(batches.iter().all(|batch| batch.head.contains("application/x-protobuf")));
    let trace = |first: u8| {
        let mut id = 0x0af7_6519_16cd_43dd_8448_eb21_1c80_319c_u128.to_be_bytes();
        id[0] = first;
        id
    };
    assert!(holds(&batches, trace(0x0a)));
    assert!(holds(&batches, 0xb7ad_6b71_6920_3331_u64.to_be_bytes()));
    assert!(!holds(&batches, trace(0x1a)), "the caller did not sample it");
    assert!(!holds(&batches, trace(0x2a)), "the header is malformed");
    for known in ["tenantry", "POST /org/create", "GET /org/get", "http.response.status_code"] {
        assert!(holds(&batches, known), "{known}");
    }
    for unknown in ["Hush", "hush", "example.com", "organization_name", "/health/live"] {
        assert!(!holds(&batches, unknown), "{unknown}");
    }
    drop(batches);
    database.drop_all();
}

#[tokio::test]
async fn a_refusing_collector_causes_one_warning_and_delays_nothing() {
    let refusing = Collector::answering(Some("400 Bad Request")).await;
    let database = Database::new().await;
    let variables = [(ENDPOINT, refusing.endpoint.as_str()), ("OTEL_BSP_SCHEDULE_DELAY", "10")];
    let mut server = ServerProcess::start_with(&database, &variables);
    eventually("three batches", || async {
        server.client.get("/openapi.json").await.expect(200);
        refusing.count() >= 3
    })
    .await;
    assert!(stop(&mut server).await < Duration::from_secs(10));
    let warnings = server.warnings();
    let lines = warnings.iter().filter(|line| line.contains("traces were not exported")).count();
    assert_eq!(lines, 1, "{warnings:?}");
    database.drop_all();
}

#[tokio::test]
async fn an_absent_or_silent_collector_does_not_delay_requests_or_the_shutdown() {
    let silent = Collector::answering(None).await;
    let away = {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        format!("http://{}", listener.local_addr().unwrap())
    };
    let database = Database::new().await;
    // Sends more requests than the queue holds.
    let send = async |server: &ServerProcess| {
        let started = Instant::now();
        for _ in 0..300 {
            server.client.get("/org/get?organization_name=Nobody").await.expect(404);
        }
        started.elapsed()
    };
    let untraced = send(&ServerProcess::start(&database)).await;
    for endpoint in [&silent.endpoint, &away] {
        let variables = [
            (ENDPOINT, endpoint.as_str()),
            ("OTEL_BSP_SCHEDULE_DELAY", "10"),
            ("OTEL_BSP_MAX_QUEUE_SIZE", "50"),
        ];
        let mut server = ServerProcess::start_with(&database, &variables);
        let traced = send(&server).await;
        assert!(traced < 10 * untraced, "{endpoint}: {traced:?}, but {untraced:?} without traces");
        let took = stop(&mut server).await;
        assert!(took < Duration::from_secs(10), "{endpoint}: {took:?}");
    }
    assert!(silent.count() > 0);
    database.drop_all();
}
