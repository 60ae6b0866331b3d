//! Checks that the tests and files named in docs/SECURITY.md exist, and that the log contains no
//! secrets.

mod accounts;
mod authority;
mod bodies;
mod counters;
mod documents;
mod feeds;
mod hashing;
mod links;
mod local_trust;
mod names;
mod quoting;

use std::{
    collections::BTreeSet,
    io::{BufRead, BufReader, Read},
    path::Path,
    sync::mpsc,
    time::Duration,
};

use rustix::process::Signal;
use serde_json::json;

use crate::support::{Client, Database, PASSWORD, command, send_signal};

const PAGE: &str = include_str!("../../docs/SECURITY.md");

/// The texts between backticks.
pub(crate) fn quoted(page: &str) -> impl Iterator<Item = &str> {
    page.lines().flat_map(|line| line.split('`').skip(1).step_by(2))
}

/// Paths of the repository, from its root, in text, commands and links.
pub(crate) fn paths(page: &str) -> impl Iterator<Item = &str> {
    const ROOTS: [&str; 9] =
        ["src/", "tests/", "benches/", "config/", "docs/", "docker/", "fuzz/", ".ci/", ".agents/"];
    page.split(|c: char| c.is_whitespace() || "`()[],;|".contains(c))
        .filter(|word| ROOTS.iter().any(|root| word.starts_with(root)))
        .filter(|word| !word.contains(['<', '*']))
        .map(|word| word.split([':', '#']).next().unwrap_or(word).trim_end_matches('.'))
}

/// Asserts that each file and each test that the page names exists.
pub(crate) fn assert_names_exist(name: &str, page: &str) {
    for path in paths(page) {
        let found = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
        assert!(found.exists(), "{name}: {path} is not in the repository");
    }
    for (file, test) in quoted(page).filter_map(|word| word.split_once(".rs::")) {
        assert!(
            has_test(&source(&format!("{file}.rs")), test),
            "{name}: no test {test} in {file}.rs"
        );
    }
}

/// The source in the repository, or nothing.
fn source(path: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap_or_default()
}

/// Whether `text` contains a test of that name, with its attributes directly above it.
fn has_test(text: &str, name: &str) -> bool {
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    let named = |line: &str| {
        let line = line.strip_prefix("async ").unwrap_or(line);
        line.strip_prefix("fn ")
            .and_then(|rest| rest.strip_prefix(name))
            .is_some_and(|rest| rest.starts_with('('))
    };
    lines.iter().enumerate().filter(|(_, line)| named(line)).any(|(at, _)| {
        let attributes = lines[..at].iter().rev().take_while(|line| line.starts_with("#["));
        attributes
            .into_iter()
            .any(|line| line.starts_with("#[test]") || line.starts_with("#[tokio::test"))
    })
}

#[test]
fn every_test_and_file_that_the_security_page_names_exists() {
    let tests: BTreeSet<_> = quoted(PAGE).filter(|word| word.contains(".rs::")).collect();
    assert!(tests.len() > 60, "the page names {} tests", tests.len());
    assert_names_exist("docs/SECURITY.md", PAGE);
    assert!(!has_test(&source("tests/api/security.rs"), "has_test"), "has_test accepts a helper");
}

#[test]
fn every_row_of_the_security_page_names_a_test_or_says_that_there_is_none() {
    let tables = PAGE.split("\n\n").filter(|part| part.starts_with("| item |"));
    let rows: Vec<_> = tables.flat_map(|table| table.lines().skip(2)).collect();
    assert!(rows.len() > 50, "the page has {} rows", rows.len());
    for row in rows {
        let shown = row.trim_end_matches('|').rsplit(" | ").next().unwrap();
        assert!(shown.contains(".rs::") || shown.contains("no test"), "{row}");
    }
}

#[tokio::test]
async fn no_password_token_or_address_is_in_the_log() {
    let database = Database::new().await;
    let log = [("LOG", "info,tenantry=trace"), ("LOG_FORMAT", "json")];
    let mut child = command(&database).envs(log).spawn().unwrap();
    let mut output = BufReader::new(child.stdout.take().unwrap());
    let (sender, lines) = mpsc::channel();
    let reader = std::thread::spawn(move || {
        let mut line = String::new();
        while output.read_line(&mut line).unwrap() > 0 {
            if let Some((_, base)) = line.split_once("API       ") {
                let _ = sender.send(base.trim().to_owned());
                break;
            }
            line.clear();
        }
        let mut log = String::new();
        output.read_to_string(&mut log).unwrap();
        log
    });
    let client = Client::new(lines.recv_timeout(Duration::from_mins(1)).unwrap());

    let org = client.create("Acme", "ada@example.com").await.expect(201);
    let token = client.token("ada@example.com", PASSWORD).await;
    client.log_in("ada@example.com", "a wrong password").await.expect(401);
    let admin = client.with(&token);
    let (_, member) = admin.add_member("member").await;
    client.with("a rubbish token").get("/org/members").await.expect(401);
    admin.post("/org/members", json!({ "email": "no address", "password": "brief" })).await;
    let feed = client.with(&member).calendar_feed().await;
    client.get(&feed).await.expect(200);
    admin.put("/org/update", json!({ "password": "a new password" })).await.expect(200);

    send_signal(child.id(), Signal::TERM);
    assert!(child.wait().unwrap().success());
    let log = reader.join().unwrap();
    database.drop_all();
    assert!(log.contains(org.text("id")) && log.contains("/calendar/{token}.ics"), "{log}");
    let feed = feed.trim_start_matches("/calendar/").trim_end_matches(".ics");
    let words = [PASSWORD, "a wrong password", "a new password", "brief", "a rubbish token"];
    for secret in words.into_iter().chain([token.as_str(), &member, feed, "example.com"]) {
        assert!(!log.contains(secret), "{secret} is in the log: {log}");
    }
}
