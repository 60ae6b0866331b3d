//! Calls every endpoint with another tenant's token: it must neither read nor change that tenant's
//! data.

use std::collections::BTreeSet;

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{Chart, Client, Event, Org, PASSWORD, TestApp, ahead};

/// Endpoints that need no token or show everyone the same.
const OPEN: [(&str, &str); 9] = [
    ("POST", "/org/create"),
    ("GET", "/org/get"),
    ("POST", "/admin/login"),
    ("POST", "/auth/login"),
    ("GET", "/health/live"),
    ("GET", "/health/ready"),
    ("GET", "/metrics"),
    ("GET", "/openapi.json"),
    // Protected by the secret in its path, see the last test.
    ("GET", "/calendar/{token}.ics"),
];

/// A call with the victim's ids and the expected status for an intruder.
struct Case {
    method: &'static str,
    path: &'static str,
    /// The path with the victim's ids.
    aimed: String,
    body: Option<Value>,
    status: u16,
}

fn cases(victim: &Org) -> Vec<Case> {
    let member = format!("/org/members/{}", victim.admin_id);
    let calendar = format!("{member}/calendar");
    let case = |method, path, aimed: &str, body, status| Case {
        method,
        path,
        aimed: aimed.to_owned(),
        body,
        status,
    };
    let rename = json!({ "organization_name": victim.name });
    let demote = json!({ "role": "member", "password": "of the intruder" });
    let take_over = json!({ "email": victim.email, "password": PASSWORD });
    let aimed = format!("/org/delete?organization_name={}", victim.name);
    vec![
        case("PUT", "/org/update", "/org/update", Some(rename), 409),
        case("DELETE", "/org/delete", &aimed, None, 403),
        case("POST", "/org/members", "/org/members", Some(take_over), 409),
        case("GET", "/org/members", "/org/members", None, 200),
        case("GET", "/org/members/{id}", &member, None, 404),
        case("PATCH", "/org/members/{id}", &member, Some(demote), 404),
        case("DELETE", "/org/members/{id}/calendar", &calendar, None, 404),
        case("DELETE", "/org/members/{id}", &member, None, 404),
        case("POST", "/orgcharts", "/orgcharts", Some(json!({ "name": "Own" })), 201),
        case("GET", "/orgcharts", "/orgcharts", None, 200),
        case("GET", "/orgcharts/{org_id}", VICTIMS_CHART, None, 404),
        case("PUT", "/orgcharts/{org_id}", VICTIMS_CHART, Some(json!({ "name": "X" })), 404),
    ]
    .into_iter()
    .chain(chart_cases())
    .chain([case("DELETE", "/orgcharts/{org_id}", VICTIMS_CHART, None, 404)])
    .collect()
}

/// The victim's second chart. The intruder has only one, so this number is unknown in its tenant.
const VICTIMS_CHART: &str = "/orgcharts/2";

fn chart_cases() -> impl Iterator<Item = Case> {
    let person = json!({ "name": "X", "title": "Y" });
    let rename = json!({ "name": "X" });
    [
        ("POST", "/employees", "/employees", Some(person)),
        ("GET", "/employees", "/employees", None),
        ("GET", "/employees/{id}", "/employees/1", None),
        ("PUT", "/employees/{id}", "/employees/1", Some(rename)),
        ("PUT", "/employees/{id}/promote", "/employees/1/promote", None),
        ("GET", "/employees/{id}/direct_reports", "/employees/1/direct_reports", None),
        ("GET", "/employees/{id}/manager_chain", "/employees/1/manager_chain", None),
        ("GET", "/employees/{id}/subtree", "/employees/1/subtree", None),
        ("DELETE", "/employees/{id}", "/employees/1", None),
        ("GET", "/tree", "/tree", None),
        ("GET", "/export", "/export", None),
        ("GET", "/stats", "/stats", None),
        ("GET", "/chart.svg", "/chart.svg", None),
        ("POST", "/import", "/import?dry_run=true", None),
    ]
    .into_iter()
    .map(|(method, path, aimed, body)| Case {
        method,
        path: Box::leak(format!("/orgcharts/{{org_id}}{path}").into_boxed_str()),
        aimed: format!("{VICTIMS_CHART}{aimed}"),
        body,
        status: 404,
    })
}

/// A victim with charts.
async fn victim(app: &TestApp) -> Org {
    let victim = app.sign_up("Victim").await;
    let admin = app.with(&victim.token);
    for name in ["First", "Second"] {
        let chart = Chart::create(&admin, name).await;
        chart.hire("Valerie", None).await;
        chart.hire("Victor", Some(1)).await;
    }
    victim
}

async fn call(client: &Client, case: &Case) -> crate::support::Reply {
    let method = Method::from_bytes(case.method.as_bytes()).unwrap();
    let request = client.request(method, &case.aimed);
    let request = match &case.body {
        Some(body) => request.json(body),
        None if case.path.ends_with("/import") => {
            request.header("content-type", "text/csv").body("name,title,manager\nEve,CEO,\n")
        }
        None => request,
    };
    Client::send(request).await
}

#[tokio::test]
async fn every_endpoint_of_the_document_has_a_case() {
    let app = TestApp::start().await;
    let document = app.get("/openapi.json").await.expect(200).body;
    let victim = victim(&app).await;
    let mut known: BTreeSet<(String, String)> =
        OPEN.iter().map(|(method, path)| ((*method).to_owned(), (*path).to_owned())).collect();
    known.extend(cases(&victim).iter().map(|c| (c.method.to_owned(), c.path.to_owned())));
    for (path, item) in document["paths"].as_object().unwrap() {
        for method in item.as_object().unwrap().keys() {
            let endpoint = (method.to_uppercase(), path.clone());
            assert!(known.contains(&endpoint), "{endpoint:?} has no isolation case");
        }
    }
}

/// All data of the victim.
async fn belongings(victim: &Client) -> Vec<Value> {
    let mut all = Vec::new();
    for path in ["/org/members", "/orgcharts", "/orgcharts/1/tree", "/orgcharts/2/tree"] {
        all.push(victim.get(path).await.expect(200).body);
    }
    all
}

#[tokio::test]
async fn an_intruder_sees_and_changes_nothing_of_another_tenant() {
    let app = TestApp::start().await;
    let (victim, intruder) = (victim(&app).await, app.sign_up("Intruder").await);
    let before = belongings(&app.with(&victim.token)).await;
    for case in cases(&victim) {
        let reply = call(&app.with(&intruder.token), &case).await;
        assert_eq!(reply.status, case.status, "{} {}: {reply:?}", case.method, case.aimed);
        let text = reply.body.to_string();
        assert!(!text.contains(&victim.admin_id), "{} {} reveals: {text}", case.method, case.path);
        assert!(!text.contains(&victim.email), "{} {} reveals: {text}", case.method, case.path);
    }
    assert_eq!(belongings(&app.with(&victim.token)).await, before);
    app.token(&victim.email, PASSWORD).await;
    app.assert_sound().await;
}

#[tokio::test]
async fn data_of_another_tenant_is_answered_like_data_that_never_existed() {
    let app = TestApp::start().await;
    let (victim, intruder) = (victim(&app).await, app.sign_up("Intruder").await);
    let client = app.with(&intruder.token);
    let nobody = Org { admin_id: "0123456789abcdef01234567".to_owned(), ..victim.clone() };
    for (real, unreal) in cases(&victim).iter().zip(cases(&nobody)).filter(|(c, _)| c.status == 404)
    {
        let (mut a, mut b) = (call(&client, real).await, call(&client, &unreal).await);
        a.body["request_id"] = Value::Null;
        b.body["request_id"] = Value::Null;
        assert_eq!((a.status, a.body), (b.status, b.body), "{} {}", real.method, real.path);
    }
    // A cursor only marks a position in the caller's own list, even with a foreign id.
    let page = format!("/org/members?cursor={}", victim.admin_id);
    let text = client.get(&page).await.expect(200).body.to_string();
    assert!(!text.contains(&victim.email));
}

#[tokio::test]
async fn without_a_token_every_protected_endpoint_answers_401() {
    let app = TestApp::start().await;
    let victim = victim(&app).await;
    for case in cases(&victim) {
        call(&app, &case).await.refused(401, "unauthenticated");
        call(&app.with("rubbish"), &case).await.refused(401, "unauthenticated");
    }
}

#[tokio::test]
async fn a_calendar_feed_opens_only_with_its_secret() {
    let app = TestApp::start().await;
    let (victim, intruder) = (app.sign_up("Victim").await, app.sign_up("Intruder").await);
    let (admin, intruder) = (app.with(&victim.token), app.with(&intruder.token));
    let start = ahead(24);
    let event = Event::once(&admin, start, 1).await;
    admin.register(&event.at(start)).await.registration();
    let path = admin.calendar_feed().await;
    let secret = path.trim_start_matches("/calendar/").trim_end_matches(".ics");

    // The feed needs no token, and another tenant's token makes no difference.
    for client in [&app, &intruder, &app.with("rubbish")] {
        let feed = client.get(&path).await.expect(200);
        assert!(feed.body.as_str().unwrap().contains(&event.id), "{feed:?}");
    }
    // Similar secrets and known ids open nothing, and all answers are the same.
    let mut near = secret.to_owned();
    let last = near.pop().unwrap();
    near.push(if last == 'A' { 'B' } else { 'A' });
    let unknown = ["x".repeat(secret.len()), near, secret.to_lowercase(), victim.admin_id.clone()];
    for guess in unknown {
        let refused = intruder.get(&format!("/calendar/{guess}.ics")).await;
        let refused = refused.refused(404, "not_found");
        assert_eq!(refused.text("detail"), "No such calendar.");
        assert!(refused.body.get("errors").is_none(), "{refused:?}");
    }
    // The intruder's own feed shows only the intruder's seats.
    let own = intruder.calendar_feed().await;
    let own = app.get(&own).await.expect(200);
    assert!(!own.body.as_str().unwrap().contains("BEGIN:VEVENT"), "{own:?}");
}
