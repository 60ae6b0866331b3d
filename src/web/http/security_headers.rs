//! Security headers (OWASP REST Security and HTTP Headers Cheat Sheets): strict for the API, as
//! strict as scripts allow for pages.

use actix_web::http::header::{self, HeaderMap, HeaderName, HeaderValue};

/// The prefixes of the pages with scripts.
const PAGES: [&str; 2] = ["/docs", "/graphiql"];

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
const REVALIDATE: HeaderValue = HeaderValue::from_static("no-cache");

pub(in crate::web) fn is_page(path: &str) -> bool {
    PAGES.iter().any(|page| path.starts_with(page))
}

pub(in crate::web) fn secure(headers: &mut HeaderMap, page: bool) {
    for (name, value) in FOR_ALL {
        headers.insert(name, value);
    }
    if !headers.contains_key(header::CONTENT_SECURITY_POLICY) {
        let policy = if page { PAGE_POLICY } else { API_POLICY };
        headers.insert(header::CONTENT_SECURITY_POLICY, policy);
    }
    if !headers.contains_key(header::CACHE_CONTROL) {
        // A cached page of an older version must not load scripts of a newer one.
        headers.insert(header::CACHE_CONTROL, if page { REVALIDATE } else { NO_STORE });
    }
}
