//! Tests of hostile recurrence rules, and properties of all rules.

use proptest::prelude::*;

use super::*;
use crate::domain::hostile::{almost, any_text, soon};

const START: &str = "2026-01-07T02:30:00";

fn parse(raw: &str) -> Result<Rule, Invalid> {
    Rule::parse(raw, START.parse().unwrap(), TimeZone::parse("Europe/Berlin").unwrap())
}

fn first(raw: &str, most: usize) -> Vec<String> {
    let (rule, zone) = (parse(raw).unwrap(), TimeZone::parse("Europe/Berlin").unwrap());
    let starts = rule.starts(START.parse().unwrap(), zone).take(most);
    starts.map(|start| start.format("%Y-%m-%d").to_string()).collect()
}

#[test]
fn malformed_rules_are_refused() {
    let long = format!("FREQ=DAILY;BYMONTHDAY={}", ["1"; 300].join(","));
    for raw in [
        "",
        ";",
        "RRULE:",
        "RRULE:RRULE:FREQ=DAILY",
        "DAILY",
        "FREQ",
        "FREQ=",
        "FREQ=FORTNIGHTLY",
        "FREQ=DAILY;FREQ=DAILY",
        "FREQ=DAILY;COUNT=2;COUNT=3",
        "FREQ=DAILY;X=1",
        "FREQ=DAILY;BYEASTER=0",
        "FREQ = DAILY",
        "FREQ=DAILY;INTERVAL= 2",
        "FREQ=DAILY;INTERVAL=-1",
        "FREQ=DAILY;INTERVAL=65536",
        "FREQ=DAILY;INTERVAL=99999999999999999999999",
        "FREQ=DAILY;COUNT=99999999999999999999999",
        "FREQ=DAILY;COUNT=ten",
        "FREQ=WEEKLY;BYDAY=",
        "FREQ=WEEKLY;BYDAY=MO,",
        "FREQ=WEEKLY;BYDAY=MO,,TU",
        "FREQ=WEEKLY;BYDAY=M",
        "FREQ=WEEKLY;BYDAY=MONDAY",
        "FREQ=MONTHLY;BYDAY=0MO",
        "FREQ=MONTHLY;BYDAY=XMO",
        "FREQ=MONTHLY;BYDAY=99999MO",
        "FREQ=MONTHLY;BYDAY=6MO",
        "FREQ=YEARLY;BYDAY=54MO",
        "FREQ=DAILY;WKST=XX",
        "FREQ=DAILY;BYMONTH=0",
        "FREQ=DAILY;BYMONTH=13",
        "FREQ=DAILY;BYMONTHDAY=0",
        "FREQ=DAILY;BYMONTHDAY=32",
        "FREQ=DAILY;BYHOUR=24",
        "FREQ=DAILY;BYSECOND=-1",
        "FREQ=DAILY;BYHOUR=1;BYSETPOS=0",
        "FREQ=DAILY;BYYEARDAY=1",
        "FREQ=WEEKLY;BYMONTHDAY=1",
        "FREQ=YEARLY;BYWEEKNO=-2147483648",
        "FREQ=YEARLY;BYMONTHDAY=-2147483648",
        "FREQ=YEARLY;BYDAY=MO;BYSETPOS=-2147483648",
        "FREQ=MONTHLY;BYWEEKNO=1",
        "FREQ=DAILY\nCOUNT=3",
        "FREQ=DAILY;BYMONTH=1\n",
        "FREQ=DAILY;BYMONTH=1\r\nRRULE:FREQ=SECONDLY",
        "DTSTART:20260101T000000Z\nRRULE:FREQ=DAILY",
        "FREQ=DAİLY",
        "FREQ=DAILY;BYDAY=МО",
        "FREQ=DAILY;COUNT=٣",
        "FREQ=WEEKLY;BYDAY=M\u{d6}",
        "FREQ=DAILY\0",
        long.as_str(),
    ] {
        let trimmed = raw == "FREQ=DAILY;BYMONTH=1\n";
        assert!(parse(raw) == Err(NOT_A_RULE) || trimmed && parse(raw).is_ok(), "{raw:?}");
    }
}

#[test]
fn rules_that_recur_too_often_or_exceed_limits_are_refused() {
    let refused = |raw: &str| parse(raw).map(|rule| rule.text).unwrap_err().0;
    for raw in [
        "FREQ=SECONDLY",
        "FREQ=MINUTELY",
        "freq=hourly",
        "FREQ=SECONDLY;COUNT=1",
        "FREQ=DAILY;BYHOUR=1,2,3,4,5;BYMINUTE=0,10,20,30,40",
    ] {
        assert_eq!(refused(raw), TOO_OFTEN.0, "{raw}");
    }
    assert_eq!(refused("FREQ=DAILY;COUNT=0"), "must have a count of 1 to 5000");
    assert_eq!(refused("FREQ=DAILY;COUNT=4294967295"), "must have a count of 1 to 5000");
    assert_eq!(refused("FREQ=DAILY;INTERVAL=00"), "must have an interval of at least 1");
    let both = refused("FREQ=DAILY;COUNT=1;UNTIL=20270101T000000Z");
    assert_eq!(both, "must have a count or an end, not both");
    for until in ["", "2027", "20270101T", "20271301T000000Z", "+99999999990101T000000Z", "NEVER"] {
        let refusal = refused(&format!("FREQ=DAILY;UNTIL={until}"));
        assert_eq!(refusal == NOT_A_RULE.0, until.is_empty(), "{until}: {refusal}");
    }
    for raw in
        ["FREQ=DAILY;BYDAY=2MO", "FREQ=WEEKLY;BYDAY=MO,-1TU", "FREQ=YEARLY;BYWEEKNO=2;BYDAY=1MO"]
    {
        assert_eq!(
            refused(raw),
            "must number weekdays (1MO) only in monthly or yearly rules without BYWEEKNO",
            "{raw}"
        );
    }
    let weeks = refused("FREQ=YEARLY;BYWEEKNO=53;BYSETPOS=1");
    assert_eq!(weeks, "must not have positions (BYSETPOS) in weeks 52 and 53");
}

#[test]
fn the_end_has_a_four_digit_year_in_utc_too() {
    let start = START.parse().unwrap();
    for (until, zone, good) in [
        ("99991231", "UTC", true),
        ("99991231", "America/New_York", false),
        ("99991231T180000", "America/New_York", true),
        ("00000101", "Europe/Berlin", false),
    ] {
        let zone = TimeZone::parse(zone).unwrap();
        let rule = Rule::parse(&format!("FREQ=DAILY;UNTIL={until}"), start, zone);
        assert_eq!(rule.is_ok(), good, "{until}");
        if let Ok(rule) = rule {
            assert_eq!(Rule::parse(rule.as_str(), start, zone), Ok(rule));
        }
    }
}

#[test]
fn rules_that_never_match_are_refused() {
    for raw in [
        "FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=30",
        "FREQ=DAILY;BYMONTH=2;BYMONTHDAY=30",
        "FREQ=MONTHLY;BYMONTH=4,6;BYMONTHDAY=31,-31",
        "FREQ=DAILY;INTERVAL=7;BYDAY=TH",
        "FREQ=DAILY;INTERVAL=700;BYDAY=MO,TU,TH,FR,SA,SU",
        "FREQ=DAILY;BYHOUR=1,2;BYSETPOS=3",
        "FREQ=WEEKLY;BYDAY=MO,TU;BYSETPOS=-3",
        "FREQ=MONTHLY;BYDAY=1MO;BYMONTHDAY=8",
        "FREQ=MONTHLY;BYMONTH=2;BYDAY=5MO;BYMONTHDAY=1",
        "FREQ=MONTHLY;INTERVAL=12;BYMONTH=2",
        "FREQ=YEARLY;BYWEEKNO=20;BYMONTH=1",
        "FREQ=YEARLY;INTERVAL=4;BYYEARDAY=366",
        "FREQ=YEARLY;INTERVAL=374",
        "FREQ=DAILY;UNTIL=20260107T012959Z",
        "FREQ=DAILY;UNTIL=00000101",
    ] {
        let refused = parse(raw) == Err(NEVER);
        // The start counts only if the rule matches it.
        assert!(refused || raw == "FREQ=YEARLY;INTERVAL=374", "{raw}");
    }
    assert_eq!(first("FREQ=YEARLY;INTERVAL=374", 3), ["2026-01-07"]);
    assert_eq!(first("FREQ=DAILY;INTERVAL=65535", 3), ["2026-01-07", "2205-06-13", "2384-11-16"]);
    assert_eq!(first("FREQ=DAILY;UNTIL=20260107T013000Z", 3), ["2026-01-07"]);
}

#[test]
fn the_crate_stops_at_the_end_year() {
    let start: NaiveDateTime = START.parse().unwrap();
    let work = |raw: &str, from: NaiveDateTime| parse(raw).unwrap().expanded(from).count();
    // All remaining periods, which is the most that a search without a match goes through.
    assert_eq!(work("FREQ=YEARLY;UNTIL=99991231T235959Z", start), 375);
    assert_eq!(work("FREQ=MONTHLY", start), 374 * 12 + 12);
    assert_eq!(work("FREQ=MONTHLY;INTERVAL=12;COUNT=5000", start), 375);
    assert!(work("FREQ=DAILY;INTERVAL=10", start) < 13_700);
    assert_eq!(work("FREQ=YEARLY", "2390-06-01T00:00:00".parse().unwrap()), 12);
    for from in ["2400-01-01T00:00:00", "9999-12-31T23:59:59", "+262142-12-31T23:59:59"] {
        let zone = TimeZone::parse("UTC").unwrap();
        let from = from.parse().unwrap();
        assert_eq!(parse("FREQ=DAILY;COUNT=5000").unwrap().starts(from, zone).next(), None);
        assert_eq!(parse("FREQ=DAILY").unwrap().starts(from, zone).next(), None);
    }
}

#[test]
fn weekdays_with_and_without_a_number_can_be_combined() {
    let days = ["2026-01-12", "2026-01-13", "2026-01-19", "2026-01-26", "2026-02-02"];
    assert_eq!(first("FREQ=MONTHLY;BYDAY=MO,2TU", 5), days);
    let days = ["2026-01-14", "2026-01-21", "2026-01-28"];
    assert_eq!(first("FREQ=YEARLY;BYDAY=53TH,WE;BYSETPOS=2,3,4", 3), days);
    let days = ["2026-01-07", "2026-01-14", "2026-12-31"];
    assert_eq!(first("FREQ=YEARLY;BYDAY=53TH,WE;BYSETPOS=1,2,-1", 3), days);
}

#[test]
fn the_last_week_of_a_year_continues_into_the_next() {
    let sundays = ["2026-12-27", "2028-01-02", "2028-12-31", "2029-12-30", "2030-12-29"];
    assert_eq!(first("FREQ=YEARLY;BYWEEKNO=52;BYDAY=SU", 5), sundays);
    assert_eq!(first("FREQ=YEARLY;BYWEEKNO=53;BYDAY=SU", 2), ["2027-01-03", "2033-01-02"]);
    // The same counted from the end, and with another first day of the week.
    let mondays = ["2027-01-04", "2028-01-03", "2029-01-01", "2029-12-31"];
    assert_eq!(first("FREQ=YEARLY;BYWEEKNO=-52;BYDAY=MO", 4), mondays);
    assert_eq!(first("FREQ=YEARLY;WKST=SU;BYWEEKNO=53;BYDAY=SA", 2), ["2032-01-03", "2037-01-03"]);
}

fn numbers(low: i32, high: i32, most: usize) -> impl Strategy<Value = String> {
    prop::collection::vec(low..=high, 1..=most)
        .prop_map(|numbers| numbers.iter().map(ToString::to_string).collect::<Vec<_>>().join(","))
}

fn weekdays() -> impl Strategy<Value = String> {
    let number = prop_oneof![6 => Just(None), 1 => (-5_i32..=6).prop_map(Some)];
    let day = prop::sample::select(vec!["MO", "TU", "WE", "TH", "FR", "SA", "SU"]);
    prop::collection::vec((number, day), 1..4).prop_map(|days| {
        let text = |(number, day): &(Option<i32>, &str)| {
            format!("{}{day}", number.map_or_else(String::new, |number| number.to_string()))
        };
        days.iter().map(text).collect::<Vec<_>>().join(",")
    })
}

/// Texts that look like rules; most are valid.
fn rules() -> impl Strategy<Value = String> {
    let part = |name: &'static str, values: BoxedStrategy<String>, percent: f64| {
        let odd = ["", ",", "0", "-1", "65535", "4294967296", "-2147483648", "X"];
        let odd = prop::sample::select(odd.to_vec()).prop_map(str::to_owned);
        let values = prop_oneof![40 => values, 1 => odd];
        prop::option::weighted(percent, values.prop_map(move |value| format!("{name}={value}")))
    };
    let select = |values: &[&'static str]| {
        prop::sample::select(values.to_vec()).prop_map(str::to_owned).boxed()
    };
    let year = prop_oneof![9 => 1990_u32..2100, 1 => prop::sample::select(vec![0, 1, 9999])];
    let until =
        (year, 1_u32..13, 1_u32..29, prop::bool::ANY).prop_map(|(year, month, day, utc)| {
            format!("{year:04}{month:02}{day:02}T023000{}", if utc { "Z" } else { "" })
        });
    let freq = prop_oneof![
        30 => select(&["DAILY", "WEEKLY", "MONTHLY", "YEARLY"]),
        1 => select(&["weekly", "HOURLY", "SECONDLY"]),
    ];
    let parts = (
        (
            part("FREQ", freq.boxed(), 0.99),
            part("INTERVAL", numbers(1, 70, 1).boxed(), 0.3),
            part("COUNT", numbers(1, 5010, 1).boxed(), 0.2),
            part("UNTIL", until.boxed(), 0.2),
            part("WKST", select(&["MO", "SU", "SA"]), 0.2),
        ),
        (
            part("BYMONTH", numbers(1, 12, 3).boxed(), 0.2),
            part("BYMONTHDAY", numbers(-31, 31, 3).boxed(), 0.2),
            part("BYYEARDAY", numbers(-366, 366, 5).boxed(), 0.05),
            part("BYWEEKNO", numbers(-53, 53, 5).boxed(), 0.07),
            part("BYDAY", weekdays().boxed(), 0.5),
            part("BYHOUR", numbers(0, 23, 6).boxed(), 0.2),
            part("BYMINUTE", numbers(0, 59, 3).boxed(), 0.2),
            part("BYSECOND", numbers(0, 59, 2).boxed(), 0.05),
            part("BYSETPOS", numbers(-4, 4, 2).boxed(), 0.25),
        ),
    );
    parts.prop_map(|((a, b, c, d, e), (f, g, h, i, j, k, l, m, n))| {
        let parts = [a, b, c, d, e, f, g, h, i, j, k, l, m, n];
        parts.into_iter().flatten().collect::<Vec<_>>().join(";")
    })
}

fn locals() -> impl Strategy<Value = NaiveDateTime> {
    (0_i64..130 * 365 * 48)
        .prop_map(|halves| DateTime::UNIX_EPOCH.naive_utc() + Duration::minutes(30 * halves))
}

fn zones() -> impl Strategy<Value = TimeZone> {
    prop::sample::select(vec!["Europe/Berlin", "America/New_York", "Pacific/Apia", "UTC"])
        .prop_map(|name| TimeZone::parse(name).unwrap())
}

proptest! {
    #[test]
    fn hostile_rules_are_refused_or_stay_the_same_and_parse_quickly(
        raw in prop_oneof![
            1 => any_text(),
            1 => "(RRULE:)?(FREQ|UNTIL|COUNT|BYDAY)=[-+,;=A-Z0-9]{0,60}",
            4 => almost(rules()),
        ],
        start in locals(), zone in zones(),
    ) {
        if let Ok(rule) = soon(|| Rule::parse(&raw, start, zone)) {
            prop_assert!(soon(|| rule.starts(start, zone).take(100).count()) > 0, "{}", raw);
            let again = Rule::parse(rule.as_str(), start, zone);
            prop_assert_eq!(again.as_ref(), Ok(&rule), "{}", raw);
        }
    }

    #[test]
    fn a_rule_gives_the_same_times_when_reparsed_and_from_any_start(
        raw in rules(), start in locals(), zone in zones(), ahead in 0_i64..4 * 365 * 1440,
    ) {
        let Ok(rule) = Rule::parse(&raw, start, zone) else { return Ok(()) };
        let again = Rule::parse(rule.as_str(), start, zone);
        prop_assert_eq!(again.as_ref(), Ok(&rule), "{}", raw);
        let stored = Rule::from_stored(rule.as_str(), start, zone, rule.counted_to());
        prop_assert_eq!(stored.as_ref(), Ok(&rule), "{}", raw);
        let from = start + Duration::minutes(ahead);
        let near: Vec<_> = rule.starts(from, zone).take(30).collect();
        let all: Vec<_> =
            rule.starts(start, zone).skip_while(|time| *time < from).take(30).collect();
        prop_assert_eq!(&near, &all, "{}", raw);
        prop_assert!(near.is_sorted_by(|one, next| one < next), "{}", raw);
        let year = rule.starts(from, zone).take_while(|time| *time < from + Duration::days(366));
        prop_assert!(year.take(9_000).count() <= 367 * 24, "{}", raw);
    }
}
