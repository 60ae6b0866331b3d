//! Server processes that a test may kill.

use std::{
    io::{BufRead, BufReader, Write},
    process::{Child, Command, ExitStatus, Stdio},
    sync::{Arc, Mutex, mpsc},
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};

use super::{Client, Database, Org, PATIENCE, SECRET, Seats, eventually};

/// For tests that stop the database: servers notice it sooner than in production.
pub const SOON_LOST: (&str, &str) = ("MONGO_SELECTION_TIMEOUT_MS", "1000");

/// The real program, on a database that outlives it.
pub struct ServerProcess {
    child: Child,
    log: Arc<Mutex<Vec<String>>>,
    pub client: Client,
}

impl ServerProcess {
    pub fn start(database: &Database) -> Self {
        Self::start_with(database, &[])
    }

    pub fn start_with(database: &Database, variables: &[(&str, &str)]) -> Self {
        Self::spawn(command(database).envs(variables.iter().copied()))
    }

    /// Starts it with a limit on open files.
    pub fn start_limited(database: &Database, open_files: u64, variables: &[(&str, &str)]) -> Self {
        Self::spawn(limited(database, open_files).envs(variables.iter().copied()))
    }

    /// Starts it and waits until it listens.
    pub fn spawn(command: &mut Command) -> Self {
        let mut child = command.spawn().expect("the program did not start");
        let output = BufReader::new(child.stdout.take().unwrap());
        let (sender, address) = mpsc::channel();
        let log = Arc::<Mutex<Vec<String>>>::default();
        let seen = Arc::clone(&log);
        std::thread::spawn(move || {
            // Reads until the end, because a full pipe would block the server.
            for line in output.lines().map_while(Result::ok) {
                if let Some((_, address)) = line.split_once("API       ") {
                    let _ = sender.send(address.trim().to_owned());
                    continue;
                }
                if line.contains("ERROR") {
                    let _ = writeln!(std::io::stderr(), "{line}");
                }
                seen.lock().unwrap().push(line);
            }
        });
        let base = address.recv_timeout(PATIENCE).expect("the server did not start");
        Self { child, log, client: Client::new(base) }
    }

    /// The warnings logged so far.
    pub fn warnings(&self) -> Vec<String> {
        self.lines(" WARN ")
    }

    /// The lines of its log so far that contain `part`.
    pub fn lines(&self, part: &str) -> Vec<String> {
        let log = self.log.lock().unwrap();
        log.iter().filter(|line| line.contains(part)).cloned().collect()
    }

    /// Kills it with SIGKILL.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Waits until it has ended, then ends its transactions.
    pub async fn died(&mut self, database: &Database) {
        eventually("the server's death", || {
            let dead = self.is_dead();
            async move { dead }
        })
        .await;
        database.end_transactions().await;
    }

    /// Whether the process has ended.
    pub fn is_dead(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Waits for its end; returns whether its status was success.
    pub fn wait(&mut self) -> bool {
        self.child.wait().unwrap().success()
    }
}

impl Drop for ServerProcess {
    fn drop(&mut self) {
        self.kill();
    }
}

/// A process that is killed when it is dropped.
pub struct KillOnDrop(pub Child);

impl KillOnDrop {
    /// Waits for its end.
    #[track_caller]
    pub fn status(&mut self) -> ExitStatus {
        let started = Instant::now();
        loop {
            if let Some(status) = self.0.try_wait().unwrap() {
                return status;
            }
            assert!(started.elapsed() < PATIENCE, "the process did not end");
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for KillOnDrop {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Two servers on one database.
pub struct Pair {
    pub one: ServerProcess,
    pub two: ServerProcess,
    pub database: Database,
}

impl Pair {
    pub async fn start() -> Self {
        Self::armed("", "").await
    }

    /// Two servers, each with its fail points.
    pub async fn armed(one: &str, two: &str) -> Self {
        let database = Database::new().await;
        let start = |points| ServerProcess::start_with(&database, &[("FAILPOINTS", points)]);
        let (one, two) = (start(one), start(two));
        Self { one, two, database }
    }

    /// An organization and its admin's client.
    pub async fn sign_up(&self) -> (Org, Client) {
        let org = self.one.client.sign_up("Gym").await;
        let admin = self.one.client.with(&org.token);
        (org, admin)
    }

    /// Asserts that the stored data is consistent; returns the seats.
    pub async fn assert_sound(&self, org: &Org) -> Seats {
        self.database.assert_recovered().await;
        let seats = self.database.seats(org).await;
        seats.assert_sound();
        seats
    }

    /// Alternates between the two servers.
    pub fn client(&self, turn: usize) -> &Client {
        [&self.one.client, &self.two.client][turn % 2]
    }
}

impl Drop for Pair {
    fn drop(&mut self) {
        self.one.kill();
        self.two.kill();
        self.database.drop_all();
    }
}

impl Database {
    /// Waits until recovery is done, then asserts that `verify` finds nothing.
    pub async fn assert_recovered(&self) {
        eventually("recovery", || async {
            self.counts().await.2 + self.seat_tasks().await + self.spare_editions().await == 0
        })
        .await;
        let output = command(self).arg("verify").output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{text}");
        assert!(text.contains("every invariant holds"), "{text}");
    }
}

/// Sends a signal to a process.
pub fn send_signal(pid: u32, signal: Signal) {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw).unwrap();
    kill_process(pid, signal).unwrap();
}

/// The resident memory of a process in bytes.
pub fn resident_bytes(pid: u32) -> u64 {
    memory(pid, "VmRSS:")
}

/// The most that the process has ever kept in memory.
pub fn peak_bytes(pid: u32) -> u64 {
    memory(pid, "VmHWM:")
}

fn memory(pid: u32, field: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"));
    let status = status.expect("the process has ended");
    let line = status.lines().find_map(|line| line.strip_prefix(field)).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
}

/// The program with settings for tests; `TENANTRY_PROGRAM` names another build of it.
pub fn command(database: &Database) -> Command {
    let program = std::env::var_os("TENANTRY_PROGRAM");
    let mut command =
        Command::new(program.unwrap_or_else(|| env!("CARGO_BIN_EXE_tenantry").into()));
    command
        .current_dir(env!("CARGO_TARGET_TMPDIR"))
        .env("MONGO_URI", database.uri_of_servers())
        .env("MASTER_DB", &database.master)
        .env("TENANT_DB", &database.tenants)
        .env("JWT_SECRET", SECRET)
        .env("BIND", "127.0.0.1:0")
        .env("WORKERS", "2")
        .env("HASH_MEMORY_KIB", "256")
        .env("HASH_ITERATIONS", "1")
        .env("OPERATION_LEASE_SECONDS", "1")
        .env("RECOVERY_INTERVAL_SECONDS", "1")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit());
    command
}

/// The same with a limit on open files.
pub fn limited(database: &Database, open_files: u64) -> Command {
    let program = command(database);
    let mut limited = Command::new("sh");
    limited.args(["-c", &format!("ulimit -n {open_files} && exec \"$0\"")]);
    limited.arg(program.get_program());
    limited.current_dir(env!("CARGO_TARGET_TMPDIR"));
    limited.envs(program.get_envs().filter_map(|(name, value)| Some((name, value?))));
    limited.stdin(Stdio::null()).stdout(Stdio::piped());
    limited
}
