//! Large requests must not cause large answers: an error quotes only a few words of the request.

use std::fmt::Write;

use serde_json::{Value, json};

use crate::lists::import;
use crate::support::{Chart, Client, Reply, TestApp};

/// Maximum size of an error answer in bytes.
const MOST: usize = 64 * 1024;
/// Maximum number of quoted characters in one text of an answer.
const QUOTED: usize = 100;

async fn admin() -> (TestApp, Client, Chart) {
    let app = TestApp::start().await;
    let org = app.sign_up("Acme").await;
    let admin = app.with(&org.token);
    let chart = Chart::create(&admin, "Engineering").await;
    (app, admin, chart)
}

/// All texts and field names of an answer.
fn texts(value: &Value) -> Vec<String> {
    match value {
        Value::String(text) => vec![text.clone()],
        Value::Array(items) => items.iter().flat_map(texts).collect(),
        Value::Object(fields) => fields
            .iter()
            .flat_map(|(name, value)| std::iter::once(name.clone()).chain(texts(value)))
            .collect(),
        _ => Vec::new(),
    }
}

/// Asserts that the error is small and none of its texts quotes too much. These tests send only a
/// few different letters, which our own texts hardly use.
#[track_caller]
fn short(reply: &Reply) {
    let bytes = serde_json::to_string(&reply.body).unwrap().len();
    assert!(bytes <= MOST, "{bytes} bytes");
    for text in texts(&reply.body) {
        let sent = text.chars().filter(|c| ['Z', 'z', '\u{1}', '😀'].contains(c)).count();
        assert!(sent <= QUOTED + 2, "{sent} quoted characters: {text}");
    }
}

#[tokio::test]
async fn a_header_cell_of_a_list_is_quoted_in_part() {
    let (_app, _, chart) = admin().await;
    let refused = import(&chart, "", format!("name,title,{}\n", "Z".repeat(30 << 20))).await;
    short(&refused);
    let refused = refused.invalid(&[&format!("{} ...", "z".repeat(QUOTED))]);
    assert_eq!(refused.body["errors"][0]["message"], "is not a column of a list");
    short(&import(&chart, "", ",".repeat(1 << 20)).await.refused(400, "validation"));
}

#[tokio::test]
async fn a_list_in_which_every_line_is_wrong_is_refused_in_few_words() {
    let (app, _, chart) = admin().await;
    let cell = "Z".repeat(100);
    let mut unknown = "id,name,title,manager_id\n".to_owned();
    let mut unequal = "name,title,manager\nCEO,CEO,\n".to_owned();
    for line in 0..150_000 {
        writeln!(unknown, "{},,,{cell}{line}", line + 1).unwrap();
        writeln!(unequal, "{cell}").unwrap();
    }
    let refused = import(&chart, "", unequal).await.refused(400, "validation");
    short(&refused);
    let errors = refused.body["errors"].as_array().unwrap();
    assert_eq!(errors.len(), 101);
    assert_eq!(errors[99]["field"], "line 102");
    let rest = json!({ "field": "", "message": "has 149900 more errors, not listed here" });
    assert_eq!(errors[100], rest);

    let refused = import(&chart, "", unknown).await.refused(400, "validation");
    short(&refused);
    let errors = refused.body["errors"].as_array().unwrap();
    assert_eq!(errors[0]["field"], "line 2");
    assert!(errors.last().unwrap()["message"].as_str().unwrap().ends_with("not listed here"));
    app.assert_sound().await;
}

#[tokio::test]
async fn unknown_managers_of_a_list_are_quoted_in_part() {
    let (_app, _, chart) = admin().await;
    for letter in ["Z", "\u{1}", "😀"] {
        let mut list = "name,title,manager\nAda,CEO,\n".to_owned();
        for _ in 0..300 {
            writeln!(list, "Bob,CTO,{}", letter.repeat(20_000)).unwrap();
        }
        let refused = import(&chart, "", list).await.refused(400, "validation");
        short(&refused);
        let message = refused.body["errors"][0]["message"].as_str().unwrap();
        assert!(message.starts_with("manager \""), "{message}");
    }
}

#[tokio::test]
async fn a_long_cycle_of_a_list_is_reported_in_part() {
    let (_app, _, chart) = admin().await;
    let mut list = "key,name,title,manager\n0,Ada,CEO,\n".to_owned();
    for person in 1..=10_000 {
        let manager = person % 10_000 + 1;
        writeln!(list, "{person},{},Engineer,{manager}", "Z".repeat(128)).unwrap();
    }
    let refused = import(&chart, "", list).await.refused(400, "validation");
    short(&refused);
    let message = refused.body["errors"][0]["message"].as_str().unwrap();
    assert!(message.ends_with(" and 9999 more"), "{message}");
}

#[tokio::test]
async fn values_and_names_of_a_json_body_are_quoted_in_part() {
    let (app, admin, chart) = admin().await;
    let long = "Z".repeat(400_000);
    for body in [
        json!({ "name": "x", &long: 1 }),
        json!({ "name": [&long] }),
        json!({ "name": { &long: &long } }),
        json!({ "name": 1, "title": &long }),
    ] {
        short(&admin.post("/orgcharts", body).await.refused(400, "validation"));
    }
    let wrong = json!({ "name": "x", "title": "y", "manager_id": &long });
    let refused = admin.post(&chart.path("/employees"), wrong).await;
    short(&refused);
    let message = refused.invalid(&["manager_id"]).body["errors"][0]["message"].clone();
    assert_eq!(message, "must be a whole number");
    let member = json!({ "email": &long, "password": "x", "role": &long });
    short(&admin.post("/org/members", member).await.refused(400, "validation"));
    short(&app.create(&long, &long).await.refused(400, "validation"));
}

#[tokio::test]
async fn names_and_values_of_a_query_are_quoted_in_part() {
    let (app, admin, _) = admin().await;
    let long = "Z".repeat(50_000);
    for query in [
        format!("{long}=1"),
        format!("limit={long}"),
        format!("cursor={long}"),
        format!("limit[{long}]=1"),
    ] {
        short(&admin.get(&format!("/orgcharts?{query}")).await.refused(400, "validation"));
    }
    short(&admin.get(&format!("/orgcharts/{long}")).await.refused(404, "not_found"));
    short(&app.with(&long).get("/org/members").await.refused(401, "unauthenticated"));
}

#[tokio::test]
async fn names_and_values_of_a_graphql_request_are_quoted_in_part() {
    let (_app, admin, _) = admin().await;
    let long = "Z".repeat(300_000);
    for query in [
        format!("{{ {long} }}"),
        format!("{{ {long}: nobodyKnowsThis }}"),
        format!("{{ event(id: \"{long}\", {long}: 1) {{ id }} }}"),
        format!("{{ {long}: event(id: \"x\") {{ id }} {long}: events {{ edges {{ cursor }} }} }}"),
        format!("query {long}($a: {long}) {{ events(first: $a) {{ edges {{ cursor }} }} }}"),
        format!("{{ events(first: \"{long}\") {{ edges {{ cursor }} }} }}"),
        format!("{{ events(first: [{}]) {{ edges {{ cursor }} }} }}", "\"Z\",".repeat(90_000)),
        format!("{{ events(first: 0) @{long} {{ edges {{ cursor }} }} }}"),
        format!("{{ {long}: events(first: 0) {{ edges {{ cursor }} }} }}"),
        format!("{{ a(b: {{{long}"),
        format!("{{ ...{long} }}"),
        format!("fragment {long} on {long} {{ id }} {{ id }}"),
    ] {
        let reply = admin.graphql(&query, json!({})).await.expect(200);
        assert!(reply.body["errors"].is_array(), "{:.200}", reply.body.to_string());
        short(&Reply { body: reply.body["errors"].clone(), ..reply });
    }
    let query = "query E($i: CreateEventInput!) { createEvent(input: $i) { id } }";
    for input in [json!({ &long: 1 }), json!({ "title": [&long] }), json!(&long)] {
        let reply =
            admin.graphql(&format!("mutation {}", &query[6..]), json!({ "i": input })).await;
        short(&Reply { body: reply.body["errors"].clone(), ..reply });
    }
}
