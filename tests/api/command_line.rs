//! The program as a person starts it.

use std::{
    fs::File,
    io::{BufRead, BufReader, Lines},
    net::TcpListener,
    path::Path,
    process::{ChildStdout, Command, Stdio},
};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::support::{
    Client, Database, Ending, Raw, ServerProcess, command, embedded_options, mongod_pid,
    mongod_program,
};

fn run(command: &mut Command) -> (bool, String, String) {
    let output = command.stderr(std::process::Stdio::piped()).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.success(), text(output.stdout), text(output.stderr))
}

/// The program in a directory of its own, without a configured database.
fn tenantry(dir: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tenantry"));
    command.current_dir(dir).env_remove("MONGO_URI").env("BIND", "127.0.0.1:0");
    if let Some(mongod) = embedded_options(dir).mongod {
        command.env("TENANTRY_MONGOD", mongod);
    }
    command
}

fn fresh_dir(name: &str) -> std::path::PathBuf {
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let _ = std::fs::remove_dir_all(&dir);
    std::fs::create_dir_all(&dir).unwrap();
    dir
}

#[tokio::test]
async fn a_signal_stops_the_server_after_the_requests_under_way() {
    let database = Database::new().await;
    let mut server = ServerProcess::start(&database);
    let client = server.client.clone();
    let creating =
        tokio::spawn(async move { client.create("Acme", "ada@example.com").await.status });
    crate::support::eventually("the sign-up", || async { database.counts().await.0 == 1 }).await;
    let pid = Pid::from_raw(i32::try_from(server.pid()).unwrap()).unwrap();
    kill_process(pid, Signal::TERM).unwrap();
    assert_eq!(creating.await.unwrap(), 201);
    assert!(server.wait(), "the server did not end well");
    database.drop_all();
}

#[tokio::test]
async fn the_default_start_brings_its_own_database_and_takes_it_down_again() {
    let dir = fresh_dir("default-start");
    let mut command = tenantry(&dir);
    let mut child = command.stdout(std::process::Stdio::piped()).spawn().unwrap();
    let output = std::io::BufReader::new(child.stdout.take().unwrap());
    let mut lines = std::io::BufRead::lines(output).map_while(Result::ok);
    let base =
        lines.find_map(|line| line.split_once("API       ").map(|(_, base)| base.to_owned()));
    let client = crate::support::Client::new(base.expect("no address"));
    client.sign_up("Acme").await;
    client.get("/docs/").await.expect(200);

    // Another command in the same directory finds the same database.
    let (sound, text, _) = run(tenantry(&dir).arg("verify"));
    assert!(sound && text.starts_with("1 organizations, 1 tenant collections"), "{text}");

    let secret = std::fs::read_to_string(dir.join(".tenantry/jwt_secret")).unwrap();
    assert!(secret.len() >= 32);
    let pid = Pid::from_raw(i32::try_from(child.id()).unwrap()).unwrap();
    kill_process(pid, Signal::INT).unwrap();
    assert!(child.wait().unwrap().success());
    assert!(!dir.join(".tenantry/mongod.json").exists(), "the database still runs");

    // Everything is there after a restart, which the command does by itself.
    let (sound, text, _) = run(tenantry(&dir).arg("verify"));
    assert!(sound && text.starts_with("1 organizations"), "{text}");
}

/// A server whose lines are read one by one.
struct Talking {
    process: Ending,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Talking {
    fn start(command: &mut Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { process: Ending(child), lines }
    }

    /// The next line with that part.
    #[track_caller]
    fn line(&mut self, part: &str) -> String {
        let mut lines = self.lines.by_ref().map_while(Result::ok);
        lines.find(|line| line.contains(part)).unwrap_or_else(|| panic!("it ends before {part}"))
    }

    fn client(&mut self) -> Client {
        let line = self.line("API       ");
        Client::new(line.split_once("API       ").unwrap().1.to_owned())
    }

    fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(i32::try_from(self.process.0.id()).unwrap()).unwrap();
        kill_process(pid, signal).unwrap();
    }
}

const STOPPING: &str = "a second signal stops at once";

#[tokio::test]
async fn a_second_signal_stops_a_server_at_once_though_a_request_hangs() {
    let database = Database::new().await;
    for (first, second, code) in [
        (Signal::INT, Signal::INT, 130),
        (Signal::TERM, Signal::TERM, 143),
        (Signal::INT, Signal::TERM, 143),
    ] {
        let patient = [("BODY_TIMEOUT_SECONDS", "600"), ("SHUTDOWN_TIMEOUT_SECONDS", "600")];
        let mut server = Talking::start(command(&database).envs(patient));
        let client = server.client();
        // The server asks for the body, which never comes.
        let head = b"POST /org/create HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n\
            content-length: 99\r\nexpect: 100-continue\r\n\r\n";
        let mut hanging = Raw::sending(&client, head).await;
        hanging.until("100 Continue\r\n\r\n").await;
        server.signal(first);
        let line = server.line(STOPPING);
        assert!(line.contains("requests under way are finished"), "{line}");
        assert!(server.process.0.try_wait().unwrap().is_none(), "it did not wait for the request");
        server.signal(second);
        assert_eq!(server.process.status().code(), Some(code));
    }
    database.drop_all();
}

#[tokio::test]
async fn a_signal_stops_a_server_that_still_waits_for_its_database() {
    let dir = fresh_dir("signal-at-the-start");
    let mongod = mongod_program().await;
    let mut first = tenantry(&dir);
    first.env("TENANTRY_MONGOD", &mongod);
    assert!(run(first.arg("verify")).0);
    // Somebody else is starting the database, and gets no further.
    let lock = File::options().write(true).open(dir.join(".tenantry/start.lock")).unwrap();
    lock.lock().unwrap();
    let mut server = Talking::start(&mut tenantry(&dir));
    server.line("waiting for it");
    server.signal(Signal::INT);
    server.line(STOPPING);
    assert!(server.process.status().success());
}

#[tokio::test]
async fn a_signal_stops_a_server_that_looks_for_its_database() {
    let database = Database::new().await;
    // A database that takes connections and says nothing.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut command = command(&database);
    command.env("MONGO_URI", format!("mongodb://{}", silent.local_addr().unwrap()));
    let mut server = Talking::start(command.env("MONGO_SELECTION_TIMEOUT_MS", "600000"));
    let _connection = silent.accept().unwrap();
    server.signal(Signal::TERM);
    server.line(STOPPING);
    assert!(server.process.status().success());
}

#[tokio::test]
async fn a_second_signal_does_not_wait_for_the_embedded_database_to_stop() {
    let dir = fresh_dir("signal-at-the-end");
    let mongod = mongod_program().await;
    let mut server = Talking::start(tenantry(&dir).env("TENANTRY_MONGOD", mongod));
    server.client();
    let mongod = mongod_pid(&dir.join(".tenantry"));
    kill_process(mongod, Signal::STOP).unwrap();
    server.signal(Signal::INT);
    server.line(STOPPING);
    server.signal(Signal::TERM);
    let ended = server.process.status();
    kill_process(mongod, Signal::CONT).unwrap();
    assert_eq!(ended.code(), Some(143));
}

/// Variables, and what the sentence must contain.
type Case<'c> = (&'c [(&'c str, &'c str)], &'c [&'c str]);

#[tokio::test]
async fn what_stops_the_start_is_a_sentence_that_says_what_to_do() {
    let database = Database::new().await;
    let cases: [Case<'_>; 9] = [
        (
            &[("MONGO_URI", "mongodb://127.0.0.1:1")],
            &["no MongoDB answers at 127.0.0.1:1", "MONGO_URI"],
        ),
        (&[("MONGO_URI", "nonsense")], &["MONGO_URI"]),
        (&[("JWT_SECRET", "short")], &["JWT_SECRET", "32 bytes"]),
        (
            &[("JWT_ALGORITHM", "EdDSA"), ("JWT_KEY_FILE", "/dev/null")],
            &["JWT_KEY_FILE is not an Ed25519 private key"],
        ),
        (&[("APP_ENV", "production"), ("JWT_SECRET", "")], &["JWT_SECRET", "production"]),
        (&[("APP_ENV", "production"), ("PUBLIC_URL", "")], &["PUBLIC_URL", "production"]),
        (&[("PUBLIC_URL", "api.example.com")], &["PUBLIC_URL", "https://"]),
        (&[("BIND", "256.0.0.1:80")], &["BIND"]),
        (&[("LOG", "=nonsense=")], &["LOG"]),
    ];
    for (variables, expected) in cases {
        let (started, _, error) = run(command(&database).envs(variables.iter().copied()));
        assert!(!started);
        for part in expected {
            assert!(error.contains(part), "{variables:?}: {error}");
        }
        assert!(!error.contains("panicked"), "{error}");
    }
}

#[tokio::test]
async fn a_standalone_database_is_refused_with_the_remedy() {
    let dir = fresh_dir("standalone");
    std::fs::create_dir(dir.join("db")).unwrap();
    let database = Database::new().await;
    let mongod = std::fs::read_link(format!("/proc/{}/exe", test_mongod())).unwrap();
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let mut standalone = Command::new(mongod)
        .args(["--bind_ip", "127.0.0.1", "--nounixsocket", "--port", &port.to_string()])
        .arg("--dbpath")
        .arg(dir.join("db"))
        .stdout(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let uri = format!("mongodb://127.0.0.1:{port}/?serverSelectionTimeoutMS=20000");
    let variables = [("MONGO_URI", uri.as_str()), ("MONGO_SELECTION_TIMEOUT_MS", "20000")];
    let (started, _, error) = run(command(&database).envs(variables));
    standalone.kill().unwrap();
    standalone.wait().unwrap();
    assert!(!started);
    assert!(error.contains("standalone") && error.contains("--replSet"), "{error}");
}

/// The `mongod` of the test run.
fn test_mongod() -> i64 {
    let record = Path::new(env!("CARGO_TARGET_TMPDIR")).join("mongodb/mongod.json");
    let record: Value = serde_json::from_str(&std::fs::read_to_string(record).unwrap()).unwrap();
    record["pid"].as_i64().unwrap()
}

#[tokio::test]
async fn the_health_command_asks_the_server() {
    let database = Database::new().await;
    let server = ServerProcess::start(&database);
    let address = server.client.address();
    let (ready, text, _) = run(command(&database).arg("health").env("BIND", &address));
    assert!(ready && text.contains("200"), "{text}");
    drop(server);
    let (ready, ..) = run(command(&database).arg("health").env("BIND", address));
    assert!(!ready);
    database.drop_all();
}

#[tokio::test]
async fn seeding_makes_charts_that_verify_and_adds_only_what_is_missing() {
    let database = Database::new().await;
    let seed = |more: &[&str]| {
        let (ok, text, error) = run(command(&database).args(["seed", "org-charts"]).args(more));
        assert!(ok, "{error}");
        text
    };
    assert!(seed(&["--count", "10"]).starts_with("10 charts with "));
    assert!(seed(&["--count", "12"]).contains(" in 2 new organizations"));
    let text = seed(&["--count", "7", "--per-tenant", "3", "--prefix", "Many"]);
    assert!(text.starts_with("7 charts") && text.contains(" in 3 new organizations"), "{text}");
    let text = seed(&["--people", "3000", "--prefix", "Big"]);
    assert!(text.starts_with("1 charts with 3000 people in 1 new"), "{text}");
    let (sound, text, _) = run(command(&database).arg("verify"));
    assert!(sound && text.starts_with("16 organizations"), "{text}");
    let server = ServerProcess::start(&database);
    let token = server.client.token("many_1@example.com", "seed password").await;
    let charts = server.client.with(&token).get("/orgcharts").await.expect(200).body;
    assert_eq!(charts.as_array().unwrap().len(), 3);
    drop(server);
    database.drop_all();
}

#[test]
fn the_openapi_document_in_the_repository_is_the_one_of_the_code() {
    let (_, printed, _) = run(Command::new(env!("CARGO_BIN_EXE_tenantry")).arg("openapi"));
    let kept = include_str!("../../docs/openapi.json");
    assert!(printed.trim() == kept.trim(), "run: cargo run -- openapi > docs/openapi.json");
}

#[test]
fn the_graphql_schema_in_the_repository_is_the_one_of_the_code() {
    let (_, printed, _) = run(Command::new(env!("CARGO_BIN_EXE_tenantry")).arg("graphql-schema"));
    let kept = include_str!("../../docs/schema.graphql");
    let remedy = "run: cargo run -- graphql-schema > docs/schema.graphql";
    assert!(printed.trim() == kept.trim(), "{remedy}");
}
