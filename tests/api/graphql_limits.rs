//! Limits of a GraphQL request: hostile documents and bodies are refused quickly.

use reqwest::{Method, header};
use serde_json::{Value, json};

use crate::support::{Client, Event, Reply, TestApp, code, in_time, wrong_fields};

/// Asserts that the query is refused quickly with that code and a short answer; returns the
/// message.
async fn refused(client: &Client, query: &str, expected: &str) -> String {
    let start: String = query.chars().take(60).collect();
    let reply = in_time(&start, client.graphql(query, json!({}))).await.expect(200);
    assert_eq!(code(&reply), expected, "{start}: {reply:?}");
    assert!(reply.body["data"].is_null(), "{start}: {reply:?}");
    let length = reply.body.to_string().len();
    assert!(length < 20_000, "{start}: an answer of {length} bytes");
    reply.body["errors"][0]["message"].as_str().unwrap().to_owned()
}

/// The texts for 0 to `count - 1`, separated by spaces.
pub(crate) fn numbered(count: usize, one: impl Fn(usize) -> String) -> String {
    (0..count).map(one).collect::<Vec<_>>().join(" ")
}

/// `count` fragments, each of which spreads the next one `times` times.
fn fragments(count: usize, times: usize) -> String {
    let spread = |i: usize| format!("...f{i} ").repeat(times);
    let all = numbered(count, |i| format!("fragment f{i} on Query {{ {} }}", spread(i + 1)));
    format!("{{ ...f0 }} {all} fragment f{count} on Query {{ __typename }}")
}

#[tokio::test]
async fn documents_that_expand_exponentially_are_refused_at_once() {
    let app = TestApp::start().await;
    let client = app.sign_up_admin("Gym").await;
    for document in [
        fragments(30, 2),
        fragments(5, 40),
        fragments(40, 1),
        fragments(20_000, 1),
        "{ ...f } fragment f on Query { ...f ...f }".to_owned(),
        "{ ...f } fragment f on Query { ...g ...g } fragment g on Query { ...f ...f }".to_owned(),
        format!("{{ __typename }} {}", fragments(20_000, 2).trim_start_matches("{ ...f0 }")),
        format!("{{ {} __typename {} }}", "... { ".repeat(2_000), "}".repeat(2_000)),
        format!("{{ {} }}", "__typename ".repeat(50_000)),
    ] {
        refused(&client, &document, "validation").await;
    }
    // Normal use of fragments is accepted.
    let names = "fragment names on Query { organization { name ...more } }
        fragment more on Organization { id }";
    let org = client.query(&format!("{{ ...names ...names }} {names}"), json!({})).await;
    assert_eq!(org["organization"]["name"], "Gym");
}

#[tokio::test]
async fn documents_that_do_not_parse_are_refused_in_few_words() {
    let app = TestApp::start().await;
    let client = app.sign_up_admin("Gym").await;
    for document in [
        String::new(),
        "{".to_owned(),
        "{ event(id: ".to_owned() + &"[".repeat(400_000),
        "{ a ".repeat(200_000),
        format!("query Q($a: {}Int{}) {{ a }}", "[".repeat(200_000), "]".repeat(200_000)),
        "\u{0}".repeat(1_000),
        "{ event(id: \"".to_owned() + &"x".repeat(900_000),
        "{ nobodyKnowsThis }".to_owned(),
        "subscription { events { id } }".to_owned(),
        "query A { __typename } query B { __typename }".to_owned(),
        format!("{{ {} }}", numbered(1_000, |i| format!("unknown{i}"))),
    ] {
        refused(&client, &document, "validation").await;
    }
}

#[tokio::test]
async fn nesting_and_cost_are_bounded() {
    let app = TestApp::start().await;
    let client = app.sign_up_admin("Gym").await;
    let nested = |levels: usize| {
        let (open, close) = ("ofType { ".repeat(levels), " }".repeat(levels));
        format!("{{ __type(name: \"Event\") {{ {open} name {close} }} }}")
    };
    client.query(&nested(18), json!({})).await;
    let sentence = refused(&client, &nested(19), "validation").await;
    assert_eq!(sentence, "Query is nested too deep.");

    let everything = "id startsAt endsAt capacity seatsTaken seatsLeft status waitingListLength
        myWaitingListPosition event { id title description startsAt timeZone durationMinutes
            capacity recurrence { rule excludedDates additionalDates } version createdAt updatedAt }";
    let list = |what: &str| {
        format!(
            "{{ occurrences(from: \"2027-01-01T00:00:00Z\", to: \"2027-02-01T00:00:00Z\",
            first: 500) {{ {what} }} }}"
        )
    };
    let page =
        list(&format!("edges {{ cursor node {{ {everything} }} }} pageInfo {{ endCursor }}"));
    client.query(&page, json!({})).await;
    let twice = format!("edges {{ node {{ {everything} }} }} nodes {{ {everything} }}");
    let sentence = refused(&client, &list(&twice), "validation").await;
    assert_eq!(sentence, "Query is too complex.");
}

#[tokio::test]
async fn a_selection_has_at_most_fifty_fields() {
    let app = TestApp::start().await;
    let client = app.sign_up_admin("Gym").await;
    let aliases = |count: usize| {
        format!("{{ {} }}", numbered(count, |i| format!("a{i}: organization {{ id }}")))
    };
    let answered = client.query(&aliases(50), json!({})).await;
    assert_eq!(answered.as_object().unwrap().len(), 50);
    let sentence = "The request is not valid.";
    assert_eq!(refused(&client, &aliases(51), "validation").await, sentence);

    // A repeated field appears once in the answer, but would be executed each time.
    let feeds =
        |count: usize| format!("mutation {{ {} }}", "createCalendarFeed { url } ".repeat(count));
    client.query(&feeds(2), json!({})).await;
    let reply = client.graphql(&feeds(51), json!({})).await;
    assert_eq!(wrong_fields(&reply), ["query"]);
    let hidden = format!("{{ {} }}", "... on Query { organization { id } } ".repeat(51));
    refused(&client, &hidden, "validation").await;
    let inside = |count: usize| {
        let fields = numbered(count, |i| format!("a{i}: name"));
        format!("{{ organization {{ ...f }} }} fragment f on Organization {{ {fields} }}")
    };
    client.query(&inside(50), json!({})).await;
    refused(&client, &inside(51), "validation").await;
}

#[tokio::test]
async fn a_body_holds_one_to_ten_requests() {
    let app = TestApp::start().await;
    let client = app.sign_up_admin("Gym").await;
    let one = json!({ "query": "{ organization { name } }" });
    let batch = |count: usize| Value::Array(vec![one.clone(); count]);
    let answers = client.post("/graphql", batch(10)).await.expect(200).body;
    let answers = answers.as_array().unwrap();
    assert_eq!(answers.len(), 10);
    assert!(answers.iter().all(|answer| answer["data"]["organization"]["name"] == "Gym"));
    for wrong in [batch(11), json!([]), json!([[one.clone()]]), json!([one, 1])] {
        let refused = client.post("/graphql", wrong).await.expect(200);
        assert_eq!(wrong_fields(&refused), [""]);
    }
    // A failed request does not affect the others.
    let mixed = json!([one, { "query": "{" }, one]);
    let answers = client.post("/graphql", mixed).await.expect(200).body;
    assert_eq!(answers[1]["errors"][0]["extensions"]["code"], "validation");
    assert_eq!(answers[2]["data"]["organization"]["name"], "Gym");
}

#[tokio::test]
async fn bodies_that_are_not_requests_are_refused() {
    let app = TestApp::start().await;
    let client = app.sign_up_admin("Gym").await;
    let send = |kind: &'static str, body: String| {
        let request = client.request(Method::POST, "/graphql").header(header::CONTENT_TYPE, kind);
        Client::send(request.body(body))
    };
    let query = r#"{"query":"{ organization { name } }"}"#.to_owned();
    for kind in ["application/json", "application/json; charset=utf-8", "Application/JSON"] {
        send(kind, query.clone()).await.expect(200);
    }
    for kind in ["text/plain", "application/graphql", "application/x-www-form-urlencoded", ""] {
        send(kind, query.clone()).await.refused(415, "unsupported_media_type");
    }
    let deep = |open: &str, close: &str| {
        let (open, close) = (open.repeat(100_000), close.repeat(100_000));
        format!(r#"{{"query":"{{ __typename }}","variables":{{"a":{open}1{close}}}}}"#)
    };
    for body in [
        String::new(),
        "not json".to_owned(),
        "1".to_owned(),
        "{}".to_owned(),
        r#"{"query":7}"#.to_owned(),
        r#"{"query":"{ __typename }","variables":"x"}"#.to_owned(),
        r#"{"query":"{ __typename }"} trailing"#.to_owned(),
        "[".repeat(500_000),
        deep("[", "]"),
        deep(r#"{"a":"#, "}"),
    ] {
        let refused = in_time(&body[..body.len().min(50)], send("application/json", body.clone()));
        let refused = refused.await.expect(200);
        assert_eq!(wrong_fields(&refused), [""], "{}", &body[..body.len().min(50)]);
    }
    let large = format!("{query}{}", " ".repeat(1 << 20));
    send("application/json", large).await.refused(413, "too_large");
    let most = format!("{query}{}", " ".repeat((1 << 20) - query.len()));
    send("application/json", most).await.expect(200);
}

#[tokio::test]
async fn queries_must_be_posted() {
    let app = TestApp::start().await;
    let client = app.sign_up_admin("Gym").await;
    for method in [Method::GET, Method::PUT, Method::DELETE, Method::PATCH] {
        let request = client.request(method, "/graphql?query=%7B__typename%7D");
        let refused = Client::send(request).await.refused(405, "method_not_allowed");
        assert_eq!(refused.headers["allow"], "POST");
    }
}

#[tokio::test]
async fn without_introspection_only_typename_is_answered() {
    let app = TestApp::start_with(|settings| settings.graphql.introspection = false).await;
    let client = app.sign_up_admin("Gym").await;
    for query in [
        "{ __schema { types { name } } }",
        "{ __type(name: \"Event\") { name fields { name } } }",
        "{ organization { name } __schema { queryType { name } } }",
    ] {
        let reply = client.graphql(query, json!({})).await.expect(200);
        let text = reply.body.to_string();
        assert!(!text.contains("Occurrence") && !text.contains("\"Query\""), "{query}: {text}");
        assert!(reply.body["data"]["__schema"].is_null(), "{query}: {text}");
    }
    let named = client.query("{ __typename organization { __typename name } }", json!({})).await;
    let organization = json!({ "__typename": "Organization", "name": "Gym" });
    assert_eq!(named, json!({ "__typename": "Query", "organization": organization }));
    // Error messages must not suggest existing names.
    let reply = client.graphql("{ organisation { name } }", json!({})).await;
    assert!(!reply.body.to_string().contains("Did you mean"), "{reply:?}");
}

async fn list(client: &Client, arguments: &str) -> Reply {
    client
        .graphql(&format!("{{ {arguments} {{ edges {{ cursor }} }} }}"), json!({}))
        .await
        .expect(200)
}

#[tokio::test]
async fn pages_have_1_to_500_items_and_only_accept_cursors_of_their_list() {
    let app = TestApp::start().await;
    let client = app.sign_up_admin("Gym").await;
    let event = Event::create(&client, json!({})).await;
    let window = "from: \"2026-01-01T00:00:00Z\", to: \"2026-12-31T00:00:00Z\"";
    let id = format!("{}@2026-01-01T00:00:00Z", event.id);
    let seats = format!("memberId: \"{}\"", "0".repeat(24));
    let lists = [
        "events(".to_owned(),
        format!("occurrences({window}, "),
        "myRegistrations(".to_owned(),
        format!("registrations({seats}, "),
    ];
    for start in &lists {
        for first in ["0", "501", "-1", "-2147483648", "2147483647"] {
            let reply = list(&client, &format!("{start} first: {first})")).await;
            // A page of two billion items is refused for its complexity, not its size.
            assert_eq!(code(&reply), "validation", "{start} {first}");
            assert!(reply.body["data"].is_null(), "{reply:?}");
        }
        for cursor in
            ["", "x", "/../", "AAAA", "eyJpZCI6MX0", "é", &"A".repeat(10_000), &event.id, &id]
        {
            let reply = list(&client, &format!("{start} after: \"{cursor}\")")).await;
            assert_eq!(wrong_fields(&reply), ["after"], "{start} {cursor}: {reply:?}");
        }
    }
    // A cursor is valid only in its own kind of list.
    let events = list(&client, "events(first: 500)").await;
    let cursor = events.body["data"]["events"]["edges"][0]["cursor"].as_str().unwrap();
    for start in &lists[1..3] {
        let reply = list(&client, &format!("{start} after: \"{cursor}\")")).await;
        assert_eq!(wrong_fields(&reply), ["after"], "{start}");
    }
}

#[tokio::test]
async fn windows_are_ordered_between_1900_and_2199_and_at_most_366_days_long() {
    let app = TestApp::start().await;
    let client = app.sign_up_admin("Gym").await;
    let window = |from: &str, to: &str| format!("occurrences(from: \"{from}\", to: \"{to}\")");
    for (from, to, fields) in [
        ("2027-01-01T00:00:00Z", "2027-01-01T00:00:00Z", &["to"][..]),
        ("2027-01-02T00:00:00Z", "2027-01-01T00:00:00Z", &["to"]),
        ("2027-01-01T00:00:00Z", "2028-01-02T00:00:00.001Z", &["to"]),
        ("1900-01-01T00:00:00Z", "2100-01-01T00:00:00Z", &["to"]),
        ("9999-01-01T00:00:00Z", "9999-02-01T00:00:00Z", &["from", "to"]),
        ("2199-12-01T00:00:00Z", "2200-01-01T00:00:00Z", &["to"]),
        ("1899-12-31T23:59:59Z", "1900-01-02T00:00:00Z", &["from"]),
    ] {
        let reply = list(&client, &window(from, to)).await;
        assert_eq!(wrong_fields(&reply), fields, "{from} {to}");
    }
    for (from, to) in [
        ("2027-01-01T00:00:00Z", "2028-01-02T00:00:00Z"),
        ("2027-01-01T00:00:00+02:00", "2027-01-01T00:00:00Z"),
        ("1900-01-01T00:00:00Z", "1900-01-01T00:00:00.001Z"),
        ("2199-01-01T00:00:00Z", "2199-12-31T23:59:59Z"),
    ] {
        let reply = list(&client, &window(from, to)).await;
        assert!(reply.body.get("errors").is_none(), "{from} {to}: {reply:?}");
    }
    for from in ["2027-01-01", "yesterday", "1798761600", "2027-02-30T00:00:00Z", ""] {
        let reply = list(&client, &window(from, "2027-01-02T00:00:00Z")).await;
        assert_eq!(code(&reply), "validation", "{from}");
    }
    for bounds in ["from: \"9999-01-01T00:00:00Z\"", "to: \"0001-01-01T00:00:00Z\""] {
        let reply = list(&client, &format!("myRegistrations({bounds})")).await;
        assert_eq!(wrong_fields(&reply), [bounds.split(':').next().unwrap()]);
    }
}
