//! The embedded MongoDB: it is started again when its process ends, and only the owner of its
//! directory can use it.

use std::{
    fs::{self, File},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use bson::{Document, doc};
use mongodb::{
    Client,
    error::{Error, ErrorKind},
};
use rustix::process::{Signal, kill_process};
use tenantry::dev::{Embedded, EmbeddedOptions};

use crate::support::{
    Database, KillOnDrop, ServerProcess, command, embedded_options, eventually, free_port,
    mongod_pid, mongod_program,
};

const UNAUTHORIZED: i32 = 13;

fn fresh_dir(name: &str) -> PathBuf {
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join("embedded").join(name);
    let _ = fs::remove_dir_all(&dir);
    fs::create_dir_all(dir.parent().unwrap()).unwrap();
    dir
}

/// A server that uses the embedded MongoDB of the directory.
async fn server(dir: &Path) -> ServerProcess {
    server_with(dir, &mongod_program().await)
}

fn server_with(dir: &Path, mongod: &Path) -> ServerProcess {
    let mut command = command(&Database::at("unused"));
    command.env_remove("MONGO_URI").env_remove("MASTER_DB").env_remove("TENANT_DB");
    command.env("TENANTRY_DIR", dir).env("TENANTRY_MONGOD", mongod);
    ServerProcess::spawn(command.env("MONGO_SELECTION_TIMEOUT_MS", "1000"))
}

async fn options(dir: &Path) -> EmbeddedOptions {
    EmbeddedOptions { mongod: Some(mongod_program().await), ..embedded_options(dir) }
}

/// Whether a `mongod` runs on the directory, whoever has started it.
fn is_served(dir: &Path) -> bool {
    let db = format!("\0{}\0", dir.join("db").display());
    fs::read_dir("/proc").unwrap().filter_map(Result::ok).any(|process| {
        let command = fs::read(process.path().join("cmdline")).unwrap_or_default();
        String::from_utf8_lossy(&command).contains(&db)
    })
}

/// Prevents anyone from starting the `mongod` of the directory until it is dropped.
fn hold_starts(dir: &Path) -> File {
    let lock = File::options().write(true).open(dir.join("start.lock")).unwrap();
    lock.lock().unwrap();
    lock
}

#[tokio::test]
async fn a_server_whose_mongod_is_killed_twice_answers_again_without_a_restart() {
    let dir = fresh_dir("killed");
    let server = server(&dir).await;
    server.client.sign_up("Acme").await;
    for number in 1..=2 {
        let starts = hold_starts(&dir);
        let before = mongod_pid(&dir);
        kill_process(before, Signal::KILL).unwrap();
        let ready = async || server.client.get("/health/ready").await.status;
        eventually("the outage", async || ready().await == 503).await;
        drop(starts);
        eventually("the recovery", async || ready().await == 200).await;
        server.client.get_org("Acme").await.expect(200);
        server.client.sign_up(&format!("Acme {number}")).await;
        assert_ne!(mongod_pid(&dir), before);

        eventually("the line", async || server.lines("MongoDB is back").len() == number).await;
        let lines = server.lines("the embedded MongoDB ended");
        assert_eq!(lines.len(), number);
        for part in ["ERROR", "SIGKILL", "it said: ", "free_mb=", "restart_in_ms="] {
            assert!(lines[number - 1].contains(part), "{part} is not in: {}", lines[number - 1]);
        }
        let restarts = server.client.metric("tenantry_embedded_restarts_total").await;
        assert_eq!(restarts, u64::try_from(number).unwrap());
    }
    let pauses: Vec<_> = server.lines("restart_in_ms=");
    assert!(pauses[0].contains("restart_in_ms=100") && pauses[1].contains("restart_in_ms=200"));
}

#[tokio::test]
async fn of_two_users_one_starts_a_killed_mongod_again_and_both_use_it() {
    let dir = fresh_dir("shared");
    let (one, two) = (server(&dir).await, server(&dir).await);
    one.client.sign_up("Acme").await;
    kill_process(mongod_pid(&dir), Signal::KILL).unwrap();
    for server in [&one, &two] {
        eventually("the line", async || server.lines("MongoDB is back").len() == 1).await;
        eventually("an answer", async || server.client.get_org("Acme").await.status == 200).await;
    }
    let restarts = async |server: &ServerProcess| {
        server.client.metric("tenantry_embedded_restarts_total").await
    };
    assert_eq!(restarts(&one).await + restarts(&two).await, 1);
}

#[tokio::test]
async fn a_mongod_that_cannot_be_started_is_tried_again_until_it_can() {
    let dir = fresh_dir("unstartable");
    let (program, full) = (dir.join("mongod"), dir.join("full"));
    fs::create_dir(&dir).unwrap();
    let script = format!(
        "#!/bin/sh\n[ \"$1\" != --version ] && [ -e '{}' ] && echo 'disk full' >&2 && exit 7\n\
         exec '{}' \"$@\"\n",
        full.display(),
        mongod_program().await.display(),
    );
    fs::write(&program, script).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    let server = server_with(&dir, &program);
    fs::write(&full, "").unwrap();
    kill_process(mongod_pid(&dir), Signal::KILL).unwrap();
    let failed = || server.lines("the embedded MongoDB does not start");
    eventually("a few attempts", async || failed().len() >= 3).await;
    for part in ["ERROR", "exit status: 7", "disk full", "restart_in_ms=200"] {
        assert!(failed()[0].contains(part), "{part} is not in: {}", failed()[0]);
    }
    server.client.get("/health/ready").await.refused(503, "database_unavailable");
    fs::remove_file(&full).unwrap();
    eventually("the recovery", async || server.client.get("/health/ready").await.status == 200)
        .await;
}

#[tokio::test]
async fn a_stop_during_a_restart_leaves_no_mongod() {
    let dir = fresh_dir("stopped");
    let options = options(&dir).await;
    // Before the process is started, and while it starts.
    for early in [true, false] {
        let embedded = Embedded::start(&options).await.unwrap();
        let starts = hold_starts(&dir);
        let before = mongod_pid(&dir);
        kill_process(before, Signal::KILL).unwrap();
        eventually("the end", async || !is_served(&dir)).await;
        if early {
            embedded.stop().await.unwrap();
            drop(starts);
        } else {
            drop(starts);
            eventually("the start", async || is_served(&dir)).await;
            embedded.stop().await.unwrap();
        }
        // Whatever had begun has ended when the locks are free.
        for lock in ["start.lock", "users.lock", "watch.lock"] {
            let lock = File::options().write(true).open(dir.join(lock)).unwrap();
            eventually("the lock", async || lock.try_lock().is_ok()).await;
        }
        assert!(!is_served(&dir), "early: {early}");
    }
}

#[track_caller]
fn refused(outcome: Result<Document, Error>) {
    let error = outcome.expect_err("it was accepted");
    match error.kind.as_ref() {
        ErrorKind::Command(command) => assert_eq!(command.code, UNAUTHORIZED, "{error}"),
        ErrorKind::Authentication { .. } => {}
        _ => panic!("{error}"),
    }
}

#[tokio::test]
async fn a_stranger_without_the_key_reads_and_writes_nothing() {
    let dir = fresh_dir("strangers");
    let embedded = Embedded::start(&options(&dir).await).await.unwrap();
    let port = embedded.port();
    let key = fs::read_to_string(dir.join("mongod.key")).unwrap();
    assert!(!format!("{embedded:?}").contains(&key));
    let logins = ["", "tenantry:guess@", "__system:guess@"];
    for login in logins {
        let source = if login.starts_with("__") { "&authSource=local" } else { "" };
        // After a refused login, the driver waits for its next heartbeat.
        let options = "directConnection=true&heartbeatFrequencyMS=500";
        let uri = format!("mongodb://{login}127.0.0.1:{port}/?{options}{source}");
        let client = Client::with_uri_str(uri).await.unwrap();
        for command in [
            doc! { "find": "accounts" },
            doc! { "insert": "accounts", "documents": [{ "_id": 1 }] },
            doc! { "createUser": "stranger", "pwd": "stranger", "roles": ["root"] },
            doc! { "replSetGetConfig": 1 },
        ] {
            refused(client.database("admin").run_command(command).await);
        }
    }
    // The same commands work for an owner of the key.
    let owner = Database::of(&embedded).client().await;
    owner.database("admin").run_command(doc! { "find": "accounts" }).await.unwrap();
    embedded.stop().await.unwrap();
}

/// A `mongod` as earlier releases have started it: without a key.
async fn start_without_a_key(dir: &Path, port: u16) -> KillOnDrop {
    let mut command = Command::new(mongod_program().await);
    command.arg("--dbpath").arg(dir.join("db")).arg("--logpath").arg(dir.join("mongod.log"));
    command.args(["--port", &port.to_string(), "--bind_ip", "127.0.0.1", "--nounixsocket"]);
    command.args(["--replSet", "tenantry", "--logappend"]);
    let child: Child = command.stdin(Stdio::null()).stdout(Stdio::null()).spawn().unwrap();
    KillOnDrop(child)
}

#[tokio::test]
async fn a_directory_of_an_earlier_release_opens_with_its_data() {
    let dir = fresh_dir("earlier");
    fs::create_dir_all(dir.join("db")).unwrap();
    let port = free_port();
    fs::write(dir.join("port"), port.to_string()).unwrap();
    let mut earlier = start_without_a_key(&dir, port).await;
    let uri = format!("mongodb://127.0.0.1:{port}/?directConnection=true");
    let client = Client::with_uri_str(uri).await.unwrap();
    let initiate = doc! {
        "_id": "tenantry", "members": [{ "_id": 0, "host": format!("127.0.0.1:{port}") }],
    };
    let initiate = doc! { "replSetInitiate": initiate };
    let insert = doc! { "insert": "orgs", "documents": [{ "_id": "Acme" }] };
    client.database("admin").run_command(initiate).await.unwrap();
    eventually("a primary", async || {
        client.database("old").run_command(insert.clone()).await.is_ok()
    })
    .await;

    // While the earlier release still runs, it is not used, and the watcher of this start stops it.
    let error = Embedded::start(&options(&dir).await).await.unwrap_err().to_string();
    assert!(error.contains("earlier release or with another key: stop the servers"), "{error}");
    assert!(earlier.status().success());

    let embedded = Embedded::start(&options(&dir).await).await.unwrap();
    assert_eq!(embedded.port(), port);
    let found = Database::of(&embedded).client().await.database("old");
    let found = found.run_command(doc! { "count": "orgs" }).await.unwrap();
    assert_eq!(found.get_i32("n").unwrap(), 1);
    embedded.stop().await.unwrap();

    // The key is not stored in the database, so a lost one is replaced.
    fs::remove_file(dir.join("mongod.key")).unwrap();
    let embedded = Embedded::start(&options(&dir).await).await.unwrap();
    let found = Database::of(&embedded).client().await.database("old");
    assert!(found.run_command(doc! { "count": "orgs" }).await.is_ok());
    embedded.stop().await.unwrap();
}
