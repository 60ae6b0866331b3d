//! A server process, which a test may kill.

use std::{
    io::{BufRead, BufReader},
    process::{Child, Command, Stdio},
    sync::mpsc,
    time::Duration,
};

use super::{Client, Database, SECRET};

/// The real program with a database that outlives it.
pub struct ServerProcess {
    child: Child,
    pub client: Client,
}

impl ServerProcess {
    pub fn start(database: &Database) -> Self {
        Self::start_with(database, &[])
    }

    /// Starts it and waits until it listens.
    pub fn start_with(database: &Database, variables: &[(&str, &str)]) -> Self {
        let mut command = command(database);
        let mut child = command.envs(variables.iter().copied()).spawn().expect("no process");
        let output = BufReader::new(child.stdout.take().unwrap());
        let (sender, address) = mpsc::channel();
        std::thread::spawn(move || {
            // Read to the end: a full pipe would block the server.
            for line in output.lines().map_while(Result::ok) {
                if let Some((_, address)) = line.split_once("API       ") {
                    let _ = sender.send(address.trim().to_owned());
                }
            }
        });
        let base = address.recv_timeout(Duration::from_mins(1)).expect("the server did not start");
        Self { child, client: Client::new(base) }
    }

    /// Kills it as hard as can be.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Whether it has died by itself, or was killed.
    pub fn is_dead(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Waits for its end and returns whether it was a success.
    pub fn wait(&mut self) -> bool {
        self.child.wait().unwrap().success()
    }
}

impl Drop for ServerProcess {
    fn drop(&mut self) {
        self.kill();
    }
}

/// The program with settings for tests.
pub fn command(database: &Database) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tenantry"));
    command
        .current_dir(env!("CARGO_TARGET_TMPDIR"))
        .env("MONGO_URI", &database.uri)
        .env("MASTER_DB", &database.master)
        .env("TENANT_DB", &database.tenants)
        .env("JWT_SECRET", SECRET)
        .env("BIND", "127.0.0.1:0")
        .env("WORKERS", "1")
        .env("HASH_MEMORY_KIB", "256")
        .env("HASH_ITERATIONS", "1")
        .env("OPERATION_LEASE_SECONDS", "1")
        .env("RECOVERY_INTERVAL_SECONDS", "1")
        .env("MONGO_SELECTION_TIMEOUT_MS", "1000")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit());
    command
}
