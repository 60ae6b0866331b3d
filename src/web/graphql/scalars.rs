//! Dates as the contract writes them.

use async_graphql::{InputValueError, InputValueResult, Scalar, ScalarType, Value};
use chrono::{DateTime, NaiveDateTime, SecondsFormat, Utc};

/// A moment, RFC 3339 in UTC, such as `2026-11-21T08:00:00Z`. Other offsets are taken and turned
/// into UTC.
#[derive(Clone, Copy, Debug)]
pub(super) struct Moment(pub(super) DateTime<Utc>);

/// A time on the wall of a place, without offset, such as `2026-11-21T09:00:00`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Local(pub(super) NaiveDateTime);

#[Scalar(name = "DateTime")]
impl ScalarType for Moment {
    fn parse(value: Value) -> InputValueResult<Self> {
        let Value::String(text) = &value else { return Err(InputValueError::expected_type(value)) };
        DateTime::parse_from_rfc3339(text).map(|moment| Self(moment.with_timezone(&Utc))).map_err(
            |_| InputValueError::custom("must be a date such as 2026-11-21T08:00:00Z (RFC 3339)"),
        )
    }

    fn to_value(&self) -> Value {
        Value::String(self.0.to_rfc3339_opts(SecondsFormat::AutoSi, true))
    }
}

#[Scalar(name = "LocalDateTime")]
impl ScalarType for Local {
    fn parse(value: Value) -> InputValueResult<Self> {
        let Value::String(text) = &value else { return Err(InputValueError::expected_type(value)) };
        let parsed = ["%Y-%m-%dT%H:%M:%S", "%Y-%m-%dT%H:%M"]
            .iter()
            .find_map(|format| NaiveDateTime::parse_from_str(text, format).ok());
        parsed.map(Self).ok_or_else(|| {
            InputValueError::custom(
                "must be a wall-clock time without an offset, such as 2026-11-21T09:00:00",
            )
        })
    }

    fn to_value(&self) -> Value {
        Value::String(self.0.format("%Y-%m-%dT%H:%M:%S").to_string())
    }
}
