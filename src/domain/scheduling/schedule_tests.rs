//! Tests recurrence against the results of two other expanders, and properties of all schedules.

use std::fmt::Write as _;

use proptest::prelude::*;

use super::*;

const FIXTURE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/recurrence.txt");

fn zone(name: &str) -> TimeZone {
    TimeZone::parse(name).unwrap()
}

fn local(text: &str) -> NaiveDateTime {
    NaiveDateTime::parse_from_str(text, "%Y%m%dT%H%M%S").unwrap()
}

fn utc(text: &str) -> DateTime<Utc> {
    local(text.strip_suffix('Z').unwrap()).and_utc()
}

/// A UTC time without seconds.
fn minute(text: &str) -> DateTime<Utc> {
    NaiveDateTime::parse_from_str(text, "%Y%m%dT%H%MZ").unwrap().and_utc()
}

fn locals(list: &str) -> Vec<NaiveDateTime> {
    list.split(',').filter(|text| !text.is_empty()).map(local).collect()
}

/// FNV-1a over the seconds since 1970.
fn digest(starts: &[DateTime<Utc>]) -> String {
    let bytes = starts.iter().flat_map(|start| start.timestamp().to_le_bytes());
    let value = bytes
        .fold(0x811c_9dc5_u32, |value, byte| (value ^ u32::from(byte)).wrapping_mul(0x0100_0193));
    format!("{value:08x}")
}

/// How our result differs from one line of the fixture.
fn mismatch(line: &str) -> Option<String> {
    let columns: Vec<&str> = line.split('\t').collect();
    let [name, start, rule, excluded, additional, from, to, count, expected] = columns[..] else {
        return Some("columns".to_owned());
    };
    let (zone, start) = (zone(name), local(start));
    let rule = match Rule::parse(rule, start, zone) {
        Ok(rule) if count != "never" => Some(rule),
        Err(Invalid("must match at least one date")) if count == "never" => return None,
        other => return Some(format!("{other:?}")),
    };
    let recurrence =
        Recurrence { rule, excluded: locals(excluded), additional: locals(additional) };
    let schedule = Schedule::new(start, zone, 60, Some(recurrence));
    let starts = schedule.starts_between(minute(from), minute(to));
    let right = starts.len().to_string() == count && digest(&starts) == expected;
    (!right).then(|| format!("{} starts: {:?}", starts.len(), &starts[..starts.len().min(50)]))
}

#[test]
fn ten_thousand_rules_match_other_expanders() {
    let fixture = std::fs::read_to_string(FIXTURE).unwrap();
    let lines = (1..).zip(fixture.lines()).filter(|(_, line)| !line.starts_with('#'));
    let (mut lines_read, mut wrong, mut report) = (0, 0, String::new());
    for (number, line) in lines {
        lines_read += 1;
        if let Some(ours) = mismatch(line) {
            wrong += 1;
            if wrong <= 10 {
                writeln!(report, "line {number}: {line}\n  ours: {ours}").unwrap();
            }
        }
    }
    assert_eq!(lines_read, 10_000);
    let hint =
        "recurrence.py explain <line> shows details; it uses tzdb 2025b, and this crate uses";
    assert!(wrong == 0, "{wrong} mismatches; {hint} {}\n{report}", chrono_tz::IANA_TZDB_VERSION);
}

fn schedule(name: &str, start: &str, rule: &str, excluded: &str, additional: &str) -> Schedule {
    let (zone, start) = (zone(name), local(start));
    let rule = (!rule.is_empty()).then(|| Rule::parse(rule, start, zone).unwrap());
    let (excluded, additional) = (locals(excluded), locals(additional));
    Schedule::new(start, zone, 60, Some(Recurrence { rule, excluded, additional }))
}

fn days(schedule: &Schedule, from: &str, to: &str) -> Vec<String> {
    let starts = schedule.starts_between(utc(from), utc(to));
    starts.iter().map(|start| start.format("%m-%dT%H:%M").to_string()).collect()
}

#[test]
fn a_weekly_meeting_keeps_its_local_time() {
    let weekly = schedule("Europe/Berlin", "20260316T090000", "FREQ=WEEKLY", "", "");
    let seen = days(&weekly, "20260316T000000Z", "20260407T000000Z");
    assert_eq!(seen, ["03-16T08:00", "03-23T08:00", "03-30T07:00", "04-06T07:00"]);
    assert!(weekly.starts_at(utc("20260330T070000Z")));
    assert!(!weekly.starts_at(utc("20260330T070000Z") + Duration::nanoseconds(1)));
    assert!(!weekly.starts_at(utc("20260330T080000Z")));
}

#[test]
fn two_local_times_of_one_moment_are_one_start() {
    // On 29 March, 2:30 becomes 3:30.
    let rule = "FREQ=DAILY;BYHOUR=2,3";
    let twice = schedule("Europe/Berlin", "20260328T023000", rule, "", "");
    let seen = days(&twice, "20260328T000000Z", "20260330T000000Z");
    assert_eq!(seen, ["03-28T01:30", "03-28T02:30", "03-29T01:30"]);
    // Excluding either time excludes the single start.
    for excluded in ["20260329T023000", "20260329T033000"] {
        let without = schedule("Europe/Berlin", "20260328T023000", rule, excluded, "");
        assert_eq!(days(&without, "20260328T000000Z", "20260330T000000Z"), seen[..2]);
    }
}

#[test]
fn an_end_is_compared_in_utc_at_a_clock_change() {
    // In this zone, 2:15 on 4 October becomes 2:45, which is too late; 2:30 is not.
    let rule = "FREQ=DAILY;BYMINUTE=15,30;UNTIL=20261003T153000Z";
    let ends = schedule("Australia/Lord_Howe", "20261003T020000", rule, "", "");
    let seen = days(&ends, "20261001T000000Z", "20261010T000000Z");
    assert_eq!(seen, ["10-02T15:45", "10-02T16:00", "10-03T15:30"]);
    assert_eq!(ends.bounds().1, Some(utc("20261003T153000Z")));
}

#[test]
fn positions_are_counted_in_whole_weeks_from_any_start() {
    let rule = "FREQ=WEEKLY;BYDAY=MO,WE,FR;BYSETPOS=2";
    let seconds = schedule("UTC", "20260107T090000", rule, "", "");
    let seen = ["01-09T09:00", "01-14T09:00", "01-21T09:00"];
    assert_eq!(days(&seconds, "20260101T000000Z", "20260122T000000Z"), seen);
    assert_eq!(days(&seconds, "20260116T090000Z", "20260122T000000Z"), seen[2..]);
}

#[test]
fn excluded_dates_may_leave_no_occurrence() {
    let empty = |rule, excluded, additional| {
        schedule("UTC", "20260107T090000", rule, excluded, additional).is_empty()
    };
    assert!(empty("", "20260107T090000", ""));
    assert!(empty("FREQ=DAILY;COUNT=1", "20260107T090000", ""));
    assert!(!empty("FREQ=DAILY;COUNT=2", "20260107T090000", ""));
    assert!(!empty("", "20260107T090000", "20250101T000000"));
    assert!(!empty("", "", ""));
}

#[test]
fn bounds_are_tight() {
    let bounds =
        |rule, additional| schedule("UTC", "20260107T090000", rule, "", additional).bounds();
    let days = |first, last| (utc(first), Some(utc(last)));
    assert_eq!(bounds("", ""), days("20260105T090000Z", "20260107T090000Z"));
    assert_eq!(bounds("FREQ=DAILY", "20300101T000000"), (utc("20260105T090000Z"), None));
    let ten = bounds("FREQ=DAILY;COUNT=10", "20250101T000000");
    assert_eq!(ten, days("20250101T000000Z", "20260118T090000Z"));
    let added = bounds("FREQ=DAILY;UNTIL=20260110T000000Z", "20270101T000000");
    assert_eq!(added, days("20260105T090000Z", "20270101T000000Z"));
}

#[test]
fn starts_are_whole_seconds_from_1970_to_2099() {
    let check = |text: &str| Schedule::check_start(text.parse().unwrap()).is_ok();
    assert!(check("1970-01-01T00:00:00") && check("2099-12-31T23:59:59"));
    for text in ["1969-12-31T23:59:59", "2100-01-01T00:00:00", "2026-01-01T00:00:00.5"] {
        assert!(!check(text), "{text}");
    }
    assert!(!check("2016-12-31T23:59:60"));
}

#[test]
fn extreme_windows_are_handled() {
    let daily = schedule("Pacific/Apia", "20260107T090000", "FREQ=DAILY", "", "20260101T000000");
    let (first, last) = (DateTime::<Utc>::MIN_UTC, DateTime::<Utc>::MAX_UTC);
    assert!(daily.starts_between(last, first).is_empty());
    assert_eq!(daily.starts_between(first, utc("20260102T000000Z")).len(), 1);
    assert!(daily.starts_between(utc("24000102T000000Z"), last).is_empty());
    assert!(!daily.starts_at(first) && !daily.starts_at(last));
}

fn cases() -> impl Strategy<Value = Schedule> {
    let rules = prop::sample::select(vec![
        "",
        "FREQ=DAILY",
        "FREQ=DAILY;COUNT=400;BYHOUR=1,2,3",
        "FREQ=WEEKLY;BYDAY=SU;BYHOUR=2,3;BYMINUTE=0,30;COUNT=100",
        "FREQ=MONTHLY;BYDAY=-1SU;UNTIL=20320328T013000Z",
        "FREQ=YEARLY;BYMONTH=3,10;BYDAY=-1SU;BYHOUR=2,3;COUNT=9",
        "FREQ=DAILY;BYHOUR=2,3;BYMINUTE=0,30;UNTIL=20320328T010000Z",
    ]);
    // Half hours around a clock change, so that dates coincide.
    let near = |around: i64| {
        let change = local("20300331T020000");
        (-around..around).prop_map(move |halves| change + Duration::minutes(30 * halves))
    };
    let dates = || prop::collection::vec(near(200), 0..6);
    (rules, near(3_000), dates(), dates()).prop_filter_map(
        "never happens",
        |(rule, start, excluded, additional)| {
            let zone = zone("Europe/Berlin");
            let rule = (!rule.is_empty()).then(|| Rule::parse(rule, start, zone));
            let rule = rule.transpose().ok()?;
            let recurrence = Recurrence { rule, excluded, additional };
            Some(Schedule::new(start, zone, 60, Some(recurrence)))
        },
    )
}

proptest! {
    #[test]
    fn all_starts_are_within_the_bounds(schedule in cases()) {
        let (from, to) = (utc("20290101T000000Z"), utc("20340101T000000Z"));
        let starts = schedule.starts_between(from, to);
        prop_assert_eq!(starts.is_empty(), schedule.is_empty());
        let (first, last) = schedule.bounds();
        prop_assert!(starts.iter().all(|start| first <= *start));
        prop_assert!(last.is_none_or(|last| starts.iter().all(|start| *start <= last)));
    }

    #[test]
    fn a_window_matches_the_same_part_of_a_wider_window(
        schedule in cases(), from in -300_i64..300, hours in 0_i64..200,
    ) {
        let from = utc("20300331T010000Z") + Duration::minutes(30 * from);
        let to = from + Duration::hours(hours);
        let wide = Duration::days(20);
        let mut all = schedule.starts_between(from - wide, to + wide);
        all.retain(|start| from <= *start && *start < to);
        prop_assert_eq!(schedule.starts_between(from, to), all.clone());
        prop_assert!(all.iter().all(|start| schedule.starts_at(*start)));
    }
}
