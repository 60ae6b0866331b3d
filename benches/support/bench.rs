//! One run of the harness: its database, its limits and its measurements so far.
#![expect(clippy::print_stdout, reason = "prints the report")]

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};
use secrecy::ExposeSecret;
use serde_json::Value;
use tenantry::{
    config::Settings,
    dev::{Embedded, EmbeddedOptions},
};

use super::{
    Result,
    database::{self, Databases},
    load::{Limits, Sample},
    machine::{self, cpu_seconds},
    report::{Cpu, Figures, Report, Row},
    server::Server,
};

/// How the server is loaded and configured.
pub(crate) struct Load {
    pub(crate) connections: usize,
    pub(crate) window: Duration,
    pub(crate) workers: usize,
    pub(crate) settings: Vec<(String, String)>,
}

pub(crate) struct Bench {
    pub(crate) load: Load,
    pub(crate) report: Report,
    dir: PathBuf,
    embedded: Option<Embedded>,
    mongod: u32,
}

/// Time after the start until the change stream is confirmed and caches are trusted.
const SETTLING: Duration = Duration::from_secs(2);

impl Bench {
    /// Starts the harness's embedded MongoDB with its data in the directory `name`.
    pub(crate) async fn start(load: Load, name: &str) -> Result<Self> {
        let target =
            Path::new(env!("CARGO_TARGET_TMPDIR")).parent().ok_or("no target directory")?;
        let dir = target.join(name);
        fs::create_dir_all(&dir)?;
        // Keeps the server from reading the developer's own `.env`.
        fs::write(dir.join(".env"), "")?;
        let (embedded, mongod) = start(&dir).await?;
        let bench = Self { load, report: Report::default(), dir, mongod, embedded: Some(embedded) };
        database::sweep(&bench.uri()).await?;
        Ok(bench)
    }

    /// Prints the report.
    pub(crate) fn print_report(&self) {
        println!("\n{}", self.report);
    }

    /// Drops temporary databases and stops MongoDB.
    pub(crate) async fn stop(mut self) -> Result<()> {
        database::sweep(&self.uri()).await?;
        self.stop_database().await
    }

    /// Stops MongoDB and deletes its data directory. Dropping thousands of collections takes
    /// minutes.
    pub(crate) async fn discard(mut self) -> Result<()> {
        self.stop_database().await?;
        Ok(fs::remove_dir_all(self.dir.join("mongod"))?)
    }

    pub(crate) fn uri(&self) -> String {
        self.embedded.as_ref().map_or_else(String::new, |it| it.uri().expose_secret().to_owned())
    }

    pub(crate) fn database_version(&self) -> &str {
        self.embedded.as_ref().and_then(Embedded::version).unwrap_or("?")
    }

    /// Empty databases with the indexes of the master database.
    pub(crate) async fn fresh(&self, name: &str) -> Result<Databases> {
        let databases = Databases::fresh(self.uri(), name);
        databases.manager().await?;
        Ok(databases)
    }

    /// Databases with `organizations` organizations, reused by later runs.
    pub(crate) async fn seeded(&self, organizations: u32) -> Result<Databases> {
        let databases = Databases::kept(self.uri(), organizations);
        database::seed(&databases, organizations).await?;
        Ok(databases)
    }

    /// Starts this build of the program with its default settings.
    pub(crate) async fn serve(&self, databases: &Databases) -> Result<Server> {
        let program = Path::new(env!("CARGO_BIN_EXE_tenantry"));
        self.launch(program, databases, "server.log").await
    }

    /// Starts another build of the program with its default settings.
    pub(crate) async fn serve_as(&self, program: &Path, databases: &Databases) -> Result<Server> {
        self.launch(program, databases, "before.log").await
    }

    async fn launch(&self, program: &Path, databases: &Databases, log: &str) -> Result<Server> {
        let mut command = Command::new(program);
        command.env_clear().current_dir(&self.dir);
        command.env("JWT_SECRET", database::SECRET);
        command.env("APP_ENV", "development").env("BIND", "127.0.0.1:0");
        command.env("WORKERS", self.load.workers.to_string());
        command.env("MONGO_URI", self.uri()).env("TENANTRY_DIR", self.dir.join("server"));
        command.envs(self.load.settings.iter().map(|(name, value)| (name, value)));
        command.env("MASTER_DB", &databases.master).env("TENANT_DB", &databases.tenants);
        let server = Server::start(command, &self.dir.join(log)).await?;
        tokio::time::sleep(SETTLING).await;
        Ok(server)
    }

    /// Starts the floor of `get`.
    pub(crate) async fn serve_bare(&self, body: &str) -> Result<Server> {
        let command = super::server::bare(body, self.load.workers)?;
        Server::start(command, &self.dir.join("bare.log")).await
    }

    /// Takes a sample and adds a row with its CPU time.
    pub(crate) async fn measure(
        &mut self,
        what: &str,
        server: Option<&Server>,
        sample: impl Future<Output = Sample>,
    ) -> Result<Figures> {
        let pid = server.map(Server::pid);
        let before = self.cpu(pid)?;
        let sample = sample.await;
        let cpu = self.cpu(pid)?.since(before);
        let row = Row::new(what, sample, cpu);
        let figures = row.figures();
        println!("{row}");
        self.report.add(row);
        Ok(figures)
    }

    /// Takes two samples alternately, half a second each, and adds a row for each. Other load on
    /// the machine affects both equally. The CPU time is that of `servers`.
    pub(crate) async fn measure_alternately(
        &mut self,
        what: [&str; 2],
        servers: [Option<&Server>; 2],
        mut first: impl AsyncFnMut(Limits) -> Sample,
        mut second: impl AsyncFnMut(Limits) -> Sample,
    ) -> Result<[Figures; 2]> {
        const TURN: Duration = Duration::from_millis(500);
        let pids = servers.map(|server| server.map(Server::pid));
        let mut seen: [Option<(Sample, Cpu)>; 2] = [None, None];
        let turns = self.load.window.as_millis().div_ceil(TURN.as_millis()).max(1);
        for turn in 0..u64::try_from(turns)? {
            for side in [0, 1] {
                // Different numbers, so that neither profits from what the other has just cached.
                let numbers = turn << 32 | (side as u64) << 31;
                let limits = Limits { window: TURN, requests: u64::MAX, first: numbers };
                let before = self.cpu(pids[side])?;
                let sample = match side {
                    0 => first(limits).await,
                    _ => second(limits).await,
                };
                let cpu = self.cpu(pids[side])?.since(before);
                seen[side] = Some(match seen[side].take() {
                    Some((sum, used)) => (sum.and(sample), used.and(cpu)),
                    None => (sample, Cpu::NONE.and(cpu)),
                });
            }
        }
        let mut figures = Vec::new();
        for (what, seen) in what.into_iter().zip(seen) {
            let (sample, cpu) = seen.ok_or("nothing was measured")?;
            let row = Row::new(what, sample, cpu);
            figures.push(row.figures());
            println!("{row}");
            self.report.add(row);
        }
        <[Figures; 2]>::try_from(figures).map_err(|_| "two rows".into())
    }

    /// Records MongoDB's memory, and how long it takes to stop and to restart.
    pub(crate) async fn restart(&mut self, collections: u32) -> Result<()> {
        let memory = machine::memory_mib(self.mongod)?;
        let stopping = Instant::now();
        self.stop_database().await?;
        let stopped = stopping.elapsed();
        let started = self.start_database().await?;
        self.report.note(format!(
            "With {collections} collections mongod held {memory} MiB; it stopped cleanly in \
             {stopped:.1?} and answered again {started:.1?} after its start."
        ));
        Ok(())
    }

    /// MongoDB's process id.
    pub(crate) const fn mongod(&self) -> u32 {
        self.mongod
    }

    /// The directory of everything that is kept between runs.
    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    /// Kills MongoDB with SIGKILL.
    pub(crate) fn kill_database(&mut self) -> Result<()> {
        let pid = i32::try_from(self.mongod).ok().and_then(Pid::from_raw);
        kill_process(pid.ok_or("MongoDB has no process id")?, Signal::KILL)?;
        self.embedded = None;
        Ok(())
    }

    /// Starts MongoDB again; returns how long it took until it answered.
    pub(crate) async fn start_database(&mut self) -> Result<Duration> {
        let starting = Instant::now();
        let (embedded, mongod) = start(&self.dir).await?;
        (self.embedded, self.mongod) = (Some(embedded), mongod);
        Ok(starting.elapsed())
    }

    pub(crate) async fn stop_database(&mut self) -> Result<()> {
        match self.embedded.take() {
            Some(embedded) => Ok(embedded.stop().await?),
            None => Ok(()),
        }
    }

    fn cpu(&self, server: Option<u32>) -> Result<Cpu> {
        Ok(Cpu {
            server: server.map(cpu_seconds).transpose()?,
            mongod: cpu_seconds(self.mongod)?,
            client: cpu_seconds(std::process::id())?,
        })
    }
}

/// The harness's embedded MongoDB and its process id.
async fn start(dir: &Path) -> Result<(Embedded, u32)> {
    let fetched = Path::new(env!("CARGO_MANIFEST_DIR")).join(".tenantry/bin/mongod");
    let settings = Settings::from_environment()?.embedded;
    let embedded = Embedded::start(&EmbeddedOptions {
        dir: dir.join("mongod"),
        mongod: settings.mongod.or_else(|| fetched.exists().then_some(fetched)),
        supervisor: env!("CARGO_BIN_EXE_tenantry").into(),
        cache_gb: settings.cache_gb,
    })
    .await?;
    let record: Value = serde_json::from_slice(&fs::read(dir.join("mongod/mongod.json"))?)?;
    let mongod = record["pid"].as_u64().and_then(|pid| u32::try_from(pid).ok());
    Ok((embedded, mongod.ok_or("the embedded MongoDB wrote no record of its process")?))
}
