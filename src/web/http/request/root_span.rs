//! The root span of a request: sets its id and trace at the start, writes its log line at the end.

use std::{cell::RefCell, rc::Rc, time::Instant};

use actix_web::{
    Error as ActixError, HttpMessage,
    body::MessageBody,
    dev::{ServiceRequest, ServiceResponse},
    http::header::HeaderMap,
    web,
};
use opentelemetry::trace::{SpanContext, TraceId};
use tracing::{
    Span,
    field::{self, Empty},
};
use tracing_actix_web::{RequestId, RootSpanBuilder};
use uuid::Uuid;

use super::{Line, PROBES, REQUEST_ID, traceparent};
use crate::{
    telemetry::RequestTrace,
    web::{Routes, Shared},
};

const REQUEST_ID_MAX: usize = 64;

/// Builds the span that `TracingLogger` opens around a request.
pub(in crate::web) struct RequestSpan;

/// What is known about a request from its start.
pub(super) struct Began {
    pub(super) id: String,
    pub(super) at: Instant,
    /// The span to export, until it ends.
    pub(super) trace: RefCell<Option<RequestTrace>>,
    /// The trace of the request: the caller's, or a new one if spans are exported.
    trace_id: Option<TraceId>,
}

impl RootSpanBuilder for RequestSpan {
    fn on_request_start(request: &ServiceRequest) -> Span {
        let began = Began::of(request);
        tracing::info_span!(
            "request",
            request.id = %began.id,
            trace_id = began.trace_id.map(field::display),
            org.id = Empty,
            graphql.operation = Empty,
        )
    }

    fn on_request_end<B: MessageBody>(_: Span, outcome: &Result<ServiceResponse<B>, ActixError>) {
        // An error does not carry its request, so `around` has already written the line.
        let Ok(response) = outcome else { return };
        let request = response.request();
        let Some(began) = request.extensions().get::<Rc<Began>>().cloned() else { return };
        let line = Line {
            began: &began,
            method: request.method(),
            // Only now known without routing twice.
            pattern: request.match_pattern(),
            routes: request.app_data::<Rc<Routes>>().map(Rc::as_ref),
        };
        line.write(response.response());
    }
}

impl Began {
    /// What is known about this request; the first call starts its clock.
    pub(super) fn of(request: &ServiceRequest) -> Rc<Self> {
        if let Some(began) = request.extensions().get::<Rc<Self>>() {
            return Rc::clone(began);
        }
        let caller = traceparent::caller(request.headers());
        let caller_id = caller.as_ref().map(SpanContext::trace_id);
        let shared = request.app_data::<web::Data<Shared>>();
        let traces = shared.and_then(|shared| shared.traces.as_ref());
        let traces = traces.filter(|_| !PROBES.contains(&request.path()));
        let trace = traces.map(|traces| traces.begin(caller));
        let began = Rc::new(Self {
            id: given_id(request.headers()).map_or_else(|| new_id(request), str::to_owned),
            at: Instant::now(),
            trace_id: trace.as_ref().map(RequestTrace::id).or(caller_id),
            trace: RefCell::new(trace),
        });
        request.extensions_mut().insert(Rc::clone(&began));
        began
    }
}

/// The client's own id, if it is well-formed.
fn given_id(headers: &HeaderMap) -> Option<&str> {
    headers
        .get(REQUEST_ID)
        .and_then(|value| value.to_str().ok())
        .filter(|id| (1..=REQUEST_ID_MAX).contains(&id.len()))
        .filter(|id| id.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b)))
}

/// The id that `TracingLogger` generated for the request.
fn new_id(request: &ServiceRequest) -> String {
    let given = request.extensions().get::<RequestId>().map(|id| **id);
    given.unwrap_or_else(Uuid::now_v7).to_string()
}

#[cfg(test)]
mod tests {
    use std::{
        collections::HashMap,
        io::{self, Write},
        sync::{Arc, Mutex},
    };

    use actix_web::{
        App, HttpResponse,
        body::to_bytes,
        http::StatusCode,
        middleware::{Next, from_fn},
        test::{TestRequest, init_service, try_call_service},
    };
    use serde_json::{Value, json};
    use tracing_actix_web::TracingLogger;

    use super::*;
    use crate::{error::Error, web::http::request};

    #[derive(Clone, Default)]
    struct Log(Arc<Mutex<Vec<u8>>>);

    impl Write for Log {
        fn write(&mut self, text: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(text)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// The answer to a request, and the lines that it leaves in the log.
    async fn answer(request: TestRequest) -> (HttpResponse, Vec<Value>) {
        let log = Log::default();
        let writer = log.clone();
        let lines = tracing_subscriber::fmt().json().flatten_event(true).with_span_list(false);
        let _log = tracing::subscriber::set_default(
            lines.with_max_level(tracing::Level::INFO).with_writer(move || writer.clone()).finish(),
        );
        let methods = HashMap::from([("/lost/{id}".to_owned(), "GET".to_owned())]);
        let app = App::new()
            .app_data(Rc::new(Routes::of_methods(methods)))
            .route("/org/{id}", web::get().to(HttpResponse::NoContent))
            .route("/health/live", web::get().to(HttpResponse::Ok))
            .route(
                "/fault",
                web::get().to(async || -> Result<HttpResponse, Error> {
                    Err(Error::Internal("the reason".into()))
                }),
            )
            .wrap(from_fn(async |request: ServiceRequest, next: Next<_>| {
                if request.path().starts_with("/lost") {
                    return Err(Error::Busy { what: "a test" }.into());
                }
                next.call(request).await
            }))
            .wrap(from_fn(request::around))
            .wrap(TracingLogger::<RequestSpan>::new());
        let app = init_service(app).await;
        let answer = match try_call_service(&app, request.to_request()).await {
            Ok(answer) => answer.into_parts().1.map_into_boxed_body(),
            Err(error) => error.error_response(),
        };
        let text = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
        (answer, text.lines().map(|line| serde_json::from_str(line).unwrap()).collect())
    }

    fn get(path: &str) -> TestRequest {
        TestRequest::get().uri(path).insert_header((REQUEST_ID, "the-id"))
    }

    #[actix_web::test]
    async fn each_request_has_one_line_even_if_it_fails_or_has_no_route() {
        for (path, level, message, route, status, detail) in [
            ("/org/1?email=ada@example.com", "INFO", "request", "/org/{id}", 204, None),
            ("/nowhere/1", "INFO", "request", "unmatched", 404, None),
            ("/fault", "ERROR", "request failed", "/fault", 500, Some("the reason")),
            ("/lost/1", "ERROR", "request failed", "/lost/{id}", 503, Some("a test")),
        ] {
            let (answer, mut lines) = answer(get(path)).await;
            assert_eq!(lines.len(), 1, "{lines:?}");
            let line = lines[0].as_object_mut().unwrap();
            assert!(line.remove("timestamp").is_some());
            assert!(line.remove("latency_ms").unwrap().is_number());
            let mut expected = json!({
                "level": level, "message": message, "method": "GET", "route": route,
                "status": status, "target": "tenantry::web::http::request",
                "span": { "name": "request", "request.id": "the-id" },
            });
            if let Some(detail) = detail {
                expected["detail"] = detail.into();
            }
            assert_eq!(lines[0], expected, "{path}");
            assert_eq!(answer.status().as_u16(), status);
            assert_eq!(answer.headers().get(REQUEST_ID).unwrap(), "the-id");
        }
        assert!(answer(get("/health/live")).await.1.is_empty(), "probes are not logged");
    }

    #[actix_web::test]
    async fn an_error_carries_the_id_of_its_line_if_the_client_sends_none() {
        for path in ["/nowhere", "/fault", "/lost/1"] {
            let (answer, lines) = answer(TestRequest::get().uri(path)).await;
            let id = answer.headers().get(REQUEST_ID).unwrap().to_str().unwrap().to_owned();
            assert_eq!(Uuid::parse_str(&id).unwrap().get_version_num(), 7);
            assert_eq!(lines[0]["span"]["request.id"], id);
            assert!(answer.status() >= StatusCode::BAD_REQUEST);
            let body = to_bytes(answer.into_body()).await.unwrap();
            let body: Value = serde_json::from_slice(&body).unwrap();
            assert_eq!(body["request_id"], id);
        }
    }

    #[actix_web::test]
    async fn the_line_names_the_trace_of_a_caller() {
        const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
        for path in ["/org/1", "/lost/1", "/nowhere"] {
            let parent = format!("00-{TRACE}-b7ad6b7169203331-00");
            let (_, lines) = answer(get(path).insert_header(("traceparent", parent))).await;
            assert_eq!(lines[0]["span"]["trace_id"], TRACE, "{path}");
            let malformed = format!("00-{TRACE}-b7ad6b7169203331");
            let (_, lines) = answer(get(path).insert_header(("traceparent", malformed))).await;
            assert!(lines[0]["span"].get("trace_id").is_none(), "{path}: {lines:?}");
        }
    }
}
