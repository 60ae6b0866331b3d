//! The scalars for dates and times.

use async_graphql::{InputValueError, InputValueResult, Scalar, ScalarType, Value};
use chrono::{DateTime, Datelike, NaiveDateTime, SecondsFormat, Utc};
use serde::Serialize;

/// A point in time, RFC 3339 in UTC, such as `2026-11-21T08:00:00Z`. Input may have another offset.
#[derive(Clone, Copy, Debug)]
pub(super) struct Moment(pub(super) DateTime<Utc>);

/// A wall-clock time without offset, such as `2026-11-21T09:00:00`.
#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct Local(pub(super) NaiveDateTime);

#[Scalar(name = "DateTime")]
impl ScalarType for Moment {
    fn parse(value: Value) -> InputValueResult<Self> {
        let Value::String(text) = &value else { return Err(InputValueError::expected_type(value)) };
        let moment = DateTime::parse_from_rfc3339(text).ok().map(|moment| moment.to_utc());
        // Conversion to UTC may change the year, and years of RFC 3339 have four digits.
        moment.filter(|moment| (0..10_000).contains(&moment.year())).map(Self).ok_or_else(|| {
            InputValueError::custom("must be a date such as 2026-11-21T08:00:00Z (RFC 3339)")
        })
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::domain::hostile::{almost, any_text};

    fn times() -> impl Strategy<Value = String> {
        "[0-9]{4}-(0[1-9]|1[0-2])-[0-2][0-9]T[0-2][0-9]:[0-5][0-9](:[0-6][0-9])?"
    }

    fn moments() -> impl Strategy<Value = String> {
        let year = prop_oneof!["(0000-01-01|9999-12-31)", "[0-9]{4}-[01][0-9]-[0-2][0-9]"];
        let time = "T[0-2][0-9]:[0-5][0-9]:[0-6][0-9]([.][0-9]{1,9})?(Z|[+-][0-2][0-9]:[0-5][0-9])";
        (year, time).prop_map(|(year, time)| year + &time)
    }

    #[test]
    fn a_moment_has_a_year_of_four_digits_in_utc_too() {
        let parse = |text: &str| Moment::parse(Value::from(text));
        assert!(parse("9999-12-31T23:59:59Z").is_ok() && parse("0000-01-01T00:00:00Z").is_ok());
        assert!(parse("9999-12-31T23:59:59-00:01").is_err());
        assert!(parse("0000-01-01T00:00:00+00:01").is_err());
    }

    proptest! {
        #[test]
        fn hostile_wall_clock_times_are_refused_or_stay_the_same(
            raw in prop_oneof![any_text(), times(), almost(times())],
        ) {
            if let Ok(local) = Local::parse(Value::String(raw)) {
                let again = Local::parse(local.to_value()).map(|again| again.0);
                prop_assert_eq!(again.ok(), Some(local.0));
            }
        }

        #[test]
        fn hostile_moments_are_refused_or_stay_the_same(
            raw in prop_oneof![any_text(), moments(), almost(moments())],
        ) {
            if let Ok(moment) = Moment::parse(Value::String(raw)) {
                let again = Moment::parse(moment.to_value()).map(|again| again.0);
                prop_assert_eq!(again.ok(), Some(moment.0));
            }
        }
    }
}
