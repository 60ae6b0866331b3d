//! Attacks on accounts: guessed identities, and rights that outlive a password.

use crate::support::TestApp;

#[tokio::test]
async fn the_page_about_the_api_leaves_no_token_in_the_browser() {
    let app = TestApp::start().await;
    let script = app.get("/docs/swagger-initializer.js").await.expect(200);
    let script = script.body.as_str().unwrap();
    assert!(script.contains("\"tryItOutEnabled\": true"), "{script}");
    assert!(!script.contains("\"persistAuthorization\": true"), "{script}");
}
