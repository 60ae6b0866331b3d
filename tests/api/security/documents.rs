//! GraphQL documents that are expensive on purpose.

use reqwest::Method;
use serde_json::json;

use crate::graphql_limits::numbered;
use crate::support::{Client, Database, Event, Raw, ServerProcess, Watch, ahead, code};

/// Each nestable construct of a document, nested `levels` deep.
fn nested(levels: usize) -> Vec<String> {
    let deep =
        |open: &str, close: &str| format!("{}1{}", open.repeat(levels), close.repeat(levels));
    let (list, object) = (deep("[", "]"), deep("{a:", "}"));
    let both = deep("[{a:", "}]");
    let mut documents = Vec::new();
    for value in [&list, &object, &both] {
        documents.push(format!("{{ event(id: {value}) {{ id }} }}"));
        documents.push(format!("query($a: Int = {value}) {{ organization {{ id }} }}"));
        documents.push(format!("{{ organization @a(b: {value}) {{ id }} }}"));
        documents.push(format!("query @a(b: {value}) {{ organization {{ id }} }}"));
        documents.push(format!("query($a: Int @b(c: {value})) {{ organization {{ id }} }}"));
        documents.push(format!("{{ ...f }} fragment f on Query @a(b: {value}) {{ __typename }}"));
    }
    documents.push(format!("{{ {} }}", deep("a {", "}")));
    documents.push(format!("{{ {} }}", deep("... on Query {", "}")));
    documents.push(format!("{{ {} }}", deep("... @a(b: [1]) {", "}")));
    documents.push(format!("query($a: {}) {{ a }}", deep("[", "]").replace('1', "Int")));
    documents
}

/// A server and an admin's client.
async fn start(database: &Database) -> (ServerProcess, Client) {
    let server = ServerProcess::start(database);
    let org = server.client.sign_up("Gym").await;
    let admin = server.client.with(&org.token);
    (server, admin)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nesting_of_any_shape_does_not_end_the_process() {
    let database = Database::new().await;
    let (mut server, admin) = start(&database).await;
    let watch = Watch::start(&server).await;
    for levels in [30, 100, 2_000, 50_000] {
        for document in nested(levels) {
            let reply = admin.graphql(&document, json!({})).await.expect(200);
            assert_eq!(code(&reply), "validation", "{document:.80}");
            assert!(!server.is_dead(), "{levels} levels: {document:.80}");
        }
    }
    // The deepest nesting that a JSON body may have.
    for levels in [10, 120, 10_000] {
        for (open, close) in [("[", "]"), (r#"{"a":"#, "}")] {
            let value = format!("{}1{}", open.repeat(levels), close.repeat(levels));
            for field in ["variables", "extensions"] {
                let query = "query($a: ID!) { event(id: $a) { id } }";
                let body = format!(r#"{{"query":"{query}","{field}":{{"a":{value}}}}}"#);
                let request = admin.request(Method::POST, "/graphql");
                let request = request.header("content-type", "application/json").body(body);
                assert_eq!(code(&Client::send(request).await.expect(200)), "validation");
            }
        }
    }
    watch.assert_unharmed().await;
    drop(server);
    database.drop_all();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_document_without_a_valid_token_is_not_read() {
    let database = Database::new().await;
    let (server, _) = start(&database).await;
    for (client, token) in [(server.client.clone(), "no"), (server.client.with("x.y.z"), "a bad")] {
        for body in ["{ __typename }", &"{ a(b: [".repeat(9_000), "not a document"] {
            let reply = client.graphql(body, json!({})).await.expect(401);
            assert_eq!(code(&reply), "unauthenticated", "{token} token, {body:.20}");
        }
        // The body is not read either: the refusal comes before most of it is sent.
        let head = format!(
            "POST /graphql HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n\
             content-length: 1000000\r\n{}\r\n",
            if token == "no" { "" } else { "authorization: Bearer x.y.z\r\n" },
        );
        let mut raw = Raw::sending(&client, head.as_bytes()).await;
        assert!(raw.rest().await.starts_with("HTTP/1.1 401 "));
    }
    drop(server);
    database.drop_all();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_document_full_of_errors_is_refused_in_few_words() {
    let database = Database::new().await;
    let (server, admin) = start(&database).await;
    let watch = Watch::start(&server).await;
    let many = |one: &str, bytes: usize| one.repeat(bytes / one.len());
    let long = "x".repeat(200);
    for bytes in [50_000, 900_000] {
        for document in [
            format!("{{ __typename {} }}", many("@a ", bytes)),
            format!("{{ event(id: 1 {}) {{ id }} }}", many("a:1 ", bytes)),
            format!("{{ event(id: 1 {}) {{ id }} }}", many("a:$b ", bytes)),
            format!("query({}) {{ __typename }}", many("$a:B ", bytes)),
            format!("{{ {} }}", many("a ", bytes.min(3_900))),
            format!("{{ {} }}", many(&format!("{long} "), bytes)),
            format!(
                "{{ {} }}",
                many(&format!("event(id: \"{long}\") {{ id }} "), bytes.min(10_000))
            ),
            many("{ a } ", bytes),
            many("fragment a on B { c } ", bytes),
        ] {
            let reply = admin.graphql(&document, json!({})).await.expect(200);
            let size = reply.body.to_string().len();
            assert!(size < 70_000, "{size} bytes for {document:.60}");
            let errors = reply.body["errors"].as_array().map_or(0, Vec::len);
            assert!(errors <= 10, "{errors} errors for {document:.60}");
        }
    }
    let fields: Vec<String> = (0..1_000).map(|i| format!("unknown{i}")).collect();
    let wrong = json!({ "query": format!("{{ organization {{ {} }} }}", fields.join(" ")) });
    let alone = admin.post("/graphql", wrong.clone()).await.expect(200);
    assert_eq!(alone.body["errors"].as_array().unwrap().len(), 10);
    assert_eq!(alone.body["extensions"]["omittedErrors"], 990);
    let batch = admin.post("/graphql", json!(vec![wrong; 10])).await.expect(200);
    assert!(batch.body.to_string().len() < 70_000);
    watch.assert_unharmed().await;
    drop(server);
    database.drop_all();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_large_variable_is_not_copied_for_each_use() {
    let database = Database::new().await;
    let (server, admin) = start(&database).await;
    let watch = Watch::start(&server).await;
    let uses = format!("{{ organization @include(if: [{}]) {{ id }} }}", "$v ".repeat(9_000));
    for variable in [json!(vec![0; 440_000]), json!(vec![0; 20_000]), json!("x".repeat(900_000))] {
        for query in [uses.clone(), format!("query($v: [Int]) {uses}")] {
            let reply = admin.graphql(&query, json!({ "v": variable })).await.expect(200);
            assert_eq!(code(&reply), "validation");
        }
    }
    // A large variable that is used a few times is accepted.
    let query = "query($v: ID!) { a: event(id: $v) { id } b: event(id: $v) { id } }";
    admin.query(query, json!({ "v": "x".repeat(900_000) })).await;
    watch.assert_unharmed().await;
    drop(server);
    database.drop_all();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn repeated_fragments_count_towards_the_limits_even_if_unused() {
    let database = Database::new().await;
    let (server, admin) = start(&database).await;
    let watch = Watch::start(&server).await;
    let variables = numbered(7_000, |i| format!("$a{i}"));
    let arguments = |start: usize| numbered(1_500, |i| format!("a{}:1", start + i));
    for document in [
        // Each operation would report each variable.
        format!(
            "fragment f on Query {{ ...g @d(a: [{variables}]) }} fragment g on Query {{ __typename }} {}",
            numbered(900, |i| format!("query q{i} {{ ...f }}")),
        ),
        format!(
            "fragment f on Query {{ __typename @d(a: [{variables}]) }} {}",
            numbered(9, |i| format!("query q{i} {{ ...f }}")),
        ),
        // Each argument would be compared with all others.
        format!(
            "{{ organization {{ {} }} }} fragment f on Organization {{ x({}) x({}) }}",
            numbered(400, |i| format!("...on Organization {{ a{} ...f }}", i % 9)),
            arguments(0),
            arguments(9_000),
        ),
        // No operation uses these fragments.
        format!(
            "{{ __typename }} fragment f on Query {{ {} }} fragment g on Query {{ {} }}",
            numbered(1_500, |i| format!("x{i}")),
            numbered(1_500, |_| "organization { ...f }".to_owned()),
        ),
        format!("query({}) {{ __typename }}", numbered(3_000, |i| format!("$a{i}: Int"))),
    ] {
        let reply = admin.graphql(&document, json!({})).await.expect(200);
        assert_eq!(code(&reply), "validation", "{document:.80}");
        assert!(reply.body.to_string().len() < 70_000, "{document:.80}");
    }
    watch.assert_unharmed().await;
    drop(server);
    database.drop_all();
}

/// Requests the schema under forty aliases.
fn forty_times(what: &str) -> String {
    let all: Vec<String> = (0..40).map(|i| format!("a{i}: __schema {what}")).collect();
    format!("{{ {} }}", all.join(" "))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_gets_the_schema_only_once() {
    let database = Database::new().await;
    let (server, admin) = start(&database).await;
    let page = include_str!("../../../src/web/graphql/explorer/index.html");
    let (_, rest) = page.split_once("query Introspection").expect("the page has the query");
    let usual = format!("query Introspection{}", rest.split_once("</").unwrap().0);
    let schema = admin.query(&usual, json!({})).await;
    assert!(schema["__schema"]["types"].as_array().unwrap().len() > 20);
    let loops = |levels: usize| {
        let (open, close) = ("fields { type { ".repeat(levels), "} } ".repeat(levels));
        format!("{{ __schema {{ types {{ {open} name {close} }} }} }}")
    };
    admin.query(&loops(1), json!({})).await;
    for document in [
        loops(5),
        "{ __schema { types { ...t } } } fragment t on __Type { fields { type { ...u } } }
         fragment u on __Type { fields { args { type { fields { type { fields { name } } } } } } }"
            .to_owned(),
        forty_times("{ types { fields { name description type { name kind } } } }"),
    ] {
        let reply = admin.graphql(&document, json!({})).await.expect(200);
        assert_eq!(code(&reply), "validation", "{document:.80}: {:.200}", reply.body.to_string());
    }
    drop(server);
    database.drop_all();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_of_many_long_texts_is_refused_before_it_is_built() {
    let database = Database::new().await;
    let (server, admin) = start(&database).await;
    let text = "é".repeat(10_000);
    for _ in 0..4 {
        let rule = json!({ "rule": "FREQ=DAILY;COUNT=300" });
        Event::create(&admin, json!({ "description": text, "recurrence": rule })).await;
    }
    let watch = Watch::start(&server).await;
    let window = json!({ "from": ahead(0), "to": ahead(24 * 300) });
    let list = |alias: usize, first: usize| {
        format!(
            "a{alias}: occurrences(from: $from, to: $to, first: {first}) {{
                nodes {{ event {{ description }} }} }} "
        )
    };
    let query = |lists: String| format!("query($from: DateTime!, $to: DateTime!) {{ {lists} }}");
    let many = query((0..9).map(|alias| list(alias, 500)).collect());
    let reply = admin.graphql(&many, window.clone()).await.expect(200);
    assert_eq!(code(&reply), "answer_too_large");
    assert!(reply.body["errors"].as_array().unwrap().len() <= 10);
    assert!(reply.body.to_string().len() < 20 << 20);
    // One page of them is accepted.
    admin.query(&query(list(1, 100)), window).await;
    watch.assert_unharmed().await;
    drop(server);
    database.drop_all();
}
