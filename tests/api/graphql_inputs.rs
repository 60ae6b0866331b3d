//! Invalid events: each wrong field is named, and no recurrence rule keeps the server busy.

use serde_json::{Value, json};

use crate::support::{Client, Event, Reply, TestApp, code, in_time, wrong_fields};

const CREATE: &str = "mutation C($i: CreateEventInput!) { createEvent(input: $i) { id } }";
const UPDATE: &str =
    "mutation U($id: ID!, $i: UpdateEventInput!) { updateEvent(id: $id, input: $i) {
    event { id version recurrence { rule } } refusal { code } } }";

/// A valid event with other values in some fields.
fn event(fields: &Value) -> Value {
    let mut input = json!({ "title": "Yoga", "timeZone": "Europe/Berlin", "durationMinutes": 60,
        "capacity": 10, "startsAt": "2027-01-04T09:00:00" });
    for (name, value) in fields.as_object().unwrap() {
        input[name] = value.clone();
    }
    input
}

async fn create(client: &Client, fields: &Value) -> Reply {
    client.graphql(CREATE, json!({ "i": event(fields) })).await.expect(200)
}

fn dates(count: usize) -> Vec<String> {
    let date =
        |i: usize| format!("{}-{:02}-{:02}T09:00:00", 2027 + i / 336, i / 28 % 12 + 1, i % 28 + 1);
    (0..count).map(date).collect()
}

/// Invalid events, each with the fields that the answer must name.
fn wrong_inputs() -> Vec<(Value, Vec<&'static str>)> {
    let weekly = |more: Value| {
        let mut recurrence = json!({ "frequency": "WEEKLY" });
        for (name, value) in more.as_object().unwrap() {
            recurrence[name] = value.clone();
        }
        json!({ "recurrence": recurrence })
    };
    let rule = |rule: &str| json!({ "recurrence": { "rule": rule } });
    vec![
        (json!({ "title": " " }), vec!["title"]),
        (json!({ "title": "x".repeat(129) }), vec!["title"]),
        (json!({ "title": "a\u{0}b" }), vec!["title"]),
        (json!({ "description": "x".repeat(10_001) }), vec!["description"]),
        (json!({ "description": "bell \u{7}" }), vec!["description"]),
        (json!({ "timeZone": "Mars/Olympus" }), vec!["timeZone"]),
        (json!({ "timeZone": "+02:00" }), vec!["timeZone"]),
        (json!({ "startsAt": "1969-12-31T23:59:59" }), vec!["startsAt"]),
        (json!({ "startsAt": "9999-01-01T00:00:00" }), vec!["startsAt"]),
        (json!({ "durationMinutes": 0 }), vec!["durationMinutes"]),
        (json!({ "durationMinutes": 44_641 }), vec!["durationMinutes"]),
        (json!({ "capacity": 0 }), vec!["capacity"]),
        (json!({ "capacity": 1_000_001 }), vec!["capacity"]),
        (
            json!({ "capacity": -5, "title": "", "timeZone": "", "durationMinutes": -1,
            "startsAt": "2100-01-01T00:00:00" }),
            vec!["title", "capacity", "startsAt", "timeZone", "durationMinutes"],
        ),
        (rule("every now and then"), vec!["recurrence.rule"]),
        (
            json!({ "title": "", "recurrence": { "rule": "FREQ=DAILY", "frequency": "DAILY" } }),
            vec!["title", "recurrence.rule"],
        ),
        (weekly(json!({ "rule": "FREQ=WEEKLY" })), vec!["recurrence.rule"]),
        (json!({ "recurrence": { "rule": "FREQ=WEEKLY", "count": 3 } }), vec!["recurrence.rule"]),
        (json!({ "recurrence": { "count": 3 } }), vec!["recurrence.rule"]),
        (json!({ "recurrence": {} }), vec!["recurrence"]),
        (json!({ "recurrence": { "excludedDates": dates(1) } }), vec!["recurrence"]),
        (weekly(json!({ "count": 3, "until": "2027-03-01T00:00:00Z" })), vec!["recurrence.rule"]),
        (weekly(json!({ "byMonthDay": [1] })), vec!["recurrence.rule"]),
        (
            json!({ "recurrence": { "frequency": "MONTHLY", "byMonthDay": [32] } }),
            vec!["recurrence.rule"],
        ),
        (weekly(json!({ "byWeekday": [] })), vec!["recurrence.rule"]),
        (weekly(json!({ "until": "2020-01-01T00:00:00Z" })), vec!["recurrence.rule"]),
        (weekly(json!({ "excludedDates": dates(1_001) })), vec!["recurrence.excludedDates"]),
        (weekly(json!({ "additionalDates": dates(1_001) })), vec!["recurrence.additionalDates"]),
        (
            weekly(json!({ "excludedDates": ["9999-01-01T00:00:00"],
            "additionalDates": ["0001-01-01T00:00:00"] })),
            vec!["recurrence.excludedDates", "recurrence.additionalDates"],
        ),
        (
            weekly(json!({ "count": 1, "excludedDates": ["2027-01-04T09:00:00"] })),
            vec!["recurrence"],
        ),
    ]
}

/// Several wrong fields at once.
fn wrong_together() -> Vec<(Value, Vec<&'static str>)> {
    vec![
        (
            json!({ "capacity": 0, "title": "", "description": "\u{7}", "timeZone": "",
            "durationMinutes": 0, "startsAt": "2100-01-01T00:00:00", "recurrence": {
                "frequency": "DAILY", "rule": "FREQ=DAILY", "interval": 0, "count": 5_001,
                "excludedDates": dates(1_001), "additionalDates": ["9999-01-01T00:00:00"] } }),
            vec![
                "title",
                "description",
                "capacity",
                "startsAt",
                "timeZone",
                "durationMinutes",
                "recurrence.rule",
                "recurrence.excludedDates",
                "recurrence.additionalDates",
                "recurrence.count",
                "recurrence.interval",
            ],
        ),
        (json!({ "title": "", "recurrence": {} }), vec!["title", "recurrence"]),
        (
            json!({ "recurrence": { "frequency": "DAILY", "interval": 1_001 } }),
            vec!["recurrence.interval"],
        ),
        (json!({ "recurrence": { "frequency": "DAILY", "count": 0 } }), vec!["recurrence.count"]),
    ]
}

#[tokio::test]
async fn every_wrong_field_of_an_event_is_named() {
    let app = TestApp::start().await;
    let client = app.sign_up_admin("Gym").await;
    let stored = Event::create(&client, json!({ "startsAt": "2027-01-04T09:00:00" })).await;
    for (wrong, fields) in wrong_inputs().into_iter().chain(wrong_together()) {
        let reply = create(&client, &wrong).await;
        assert_eq!(wrong_fields(&reply), fields, "{wrong}: {reply:?}");
        for error in reply.body["errors"][0]["extensions"]["errors"].as_array().unwrap() {
            assert!(!error["message"].as_str().unwrap().is_empty(), "{wrong}");
        }
        // The same rules hold for updates.
        let reply = client.graphql(UPDATE, json!({ "id": stored.id, "i": wrong })).await;
        assert_eq!(wrong_fields(&reply), fields, "{wrong}: {reply:?}");
    }
    let query = "query E($id: ID!) { event(id: $id) { version title } events { nodes { id } } }";
    let found = client.query(query, json!({ "id": stored.id })).await;
    assert_eq!(found["event"], json!({ "version": 1, "title": "Yoga" }));
    assert_eq!(found["events"]["nodes"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn values_of_a_wrong_type_are_refused() {
    let app = TestApp::start().await;
    let client = app.sign_up_admin("Gym").await;
    for wrong in [
        json!({ "startsAt": "2027-01-04T09:00:00Z" }),
        json!({ "startsAt": "2027-02-30T09:00:00" }),
        json!({ "startsAt": 1_798_761_600 }),
        json!({ "capacity": "10" }),
        json!({ "capacity": 1.5 }),
        json!({ "durationMinutes": 1e300 }),
        json!({ "title": null }),
        json!({ "title": ["Yoga"] }),
        json!({ "recurrence": { "frequency": "HOURLY" } }),
        json!({ "recurrence": { "frequency": "DAILY", "interval": 0 } }),
        json!({ "recurrence": { "frequency": "DAILY", "interval": 1_001 } }),
        json!({ "recurrence": { "frequency": "DAILY", "count": 5_001 } }),
        json!({ "recurrence": { "frequency": "DAILY", "until": "2027-01-04" } }),
        json!({ "recurrence": { "frequency": "WEEKLY", "byWeekday": ["FUNDAY"] } }),
        json!({ "unknown": 1 }),
        json!({ "id": "68a1f0c2e4b0a1b2c3d4e5f6" }),
    ] {
        let reply = create(&client, &wrong).await;
        assert_eq!(code(&reply), "validation", "{wrong}: {reply:?}");
        assert!(reply.body["data"].is_null(), "{wrong}: {reply:?}");
    }
    let found = client.query("{ events { nodes { id } } }", json!({})).await;
    assert_eq!(found["events"]["nodes"], json!([]));
}

/// Rules that match nothing, match far too often, or are malformed on purpose.
fn hostile_rules() -> Vec<String> {
    let all = |count: u32| (0..count).map(|i| i.to_string()).collect::<Vec<_>>().join(",");
    let mut rules: Vec<String> = [
        "FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=30",
        "FREQ=DAILY;BYMONTH=2;BYMONTHDAY=31",
        "FREQ=MONTHLY;BYMONTH=4;BYMONTHDAY=31",
        "FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=-30",
        "FREQ=YEARLY;INTERVAL=4;BYMONTH=2;BYMONTHDAY=29",
        "FREQ=YEARLY;BYWEEKNO=53;BYMONTH=6",
        "FREQ=DAILY;BYYEARDAY=366;BYMONTH=1",
        "FREQ=MONTHLY;BYDAY=MO;BYSETPOS=300",
        "FREQ=MONTHLY;INTERVAL=65535;BYMONTHDAY=31;BYMONTH=2",
        "FREQ=SECONDLY",
        "FREQ=MINUTELY;COUNT=1000000",
        "FREQ=HOURLY",
        "FREQ=DAILY;COUNT=0",
        "FREQ=DAILY;COUNT=-1",
        "FREQ=DAILY;COUNT=4294967297",
        "FREQ=DAILY;INTERVAL=0",
        "FREQ=DAILY;INTERVAL=-1",
        "FREQ=DAILY;INTERVAL=00",
        "FREQ=DAILY;INTERVAL=99999999999999999999",
        "FREQ=DAILY;UNTIL=99999999T999999Z",
        "FREQ=DAILY;UNTIL=-10000101T000000Z",
        "FREQ=DAILY;BYHOUR=24",
        "FREQ=DAILY;BYHOUR=-1",
        "FREQ=WEEKLY;BYDAY=9999999MO",
        "FREQ=WEEKLY;BYDAY=2MO",
        "FREQ=MONTHLY;BYDAY=0MO",
        "FREQ=YEARLY;BYDAY=99999999999MO",
        "FREQ=MONTHLY;BYMONTHDAY=1,-0",
        "FREQ=MONTHLY;BYMONTHDAY=0",
        "FREQ=DAILY;FREQ=WEEKLY",
        "FREQ=DAILY;COUNT=1;COUNT=2",
        "FREQ=DAILY\nDTSTART:19700101T000000Z",
        "FREQ=DAILY\r\nRRULE:FREQ=SECONDLY",
        "RRULE:RRULE:FREQ=DAILY",
        "DTSTART=19700101T000000Z;FREQ=DAILY",
        "FREQ=DAILY;BYEASTER=0",
        "FREQ=DAILY;X-EVIL=1",
        "FREQ=",
        "=;=;=",
        ";",
        "",
        "täglich",
        "FREQ=DAILY;\u{0}",
    ]
    .map(ToOwned::to_owned)
    .into();
    rules.push(format!("FREQ=DAILY;BYHOUR={}", "1,".repeat(300_000)));
    rules.push(format!("FREQ=DAILY;BYHOUR={};BYMINUTE=0,30", all(24)));
    rules.push(format!(
        "FREQ=YEARLY;BYYEARDAY={}",
        (1..=366).map(|i| i.to_string()).collect::<Vec<_>>().join(",")
    ));
    rules.push(format!("FREQ=DAILY;BYHOUR={};BYMINUTE={};BYSECOND={}", all(24), all(60), all(60)));
    rules.push("FREQ=DAILY;".repeat(50_000));
    rules
}

#[tokio::test]
async fn hostile_rules_are_refused_at_once() {
    let app = TestApp::start().await;
    let client = app.sign_up_admin("Gym").await;
    for rule in hostile_rules() {
        let start: String = rule.chars().take(60).collect();
        let refused = json!({ "recurrence": { "rule": rule } });
        let reply = in_time(&start, create(&client, &refused)).await;
        assert!(reply.body["data"].is_null(), "{start} was accepted: {reply:?}");
        assert_eq!(wrong_fields(&reply), ["recurrence.rule"], "{start}: {reply:?}");
    }
}

#[tokio::test]
async fn rare_and_endless_rules_cost_no_more_than_others() {
    let app = TestApp::start().await;
    let client = app.sign_up_admin("Gym").await;
    for rule in [
        "FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=29;BYDAY=MO",
        "FREQ=DAILY;INTERVAL=65535;COUNT=5000",
        "FREQ=YEARLY;INTERVAL=65535;COUNT=5000",
        "FREQ=MONTHLY;INTERVAL=1000;COUNT=5000",
        "FREQ=YEARLY;COUNT=5000",
        "FREQ=DAILY;COUNT=5000",
        "FREQ=DAILY;BYHOUR=0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23",
        "FREQ=DAILY;UNTIL=99991231T235959Z",
        "FREQ=YEARLY;BYWEEKNO=53;BYDAY=SU",
        "FREQ=DAILY;BYMONTH=1;BYMONTHDAY=1;BYDAY=TU",
        "FREQ=YEARLY;BYDAY=53MO",
        "FREQ=MONTHLY;BYDAY=-1FR,+2MO",
        "rrule:freq=weekly;byday=mo,tu",
    ] {
        let start = json!({ "startsAt": "1970-01-01T09:00:00", "recurrence": { "rule": rule } });
        let reply = in_time(rule, create(&client, &start)).await;
        assert!(reply.body.get("errors").is_none(), "{rule}: {reply:?}");
        let id = reply.body["data"]["createEvent"]["id"].as_str().unwrap();
        let far = "query O($id: ID) { occurrences(from: \"2098-06-01T00:00:00Z\",
            to: \"2099-06-01T00:00:00Z\", eventId: $id, first: 500) { nodes { id } } }";
        in_time(rule, client.query(far, json!({ "id": id }))).await;
    }
    app.assert_sound().await;
}

#[tokio::test]
async fn malformed_ids_find_nothing() {
    let app = TestApp::start().await;
    let client = app.sign_up_admin("Gym").await;
    let event = Event::create(&client, json!({})).await;
    let start = "2027-01-04T09:00:00Z";
    for id in [
        "",
        "x",
        "@",
        ":",
        "@@",
        "null",
        "\u{0}",
        &"f".repeat(23),
        &"f".repeat(100_000),
        &format!("{}@", event.id),
        &format!("{}@{start}@{start}", event.id),
        &format!("{}@2027-01-04T09:00:00+00:00", event.id),
        &format!("{}@9999999-01-04T09:00:00Z", event.id),
        &format!("{}@{start}", event.id.to_uppercase()),
        &format!(" {}", event.id),
        "{\"$ne\": null}",
    ] {
        let found = "query F($id: ID!) { event(id: $id) { id } occurrence(id: $id) { id } }";
        let found = client.query(found, json!({ "id": id })).await;
        assert_eq!(found, json!({ "event": null, "occurrence": null }), "{id}");
        for change in [
            "mutation Q($id: ID!) { register(occurrenceId: $id) { refusal { code } } }",
            "mutation Q($id: ID!) { cancelRegistration(id: $id) { refusal { code } } }",
            "mutation Q($id: ID!) { cancelOccurrence(id: $id) { id } }",
            "mutation Q($id: ID!) { deleteEvent(id: $id) { deletedId } }",
            "query Q($id: ID!) { registrations(memberId: $id) { nodes { id } } }",
            "query Q($id: ID!) { registrations(occurrenceId: $id) { nodes { id } } }",
        ] {
            let reply = client.graphql(change, json!({ "id": id })).await.expect(200);
            assert_eq!(code(&reply), "not_found", "{change} {id}");
        }
    }
    let query = "{ occurrences(from: \"1800-01-01T00:00:00Z\", to: \"2300-01-01T00:00:00Z\",
        first: 0, after: \"x\") { nodes { id } } }";
    let refused = client.graphql(query, json!({})).await;
    assert_eq!(wrong_fields(&refused), ["first", "after", "from", "to"]);
    // Exactly one of the two arguments must be given.
    for both in ["first: 1", "memberId: \"x\", occurrenceId: \"x\""] {
        let query = format!("{{ registrations({both}) {{ nodes {{ id }} }} }}");
        assert_eq!(wrong_fields(&client.graphql(&query, json!({})).await), ["memberId"]);
    }
}
