//! Logs, metrics and traces.

mod traces;

use std::{
    fs::File,
    io::{self, BufWriter, IsTerminal, Write},
    os::fd::AsFd,
    sync::{
        OnceLock,
        atomic::{AtomicU64, Ordering::Relaxed},
        mpsc,
    },
    time::Duration,
};

use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use tokio_util::sync::CancellationToken;
use tracing_appender::non_blocking::{ErrorCounter, NonBlocking, NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::{EnvFilter, fmt, layer::SubscriberExt, util::SubscriberInitExt};

pub(crate) use self::traces::RequestTrace;
pub use self::traces::Traces;

use crate::{
    config::{LogFormat, LogSettings},
    error::{Error, Result},
};

/// Histogram buckets in seconds, from a cached lookup to a request's deadline.
const SECONDS: [f64; 14] =
    [0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 15.0];

/// Size of the log's write buffer.
const BUFFER_BYTES: usize = 64 * 1024;
/// How long the log collects lines after each write.
const PAUSE: Duration = Duration::from_millis(5);
/// Maximum number of queued log lines: about 5 MB.
const LINES: usize = 16_384;
/// How long the process waits for the last log lines when it ends.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(2);
/// Log lines lost because the queue was full.
static DROPPED: OnceLock<ErrorCounter> = OnceLock::new();
/// Log lines lost because writing them failed.
static UNWRITTEN: AtomicU64 = AtomicU64::new(0);
const UPKEEP_INTERVAL: Duration = Duration::from_secs(5);

/// The process's log. Dropping it writes the queued lines.
pub struct Log {
    writer: NonBlocking,
    guard: Option<WorkerGuard>,
}

/// Starts the log on standard output, one line per event. A dedicated thread writes it, so requests
/// never wait for a slow reader. Lines that do not fit into the queue are lost and counted.
///
/// # Errors
/// [`Error::Internal`] if the filter is invalid or a log was already started.
pub fn start_log(settings: &LogSettings) -> Result<Log> {
    let filter = EnvFilter::try_new(&settings.filter)
        .map_err(|e| Error::Internal(format!("LOG is not a valid log filter: {e}")))?
        // It logs an error for each malformed request. A metric counts those.
        .add_directive(
            "actix_http=off"
                .parse()
                .map_err(|e| Error::Internal(format!("a log directive: {e}")))?,
        );
    let registry = tracing_subscriber::registry().with(filter);
    let output = io::stdout().as_fd().try_clone_to_owned();
    let output = output.map_err(|e| Error::Internal(format!("the log has no output: {e}")))?;
    let output = Batched(BufWriter::with_capacity(BUFFER_BYTES, File::from(output)));
    let (writer, guard) =
        NonBlockingBuilder::default().lossy(true).buffered_lines_limit(LINES).finish(output);
    let _ = DROPPED.set(writer.error_counter());
    let lines = fmt::layer().with_writer(writer.clone());
    let started = match settings.format {
        LogFormat::Pretty => {
            let color = io::stdout().is_terminal();
            registry.with(lines.with_target(false).with_ansi(color)).try_init()
        }
        LogFormat::Json => {
            registry.with(lines.json().flatten_event(true).with_span_list(false)).try_init()
        }
    };
    started.map_err(|e| Error::Internal(format!("the log did not start: {e}")))?;
    Ok(Log { writer, guard: Some(guard) })
}

impl Log {
    /// A function that prints text between log lines.
    pub fn printer(&self) -> impl Fn(&str) + Send + use<> {
        let writer = self.writer.clone();
        move |text| {
            let _ = writer.clone().write_all(text.as_bytes());
        }
    }
}

impl Drop for Log {
    /// The guard's own drop never returns if nobody reads the output, so it runs in a thread.
    fn drop(&mut self) {
        let (guard, (done, ended)) = (self.guard.take(), mpsc::channel());
        std::thread::spawn(move || {
            drop(guard);
            done.send(())
        });
        let _ = ended.recv_timeout(FLUSH_TIMEOUT);
    }
}

/// Writes the lines of a few milliseconds at once. On a busy server, a system call and a wake-up per
/// line cost more than the lines themselves.
struct Batched<W>(W);

impl<W: Write> Write for Batched<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.0.write(bytes);
        if written.as_ref().is_err_and(|e| e.kind() != io::ErrorKind::Interrupted) {
            UNWRITTEN.fetch_add(1, Relaxed);
        }
        written
    }

    /// Writes before it pauses, so a single line is not delayed.
    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()?;
        std::thread::sleep(PAUSE);
        Ok(())
    }
}

/// Starts the process's metrics, unless they were started before.
pub fn start_metrics() -> Result<PrometheusHandle> {
    static HANDLE: OnceLock<PrometheusHandle> = OnceLock::new();
    if let Some(handle) = HANDLE.get() {
        return Ok(handle.clone());
    }
    let recorder = PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), &SECONDS)
        .and_then(|metrics| {
            let sizes = Matcher::Suffix("_batch_size".to_owned());
            metrics.set_buckets_for_metric(sizes, &[1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0])
        })
        .map_err(|e| Error::Internal(format!("metrics: {e}")))?
        .build_recorder();
    // If several threads start them at once, the kept handle must belong to the global recorder.
    let handle = HANDLE.get_or_init(|| {
        let handle = recorder.handle();
        if metrics::set_global_recorder(recorder).is_ok() {
            describe();
        }
        handle
    });
    Ok(handle.clone())
}

/// All metrics as `/metrics` shows them.
#[must_use]
pub fn render(metrics: &PrometheusHandle) -> String {
    let dropped = DROPPED.get().map_or(0, ErrorCounter::dropped_lines);
    let lost = UNWRITTEN.load(Relaxed).saturating_add(u64::try_from(dropped).unwrap_or(u64::MAX));
    metrics::counter!("tenantry_log_lines_lost_total").absolute(lost);
    metrics.render()
}

/// Moves recorded values into the histograms every few seconds until `stop`. Otherwise each value
/// stays in memory until the next scrape, or forever if nobody scrapes.
pub async fn keep_metrics_small(metrics: PrometheusHandle, stop: CancellationToken) {
    while stop.run_until_cancelled(tokio::time::sleep(UPKEEP_INTERVAL)).await.is_some() {
        metrics.run_upkeep();
    }
}

fn describe() {
    use metrics::{describe_counter, describe_gauge, describe_histogram};

    describe_clients();
    describe_database();
    describe_histogram!("tenantry_http_request_seconds", "Requests by method, route and status");
    describe_histogram!("tenantry_hash_seconds", "Password hashes");
    describe_gauge!("tenantry_hash_queue_depth", "Password hashes that wait in the queue");
    describe_counter!(
        "tenantry_hash_queue_rejections_total",
        "Requests refused because the hashing queue was full"
    );
    describe_counter!("tenantry_logins_total", "Logins by outcome");
    describe_counter!("tenantry_cache_lookups_total", "Cache lookups by cache and outcome");
    describe_counter!(
        "tenantry_registrations_total",
        "Registrations, cancellations and waiting-list requests, by action and outcome"
    );
    describe_histogram!(
        "tenantry_registration_batch_size",
        "Requests processed in one transaction"
    );
    describe_histogram!(
        "tenantry_registration_wait_seconds",
        "How long requests waited for their transaction"
    );
    describe_counter!("tenantry_background_restarts_total", "Background work that died, by name");
    describe_counter!("tenantry_tasks_total", "Durable tasks by kind and outcome");
    describe_counter!("tenantry_log_lines_lost_total", "Log lines that were lost");
}

fn describe_clients() {
    use metrics::{describe_counter, describe_gauge};

    describe_gauge!("tenantry_connections", "Connected clients");
    describe_counter!(
        "tenantry_connections_given_up_total",
        "Connections closed because of their client, by reason"
    );
    describe_counter!(
        "tenantry_malformed_requests_total",
        "Requests that could not be parsed, by response status"
    );
    describe_counter!(
        "tenantry_bodies_without_room_total",
        "Requests refused because no memory was free for their body"
    );
    describe_gauge!("tenantry_body_bytes", "Memory reserved for request bodies, in bytes");
    describe_gauge!(
        "tenantry_answer_bytes",
        "Large answers that are waiting for their clients, in bytes"
    );
    describe_counter!(
        "tenantry_authority_lost_total",
        "Requests refused because their account lost its role while they ran"
    );
}

fn describe_database() {
    use metrics::{describe_counter, describe_gauge, describe_histogram};

    describe_histogram!(
        "tenantry_mongo_command_seconds",
        "Commands to MongoDB by name and outcome"
    );
    describe_counter!(
        "tenantry_change_stream_failures_total",
        "How often the change stream ended and the caches were bypassed"
    );
    describe_counter!(
        "tenantry_transaction_retries_total",
        "Repeated attempts of transactions, by name"
    );
    describe_counter!(
        "tenantry_fence_waits_total",
        "How often a request waited for a tenant that was being renamed"
    );
    describe_counter!("tenantry_mongo_timeouts_total", "Unanswered calls of the database, by name");
    describe_counter!(
        "tenantry_mongo_connections_replaced_total",
        "Times that all connections to the database were replaced because they were silent"
    );
    describe_gauge!("tenantry_database_files", "Collections and indexes at the last look");
    describe_gauge!(
        "tenantry_database_files_ceiling",
        "Collections and indexes past which sign-ups and index builds are refused"
    );
    describe_gauge!(
        "tenantry_database_handles",
        "File handles of the database at the last sign-up"
    );
    describe_gauge!(
        "tenantry_database_handles_ceiling",
        "Maximum number of file handles of the database"
    );
    describe_counter!(
        "tenantry_sign_ups_without_room_total",
        "Sign-ups refused because the database cannot hold more collections"
    );
    describe_counter!(
        "tenantry_embedded_restarts_total",
        "How often this process restarted its embedded MongoDB after it had ended"
    );
}
