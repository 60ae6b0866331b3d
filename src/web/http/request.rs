//! Middleware around every request: its span and id, its log line, its metrics, its deadline, the
//! security headers, and the body of every error.

mod root_span;
mod traceparent;

use std::{cell::RefCell, collections::HashMap, pin::pin, rc::Rc, time::Instant};

use actix_web::{
    Error as ActixError, HttpMessage, HttpRequest, HttpResponse,
    body::{BoxBody, MessageBody},
    dev::{ServiceRequest, ServiceResponse},
    error::InternalError,
    http::{
        Method,
        header::{self, HeaderName, HeaderValue},
    },
    middleware::Next,
    web,
};
use metrics::Histogram;

use self::root_span::Began;
pub(in crate::web) use self::root_span::RequestSpan;
use super::{
    address::ClientAddress,
    answers::ReservedBody,
    body::BodyTime,
    connection::Connection,
    problem::{self, Detail, Problem},
    security_headers,
};
use crate::{
    error::Error,
    web::{Routes, Shared},
};

pub(in crate::web) const REQUEST_ID: &str = "x-request-id";
/// Probes come every few seconds, so they are logged at debug level and not traced.
const PROBES: [&str; 3] = ["/health/live", "/health/ready", "/metrics"];

/// Marks an answer whose body already describes its error, in another format.
pub(in crate::web) struct OwnBody;

/// Completes every answer. It runs inside the [`RequestSpan`].
pub(in crate::web) async fn around(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, ActixError> {
    let began = Began::of(&request);
    let method = request.method().clone();
    let page = security_headers::is_page(request.path());
    let connection = request.conn_data::<Connection>().cloned();
    let _handled = connection.as_ref().map(Connection::begin);
    let (uri, routes) = (request.uri().clone(), request.app_data::<Rc<Routes>>().cloned());
    match next.call(request).await {
        Ok(answer) => {
            let (request, response) = answer.into_parts();
            let response = finish(response.map_into_boxed_body(), &began.id, page);
            let response = reserved(&request, response, connection.as_ref());
            Ok(ServiceResponse::new(request, response))
        }
        Err(error) => {
            let routes = routes.as_deref();
            let pattern = routes.and_then(|routes| routes.pattern_of(uri.path()));
            let response = finish(error.error_response(), &began.id, page);
            Line { began: &began, method: &method, pattern, routes }.write(&response);
            Err(InternalError::from_response(error, response).into())
        }
    }
}

/// Aborts a request at its deadline, which excludes the wait for its body. It runs inside CORS, so
/// that pages of other origins can read this answer, too.
pub(in crate::web) async fn in_time(
    request: ServiceRequest,
    next: Next<impl MessageBody>,
) -> Result<ServiceResponse<impl MessageBody>, ActixError> {
    let started = Instant::now();
    let limit = request.app_data::<web::Data<Shared>>().map(|s| s.server.request_timeout());
    let body = BodyTime::default();
    request.extensions_mut().insert(body.clone());
    let call = next.call(request);
    let Some(limit) = limit else { return call.await };
    let mut call = pin!(call);
    loop {
        let deadline = started + limit + body.waited();
        match tokio::time::timeout_at(deadline.into(), &mut call).await {
            Ok(answer) => return answer,
            Err(_) if started.elapsed() < limit + body.waited() => {}
            Err(_) => return Err(Error::Busy { what: "the request ran out of time" }.into()),
        }
    }
}

/// Adds the headers of every answer, and the body of an error.
fn finish(mut response: HttpResponse, id: &str, page: bool) -> HttpResponse {
    let status = response.status();
    let own = response.extensions_mut().remove::<OwnBody>().is_some();
    if !own && (status.is_client_error() || status.is_server_error()) {
        let problem = response.extensions_mut().remove::<Problem>();
        let problem = problem.unwrap_or_else(|| Problem::of_status(status));
        response = response.set_body(BoxBody::new(problem.into_body(id)));
        let kind = HeaderValue::from_static(problem::CONTENT_TYPE);
        response.headers_mut().insert(header::CONTENT_TYPE, kind);
    }
    let headers = response.headers_mut();
    if let Ok(id) = HeaderValue::from_str(id) {
        headers.insert(HeaderName::from_static(REQUEST_ID), id);
    }
    security_headers::secure(headers, page);
    response
}

/// Reserves memory for a large answer until its client has read it.
fn reserved(
    request: &HttpRequest,
    response: HttpResponse,
    connection: Option<&Connection>,
) -> HttpResponse {
    let shared = request.app_data::<web::Data<Shared>>();
    let Some((shared, connection)) = shared.zip(connection) else { return response };
    response.map_body(|_, body| {
        let body = match body.try_into_bytes() {
            Ok(body) => body,
            Err(stream) => return stream,
        };
        let address = || ClientAddress::of(request).0;
        match shared.answers.reserve(body.len(), address, connection.eviction()) {
            Some(reservation) => BoxBody::new(ReservedBody::new(body, reservation, connection)),
            None => BoxBody::new(body),
        }
    })
}

/// The one log line of a request, with its metrics and the end of its trace.
struct Line<'a> {
    began: &'a Began,
    method: &'a Method,
    pattern: Option<String>,
    routes: Option<&'a Routes>,
}

impl Line<'_> {
    fn write<B>(self, response: &HttpResponse<B>) {
        let elapsed = self.began.at.elapsed();
        let method = self.method.as_str();
        let route = self.pattern.as_deref().unwrap_or("unmatched");
        let latency_ms = (elapsed.as_secs_f64() * 1e6).round() / 1e3;
        let extensions = response.extensions();
        let detail = extensions.get::<Detail>().map(|detail| detail.0.as_str());
        let status = response.status().as_u16();
        if response.status().is_server_error() {
            tracing::error!(method, route, status, latency_ms, detail, "request failed");
        } else if PROBES.contains(&route) {
            tracing::debug!(method, route, status, latency_ms, "request");
        } else {
            tracing::info!(method, route, status, latency_ms, "request");
        }
        let method = method_label(method);
        if let Some(routes) = self.routes {
            routes.timings.of(method, route, status).record(elapsed.as_secs_f64());
        }
        if let Some(trace) = self.began.trace.take() {
            trace.end(method, self.pattern.as_deref(), status);
        }
    }
}

/// The histograms of one thread by route, method and status. Finding one in the registry of the
/// process would build a key with three labels for every request.
#[derive(Default)]
pub(in crate::web) struct Timings(RefCell<HashMap<String, ByOutcome>>);

/// By method and status.
type ByOutcome = HashMap<(&'static str, u16), Histogram>;

impl Timings {
    fn of(&self, method: &'static str, route: &str, status: u16) -> Histogram {
        let mut routes = self.0.borrow_mut();
        if let Some(known) = routes.get(route).and_then(|known| known.get(&(method, status))) {
            return known.clone();
        }
        let histogram = metrics::histogram!(
            "tenantry_http_request_seconds",
            "method" => method,
            "route" => route.to_owned(),
            "status" => status.to_string()
        );
        routes.entry(route.to_owned()).or_default().insert((method, status), histogram.clone());
        histogram
    }
}

/// The label of a method. Labels stay in memory, and clients may send any method.
fn method_label(method: &str) -> &'static str {
    ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "HEAD"]
        .into_iter()
        .find(|known| *known == method)
        .unwrap_or("other")
}
