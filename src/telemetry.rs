//! Logs, metrics and traces of the process.

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

/// Upper bounds in seconds: from a cached look-up to a request's deadline.
const SECONDS: [f64; 14] =
    [0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 15.0];

/// Bytes of log lines that are written at once.
const LINES_AT_ONCE: usize = 64 * 1024;
/// How long lines wait for others at most.
const PAUSE: Duration = Duration::from_millis(5);
/// Lines that wait for a slow reader: about 5 MB.
const LINES: usize = 16_384;
/// How long the end of the process waits for the last lines.
const LAST_LINES: Duration = Duration::from_secs(2);
/// Lines that were lost because too many waited.
static OVERFLOWN: OnceLock<ErrorCounter> = OnceLock::new();
/// Lines that were lost because the output took none.
static UNWRITTEN: AtomicU64 = AtomicU64::new(0);
const UPKEEP: Duration = Duration::from_secs(5);

/// The log of the process. What is left is written when it is dropped, if somebody reads.
pub struct Log {
    writer: NonBlocking,
    guard: Option<WorkerGuard>,
}

/// Starts the log: to the standard output, one line an event. A thread of its own writes, so that a
/// request never waits for a reader. Lines that a slow reader leaves no room for are lost and
/// counted.
///
/// # Errors
/// [`Error::Internal`] when the filter is not one, or a log was started already.
pub fn start_log(settings: &LogSettings) -> Result<Log> {
    let filter = EnvFilter::try_new(&settings.filter)
        .map_err(|e| Error::Internal(format!("LOG is not a log filter: {e}")))?
        // It logs an error for every head that a client has got wrong. Metrics count those.
        .add_directive(
            "actix_http=off"
                .parse()
                .map_err(|e| Error::Internal(format!("a log directive: {e}")))?,
        );
    let registry = tracing_subscriber::registry().with(filter);
    let output = io::stdout().as_fd().try_clone_to_owned();
    let output = output.map_err(|e| Error::Internal(format!("the log has no output: {e}")))?;
    let output = Together(BufWriter::with_capacity(LINES_AT_ONCE, File::from(output)));
    let (writer, guard) =
        NonBlockingBuilder::default().lossy(true).buffered_lines_limit(LINES).finish(output);
    let _ = OVERFLOWN.set(writer.error_counter());
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
    /// Prints texts for a person between the lines of the log.
    pub fn printer(&self) -> impl Fn(&str) + Send + use<> {
        let writer = self.writer.clone();
        move |text| {
            let _ = writer.clone().write_all(text.as_bytes());
        }
    }
}

impl Drop for Log {
    /// The guard prints, and so never ends, when nobody reads.
    fn drop(&mut self) {
        let (guard, (written, end)) = (self.guard.take(), mpsc::channel());
        std::thread::spawn(move || {
            drop(guard);
            written.send(())
        });
        let _ = end.recv_timeout(LAST_LINES);
    }
}

/// Writes what has come in a while at once: a system call for each line, and a thread that is woken
/// for each, cost a busy server more than the lines themselves.
struct Together<W>(W);

impl<W: Write> Write for Together<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.0.write(bytes);
        if written.as_ref().is_err_and(|e| e.kind() != io::ErrorKind::Interrupted) {
            UNWRITTEN.fetch_add(1, Relaxed);
        }
        written
    }

    /// What is there is written before the pause, so a single line is not late.
    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()?;
        std::thread::sleep(PAUSE);
        Ok(())
    }
}

/// Starts the metrics of the process, or finds them started.
///
/// # Errors
/// [`Error::Internal`] when another recorder stands in the way.
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
    // Of several that start at once, the one whose handle is kept must be the one that records.
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
    let overflown = OVERFLOWN.get().map_or(0, ErrorCounter::dropped_lines);
    let lost = UNWRITTEN.load(Relaxed).saturating_add(u64::try_from(overflown).unwrap_or(u64::MAX));
    metrics::counter!("tenantry_log_lines_lost_total").absolute(lost);
    metrics.render()
}

/// Folds what was recorded into the histograms now and then, until `stop`. Between two scrapes
/// every single value stays in memory otherwise, and for ever where nobody scrapes.
pub async fn keep_metrics_small(metrics: PrometheusHandle, stop: CancellationToken) {
    while stop.run_until_cancelled(tokio::time::sleep(UPKEEP)).await.is_some() {
        metrics.run_upkeep();
    }
}

fn describe() {
    use metrics::{describe_counter, describe_gauge, describe_histogram};

    describe_clients();
    describe_histogram!("tenantry_http_request_seconds", "Requests by method, route and status");
    describe_histogram!(
        "tenantry_mongo_command_seconds",
        "Commands to MongoDB by name and outcome"
    );
    describe_histogram!("tenantry_hash_seconds", "Password hashes");
    describe_gauge!("tenantry_hash_queue_depth", "Password hashes that wait");
    describe_counter!(
        "tenantry_hash_queue_rejections_total",
        "Requests refused because the hashing queue was full"
    );
    describe_counter!("tenantry_logins_total", "Logins by outcome");
    describe_counter!("tenantry_cache_lookups_total", "Cache look-ups by cache and outcome");
    describe_counter!(
        "tenantry_change_stream_failures_total",
        "Times that the change stream ended and the caches were bypassed"
    );
    describe_counter!("tenantry_transaction_retries_total", "Transactions run again, by name");
    describe_counter!("tenantry_fence_waits_total", "Waits for a tenant that was being moved");
    describe_counter!(
        "tenantry_registrations_total",
        "Registrations, cancellations and waiting lists by what was asked and what came of it"
    );
    describe_histogram!(
        "tenantry_registration_batch_size",
        "Requests that were settled in one transaction"
    );
    describe_histogram!(
        "tenantry_registration_wait_seconds",
        "How long requests waited for their transaction"
    );
    describe_gauge!("tenantry_collections", "Collections of the database at the last sign-up");
    describe_gauge!("tenantry_collections_ceiling", "Collections past which sign-ups are refused");
    describe_gauge!(
        "tenantry_database_handles",
        "File handles of the database at the last sign-up"
    );
    describe_gauge!("tenantry_database_handles_ceiling", "File handles that the database may have");
    describe_counter!(
        "tenantry_sign_ups_without_room_total",
        "Sign-ups refused because the database takes no more collections"
    );
    describe_counter!("tenantry_operations_total", "Renames and deletes by kind and outcome");
    describe_counter!("tenantry_log_lines_lost_total", "Log lines that were lost");
}

/// What clients do to the server.
fn describe_clients() {
    use metrics::{describe_counter, describe_gauge};

    describe_gauge!("tenantry_connections", "Clients that are connected");
    describe_counter!(
        "tenantry_connections_given_up_total",
        "Connections closed because of their client, by reason"
    );
    describe_counter!(
        "tenantry_malformed_requests_total",
        "Requests that could not be read, by the status of their answer"
    );
    describe_counter!(
        "tenantry_bodies_without_room_total",
        "Requests refused because there was no room for their body"
    );
    describe_gauge!("tenantry_body_bytes", "Memory reserved for the bodies of requests, in bytes");
    describe_gauge!("tenantry_answer_bytes", "Large answers that wait for their clients, in bytes");
    describe_counter!(
        "tenantry_authority_lost_total",
        "Requests refused because their account lost its authority meanwhile"
    );
}
