//! The command-line program.

use std::{
    fs::File,
    io::{BufRead, BufReader, Lines},
    net::TcpListener,
    path::Path,
    process::{ChildStdout, Command, Stdio},
};

use rustix::process::{Signal, kill_process};

use crate::support::{
    Client, Database, KillOnDrop, Raw, ServerProcess, command, embedded_options, fresh_dir,
    mongod_pid, mongod_program, send_signal,
};

fn run(command: &mut Command) -> (bool, String, String) {
    let output = command.stderr(std::process::Stdio::piped()).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.success(), text(output.stdout), text(output.stderr))
}

/// The program in its own directory, without a configured database.
fn tenantry(dir: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tenantry"));
    command.current_dir(dir).env_remove("MONGO_URI").env("BIND", "127.0.0.1:0");
    if let Some(mongod) = embedded_options(dir).mongod {
        command.env("TENANTRY_MONGOD", mongod);
    }
    command
}

#[tokio::test]
async fn a_signal_stops_the_server_after_running_requests() {
    let database = Database::new().await;
    let mut server = ServerProcess::start(&database);
    let client = server.client.clone();
    let creating =
        tokio::spawn(async move { client.create("Acme", "ada@example.com").await.status });
    crate::support::eventually("the sign-up", || async { database.counts().await.0 == 1 }).await;
    send_signal(server.pid(), Signal::TERM);
    assert_eq!(creating.await.unwrap(), 201);
    assert!(server.wait(), "the server did not end with success");
    database.drop_all();
}

#[tokio::test]
async fn the_default_start_starts_and_stops_its_own_database() {
    let dir = fresh_dir("default-start");
    let mut command = tenantry(&dir);
    let mut child = command.stdout(std::process::Stdio::piped()).spawn().unwrap();
    let output = std::io::BufReader::new(child.stdout.take().unwrap());
    let mut lines = std::io::BufRead::lines(output).map_while(Result::ok);
    let base =
        lines.find_map(|line| line.split_once("API       ").map(|(_, base)| base.to_owned()));
    let client = crate::support::Client::new(base.expect("the server printed no address"));
    client.sign_up("Acme").await;
    client.get("/docs/").await.expect(200);

    // A second command in the same directory uses the running database.
    let (sound, text, _) = run(tenantry(&dir).arg("verify"));
    assert!(sound && text.starts_with("1 organizations, 1 tenant collections"), "{text}");

    let secret = std::fs::read_to_string(dir.join(".tenantry/jwt_secret")).unwrap();
    assert!(secret.len() >= 32);
    send_signal(child.id(), Signal::INT);
    assert!(child.wait().unwrap().success());
    assert!(!dir.join(".tenantry/mongod.json").exists(), "the database still runs");

    // The data is there after a restart, which the command does by itself.
    let (sound, text, _) = run(tenantry(&dir).arg("verify"));
    assert!(sound && text.starts_with("1 organizations"), "{text}");
}

/// A server whose output is read line by line.
struct LineReader {
    process: KillOnDrop,
    lines: Lines<BufReader<ChildStdout>>,
}

impl LineReader {
    fn start(command: &mut Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { process: KillOnDrop(child), lines }
    }

    /// The next line that contains `part`.
    #[track_caller]
    fn line(&mut self, part: &str) -> String {
        let mut lines = self.lines.by_ref().map_while(Result::ok);
        lines
            .find(|line| line.contains(part))
            .unwrap_or_else(|| panic!("the output ended before {part}"))
    }

    fn client(&mut self) -> Client {
        let line = self.line("API       ");
        Client::new(line.split_once("API       ").unwrap().1.to_owned())
    }

    fn signal(&self, signal: Signal) {
        send_signal(self.process.0.id(), signal);
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
        let mut server = LineReader::start(command(&database).envs(patient));
        let client = server.client();
        // The server waits for the body, which never comes.
        let head = b"POST /org/create HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n\
            content-length: 99\r\nexpect: 100-continue\r\n\r\n";
        let mut hanging = Raw::sending(&client, head).await;
        hanging.until("100 Continue\r\n\r\n").await;
        server.signal(first);
        let line = server.line(STOPPING);
        assert!(line.contains("requests under way are finished"), "{line}");
        assert!(
            server.process.0.try_wait().unwrap().is_none(),
            "the server did not wait for the request"
        );
        server.signal(second);
        assert_eq!(server.process.status().code(), Some(code));
    }
    database.drop_all();
}

#[tokio::test]
async fn a_signal_stops_a_server_that_waits_for_another_to_start_the_database() {
    let dir = fresh_dir("signal-at-the-start");
    let mongod = mongod_program().await;
    let mut first = tenantry(&dir);
    first.env("TENANTRY_MONGOD", &mongod);
    assert!(run(first.arg("verify")).0);
    // Another process holds the lock for starting the database.
    let lock = File::options().write(true).open(dir.join(".tenantry/start.lock")).unwrap();
    lock.lock().unwrap();
    let mut server = LineReader::start(&mut tenantry(&dir));
    server.line("waiting for it");
    server.signal(Signal::INT);
    server.line(STOPPING);
    assert!(server.process.status().success());
}

#[tokio::test]
async fn a_signal_stops_a_server_that_connects_to_its_database() {
    let database = Database::new().await;
    // A database that accepts connections and never answers.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut command = command(&database);
    command.env("MONGO_URI", format!("mongodb://{}", silent.local_addr().unwrap()));
    let mut server = LineReader::start(command.env("MONGO_SELECTION_TIMEOUT_MS", "600000"));
    let _connection = silent.accept().unwrap();
    server.signal(Signal::TERM);
    server.line(STOPPING);
    assert!(server.process.status().success());
}

#[tokio::test]
async fn a_second_signal_does_not_wait_for_the_embedded_database_to_stop() {
    let dir = fresh_dir("signal-at-the-end");
    let mongod = mongod_program().await;
    let mut server = LineReader::start(tenantry(&dir).env("TENANTRY_MONGOD", mongod));
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

/// Variables, and parts of the expected message.
type Case<'c> = (&'c [(&'c str, &'c str)], &'c [&'c str]);

#[tokio::test]
async fn a_failed_start_reports_what_to_do() {
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
async fn the_health_command_checks_the_server() {
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
fn the_openapi_document_in_the_repository_is_up_to_date() {
    let (_, printed, _) = run(Command::new(env!("CARGO_BIN_EXE_tenantry")).arg("openapi"));
    let kept = include_str!("../../docs/openapi.json");
    assert!(printed.trim() == kept.trim(), "run: cargo run -- openapi > docs/openapi.json");
}

#[test]
fn the_graphql_schema_in_the_repository_is_up_to_date() {
    let (_, printed, _) = run(Command::new(env!("CARGO_BIN_EXE_tenantry")).arg("graphql-schema"));
    let kept = include_str!("../../docs/schema.graphql");
    let remedy = "run: cargo run -- graphql-schema > docs/schema.graphql";
    assert!(printed.trim() == kept.trim(), "{remedy}");
}
