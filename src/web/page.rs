//! Security headers (OWASP REST Security and HTTP Headers Cheat Sheets): strict for answers of the
//! API, as strict as they can be for the pages that people open.

use actix_web::http::header::{self, HeaderMap, HeaderName, HeaderValue};

/// The prefix of the pages with scripts.
const DOCS: &str = "/docs";

const FOR_ALL: [(HeaderName, HeaderValue); 5] = [
    (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    (header::X_FRAME_OPTIONS, HeaderValue::from_static("DENY")),
    (header::REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
    (
        header::STRICT_TRANSPORT_SECURITY,
        HeaderValue::from_static("max-age=31536000; includeSubDomains"),
    ),
    (
        HeaderName::from_static("cross-origin-opener-policy"),
        HeaderValue::from_static("same-origin"),
    ),
];
const API_POLICY: HeaderValue =
    HeaderValue::from_static("default-src 'none'; frame-ancestors 'none'");
const PAGE_POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; \
     frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
);
const NO_STORE: HeaderValue = HeaderValue::from_static("no-store");

pub(super) fn is_page(path: &str) -> bool {
    path.starts_with(DOCS)
}

pub(super) fn secure(headers: &mut HeaderMap, page: bool) {
    for (name, value) in FOR_ALL {
        headers.insert(name, value);
    }
    if !headers.contains_key(header::CONTENT_SECURITY_POLICY) {
        let policy = if page { PAGE_POLICY } else { API_POLICY };
        headers.insert(header::CONTENT_SECURITY_POLICY, policy);
    }
    if !page && !headers.contains_key(header::CACHE_CONTROL) {
        headers.insert(header::CACHE_CONTROL, NO_STORE);
    }
}
