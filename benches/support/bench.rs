//! One run of the harness: its database, its limits and what it has measured so far.
#![expect(clippy::print_stdout, reason = "what it prints is what it is for")]

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use serde_json::Value;
use tenantry::{
    config::Settings,
    dev::{Embedded, EmbeddedOptions},
};

use super::{
    Result,
    database::{self, Databases},
    load::Sample,
    machine::cpu_seconds,
    report::{Cpu, Figures, Report, Row},
    server::Server,
};

/// How much is asked of the server, and how it is set.
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
    embedded: Embedded,
    mongod: u32,
}

/// From its start until the server has heard of its change stream and trusts its caches.
const SETTLING: Duration = Duration::from_secs(2);

impl Bench {
    /// Starts the embedded MongoDB of the harness.
    pub(crate) async fn start(load: Load) -> Result<Self> {
        let target =
            Path::new(env!("CARGO_TARGET_TMPDIR")).parent().ok_or("no target directory")?;
        let dir = target.join("bench-data");
        fs::create_dir_all(&dir)?;
        // It hides the one of whoever works here from the server.
        fs::write(dir.join(".env"), "")?;
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
        let bench = Self {
            load,
            report: Report::default(),
            dir,
            mongod: mongod.ok_or("the embedded MongoDB left no record of its process")?,
            embedded,
        };
        database::sweep(&bench.uri()).await?;
        Ok(bench)
    }

    /// Prints what was measured.
    pub(crate) fn print_report(&self) {
        println!("\n{}", self.report);
    }

    /// Removes what is not kept, and stops MongoDB.
    pub(crate) async fn stop(self) -> Result<()> {
        database::sweep(&self.uri()).await?;
        Ok(self.embedded.stop().await?)
    }

    pub(crate) fn uri(&self) -> String {
        self.embedded.uri()
    }

    pub(crate) fn database_version(&self) -> &str {
        self.embedded.version().unwrap_or("?")
    }

    /// Empty databases with the indexes of the master database.
    pub(crate) async fn fresh(&self, name: &str) -> Result<Databases> {
        let databases = Databases::fresh(self.uri(), name);
        databases.manager().await?;
        Ok(databases)
    }

    /// Databases with so many organizations, kept from run to run.
    pub(crate) async fn seeded(&self, organizations: u32) -> Result<Databases> {
        let databases = Databases::kept(self.uri(), organizations);
        database::seed(&databases, organizations).await?;
        Ok(databases)
    }

    /// Starts the program itself on the databases, with its defaults.
    pub(crate) async fn serve(&self, databases: &Databases) -> Result<Server> {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tenantry"));
        command.env_clear().current_dir(&self.dir);
        command.env("JWT_SECRET", database::SECRET);
        command.env("APP_ENV", "development").env("BIND", "127.0.0.1:0");
        command.env("WORKERS", self.load.workers.to_string());
        command.env("MONGO_URI", self.uri()).env("TENANTRY_DIR", self.dir.join("server"));
        command.envs(self.load.settings.iter().map(|(name, value)| (name, value)));
        command.env("MASTER_DB", &databases.master).env("TENANT_DB", &databases.tenants);
        let server = Server::start(command, &self.dir.join("server.log")).await?;
        tokio::time::sleep(SETTLING).await;
        Ok(server)
    }

    /// Starts the floor of `get`.
    pub(crate) async fn serve_bare(&self, body: &str) -> Result<Server> {
        let command = super::server::bare(body, self.load.workers)?;
        Server::start(command, &self.dir.join("bare.log")).await
    }

    /// Takes a sample and adds a row for it, with what it has cost.
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

    fn cpu(&self, server: Option<u32>) -> Result<Cpu> {
        Ok(Cpu {
            server: server.map(cpu_seconds).transpose()?,
            mongod: cpu_seconds(self.mongod)?,
            client: cpu_seconds(std::process::id())?,
        })
    }
}
