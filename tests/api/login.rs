//! Logins and the limits on guessing passwords.

use serde_json::{Value, json};

use crate::support::{PASSWORD, TestApp};

#[tokio::test]
async fn logging_in_returns_a_token_and_its_account() {
    let app = TestApp::start().await;
    let org = app.sign_up("Acme").await;
    let body = json!({ "email": org.email.to_uppercase(), "password": PASSWORD });
    let reply = app.post("/admin/login", body.clone()).await.expect(200);
    assert_eq!(reply.text("token_type"), "Bearer");
    assert_eq!(reply.body["expires_in"], 3600);
    assert_eq!(reply.text("admin_id"), org.admin_id);
    assert_eq!(reply.text("organization_id"), org.id);
    assert_eq!(reply.text("organization_name"), "Acme");
    assert_eq!(reply.body.as_object().unwrap().len(), 6);
    let reply = app.post("/auth/login", body).await.expect(200);
    assert_eq!(reply.text("account_id"), org.admin_id);
    assert_eq!(reply.text("role"), "admin");
    assert_eq!(reply.body.as_object().unwrap().len(), 7);
}

#[tokio::test]
async fn all_refusals_are_identical() {
    let app = TestApp::start().await;
    let org = app.sign_up("Acme").await;
    let body = json!({ "email": "member@example.com", "password": PASSWORD });
    app.with(&org.token).post("/org/members", body.clone()).await.expect(201);
    let long = "x".repeat(10_000);
    let attempts = [
        json!({ "email": org.email, "password": "wrong password" }),
        json!({ "email": "nobody@example.com", "password": PASSWORD }),
        json!({ "email": "no address", "password": PASSWORD }),
        json!({ "email": org.email, "password": "" }),
        json!({ "email": org.email, "password": long }),
        body.clone(),
    ];
    let mut answers = Vec::new();
    for attempt in attempts {
        let mut reply = app.post("/admin/login", attempt).await.refused(401, "invalid_credentials");
        reply.body["request_id"] = Value::Null;
        answers.push(reply.body);
    }
    assert!(answers.windows(2).all(|pair| pair[0] == pair[1]), "{answers:?}");
    app.post("/auth/login", body).await.expect(200);
}

#[tokio::test]
async fn an_unknown_address_costs_a_hash_like_a_wrong_password() {
    let app = TestApp::start().await;
    let org = app.sign_up("Acme").await;
    // Tests of the same process share the metric, so it increases at least by this login's hash.
    // The hasher's own test checks the exact count.
    let hashes = || app.metric("tenantry_hash_seconds_count");
    for email in [org.email.as_str(), "nobody@example.com", "no address"] {
        let before = hashes().await;
        app.log_in(email, "wrong password").await.refused(401, "invalid_credentials");
        assert!(hashes().await > before, "{email} was refused without a hash");
    }
}

#[tokio::test]
async fn passwords_that_share_72_bytes_are_different() {
    let app = TestApp::start().await;
    let org = app.sign_up("Acme").await;
    let (right, wrong) = (format!("{}1", "a".repeat(72)), format!("{}2", "a".repeat(72)));
    app.with(&org.token).put("/org/update", json!({ "password": right })).await.expect(200);
    app.log_in(&org.email, &wrong).await.refused(401, "invalid_credentials");
    app.log_in(&org.email, &right).await.expect(200);
}

#[tokio::test]
async fn any_unicode_is_allowed_in_a_password() {
    let app = TestApp::start().await;
    let org = app.sign_up("Acme").await;
    let password = "пароль 密码 🔑\u{0}\u{301}";
    app.with(&org.token).put("/org/update", json!({ "password": password })).await.expect(200);
    app.log_in(&org.email, password).await.expect(200);
}

#[tokio::test]
async fn too_many_failures_are_refused_before_they_cost_a_hash() {
    let app =
        TestApp::start_with(|settings| settings.throttle.login_failures_per_account = 3).await;
    let org = app.sign_up("Acme").await;
    let (target, _) = app.with(&org.token).add_member("member").await;
    let target = app.with(&org.token).get(&format!("/org/members/{target}")).await;
    let target = target.text("email");
    // The member has logged in from here before and has an own budget here, which failures use up.
    for _ in 0..3 {
        app.log_in(target, "wrong password").await.refused(401, "invalid_credentials");
    }
    let refused = app.log_in(target, PASSWORD).await.refused(429, "too_many_attempts");
    let seconds: u64 = refused.headers["retry-after"].to_str().unwrap().parse().unwrap();
    assert!((1..=900).contains(&seconds));
    app.log_in(&org.email, PASSWORD).await.expect(200);
}

#[tokio::test]
async fn only_trusted_proxies_can_set_a_clients_address() {
    let limit = |settings: &mut tenantry::config::Settings| {
        settings.throttle.login_failures_per_address = 2;
    };
    let untrusting = TestApp::start_with(limit).await;
    let trusting = TestApp::start_with(|settings| {
        limit(settings);
        settings.server.trusted_proxies = vec!["127.0.0.1".parse().unwrap()];
    })
    .await;
    for (app, expected) in [(&untrusting, 429), (&trusting, 401)] {
        let mut last = 0;
        for number in 0..4 {
            let request = app.request(reqwest::Method::POST, "/auth/login");
            let body = json!({ "email": "nobody@example.com", "password": PASSWORD });
            let request = request.header("x-forwarded-for", format!("203.0.113.{number}"));
            last = crate::support::Client::send(request.json(&body)).await.status;
        }
        assert_eq!(last, expected);
    }
}

#[tokio::test]
async fn sign_ups_are_limited_per_address_if_configured() {
    let app =
        TestApp::start_with(|settings| settings.throttle.sign_ups_per_address_minute = 2).await;
    app.create("One", "one@example.com").await.expect(201);
    app.create("Two", "two@example.com").await.expect(201);
    app.create("Three", "three@example.com").await.refused(429, "too_many_attempts");
}

#[tokio::test]
async fn a_full_hashing_queue_answers_busy_and_other_requests_continue() {
    let app = TestApp::start_with(|settings| {
        settings.hash.queue = 1;
        settings.hash.concurrency = 1;
        settings.hash.memory_kib = 64 * 1024;
    })
    .await;
    let org = app.sign_up("Acme").await;
    let flood = (0..24).map(|_| app.log_in(&org.email, PASSWORD));
    let quiet = async { app.get_org("acme").await.status };
    let (replies, quiet) = tokio::join!(futures::future::join_all(flood), quiet);
    assert_eq!(quiet, 200);
    assert!(replies.iter().all(|reply| [200, 503].contains(&reply.status)));
    assert!(replies.iter().any(|reply| reply.status == 200));
    assert!(replies.iter().any(|reply| reply.body["code"] == "busy"));
}
