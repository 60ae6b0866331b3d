//! Tokens that are foreign, for another purpose, expired or forged (RFC 8725).

use base64::prelude::{BASE64_URL_SAFE_NO_PAD, Engine};
use ed25519_dalek::{
    SigningKey,
    pkcs8::{EncodePrivateKey, EncodePublicKey, spki::der::pem::LineEnding},
};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::{Value, json};
use tenantry::config::JwtAlgorithm;

use crate::support::{Client, PASSWORD, Reply, SECRET, TestApp};

fn part(value: &Value) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(value.to_string())
}

/// The claims of a token.
fn claims(token: &str) -> Value {
    let body = token.split('.').nth(1).unwrap();
    serde_json::from_slice(&BASE64_URL_SAFE_NO_PAD.decode(body).unwrap()).unwrap()
}

fn sign(algorithm: Algorithm, claims: &Value, key: &EncodingKey) -> String {
    jsonwebtoken::encode(&Header::new(algorithm), claims, key).unwrap()
}

fn hs256(claims: &Value, secret: &[u8]) -> String {
    sign(Algorithm::HS256, claims, &EncodingKey::from_secret(secret))
}

/// A correctly signed token with additional header fields.
fn with_extensions(claims: &Value, extensions: &Value) -> String {
    let mut header = json!({ "alg": "HS256", "typ": "JWT" });
    header.as_object_mut().unwrap().extend(extensions.as_object().unwrap().clone());
    let signed = format!("{}.{}", part(&header), part(claims));
    let key = EncodingKey::from_secret(SECRET.as_bytes());
    let signature = jsonwebtoken::crypto::sign(signed.as_bytes(), &key, Algorithm::HS256).unwrap();
    format!("{signed}.{signature}")
}

async fn ask(app: &Client, token: &str) -> Reply {
    app.with(token).get("/org/members").await
}

#[tokio::test]
async fn the_claims_are_the_documented_ones() {
    let app = TestApp::start().await;
    let org = app.sign_up("Acme").await;
    let claims = claims(&org.token);
    assert_eq!(claims["sub"], org.admin_id);
    assert_eq!(claims["org_id"], org.id);
    assert_eq!(claims["role"], "admin");
    assert_eq!(claims["ver"], 1);
    assert_eq!((&claims["iss"], &claims["aud"]), (&json!("tenantry"), &json!("tenantry")));
    assert_eq!(claims["exp"].as_i64().unwrap() - claims["iat"].as_i64().unwrap(), 3600);
    assert!(claims["jti"].is_string());
    // The same claims signed again are accepted, so the refusals below are due to their changes.
    ask(&app, &hs256(&claims, SECRET.as_bytes())).await.expect(200);
}

#[tokio::test]
async fn tokens_with_unsupported_header_fields_or_a_later_start_are_refused() {
    let app = TestApp::start().await;
    let org = app.sign_up("Acme").await;
    let good = claims(&org.token);
    let now = good["iat"].as_i64().unwrap();
    let from = |nbf: Value| {
        let mut claims = good.clone();
        claims["nbf"] = nbf;
        hs256(&claims, SECRET.as_bytes())
    };
    let with_extensions = |extensions: Value| with_extensions(&good, &extensions);
    ask(&app, &with_extensions(json!({ "kid": "x" }))).await.expect(200);
    ask(&app, &from(json!(now))).await.expect(200);
    for token in [
        from(json!(now + 3_600)),
        from(json!("tomorrow")),
        with_extensions(json!({ "crit": ["exp"] })),
        with_extensions(json!({ "crit": ["b64"], "b64": true })),
        with_extensions(json!({ "crit": [] })),
        with_extensions(json!({ "crit": null })),
        with_extensions(json!({ "b64": true })),
        with_extensions(json!({ "b64": false })),
    ] {
        ask(&app, &token).await.refused(401, "unauthenticated");
    }
}

#[tokio::test]
async fn forged_and_foreign_tokens_are_refused() {
    let app = TestApp::start().await;
    let org = app.sign_up("Acme").await;
    let good = claims(&org.token);
    let with = |field: &str, value: Value| {
        let mut claims = good.clone();
        claims[field] = value;
        hs256(&claims, SECRET.as_bytes())
    };
    let without = |field: &str| {
        let mut claims = good.clone();
        claims.as_object_mut().unwrap().remove(field);
        hs256(&claims, SECRET.as_bytes())
    };
    let signature = org.token.rsplit('.').next().unwrap();
    let body = org.token.split('.').nth(1).unwrap();
    let none = part(&json!({ "alg": "none", "typ": "JWT" }));
    let now = good["iat"].as_i64().unwrap();
    let secret = EncodingKey::from_secret(SECRET.as_bytes());
    // Keys named in a header must be ignored.
    let misleading = {
        let (address, header) = ("http://127.0.0.1:1/keys", Header::new(Algorithm::HS256));
        let (jku, x5u) = (Some(address.to_owned()), Some(address.to_owned()));
        let header = Header { jku, x5u, kid: Some("../../dev/null".to_owned()), ..header };
        jsonwebtoken::encode(&header, &good, &EncodingKey::from_secret(b"their own key")).unwrap()
    };
    let tokens = [
        misleading,
        format!("{none}.{body}."),
        format!("{none}.{body}.{signature}"),
        format!("{}.{body}.{signature}", part(&json!({ "alg": "NONE" }))),
        hs256(&good, b"another secret of at least 32 bytes"),
        hs256(&good, b""),
        sign(Algorithm::HS384, &good, &secret),
        sign(Algorithm::HS512, &good, &secret),
        with("iss", json!("somebody")),
        with("aud", json!("somebody")),
        with("exp", json!(now - 1)),
        with("exp", json!("tomorrow")),
        with("ver", json!(2)),
        with("ver", json!(0)),
        with("sub", json!("6b00fee09a60bcced079d4e8")),
        with("sub", json!({ "$ne": null })),
        with("org_id", json!("6b00fee09a60bcced079d4e8")),
        without("exp"),
        without("iss"),
        without("aud"),
        without("sub"),
        without("ver"),
        format!("{}x", org.token),
        org.token[..org.token.len() - 1].to_owned(),
        body.to_owned(),
        "x".repeat(10_000),
    ];
    for token in tokens {
        ask(&app, &token).await.refused(401, "unauthenticated");
    }
    for header in ["", "Bearer", "Basic YTpi", &org.token] {
        let request = app.request(reqwest::Method::GET, "/org/members");
        Client::send(request.header("authorization", header)).await.refused(401, "unauthenticated");
    }
    ask(&app, &org.token).await.expect(200);
}

#[tokio::test]
async fn keys_of_one_algorithm_are_refused_for_the_other() {
    let key = SigningKey::from_bytes(&[7; 32]);
    let pem = key.to_pkcs8_pem(LineEnding::LF).unwrap();
    let public = key.verifying_key().to_public_key_pem(LineEnding::LF).unwrap();
    let file = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join("ed25519.pem");
    std::fs::write(&file, pem.as_bytes()).unwrap();
    let app = TestApp::start_with(|settings| {
        settings.jwt.algorithm = JwtAlgorithm::EdDSA;
        settings.jwt.key_file = Some(file);
    })
    .await;
    let org = app.sign_up("Acme").await;
    ask(&app, &org.token).await.expect(200);
    let good = claims(&org.token);
    // Algorithm confusion: the public key used as an HMAC secret.
    for secret in [public.as_bytes(), key.verifying_key().as_bytes(), pem.as_bytes()] {
        ask(&app, &hs256(&good, secret)).await.refused(401, "unauthenticated");
    }
    let other = SigningKey::from_bytes(&[8; 32]).to_pkcs8_pem(LineEnding::LF).unwrap();
    let other = EncodingKey::from_ed_pem(other.as_bytes()).unwrap();
    ask(&app, &sign(Algorithm::EdDSA, &good, &other)).await.refused(401, "unauthenticated");
    // An Ed25519 token where the server expects HS256.
    let hs = TestApp::start().await;
    let org = hs.sign_up("Acme").await;
    let own = EncodingKey::from_ed_pem(pem.as_bytes()).unwrap();
    let token = sign(Algorithm::EdDSA, &claims(&org.token), &own);
    ask(&hs, &token).await.refused(401, "unauthenticated");
}

#[tokio::test]
async fn tokens_of_the_previous_secret_are_accepted_during_rotation() {
    let old = "the secret before this one, long enough";
    let app = TestApp::start_with(|s| s.jwt.previous_secret = Some(old.to_owned().into())).await;
    let org = app.sign_up("Acme").await;
    let good = claims(&org.token);
    ask(&app, &hs256(&good, old.as_bytes())).await.expect(200);
    ask(&app, &hs256(&good, b"the secret before the one before it")).await.expect(401);
}

#[tokio::test]
async fn a_new_password_revokes_all_earlier_tokens() {
    let app = TestApp::start().await;
    let org = app.sign_up("Acme").await;
    let second = app.token(&org.email, PASSWORD).await;
    let body = json!({ "password": "another password" });
    app.with(&org.token).put("/org/update", body).await.expect(200);
    for token in [&org.token, &second] {
        ask(&app, token).await.refused(401, "unauthenticated");
    }
    let token = app.token(&org.email, "another password").await;
    ask(&app, &token).await.expect(200);
    // Changing only the address keeps tokens valid.
    let body = json!({ "email": "new@example.com" });
    app.with(&token).put("/org/update", body).await.expect(200);
    ask(&app, &token).await.expect(200);
}

#[tokio::test]
async fn a_password_set_by_an_admin_revokes_the_members_tokens() {
    let app = TestApp::start().await;
    let org = app.sign_up("Acme").await;
    let (id, member) = app.with(&org.token).add_member("member").await;
    app.with(&member).get("/orgcharts").await.expect(200);
    let body = json!({ "password": "another password" });
    app.with(&org.token).patch(&format!("/org/members/{id}"), body).await.expect(200);
    app.with(&member).get("/orgcharts").await.refused(401, "unauthenticated");
    app.with(&org.token).get("/orgcharts").await.expect(200);
}

#[tokio::test]
async fn a_token_is_invalid_after_its_organization_and_in_a_new_one_of_the_same_name() {
    let app = TestApp::start().await;
    let org = app.sign_up("Acme").await;
    app.with(&org.token).delete_org("Acme").await.expect(200);
    ask(&app, &org.token).await.refused(401, "unauthenticated");
    let created = app.create("Acme", &org.email).await.expect(201);
    ask(&app, &org.token).await.refused(401, "unauthenticated");
    app.with(&org.token).delete_org("Acme").await.refused(401, "unauthenticated");
    assert_eq!(app.get_org("acme").await.expect(200).body["id"], created.body["id"]);
}

#[tokio::test]
async fn a_bad_token_is_refused_before_anything_else_is_checked() {
    let app = TestApp::start().await;
    let org = app.sign_up("Acme").await;
    let (_, member) = app.with(&org.token).add_member("member").await;
    let put = |token: Option<&str>| {
        let client = token.map_or_else(|| (*app).clone(), |token| app.with(token));
        let request = client.request(reqwest::Method::PUT, "/org/update");
        Client::send(request.header("content-type", "text/plain").body("{ not json"))
    };
    put(None).await.refused(401, "unauthenticated");
    put(Some("rubbish")).await.refused(401, "unauthenticated");
    put(Some(&member)).await.refused(403, "forbidden");
    put(Some(&org.token)).await.expect(415);
    app.with("rubbish").get("/nowhere").await.refused(401, "unauthenticated");
    app.with("rubbish").get_org("acme").await.refused(401, "unauthenticated");
    // Requests that need no token ignore an old one.
    app.with("rubbish").log_in(&org.email, PASSWORD).await.expect(200);
    app.with("rubbish").create("Globex", "globex@example.com").await.expect(201);
}
