//! Starts a `mongod` that is detached from the terminal, and reports how it ended.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::io::{self, Read, Seek, SeekFrom};
use std::iter;
use std::net::{Ipv4Addr, TcpListener};
use std::ops::Range;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};
use std::time::Duration;

use fs_err::{self as fs, File};
use serde_json::Value;
use tokio::{sync::oneshot, time::timeout};

use super::{
    binary::Binary,
    data_dir::{DataDir, create, write_atomically},
    process::Mongod,
    watcher::reap,
};
use crate::store::driver::replica_set::REPLICA_SET;

const PORT: &str = "port";
/// Below the range of ephemeral ports, because outgoing connections would sometimes take ours.
const PORTS: Range<u16> = 20_000..32_000;
/// The output of `mongod` before it opens its log.
const OUTPUT: &str = "mongod.out";
const LOG_LIMIT: u64 = 50 * 1024 * 1024;
/// `mongod` needs many open files; only a shell can raise the limit without unsafe code.
const RAISE_FILE_LIMIT: &str = r#"ulimit -n "$(ulimit -Hn)" 2>/dev/null; exec "$@""#;
/// The assumed limit of open files if the system reports none.
const FEW_FILES: u64 = 1024;
/// How long the exit status of a process that has ended takes at most.
const STATUS_WITHIN: Duration = Duration::from_secs(1);
/// How much of the end of a log is searched for the reason of an end.
const LAST_BYTES: u64 = 64 * 1024;

/// A `mongod` that this process has started or found.
#[derive(Debug)]
pub(super) struct Running {
    pub(super) mongod: Mongod,
    /// The size of the log at that time.
    log_start: u64,
    /// `None` if another process has started it.
    status: Option<oneshot::Receiver<ExitStatus>>,
}

/// Where a new `mongod` listens.
#[derive(Debug, Clone, Copy)]
pub(super) enum Port {
    /// On the port of the last start, or on another one if that is in use.
    Last,
    /// On another port than the last one.
    Other,
    /// Only on this port.
    Only(u16),
}

/// Why a newly started `mongod` has ended.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Ended {
    /// Another process took the port first.
    PortTaken,
    /// Another `mongod` uses the directory.
    DirectoryTaken,
    /// Any other reason, as in its log.
    Failed(String),
}

impl Running {
    /// A `mongod` that another process has started.
    pub(super) fn found(dir: &DataDir, mongod: Mongod) -> Self {
        let log_start = fs::metadata(dir.log()).map_or(0, |metadata| metadata.len());
        Self { mongod, log_start, status: None }
    }

    /// Starts `mongod`. The directory has its key.
    pub(super) fn start(
        dir: &DataDir,
        binary: &Binary,
        cache_gb: f64,
        port: Port,
    ) -> io::Result<Self> {
        let log_start = rotate(dir)?;
        let port = choose_port(dir, port)?;
        let output = create(&dir.file(OUTPUT))?;
        let child = command(dir, binary, cache_gb, port)
            .stdin(Stdio::null())
            .stdout(output.try_clone()?.into_file())
            .stderr(output.into_file())
            .spawn()
            .map_err(|e| io::Error::new(e.kind(), format!("sh cannot be run: {e}")))?;
        let pid = i32::try_from(child.id()).map_err(io::Error::other)?;
        let status = Some(reap(child));
        let mongod = Mongod { pid, port, version: Some(binary.version.clone()) };
        mongod.record(dir)?;
        write_atomically(&dir.file(PORT), &port.to_string())?;
        Ok(Self { mongod, log_start, status })
    }

    /// Whether another process has started it.
    pub(super) const fn is_found(&self) -> bool {
        self.status.is_none()
    }

    /// Why a start has failed whose process has ended.
    pub(super) async fn why_not_started(self, dir: &DataDir) -> Ended {
        let reason = errors_in(&tail(&dir.log(), self.log_start));
        if reason.contains("Address already in use") {
            return Ended::PortTaken;
        }
        if reason.contains("DBPathInUse") {
            return Ended::DirectoryTaken;
        }
        Ended::Failed(self.how_ended(dir).await)
    }

    /// How the process has ended: its exit status or signal, and its last errors, or its last lines
    /// if it logged no error.
    pub(super) async fn how_ended(self, dir: &DataDir) -> String {
        let status = match self.status {
            Some(status) => timeout(STATUS_WITHIN, status).await.ok().and_then(Result::ok),
            None => None,
        };
        let log = tail(&dir.log(), self.log_start);
        let output = tail(&dir.file(OUTPUT), 0);
        let first: Vec<&str> = output.lines().take(3).collect();
        let said = [errors_in(&log), errors_in(&output), last_of(&log), first.join("; ")];
        let said = said.into_iter().find(|said| !said.is_empty());
        let said =
            said.map_or_else(|| "it gave no reason".to_owned(), |it| format!("it said: {it}"));
        let status = status.map(|status| status.to_string());
        status.into_iter().chain([said]).collect::<Vec<_>>().join("; ")
    }
}

fn command(dir: &DataDir, binary: &Binary, cache_gb: f64, port: u16) -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", RAISE_FILE_LIMIT, "sh"]).arg(&binary.path);
    command.arg("--dbpath").arg(dir.db());
    command.args(["--port", &port.to_string(), "--bind_ip", "127.0.0.1"]);
    command.args(["--nounixsocket", "--replSet", REPLICA_SET]);
    command.arg("--keyFile").arg(dir.key());
    // Otherwise any user of the machine could create the first database user.
    command.args(["--setParameter", "enableLocalhostAuthBypass=false"]);
    // Iterations protect weak passwords. Every process that connects would wait for them.
    command.args(["--setParameter", "scramSHA256IterationCount=5000"]);
    command.args(["--wiredTigerCacheSizeGB", &cache_gb.to_string()]);
    command.args(["--wiredTigerEngineConfigString", &engine(most_files())]);
    command.args(["--setParameter", "diagnosticDataCollectionEnabled=false"]);
    // A single node has no secondaries to wait for when it shuts down.
    command.args(["--setParameter", "shutdownTimeoutMillisForSignaledShutdown=100"]);
    // Open transactions of a killed process hold their locks until then; the default is 60 s.
    command.args(["--setParameter", "transactionLifetimeLimitSeconds=20"]);
    command.arg("--logpath").arg(dir.log()).arg("--logappend");
    command.current_dir(dir.root()).process_group(0);
    command
}

/// Thousands of tenants need thousands of files. They stay open, because reopening a file costs
/// more than a read, up to the number at which sign-ups are refused. Beyond that, files idle for a
/// second are closed, because `mongod` aborts when it runs out of file handles. `WiredTiger` counts
/// two handles per file.
fn engine(most_files: u64) -> String {
    let kept = most_files / 100 * 85 * 2;
    format!("file_manager=(close_handle_minimum={kept},close_idle_time=1,close_scan_interval=1)")
}

fn most_files() -> u64 {
    rustix::process::getrlimit(rustix::process::Resource::Nofile).maximum.unwrap_or(FEW_FILES)
}

/// Renames a large log; returns the offset where the next run's part begins.
fn rotate(dir: &DataDir) -> io::Result<u64> {
    let log = dir.log();
    let length = fs::metadata(&log).map_or(0, |metadata| metadata.len());
    if length > LOG_LIMIT {
        fs::rename(&log, dir.file("mongod.log.1"))?;
        return Ok(0);
    }
    Ok(length)
}

fn choose_port(dir: &DataDir, wanted: Port) -> io::Result<u16> {
    if let Port::Only(port) = wanted {
        let taken = || io::Error::other(format!("another program uses its port, {port}"));
        return is_free(port).then_some(port).ok_or_else(taken);
    }
    let last = fs::read_to_string(dir.file(PORT)).ok();
    let last = last.and_then(|text| text.trim().parse::<u16>().ok());
    if let Some(port) = last {
        if matches!(wanted, Port::Last) && is_free(port) {
            return Ok(port);
        }
        tracing::info!(
            port,
            "the last port is in use, moving to another one; this may take half a minute"
        );
    }
    let candidates = iter::repeat_with(|| {
        let random = RandomState::new().build_hasher().finish();
        let width = u64::from(PORTS.end - PORTS.start);
        u16::try_from(random % width).map_or(0, |offset| PORTS.start + offset)
    });
    if let Some(port) = candidates.take(20).find(|port| is_free(*port)) {
        return Ok(port);
    }
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    Ok(listener.local_addr()?.port())
}

fn is_free(port: u16) -> bool {
    port != 0 && TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok()
}

/// The last part of a file, from this offset at most.
fn tail(path: &Path, from: u64) -> String {
    let mut bytes = Vec::new();
    // Without a log the text is empty, and the caller reports that.
    let _ = File::open(path).and_then(|mut file| {
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(from.max(length.saturating_sub(LAST_BYTES))))?;
        file.read_to_end(&mut bytes)
    });
    String::from_utf8_lossy(&bytes).into_owned()
}

/// The last errors of a `mongod` log, which has one JSON document per line.
fn errors_in(log: &str) -> String {
    let lines = log.lines().filter_map(|line| serde_json::from_str(line).ok());
    let errors: Vec<String> = lines.filter_map(|line: Value| error_in(&line)).collect();
    let first = errors.len().saturating_sub(3);
    errors[first..].join("; ")
}

/// The messages of the last three lines of a log of `mongod`.
fn last_of(log: &str) -> String {
    let lines: Vec<&str> = log.lines().collect();
    let last = lines[lines.len().saturating_sub(3)..].iter();
    let parsed = last.filter_map(|line| serde_json::from_str(line).ok());
    let messages = parsed.filter_map(|line: Value| line["msg"].as_str().map(str::to_owned));
    messages.collect::<Vec<_>>().join("; ")
}

fn error_in(line: &Value) -> Option<String> {
    if !matches!(line["s"].as_str(), Some("E" | "F")) {
        return None;
    }
    let message = line["msg"].as_str()?;
    let error = &line["attr"]["error"];
    let detail = error.as_str().or_else(|| error["errmsg"].as_str());
    Some(detail.map_or_else(|| message.to_owned(), |detail| format!("{message}: {detail}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_errors_of_a_log_are_reported_verbatim() {
        let log = concat!(
            r#"{"s":"I","msg":"Starting"}"#,
            "\nno json\n",
            r#"{"s":"E","msg":"Error setting up listener","attr":{"error":{"code":9001,"errmsg":"Address already in use"}}}"#,
            "\n",
            r#"{"s":"F","msg":"Terminating","attr":{"error":"DBPathInUse: locked"}}"#,
        );
        let expected =
            "Error setting up listener: Address already in use; Terminating: DBPathInUse: locked";
        assert_eq!(errors_in(log), expected);
    }
}
