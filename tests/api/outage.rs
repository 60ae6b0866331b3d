//! Kills the database under load and starts it again: requests get 503 meanwhile, and the server
//! recovers without a restart.

use std::{
    fs::File,
    path::Path,
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
};

use rustix::process::{Signal, kill_process};
use tenantry::dev::Embedded;

use crate::support::{
    Client, Database, SOON_LOST, ServerProcess, embedded_options, eventually, mongod_pid,
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_database_means_503_and_loses_nothing_acknowledged() {
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join("outage");
    let _ = std::fs::remove_dir_all(&dir);
    let options = embedded_options(&dir);
    let embedded = Embedded::start(&options).await.unwrap();
    let database = Database::of(&embedded);
    let server = ServerProcess::start_with(&database, &[SOON_LOST]);
    let org = server.client.sign_up("Acme").await;

    let (done, refused, created) =
        (AtomicBool::new(false), AtomicUsize::new(0), AtomicUsize::new(0));
    let load = |worker: usize| {
        let (server, done, refused, created) = (&server, &done, &refused, &created);
        async move {
            let mut acknowledged = Vec::new();
            let mut number = 0;
            while !done.load(Ordering::Relaxed) {
                number += 1;
                let name = format!("Org {worker} {number}");
                let email = format!("w{worker}n{number}@example.com");
                match server.client.create(&name, &email).await.status {
                    201 => {
                        created.fetch_add(1, Ordering::Relaxed);
                        acknowledged.push(name);
                    }
                    503 => {
                        refused.fetch_add(1, Ordering::Relaxed);
                    }
                    // A 409 would mean that a request answered with 503 was carried out.
                    other => panic!("{other} for {name}"),
                }
            }
            acknowledged
        }
    };
    let outage = async {
        let created_more = |than: usize| {
            let now = created.load(Ordering::Relaxed);
            async move { now > than }
        };
        eventually("work", || created_more(5)).await;
        // Whoever holds this lock decides when the database is started again.
        let outage = File::options().write(true).open(dir.join("start.lock")).unwrap();
        outage.lock().unwrap();
        kill_process(mongod_pid(&dir), Signal::KILL).unwrap();
        eventually("a refusal", || async { refused.load(Ordering::Relaxed) > 0 }).await;
        server.client.get("/health/ready").await.refused(503, "database_unavailable");
        server.client.get("/health/live").await.expect(200);
        drop(outage);
        let before = created.load(Ordering::Relaxed);
        eventually("recovery", || created_more(before)).await;
        done.store(true, Ordering::Relaxed);
    };
    let (workers, ()) = tokio::join!(futures::future::join_all((0..4).map(load)), outage);

    for name in workers.iter().flatten() {
        server.client.get_org(name).await.expect(200);
    }
    server.client.with(&org.token).get("/org/members").await.expect(200);
    let output = crate::support::command(&database).arg("verify").output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    drop(server);
    embedded.stop().await.unwrap();
}

#[tokio::test]
async fn a_request_that_takes_too_long_gets_503() {
    let app = crate::support::TestApp::start_with(|settings| {
        settings.server.request_timeout_seconds = 1;
        settings.server.cors_origins = vec!["https://console.example".to_owned()];
        settings.hash.memory_kib = 256 * 1024;
        settings.hash.iterations = 8;
        settings.hash.concurrency = 1;
    })
    .await;
    let attempts = (0..4).map(|i| {
        let email = ["a@b.co", "b@b.co", "c@b.co", "d@b.co"][i];
        let request = app.request(reqwest::Method::POST, "/auth/login");
        let body = serde_json::json!({ "email": email, "password": "password" });
        Client::send(request.header("origin", "https://console.example").json(&body))
    });
    let replies = futures::future::join_all(attempts).await;
    let last = replies.into_iter().filter(|reply| reply.status == 503).last();
    let last = last.expect("no request timed out").refused(503, "busy");
    // Pages of other origins may read the answer and its Retry-After.
    assert_eq!(last.headers["access-control-allow-origin"], "https://console.example");
    let exposed = last.headers["access-control-expose-headers"].to_str().unwrap();
    assert!(exposed.contains("retry-after"), "{exposed}");
    let metrics = app.get("/metrics").await.expect(200);
    let timed =
        r#"tenantry_http_request_seconds_count{method="POST",route="/auth/login",status="503"}"#;
    assert!(metrics.body.as_str().unwrap().contains(timed));
    Client::send(app.request(reqwest::Method::GET, "/health/live")).await.expect(200);
}
