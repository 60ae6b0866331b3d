//! Settings of traces.

use serde::Deserialize;
use url::Url;

use super::SettingsError;

/// Traces of requests.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TraceSettings {
    /// An OpenTelemetry collector that accepts OTLP over HTTP; without it nothing is exported.
    pub endpoint: Option<String>,
    /// The share of requests to export, from 0 to 1, unless the caller's `traceparent` decides.
    pub ratio: f64,
}

impl TraceSettings {
    pub(super) fn check(&self) -> Result<(), SettingsError> {
        let url = self.endpoint.as_deref().map(Url::parse).transpose();
        let good = |url: &Url| matches!(url.scheme(), "http" | "https") && url.query().is_none();
        if !url.is_ok_and(|url| url.as_ref().is_none_or(good)) {
            return Err(SettingsError(
                "OTEL_EXPORTER_OTLP_ENDPOINT must be an http or https address without query, such \
                 as http://127.0.0.1:4318"
                    .to_owned(),
            ));
        }
        if !(0.0..=1.0).contains(&self.ratio) {
            return Err(SettingsError("OTEL_TRACES_SAMPLER_ARG must be from 0 to 1".to_owned()));
        }
        Ok(())
    }
}
