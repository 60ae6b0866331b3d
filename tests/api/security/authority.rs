//! Requests whose last byte is held back until the account has lost its role.

use serde_json::{Value, json};
use tenantry::{
    domain::identity::{Email, Password, Role},
    error::Error,
    manager::{
        AdminContext,
        identity::{MemberInput, MemberPatch},
        tenancy::OrgPatch,
    },
};

use crate::support::{
    Client, Database, Org, PASSWORD, Raw, ServerProcess, TestApp, eventually, unique,
};

/// A request of which everything but the last byte was sent.
struct Held {
    raw: Raw,
    last: u8,
}

impl Held {
    async fn open(client: &Client, method: &str, path: &str, token: &str, body: &Value) -> Self {
        let body = body.to_string();
        let head = format!(
            "{method} {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\
             authorization: Bearer {token}\r\ncontent-type: application/json\r\n\
             content-length: {}\r\n\r\n",
            body.len(),
        );
        let mut bytes = [head.as_bytes(), body.as_bytes()].concat();
        let last = bytes.pop().unwrap();
        Self { raw: Raw::sending(client, &bytes).await, last }
    }

    /// Sends the last byte and returns the answer.
    async fn end(mut self) -> String {
        self.raw.send(&[self.last]).await;
        self.raw.rest().await
    }
}

fn member(role: &str) -> Value {
    json!({ "email": format!("{}@example.com", unique("held")), "password": PASSWORD, "role": role })
}

/// Opens a request for each change that an admin makes with a body.
async fn hold_all(client: &Client, org: &Org, own: &str, token: &str) -> Vec<Held> {
    let mutation = json!({ "query": "mutation { createEvent(input: { title: \"x\", timeZone: \"UTC\",
        startsAt: \"2027-01-01T00:00:00\", durationMinutes: 60, capacity: 1 }) { id } }" });
    let list = json!({ "query": "{ registrations(first: 1) { edges { cursor } } }" });
    let own = format!("/org/members/{own}");
    let mut held = Vec::new();
    for (method, path, body) in [
        ("POST", "/org/members", member("admin")),
        ("PATCH", own.as_str(), json!({ "role": "admin" })),
        ("PUT", "/org/update", json!({ "organization_name": "Taken over" })),
        ("PUT", "/org/update", json!({ "password": "a thief's password" })),
        ("DELETE", "/org/delete", json!({ "organization_name": org.name })),
        ("POST", "/orgcharts", json!({ "name": "A chart" })),
        ("POST", "/graphql", mutation),
        ("POST", "/graphql", list),
    ] {
        held.push(Held::open(client, method, path, token, &body).await);
    }
    held
}

/// An organization, and the id and token of its second admin.
async fn two_admins(client: &Client) -> (Org, String, String) {
    let org = client.sign_up("Acme").await;
    let (id, token) = client.with(&org.token).add_member("admin").await;
    (org, id, token)
}

/// The number of tokens that the server has checked.
async fn checks(client: &Client) -> u64 {
    let mut checks = 0;
    for outcome in ["hit", "miss", "bypass"] {
        let labels = format!(r#"{{cache="authority",outcome="{outcome}"}}"#);
        checks += client.metric(&format!("tenantry_cache_lookups_total{labels}")).await;
    }
    checks
}

/// Opens requests and waits until the server has checked their tokens.
async fn checked(client: &Client, open: impl AsyncFn() -> Vec<Held>) -> Vec<Held> {
    let before = checks(client).await;
    let held = open().await;
    let wanted = before + held.len() as u64;
    eventually("a check of all tokens", || async { checks(client).await >= wanted }).await;
    held
}

fn status(answer: &str) -> &str {
    answer.split(' ').nth(1).unwrap_or("none")
}

#[tokio::test]
async fn a_delayed_request_is_authorized_again_when_its_body_is_complete() {
    let database = Database::new().await;
    let server = ServerProcess::start(&database);
    let client = &server.client;
    let (org, id, token) = two_admins(client).await;
    let admin = client.with(&org.token);
    let path = format!("/org/members/{id}");

    let held = checked(client, async || hold_all(client, &org, &id, &token).await).await;
    admin.patch(&path, json!({ "role": "member" })).await.expect(200);
    for held in held {
        let answer = held.end().await;
        assert!(answer.contains(r#""code":"forbidden""#), "demoted: {answer}");
    }

    admin.patch(&path, json!({ "role": "admin" })).await.expect(200);
    let held = checked(client, async || hold_all(client, &org, &id, &token).await).await;
    admin.patch(&path, json!({ "password": "another password" })).await.expect(200);
    for held in held {
        assert_eq!(status(&held.end().await), "401", "another password");
    }

    let (id, token) = admin.add_member("admin").await;
    let held = checked(client, async || hold_all(client, &org, &id, &token).await).await;
    admin.delete(&format!("/org/members/{id}")).await.expect(200);
    for held in held {
        assert_eq!(status(&held.end().await), "401", "removed");
    }

    let left = admin.get("/org/members").await.expect(200);
    assert_eq!(left.body.as_array().unwrap().len(), 2, "{left:?}");
    assert_eq!(admin.get_org("Acme").await.expect(200).body["admin"]["email"], org.email);
    drop(server);
    database.drop_all();
}

#[tokio::test]
async fn without_the_second_check_a_removed_admin_creates_another_one() {
    let database = Database::new().await;
    let server =
        ServerProcess::start_with(&database, &[("FAILPOINTS", "authority.unchecked=return")]);
    let client = &server.client;
    let (org, id, token) = two_admins(client).await;
    let another = member("admin");
    let open = async || vec![Held::open(client, "POST", "/org/members", &token, &another).await];
    let held = checked(client, open).await.remove(0);
    client.with(&org.token).delete(&format!("/org/members/{id}")).await.expect(200);
    assert_eq!(status(&held.end().await), "201");
    drop(server);
    database.drop_all();
}

fn email() -> Email {
    Email::parse(&format!("{}@example.com", unique("late"))).unwrap()
}

fn password() -> Password {
    Password::parse(PASSWORD.to_owned()).unwrap()
}

/// Calls each change of accounts or the organization with a context that may be outdated.
async fn change_all(app: &TestApp, ctx: &AdminContext, whom: &str) -> Vec<Option<Error>> {
    let (manager, whom) = (&app.manager, whom.parse().unwrap());
    let input = MemberInput { email: email(), password: password(), name: None, role: Role::Admin };
    let admin = MemberPatch { role: Some(Role::Admin), ..MemberPatch::default() };
    let name = |raw| Some(tenantry::domain::tenancy::OrgName::parse(raw).unwrap());
    let rename =
        |raw| OrgPatch { name: name(raw), email: None, password: None, revoke_calendar: false };
    let address =
        OrgPatch { name: None, email: Some(email()), password: None, revoke_calendar: false };
    vec![
        manager.member_create(ctx, input).await.err(),
        manager.member_update(ctx, whom, admin).await.err(),
        manager.member_delete(ctx, whom).await.err(),
        manager.organization_update(ctx, rename("Taken over")).await.err(),
        manager.organization_update(ctx, rename("ACME")).await.err(),
        manager.organization_update(ctx, address).await.err(),
        manager.organization_delete(ctx, &name("Acme").unwrap()).await.err(),
    ]
}

#[tokio::test]
async fn a_change_that_waits_after_the_second_check_is_refused_by_its_transaction() {
    let app = TestApp::start().await;
    let (org, id, token) = two_admins(&app).await;
    let admin = app.with(&org.token);
    let path = format!("/org/members/{id}");
    let ctx = app.manager.authenticate(&token).await.unwrap().admin().unwrap();
    let as_admin = |errors: Vec<Option<Error>>, code: &str| {
        for (number, error) in errors.iter().enumerate() {
            assert_eq!(error.as_ref().map(Error::code), Some(code), "change {number}");
        }
    };

    admin.patch(&path, json!({ "role": "member" })).await.expect(200);
    as_admin(change_all(&app, &ctx, &id).await, "forbidden");
    admin.patch(&path, json!({ "role": "admin" })).await.expect(200);
    admin.patch(&path, json!({ "password": "another password" })).await.expect(200);
    as_admin(change_all(&app, &ctx, &id).await, "unauthenticated");
    let fed = app.manager.feed_create(&ctx).await;
    assert_eq!(fed.err().as_ref().map(Error::code), Some("unauthenticated"));
    admin.delete(&path).await.expect(200);
    as_admin(change_all(&app, &ctx, &org.admin_id).await, "unauthenticated");
    assert_eq!(admin.get("/org/members").await.expect(200).body.as_array().unwrap().len(), 1);
    app.assert_sound().await;
}
