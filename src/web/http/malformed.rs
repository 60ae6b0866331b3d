//! Answers to requests that the HTTP library refuses: heads that are malformed, too large or late.
//! The library sends only a status line; this replaces it with a problem.

use std::io::Write;

use actix_web::http::{
    StatusCode,
    header::{HeaderMap, HeaderName, HeaderValue},
};

use super::{
    problem::{self, Problem},
    request::REQUEST_ID,
    security_headers,
};

/// An answer that replaces the library's, and how many of its bytes were sent.
#[derive(Debug)]
pub(in crate::web) struct Refusal {
    pub(in crate::web) bytes: Vec<u8>,
    pub(in crate::web) sent: usize,
}

impl Refusal {
    /// The replacement of `written`, if that refuses a request.
    pub(in crate::web) fn of(written: &[u8]) -> Option<Self> {
        let status = written.strip_prefix(b"HTTP/1.1 ")?.get(..3)?;
        let status = StatusCode::from_bytes(status).ok().filter(StatusCode::is_client_error)?;
        metrics::counter!("tenantry_malformed_requests_total", "status" => status.as_u16().to_string())
            .increment(1);
        let id = uuid::Uuid::now_v7().to_string();
        tracing::debug!(request.id = id, status = status.as_u16(), "a request was malformed");
        let bytes = answer(status, &id)?;
        Some(Self { bytes, sent: 0 })
    }
}

fn answer(status: StatusCode, id: &str) -> Option<Vec<u8>> {
    let body = Problem::of_status(status).into_body(id);
    let mut headers = HeaderMap::new();
    headers.insert(HeaderName::from_static(REQUEST_ID), HeaderValue::from_str(id).ok()?);
    security_headers::secure(&mut headers, false);
    let mut bytes = Vec::new();
    let reason = status.canonical_reason().unwrap_or("Error");
    write!(
        bytes,
        "HTTP/1.1 {} {reason}\r\nconnection: close\r\ncontent-type: {}\r\ncontent-length: {}\r\n",
        status.as_u16(),
        problem::CONTENT_TYPE,
        body.len(),
    )
    .ok()?;
    for (name, value) in &headers {
        write!(bytes, "{name}: {}\r\n", value.to_str().ok()?).ok()?;
    }
    bytes.extend_from_slice(b"\r\n");
    bytes.extend_from_slice(&body);
    Some(bytes)
}
