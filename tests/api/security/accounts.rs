//! Attacks on accounts: guessed identities, and rights that outlive a password.

use crate::support::TestApp;

/// The tail of an id behind its moment, as a number.
fn tail(id: &str) -> u64 {
    u64::from_str_radix(&id[12..], 16).unwrap()
}

#[tokio::test]
async fn the_id_of_an_organization_tells_nothing_of_the_ids_of_its_accounts() {
    let app = TestApp::start().await;
    let (mut ids, mut listed) = (Vec::new(), Vec::new());
    let org = app.sign_up("Acme").await;
    let admin = app.with(&org.token);
    listed.push(org.admin_id.clone());
    for _ in 0..5 {
        listed.push(admin.add_member("member").await.0);
    }
    ids.push(org.id.clone());
    ids.extend(listed.clone());
    for (one, two) in ids.iter().zip(&ids[1..]) {
        assert!(tail(one).abs_diff(tail(two)) > 1_000_000, "{one} is next to {two}");
    }
    // They sort by their moment all the same: lists are oldest first.
    let members = admin.get("/org/members").await.expect(200);
    let members = members.body.as_array().unwrap().iter();
    let members: Vec<_> = members.map(|member| member["id"].as_str().unwrap()).collect();
    assert_eq!(members, listed);
}

#[tokio::test]
async fn the_page_about_the_api_leaves_no_token_in_the_browser() {
    let app = TestApp::start().await;
    let script = app.get("/docs/swagger-initializer.js").await.expect(200);
    let script = script.body.as_str().unwrap();
    assert!(script.contains("\"tryItOutEnabled\": true"), "{script}");
    assert!(!script.contains("\"persistAuthorization\": true"), "{script}");
}
