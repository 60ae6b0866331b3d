//! Malformed and invalid requests.

use reqwest::{Method, header};
use serde_json::{Value, json};

use crate::support::{Client, PASSWORD, TestApp};

const JSON: &str = "application/json";

async fn raw(app: &TestApp, kind: Option<&str>, body: impl Into<reqwest::Body>) -> u16 {
    let request = app.request(Method::POST, "/admin/login").body(body);
    let request = match kind {
        Some(kind) => request.header(header::CONTENT_TYPE, kind),
        None => request,
    };
    Client::send(request).await.status
}

#[tokio::test]
async fn query_operators_in_json_are_refused_as_wrong_types() {
    let app = TestApp::start().await;
    app.sign_up("Acme").await;
    for value in [json!({ "$ne": null }), json!(["a"]), json!(1), json!(true), json!(null)] {
        let body = json!({ "email": value, "password": PASSWORD });
        app.post("/admin/login", body).await.invalid(&["email"]);
    }
    let both = ["organization_name[$ne]", "organization_name"];
    app.get("/org/get?organization_name[$ne]=x").await.invalid(&both);
    app.get("/org/get?organization_name=$ne").await.refused(404, "not_found");
}

#[tokio::test]
async fn nul_bytes_are_refused() {
    let app = TestApp::start().await;
    app.create("a\u{0}b", "ada@example.com").await.invalid(&["organization_name"]);
    app.create("Acme", "a\u{0}da@example.com").await.invalid(&["email"]);
    app.get("/org/get?organization_name=a%00b").await.invalid(&["organization_name"]);
}

#[tokio::test]
async fn malformed_bodies_are_refused() {
    let app = TestApp::start().await;
    let deep = format!("{}1{}", r#"{"email":"#.repeat(50_000), "}".repeat(50_000));
    let bodies = [
        "",
        "{",
        "null",
        "[]",
        r#"["ada@example.com", "password"]"#,
        r#"{"email": "a", "email": "b", "password": "c"}"#,
        r#"{"email": "a", "password": "b", "role": "admin"}"#,
        r#"{"email": "\ud800", "password": "b"}"#,
        r#"{"email": "a", "password": "b"} trailing"#,
        &deep,
    ];
    for body in bodies {
        assert_eq!(raw(&app, Some(JSON), body.to_owned()).await, 400, "{body:.60}");
    }
    assert_eq!(raw(&app, Some(JSON), vec![0xff, 0xfe, b'{']).await, 400);
}

#[tokio::test]
async fn only_json_is_accepted() {
    let app = TestApp::start().await;
    let body = r#"{"email": "a@example.com", "password": "b"}"#;
    for kind in [
        "",
        "x",
        "text/plain",
        "application/x-www-form-urlencoded",
        "application/jsonp",
        "application/problem+json",
        "text/plain; application/json",
    ] {
        assert_eq!(raw(&app, Some(kind), body).await, 415, "{kind:?}");
    }
    assert_eq!(raw(&app, None, body).await, 415);
    for kind in [
        JSON,
        "application/json; charset=utf-8",
        "application/json;charset=\"UTF-8\"",
        "application/json ; version=1;charset=utf-8",
        "application/json;",
        "Application/JSON",
    ] {
        assert_eq!(raw(&app, Some(kind), body).await, 401, "{kind}");
    }
}

/// Each method and path of the OpenAPI document that accepts JSON, with the schema of its body.
fn bodies(document: &Value) -> Vec<(Method, String, Value)> {
    let mut bodies = Vec::new();
    for (path, operations) in document["paths"].as_object().unwrap() {
        for (method, operation) in operations.as_object().unwrap() {
            let schema = &operation["requestBody"]["content"][JSON]["schema"];
            let one_of = schema["oneOf"].as_array().into_iter().flatten();
            let named = one_of.chain([schema]).find_map(|schema| schema["$ref"].as_str());
            if let Some(name) = named {
                let method = method.to_uppercase().parse().unwrap();
                let schema = document.pointer(&name[1..]).unwrap().clone();
                bodies.push((method, path.replace("{org_id}", "1").replace("{id}", "1"), schema));
            }
        }
    }
    bodies
}

#[tokio::test]
async fn every_wrong_field_of_every_body_of_the_document_is_named() {
    let app = TestApp::start().await;
    let org = app.sign_up("Acme").await;
    let admin = app.with(&org.token);
    let document = app.get("/openapi.json").await.expect(200).body;
    let bodies = bodies(&document);
    assert!(bodies.len() >= 9, "{bodies:?}");
    for (method, path, schema) in bodies {
        let send = |body: &Value| Client::send(admin.request(method.clone(), &path).json(body));
        let fields: Vec<&str> =
            schema["properties"].as_object().unwrap().keys().map(String::as_str).collect();
        let required: Vec<&str> = schema["required"].as_array().map_or_else(Vec::new, |required| {
            required.iter().map(|field| field.as_str().unwrap()).collect()
        });
        // No field accepts a list.
        let wrong = fields.iter().map(|field| ((*field).to_owned(), json!([])));
        let refused = send(&wrong.clone().collect()).await.refused(400, "validation");
        assert_eq!(named(&refused.body), sorted(&fields), "{method} {path}");
        for error in refused.body["errors"].as_array().unwrap() {
            let message = error["message"].as_str().unwrap();
            assert!(message.starts_with("must be "), "{method} {path}: {error}");
        }
        // The same with an unknown field.
        let refused = send(&wrong.chain([("colour".to_owned(), json!(1))]).collect()).await;
        let expected = sorted(&[&fields[..], &["colour"]].concat());
        assert_eq!(named(&refused.refused(400, "validation").body), expected, "{method} {path}");
        // An empty body.
        let refused = send(&json!({})).await.refused(400, "validation");
        let expected = if required.is_empty() { vec![""] } else { sorted(&required) };
        assert_eq!(named(&refused.body), expected, "{method} {path}");
    }
}

fn named(problem: &Value) -> Vec<&str> {
    let errors = problem["errors"].as_array().unwrap();
    sorted(&errors.iter().map(|error| error["field"].as_str().unwrap()).collect::<Vec<_>>())
}

fn sorted<'a>(fields: &[&'a str]) -> Vec<&'a str> {
    let mut sorted = fields.to_vec();
    sorted.sort_unstable();
    sorted
}

#[tokio::test]
async fn missing_unknown_mistyped_and_invalid_fields_are_named_together() {
    let app = TestApp::start().await;
    let org = app.sign_up("Acme").await;
    let admin = app.with(&org.token);
    let body = json!({ "colour": 1, "email": 5, "organization_name": ".." });
    let refused = app.post("/org/create", body).await;
    let refused = refused.invalid(&["colour", "organization_name", "email", "password"]);
    let messages = [
        "is not a field of this request",
        "must contain a letter or a digit",
        "must be a string",
        "is required",
    ];
    for (error, message) in refused.body["errors"].as_array().unwrap().iter().zip(messages) {
        assert_eq!(error["message"], message);
    }
    let account = format!("/org/members/{}", org.admin_id);
    let patch = json!({ "revoke_calendar": true, "role": "root", "name": 7, "email": "@" });
    admin.patch(&account, patch).await.invalid(&["revoke_calendar", "email", "name", "role"]);
    // A password of the wrong type counts as present.
    let patch = json!({ "revoke_calendar": true, "password": 7 });
    admin.patch(&account, patch).await.invalid(&["password"]);
    let query = "/org/members?page=2&cursor=x&limit=0";
    admin.get(query).await.invalid(&["page", "limit", "cursor"]);
    let query = "/org/members?cursor=x&limit=many";
    let refused = admin.get(query).await.invalid(&["limit", "cursor"]);
    let message = &refused.body["errors"][0]["message"];
    assert_eq!(message, "must be a whole number from 0 to 4294967295");
}

#[tokio::test]
async fn bodies_over_the_limit_are_too_large() {
    let app = TestApp::start().await;
    let huge = |bytes: usize| format!(r#"{{"email": "{}"}}"#, "a".repeat(bytes));
    assert_eq!(raw(&app, Some(JSON), huge(1_100_000)).await, 413);
    assert_eq!(raw(&app, Some(JSON), huge(10_000_000)).await, 413);
    assert_eq!(raw(&app, Some(JSON), huge(1_000_000)).await, 400);
}

#[tokio::test]
async fn unknown_paths_and_methods_are_problems_too() {
    let app = TestApp::start().await;
    app.get("/nowhere").await.refused(404, "not_found");
    let wrong = Client::send(app.request(Method::POST, "/org/get")).await;
    let wrong = wrong.refused(405, "method_not_allowed");
    assert_eq!(wrong.headers[header::ALLOW], "GET");
    let wrong = Client::send(app.request(Method::POST, "/org/members/x")).await;
    assert_eq!(wrong.expect(405).headers[header::ALLOW], "GET, PATCH, DELETE");
    Client::send(app.request(Method::TRACE, "/org/get")).await.refused(405, "method_not_allowed");
}

#[tokio::test]
async fn a_well_formed_request_id_is_kept_and_any_other_replaced() {
    let app = TestApp::start().await;
    let send = |id: &'static str| {
        let request = app.request(Method::GET, "/org/get?organization_name=x");
        Client::send(request.header("x-request-id", id))
    };
    assert_eq!(send("abc-123_x.y").await.headers["x-request-id"], "abc-123_x.y");
    for id in ["", "a b", "<script>", "ä", &"x".repeat(65)] {
        let reply = send(Box::leak(id.to_owned().into_boxed_str())).await;
        assert_ne!(reply.headers["x-request-id"], id);
    }
}

#[tokio::test]
async fn every_answer_carries_security_headers() {
    let app = TestApp::start().await;
    for path in ["/health/live", "/org/get", "/nowhere", "/docs/", "/openapi.json"] {
        let reply = app.get(path).await;
        assert_eq!(reply.headers["x-content-type-options"], "nosniff", "{path}");
        assert_eq!(reply.headers["x-frame-options"], "DENY", "{path}");
        assert_eq!(reply.headers["referrer-policy"], "no-referrer", "{path}");
        let policy = reply.headers["content-security-policy"].to_str().unwrap();
        assert!(policy.contains("frame-ancestors 'none'"), "{path}: {policy}");
        assert!(policy.starts_with("default-src '"), "{path}: {policy}");
        let https = reply.headers["strict-transport-security"].to_str().unwrap();
        assert!(https.starts_with("max-age=31536000"), "{path}: {https}");
        let stored = if path == "/docs/" { "no-cache" } else { "no-store" };
        assert_eq!(reply.headers["cache-control"], stored, "{path}");
    }
}

#[tokio::test]
async fn only_configured_origins_are_allowed() {
    let app = TestApp::start_with(|settings| {
        settings.server.cors_origins = vec!["https://console.example".to_owned()];
    })
    .await;
    let preflight = |origin: &'static str| {
        let request = app.request(Method::OPTIONS, "/org/update");
        request
            .header(header::ORIGIN, origin)
            .header("access-control-request-method", "PUT")
            .header("access-control-request-headers", "authorization,content-type")
            .send()
    };
    let allowed = preflight("https://console.example").await.unwrap();
    assert_eq!(allowed.status(), 200);
    assert_eq!(allowed.headers()["access-control-allow-origin"], "https://console.example");
    let refused = preflight("https://evil.example").await.unwrap();
    assert!(!refused.headers().contains_key("access-control-allow-origin"));
}

#[tokio::test]
async fn health_and_metrics_answer_anybody() {
    let app = TestApp::start_with(|settings| settings.mongo.command_metrics = true).await;
    app.get("/health/live").await.expect(200);
    app.get("/health/ready").await.expect(200);
    app.get_org("nobody").await.expect(404);
    app.get("/orgcharts/7/employees/8").await.expect(401);
    app.delete("/orgcharts/7/tree").await.expect(405);
    app.get("/orgcharts/7/nothing").await.expect(404);
    let metrics = app.get("/metrics").await.expect(200);
    let text = metrics.body.as_str().unwrap();
    for name in ["tenantry_http_request_seconds", "tenantry_mongo_command_seconds"] {
        assert!(text.contains(name), "{name} is missing");
    }
    for labels in [
        r#"method="GET",route="/org/get",status="404""#,
        r#"method="GET",route="/orgcharts/{org_id}/employees/{id}",status="401""#,
        r#"method="DELETE",route="/orgcharts/{org_id}/tree",status="405""#,
        r#"method="GET",route="unmatched",status="404""#,
    ] {
        let line = format!("tenantry_http_request_seconds_count{{{labels}}}");
        assert!(text.contains(&line), "{line} is missing");
    }
}

#[tokio::test]
async fn servers_of_one_process_share_its_metrics() {
    let apps = [TestApp::start().await, TestApp::start().await];
    let hits = async |app: &TestApp| -> u64 {
        let metrics = app.get("/metrics").await.expect(200).body;
        let names = [
            r#"tenantry_http_request_seconds_count{method="GET",route="/org/members/{id}",status="404"} "#,
            r#"tenantry_cache_lookups_total{cache="authority",outcome="hit"} "#,
        ];
        let value = |name| metrics.as_str().unwrap().lines().find_map(|l| l.strip_prefix(name));
        names
            .map(|name| value(name).map_or(0, |n| n.trim().parse().unwrap()))
            .into_iter()
            .min()
            .unwrap()
    };
    let mut before = hits(&apps[0]).await;
    for app in apps.iter().chain(&apps) {
        let org = app.sign_up(&crate::support::unique("Acme")).await;
        let admin = app.with(&org.token);
        for _ in 0..3 {
            admin.get("/org/members/000000000000000000000000").await.expect(404);
        }
        let after = hits(app).await;
        assert!(after >= before + 2, "{before}, then {after}");
        before = after;
    }
}
