//! Attacks by other users of the machine: files and directories that they own or can write.

use std::{
    fs::{self, Permissions},
    os::unix::fs::{PermissionsExt, chown, symlink},
    path::Path,
    process::{Command, Stdio},
};

use crate::support::{Database, SECRET, command, fresh_dir};

/// A user id that does not exist on the machine.
const OTHER_USER: u32 = 54_321;

fn set(path: &Path, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

fn write(path: &Path, text: &str, mode: u32) {
    let _ = fs::remove_file(path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
    set(path, mode);
}

/// Changes the owner to another user, which only root can do; returns whether it worked.
fn give_away(path: &Path) -> bool {
    chown(path, Some(OTHER_USER), None).is_ok()
}

/// A program that creates the file `trace` when it runs.
fn trap(path: &Path, trace: &Path) {
    write(path, &format!("#!/bin/sh\ntouch '{}'\n", trace.display()), 0o755);
}

/// Runs `tenantry verify`; returns the error output on failure.
#[track_caller]
fn verify(command: &mut Command) -> Result<(), String> {
    let output = command.arg("verify").stderr(Stdio::piped()).output().unwrap();
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(!error.contains("panicked"), "{error}");
    if output.status.success() { Ok(()) } else { Err(error) }
}

/// Asserts that the command fails with these words.
#[track_caller]
fn refused(command: &mut Command, words: &[&str]) {
    let error = verify(command).expect_err("the program started");
    for word in words {
        assert!(error.contains(word), "`{word}` is missing in: {error}");
    }
}

/// The program with a configured database and a secret in its own directory.
fn with_secret(database: &Database, dir: &Path) -> Command {
    let mut command = command(database);
    command.env_remove("JWT_SECRET").env("TENANTRY_DIR", dir);
    command
}

/// A directory with the few programs that a start needs, but without a `mongod`.
fn tools(dir: &Path) -> String {
    let (tools, path) = (dir.join("tools"), std::env::var_os("PATH").unwrap());
    fs::create_dir(&tools).unwrap();
    for name in ["sh", "touch", "python3", "getconf"] {
        let found = std::env::split_paths(&path).map(|dir| dir.join(name)).find(|it| it.is_file());
        symlink(found.unwrap(), tools.join(name)).unwrap();
    }
    tools.to_str().unwrap().to_owned()
}

/// The program without a configured database, in this working directory.
fn embedded(dir: &Path, path: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tenantry"));
    command.current_dir(dir).env("PATH", path).env("PIP_NO_INDEX", "1");
    command.env_remove("MONGO_URI").env_remove("TENANTRY_MONGOD").env_remove("TENANTRY_DIR");
    command.stdout(Stdio::null());
    command
}

#[tokio::test]
async fn a_secret_that_is_short_or_accessible_to_others_stops_the_start() {
    let database = Database::new().await;
    let dir = fresh_dir("secret");
    let secret = dir.join("jwt_secret");
    for text in ["", "short", "0123456789012345678901234567890", &" ".repeat(64)] {
        write(&secret, text, 0o600);
        refused(&mut with_secret(&database, &dir), &["jwt_secret", "32 bytes", "remove it"]);
    }
    for mode in [0o644, 0o640, 0o602, 0o666] {
        write(&secret, SECRET, mode);
        refused(&mut with_secret(&database, &dir), &["jwt_secret", "chmod"]);
    }
    write(&secret, SECRET, 0o600);
    assert_eq!(verify(&mut with_secret(&database, &dir)), Ok(()));
    if give_away(&secret) {
        refused(&mut with_secret(&database, &dir), &["jwt_secret", "belongs to another user"]);
    }
    fs::remove_file(&secret).unwrap();
    assert_eq!(verify(&mut with_secret(&database, &dir)), Ok(()));
    assert_eq!(fs::metadata(&secret).unwrap().permissions().mode() & 0o777, 0o600);
    assert!(fs::read_to_string(&secret).unwrap().len() >= 32);
    database.drop_all();
}

#[tokio::test]
async fn a_directory_writable_by_others_stops_the_start() {
    let database = Database::new().await;
    let above = fresh_dir("directory");
    let dir = above.join("below/tenantry");
    assert_eq!(verify(&mut with_secret(&database, &dir)), Ok(()));
    for open in [&above, &above.join("below"), &dir] {
        set(open, 0o777);
        refused(&mut with_secret(&database, &dir), &[open.to_str().unwrap(), "chmod go-w"]);
        set(open, 0o755);
    }
    set(&above, 0o1777);
    assert_eq!(verify(&mut with_secret(&database, &dir)), Ok(()));
    if give_away(&above.join("below")) {
        refused(&mut with_secret(&database, &dir), &["belongs to another user"]);
    }
    database.drop_all();
}

#[tokio::test]
async fn settings_files_of_other_users_are_refused() {
    let database = Database::new().await;
    let above = fresh_dir("settings");
    let dir = above.join("below");
    fs::create_dir(&dir).unwrap();
    let here = || {
        let mut command = command(&database);
        command.current_dir(&dir);
        command
    };
    // Parent directories are never read, regardless of their owner.
    write(&above.join(".env"), "APP_ENV=nonsense\n", 0o644);
    assert_eq!(verify(&mut here()), Ok(()));
    let own = dir.join(".env");
    write(&own, "APP_ENV=nonsense\n", 0o644);
    refused(&mut here(), &["APP_ENV"]);
    for mode in [0o664, 0o646, 0o666] {
        write(&own, "LOG=info\n", mode);
        refused(&mut here(), &[".env", "chmod go-w"]);
    }
    write(&own, "LOG=info\n", 0o644);
    assert_eq!(verify(&mut here()), Ok(()));
    if give_away(&own) {
        refused(&mut here(), &[".env", "belongs to another user"]);
    }
    fs::remove_file(&own).unwrap();

    let config = dir.join("config/default.toml");
    write(&config, "", 0o666);
    refused(&mut here(), &["config/default.toml", "chmod go-w"]);
    fs::remove_file(&config).unwrap();
    let key = dir.join("key.pem");
    write(&key, "nonsense", 0o606);
    let variables = [("JWT_ALGORITHM", "EdDSA"), ("JWT_KEY_FILE", key.to_str().unwrap())];
    let mut serve = here();
    let served = serve.envs(variables).stderr(Stdio::piped()).output().unwrap();
    let error = String::from_utf8(served.stderr).unwrap();
    assert!(!served.status.success() && error.contains("chmod o-w"), "{error}");
    database.drop_all();
}

#[test]
fn a_cached_mongod_that_was_replaced_is_not_run() {
    let dir = fresh_dir("cached");
    let (trace, program) = (dir.join("trace"), dir.join(".tenantry/bin/mongod"));
    trap(&program, &trace);
    for part in [".tenantry", ".tenantry/bin"] {
        set(&dir.join(part), 0o700);
    }
    let path = &tools(&dir);
    refused(&mut embedded(&dir, path), &["not the program that was fetched", "remove it"]);
    set(&program, 0o777);
    refused(&mut embedded(&dir, path), &["bin/mongod", "chmod go-w"]);
    assert!(!trace.exists(), "the program was run");
}

#[test]
fn programs_in_the_working_directory_are_not_run() {
    let dir = fresh_dir("working-directory");
    let trace = dir.join("trace");
    let package = format!("open({:?}, 'w').close()\n", trace.to_str().unwrap());
    for name in ["pip/__init__.py", "pip/__main__.py", "zipfile.py", "sitecustomize.py"] {
        write(&dir.join(name), &package, 0o644);
    }
    for name in ["mongod", "bin/mongod", "python3", "getconf"] {
        trap(&dir.join(name), &trace);
    }
    // An empty entry of PATH also means the working directory.
    let tools = tools(&dir);
    for relative in ["", ":.", ":", ":bin"] {
        let path = &format!("{tools}{relative}");
        refused(embedded(&dir, path).env("PYTHONPATH", &dir), &["there is no MongoDB to start"]);
        assert!(!trace.exists(), "{path}: the program was run");
    }
}
