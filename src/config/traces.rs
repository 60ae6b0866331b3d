//! Settings for traces.

use serde::Deserialize;
use url::Url;
use validator::{Validate, ValidationError};

use crate::shape::rule;

/// Traces of requests.
#[derive(Clone, Debug, Deserialize, Validate)]
#[serde(deny_unknown_fields)]
pub struct TraceSettings {
    /// An OpenTelemetry collector that accepts OTLP over HTTP; without it nothing is exported.
    #[validate(custom(function = is_collector))]
    pub endpoint: Option<String>,
    /// The fraction of requests to export, 0 to 1, unless the caller's `traceparent` decides.
    #[validate(custom(function = is_share))]
    pub ratio: f64,
}

fn is_collector(endpoint: &str) -> Result<(), ValidationError> {
    let valid = |url: Url| matches!(url.scheme(), "http" | "https") && url.query().is_none();
    rule(
        Url::parse(endpoint).is_ok_and(valid),
        "must be an http or https address without a query, such as http://127.0.0.1:4318",
    )
}

/// `validator`'s `range` would accept NaN.
fn is_share(ratio: f64) -> Result<(), ValidationError> {
    rule((0.0..=1.0).contains(&ratio), "must be from 0 to 1")
}
