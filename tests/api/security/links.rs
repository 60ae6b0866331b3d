//! Attacks on links in answers: requests must not influence where they lead.

use reqwest::{Method, header};
use serde_json::json;

use crate::support::{Client, Database, PASSWORD, ServerProcess, TestApp, unique};

const CREATE: &str = "mutation { createCalendarFeed { url } }";
const EVIL: &str = "evil.example.com";

/// Each header in which a client can name a host.
const HEADERS: [(&str, &str); 7] = [
    ("host", EVIL),
    ("forwarded", "host=evil.example.com;proto=https"),
    ("x-forwarded-host", EVIL),
    ("x-forwarded-server", EVIL),
    ("x-original-host", EVIL),
    ("origin", "https://evil.example.com"),
    ("referer", "https://evil.example.com/"),
];

/// The URL of a new feed, requested with headers that name another host.
async fn feed_url(client: &Client) -> String {
    let mut request = client.request(Method::POST, "/graphql").json(&json!({ "query": CREATE }));
    for (name, value) in HEADERS {
        request = request.header(name, value);
    }
    let reply = Client::send(request).await.expect(200);
    reply.body["data"]["createCalendarFeed"]["url"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_host_named_by_a_request_appears_in_no_answer() {
    let app = TestApp::start().await;
    let org = app.sign_up("Gym").await;
    let admin = app.with(&org.token);
    let url = feed_url(&admin).await;
    assert!(url.starts_with(&format!("http://{}/calendar/", app.address())), "{url}");

    for _ in 0..3 {
        admin.add_member("member").await;
    }
    let member = json!({ "email": format!("{}@example.com", unique("x")), "password": PASSWORD });
    let name = unique("Org ");
    let sign_up =
        json!({ "organization_name": name, "email": "new@example.com", "password": PASSWORD });
    for request in [
        app.request(Method::POST, "/org/create").json(&sign_up),
        admin.request(Method::POST, "/org/members").json(&member),
        admin.request(Method::GET, "/org/members?limit=1"),
        app.request(Method::GET, "/docs"),
        app.request(Method::GET, "/docs/"),
        app.request(Method::GET, "/openapi.json"),
        app.request(Method::GET, "/graphiql"),
        app.request(Method::GET, "/nowhere"),
        app.request(Method::POST, "/health/live"),
    ] {
        let request = request.header(header::HOST, EVIL).header("x-forwarded-host", EVIL);
        let reply = Client::send(request).await;
        let text = format!("{:?} {:?}", reply.headers, reply.body);
        assert!(!text.contains("evil"), "{text}");
    }
}

#[tokio::test]
async fn links_start_with_public_url_or_the_socket_address() {
    let database = Database::new().await;
    let development = ServerProcess::start_with(&database, &[("BIND", "0.0.0.0:0")]);
    let org = development.client.sign_up("Gym").await;
    let url = feed_url(&development.client.with(&org.token)).await;
    let port = development.client.address().rsplit(':').next().unwrap().to_owned();
    assert!(url.starts_with(&format!("http://127.0.0.1:{port}/calendar/")), "{url}");

    let public = [("PUBLIC_URL", "https://api.example.com/tenantry/")];
    let server = ServerProcess::start_with(&database, &public);
    let url = feed_url(&server.client.with(&org.token)).await;
    assert!(url.starts_with("https://api.example.com/tenantry/calendar/"), "{url}");
    database.drop_all();
}
