//! Failed starts: the message names what was tried, the file or server, and the remedy, but no
//! secrets.

use std::{
    fs,
    io::Write,
    os::unix::fs::PermissionsExt,
    path::Path,
    process::{Command, Stdio},
};

use bson::doc;
use mongodb::{Client, options::ClientOptions};

use crate::support::{
    Database, KillOnDrop, command, eventually, free_port, fresh_dir, mongod_program,
};

/// The error output of a failing command.
#[track_caller]
fn failing(command: &mut Command) -> String {
    let output = command.stdout(Stdio::null()).stderr(Stdio::piped()).output().unwrap();
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{error}");
    assert!(!error.contains("panicked"), "{error}");
    error
}

/// The program in its own directory with an embedded database.
fn embedded(dir: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tenantry"));
    command.current_dir(dir).env_remove("MONGO_URI").env_remove("TENANTRY_MONGOD");
    command
}

#[tokio::test]
async fn an_unusable_file_or_directory_is_named() {
    let mongod = mongod_program().await;
    for name in [
        "start.lock",
        "users.lock",
        "watch.lock",
        "probe.lock",
        "watcher.out",
        "mongod.out",
        "mongod.json",
        "mongod.key",
        "port",
    ] {
        let dir = fresh_dir(name);
        let path = dir.join(".tenantry").join(name);
        fs::create_dir_all(&path).unwrap();
        fs::set_permissions(dir.join(".tenantry"), fs::Permissions::from_mode(0o700)).unwrap();
        let error = failing(embedded(&dir).env("TENANTRY_MONGOD", &mongod).arg("verify"));
        assert!(error.contains(path.to_str().unwrap()), "{error}");
    }
    let dir = fresh_dir("file");
    fs::write(dir.join("file"), "").unwrap();
    for path in ["file", "file/below"] {
        let error = failing(embedded(&dir).env("TENANTRY_DIR", path).arg("verify"));
        assert!(error.contains(path), "{error}");
    }
}

#[test]
fn the_health_command_names_an_unreachable_server() {
    let bind = format!("127.0.0.1:{}", free_port());
    let error = failing(embedded(&fresh_dir("health")).env("BIND", &bind).arg("health"));
    assert!(error.contains(&bind), "{error}");
}

#[test]
fn a_killed_mongod_is_reported_with_the_signal_and_its_last_log_lines() {
    let dir = fresh_dir("killed");
    let program = dir.join("mongod");
    let script = "#!/bin/sh
        [ \"$1\" = --version ] && echo 'db version v6.0.5' && exit
        while [ $# -gt 0 ]; do [ \"$1\" = --logpath ] && log=$2; shift; done
        for step in One Two Three Four; do echo \"{\\\"s\\\":\\\"I\\\",\\\"msg\\\":\\\"$step\\\"}\" >> \"$log\"; done
        kill -9 $$\n";
    fs::write(&program, script).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    let error = failing(embedded(&dir).env("TENANTRY_MONGOD", &program).arg("verify"));
    for part in ["SIGKILL", "Two; Three; Four", "mongod.log"] {
        assert!(error.contains(part), "`{part}` is missing in: {error}");
    }
}

/// Starts a `mongod` with more arguments.
async fn start_mongod(dir: &Path, port: u16, more: &[&str]) -> KillOnDrop {
    let mut command = Command::new(mongod_program().await);
    command.args(["--bind_ip", "127.0.0.1", "--nounixsocket", "--port", &port.to_string()]);
    command.arg("--dbpath").arg(dir).args(more).stdout(Stdio::null());
    KillOnDrop(command.spawn().unwrap())
}

/// The error output for a database that cannot be used.
fn refused(database: &Database, uri: &str) -> String {
    let mut command = command(database);
    failing(command.env("MONGO_URI", uri).env("MONGO_SELECTION_TIMEOUT_MS", "3000").arg("verify"))
}

async fn admin(port: u16) -> mongodb::Database {
    let uri = format!("mongodb://127.0.0.1:{port}/?directConnection=true");
    let options = ClientOptions::parse(uri).await.unwrap();
    Client::with_options(options).unwrap().database("admin")
}

#[tokio::test]
async fn an_uninitiated_or_misnamed_replica_set_is_reported_with_the_remedy() {
    let (database, port) = (Database::new().await, free_port());
    let dir = fresh_dir("replica-set");
    let _mongod = start_mongod(&dir, port, &["--replSet", "rs7"]).await;
    let admin = admin(port).await;
    eventually("the server", || async { admin.run_command(doc! { "ping": 1 }).await.is_ok() })
        .await;

    let host = format!("127.0.0.1:{port}");
    let at = |options: &str| format!("mongodb://{host}/{options}");
    for options in ["", "?replicaSet=rs7", "?directConnection=true"] {
        let error = refused(&database, &at(options));
        for part in [&host, "not initiated", "rs.initiate()"] {
            assert!(error.contains(part), "{options}: `{part}` is missing in: {error}");
        }
    }
    let member = doc! { "_id": 0, "host": &host };
    let config = doc! { "_id": "rs7", "members": [member] };
    admin.run_command(doc! { "replSetInitiate": config }).await.unwrap();
    eventually("a primary", || async {
        let hello = admin.run_command(doc! { "hello": 1 }).await.unwrap();
        hello.get_bool("isWritablePrimary").unwrap()
    })
    .await;
    for options in ["?replicaSet=rs0", "?replicaSet=rs0&directConnection=true"] {
        let error = refused(&database, &at(options));
        for part in [&host, "replicaSet=rs0", "replicaSet=rs7"] {
            assert!(error.contains(part), "{options}: `{part}` is missing in: {error}");
        }
    }
    // The member's own host name cannot be reached.
    admin.run_command(doc! { "replSetStepDown": 600, "force": true }).await.unwrap();
    let error = refused(&database, &at("?replicaSet=rs7"));
    assert!(error.contains("no primary") && error.contains(&host), "{error}");
}

#[tokio::test]
async fn a_standalone_database_is_refused_with_the_remedy() {
    let (database, port) = (Database::new().await, free_port());
    let _mongod = start_mongod(&fresh_dir("standalone"), port, &[]).await;
    let admin = admin(port).await;
    eventually("the server", || async { admin.run_command(doc! { "ping": 1 }).await.is_ok() })
        .await;
    for options in ["", "?replicaSet=rs0"] {
        let error = refused(&database, &format!("mongodb://127.0.0.1:{port}/{options}"));
        assert!(error.contains("standalone") && error.contains("--replSet"), "{options}: {error}");
    }
}

#[test]
fn a_malformed_settings_line_is_reported_without_its_content() {
    let dir = fresh_dir("broken-settings");
    let (file, config) = (dir.join(".env"), dir.join("config/default.toml"));
    fs::create_dir(dir.join("config")).unwrap();
    for (text, part) in [
        ("APP_ENV=development\nJWT_SECRET=correct horse battery\n", ".env: line 2 (JWT_SECRET) "),
        (
            "# one\n\nLOG=info\nexport MONGO_PASSWORD='correct horse",
            ".env: line 4 (MONGO_PASSWORD) ",
        ),
        ("LOG='a\nb'\nLOG_FORMAT=json\r\ncorrect horse battery\r\n", ".env: line 4 "),
        ("LOG=info\nhorse+battery==\nAPP_ENV=production", ".env: line 2 "),
    ] {
        fs::write(&file, text).unwrap();
        let error = failing(embedded(&dir).arg("health"));
        assert!(error.contains(part), "{error}");
        assert!(!error.contains("horse") && !error.contains("battery"), "{error}");
    }
    fs::remove_file(&file).unwrap();
    for uri in ["mongodb://ada:horse?battery@127.0.0.1:1", "mongodb://ada@127.0.0.1/?horse=1"] {
        let error = failing(embedded(&dir).env("MONGO_URI", uri).arg("verify"));
        assert!(error.contains("MONGO_URI") && error.contains("percent-encoded"), "{error}");
        assert!(!error.contains("horse") && !error.contains("battery"), "{error}");
    }
    fs::write(&config, "[jwt]\nsecret = correct horse battery\n").unwrap();
    let error = failing(embedded(&dir).arg("health"));
    assert!(error.contains("config/default.toml") && error.contains("line 2"), "{error}");
    assert!(!error.contains("horse"), "{error}");
}

#[tokio::test]
async fn a_misspelt_setting_is_reported_with_the_right_name() {
    let database = Database::new().await;
    let dir = fresh_dir("slips");
    let in_environment = "MONGO_URL is not a setting; did you mean MONGO_URI?";
    let in_file = "BINDS is not a setting; did you mean BIND?";
    fs::write(dir.join(".env"), "BINDS=127.0.0.1:1\n").unwrap();
    let mut verify = command(&database);
    verify.current_dir(&dir).env("MONGO_URL", "mongodb://secret").arg("verify");
    let output = verify.stderr(Stdio::piped()).output().unwrap();
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(
        output.status.success() && error.contains(in_environment) && error.contains(in_file),
        "{error}"
    );
    assert!(!error.contains("secret"), "{error}");

    // A server logs the warning.
    let mut serve = command(&database);
    let mut serve = serve
        .current_dir(&dir)
        .stderr(Stdio::null())
        .env("MONGO_URL", "x")
        .env("BIND", "x:1")
        .spawn()
        .unwrap();
    let mut log = String::new();
    std::io::Read::read_to_string(&mut serve.stdout.take().unwrap(), &mut log).unwrap();
    assert!(!serve.wait().unwrap().success());
    assert!(log.contains("WARN") && log.contains(in_environment) && log.contains(in_file), "{log}");
    database.drop_all();
}

#[test]
fn a_failed_start_ends_even_if_nobody_reads_its_output() {
    let dir = fresh_dir("unread");
    let (_unread, mut full) = std::io::pipe().unwrap();
    full.write_all("x".repeat(64 * 1024).as_bytes()).unwrap();
    // There is no `mongod`, and no download is possible.
    let tools = dir.join("tools");
    fs::create_dir(&tools).unwrap();
    for name in ["python3", "getconf"] {
        let path = std::env::var_os("PATH").unwrap();
        let found = std::env::split_paths(&path).map(|dir| dir.join(name)).find(|it| it.is_file());
        std::os::unix::fs::symlink(found.unwrap(), tools.join(name)).unwrap();
    }
    let mut command = embedded(&dir);
    command.env("PATH", &tools).env("PIP_NO_INDEX", "1");
    let child = command.arg("verify").stderr(full).stdout(Stdio::null()).spawn().unwrap();
    assert_eq!(KillOnDrop(child).status().code(), Some(1));
}
