//! Tests of occurrence and registration ids, including hostile ones.

use bson::oid::ObjectId;
use chrono::{DateTime, Utc};
use proptest::prelude::*;

use super::*;
use crate::domain::hostile::{almost, any_text};

fn moments() -> impl Strategy<Value = DateTime<Utc>> {
    let (first, last) = ("0000-01-01T00:00:00Z", "9999-12-31T23:59:59Z");
    let second = |text: &str| text.parse::<DateTime<Utc>>().unwrap().timestamp();
    (second(first)..=second(last)).prop_map(|second| DateTime::from_timestamp(second, 0).unwrap())
}

/// Texts that look like ids; some are valid.
fn almost_ids() -> impl Strategy<Value = String> {
    let id = "[0-9a-f]{24}(:[0-9a-f]{24})?@";
    let day = "[0-9]{4}-[01][0-9]-[0-2][0-9][Tt ]";
    let time = "[0-2][0-9]:[0-5][0-9]:[0-6][0-9]([.][0-9]{1,9})?([Zz]|[+-]00:00)";
    (id, day, time).prop_map(|(id, day, time)| format!("{id}{day}{time}"))
}

/// Valid ids.
fn ids() -> impl Strategy<Value = String> {
    let start = moments().prop_map(|start| start.to_rfc3339_opts(SecondsFormat::Secs, true));
    ("([0-9a-f]{24}:)?[0-9a-f]{24}@", start).prop_map(|(ids, start)| ids + &start)
}

proptest! {
    #[test]
    fn printed_ids_parse_to_the_same_id(
        event: [u8; 12], member: [u8; 12], start in moments(),
    ) {
        let event = ObjectId::from_bytes(event).into();
        let occurrence = OccurrenceId { start, event };
        let id = RegistrationId { member: ObjectId::from_bytes(member).into(), occurrence };
        prop_assert_eq!(occurrence.to_string().parse(), Ok(occurrence));
        prop_assert_eq!(id.to_string().parse(), Ok(id));
    }

    #[test]
    fn hostile_ids_are_refused_or_have_one_spelling(
        raw in prop_oneof![any_text(), almost_ids(), almost(almost_ids()), almost(ids())],
    ) {
        if let Ok(id) = raw.parse::<OccurrenceId>() {
            prop_assert_eq!(id.to_string(), raw.as_str());
            prop_assert_eq!(id.start.timestamp_subsec_nanos(), 0);
        }
        if let Ok(id) = raw.parse::<RegistrationId>() {
            prop_assert_eq!(id.to_string(), raw.as_str());
        }
    }
}

#[test]
fn other_spellings_are_refused() {
    let event = "0123456789abcdef01234567";
    let good = format!("{event}@2026-03-29T01:30:00Z");
    assert!(good.parse::<OccurrenceId>().is_ok());
    assert!(format!("{event}:{good}").parse::<RegistrationId>().is_ok());
    for start in [
        "2026-03-29T01:30:00z",
        "2026-03-29t01:30:00Z",
        "2026-03-29 01:30:00Z",
        "2026-03-29T01:30:00+00:00",
        "2026-03-29T01:30:00-00:00",
        "2026-03-29T03:30:00+02:00",
        "2026-03-29T01:30:00.000Z",
        "2026-03-29T01:30:00.001Z",
        "2026-03-29T01:30:00.000000001Z",
        "2016-12-31T23:59:60Z",
        "2026-02-30T01:30:00Z",
        "+2026-03-29T01:30:00Z",
        "12026-03-29T01:30:00Z",
        "2026-03-29T01:30Z",
        "2026-03-29T01:30:00Z ",
        "2026-03-29T01:30:00Z@",
        "٢٠٢٦-03-29T01:30:00Z",
        "",
    ] {
        let id = format!("{event}@{start}");
        assert!(id.parse::<OccurrenceId>().is_err(), "{id}");
        assert!(format!("{event}:{id}").parse::<RegistrationId>().is_err(), "{id}");
    }
    let upper = good.to_uppercase();
    for id in ["", "@", ":", "@:", &good[1..], &upper, &format!(" {good}"), &format!("@{good}")] {
        assert!(id.parse::<OccurrenceId>().is_err(), "{id}");
        assert!(format!("{event}:{id}").parse::<RegistrationId>().is_err(), "{id}");
        assert!(format!("{id}:{good}").parse::<RegistrationId>().is_err(), "{id}");
    }
}
