//! Traces: one span per request, exported to an OpenTelemetry collector. A background thread sends
//! them in batches; when its queue is full, spans are dropped.

use std::{
    fmt::Display,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use async_trait::async_trait;
use opentelemetry::{
    Context, KeyValue,
    trace::{
        Span as _, SpanContext, SpanKind, Status, TraceContextExt, TraceId, Tracer,
        TracerProvider as _,
    },
};
use opentelemetry_http::{Bytes, HttpClient, HttpError, Request, Response};
use opentelemetry_otlp::{Protocol, SpanExporter, WithExportConfig, WithHttpConfig};
use opentelemetry_sdk::{
    Resource,
    trace::{Sampler, SdkTracer, SdkTracerProvider, Span},
};
use ureq::Agent;

use crate::{
    config::TraceSettings,
    error::{Error, Result},
};

/// Time limit for the collector's answer to a batch.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(3);
/// How long a shutdown waits for the last spans.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(3);
/// Maximum number of bytes to read of the collector's answer.
const ANSWER_MAX: u64 = 64 * 1024;
/// Minimum time between two log lines about failures.
const WARNING_INTERVAL: Duration = Duration::from_mins(1);

/// Exports the spans of requests.
#[derive(Clone, Debug)]
pub struct Traces {
    provider: SdkTracerProvider,
    tracer: SdkTracer,
}

/// The span of one request.
pub(crate) struct RequestTrace(Span);

impl Traces {
    /// Starts the background thread if the settings name a collector.
    ///
    /// # Errors
    /// [`Error::Internal`] if the OpenTelemetry library rejects the settings.
    pub fn start(settings: &TraceSettings) -> Result<Option<Self>> {
        let Some(endpoint) = &settings.endpoint else { return Ok(None) };
        let exporter = SpanExporter::builder()
            .with_http()
            .with_http_client(Collector::new())
            .with_protocol(Protocol::HttpBinary)
            .with_endpoint(format!("{}/v1/traces", endpoint.trim_end_matches('/')))
            .build()
            .map_err(|e| Error::Internal(format!("traces cannot be exported: {e}")))?;
        let sampler = Sampler::TraceIdRatioBased(settings.ratio);
        let version = KeyValue::new("service.version", env!("CARGO_PKG_VERSION"));
        let provider = SdkTracerProvider::builder()
            .with_batch_exporter(exporter)
            .with_sampler(Sampler::ParentBased(Box::new(sampler)))
            .with_resource(
                Resource::builder().with_service_name("tenantry").with_attribute(version).build(),
            )
            .build();
        let tracer = provider.tracer("tenantry");
        Ok(Some(Self { provider, tracer }))
    }

    /// Starts the span of a request, as a child of its caller's span if there is one.
    pub(crate) fn begin(&self, caller: Option<SpanContext>) -> RequestTrace {
        let parent = Context::new();
        let parent = match caller {
            Some(caller) => parent.with_remote_span_context(caller),
            None => parent,
        };
        let span = self.tracer.span_builder("request").with_kind(SpanKind::Server);
        RequestTrace(span.start_with_context(&self.tracer, &parent))
    }

    /// Exports the remaining spans, for up to 3 seconds. Later spans are dropped.
    pub async fn finish(self) {
        let sent =
            tokio::task::spawn_blocking(move || self.provider.shutdown_with_timeout(FLUSH_TIMEOUT));
        if !matches!(sent.await, Ok(Ok(()))) {
            tracing::warn!("the last traces were not exported in time");
        }
    }
}

impl RequestTrace {
    pub(crate) fn id(&self) -> TraceId {
        self.0.span_context().trace_id()
    }

    /// Ends the span. `route` is the pattern, because paths may contain ids and secrets.
    pub(crate) fn end(mut self, method: &'static str, route: Option<&str>, status: u16) {
        if !self.0.is_recording() {
            return;
        }
        self.0.set_attribute(KeyValue::new("http.request.method", method));
        self.0.set_attribute(KeyValue::new("http.response.status_code", i64::from(status)));
        match route {
            Some(route) => {
                self.0.update_name(format!("{method} {route}"));
                self.0.set_attribute(KeyValue::new("http.route", route.to_owned()));
            }
            None => self.0.update_name(method),
        }
        if status >= 500 {
            self.0.set_status(Status::error(""));
        }
        self.0.end();
    }
}

/// The exporter's HTTP client. Its calls block, but only the background thread.
#[derive(Debug)]
struct Collector {
    agent: Agent,
    warned: Mutex<Option<Instant>>,
}

impl Collector {
    fn new() -> Self {
        let agent = Agent::config_builder()
            .http_status_as_error(false)
            .timeout_global(Some(ANSWER_TIMEOUT))
            .build();
        Self { agent: agent.into(), warned: Mutex::default() }
    }

    fn send(&self, request: Request<Bytes>) -> Result<Response<Bytes>, ureq::Error> {
        let (parts, body) = request.into_parts();
        let answer = self.agent.run(Request::from_parts(parts, &body[..]))?;
        let (parts, mut body) = answer.into_parts();
        let body = body.with_config().limit(ANSWER_MAX).read_to_vec()?;
        Ok(Response::from_parts(parts, body.into()))
    }

    fn warn(&self, reason: &dyn Display) {
        let mut last = self.warned.lock().unwrap_or_else(PoisonError::into_inner);
        if last.is_none_or(|last| last.elapsed() >= WARNING_INTERVAL) {
            *last = Some(Instant::now());
            tracing::warn!(error = %reason, "traces were not exported");
        }
    }
}

#[async_trait]
impl HttpClient for Collector {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let sent = self.send(request);
        match &sent {
            Ok(answer) if answer.status().is_success() => {}
            Ok(answer) => self.warn(&answer.status()),
            Err(error) => self.warn(error),
        }
        Ok(sent?)
    }
}
