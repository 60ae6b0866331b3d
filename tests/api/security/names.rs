//! Attacks with names that look like others to a program, and not to a person.

use futures::future::join_all;

use crate::support::{TestApp, unique};

/// Two names that share more than a slug keeps.
fn alike(word: &str) -> [String; 2] {
    let shared = format!("{word} {}", "long ".repeat(9));
    ["North", "South"].map(|end| format!("{shared}{end}"))
}

#[tokio::test]
async fn a_name_that_is_only_cut_alike_deletes_nothing() {
    let app = TestApp::start().await;
    let [north, south] = alike("Société");
    let org = app.sign_up(&north).await;
    let admin = app.with(&org.token);
    let cut: String = north.chars().take(48).collect();
    for name in [&south, &cut, &format!("{north} 2"), &"société long".to_owned()] {
        admin.delete_org(name).await.refused(403, "forbidden");
    }
    let slug = org_slug(&admin.get_org(&north).await.expect(200).body["collection_name"]);
    admin.delete_org(&slug).await.refused(403, "forbidden");
    // A new spelling with the same slug counts from then on, and the old one no more.
    admin.rename(&south).await.expect(200);
    admin.delete_org(&north).await.refused(403, "forbidden");
    app.assert_sound().await;
    assert_eq!(app.database.counts().await.0, 1);
    let plain = south.to_uppercase().replace('É', "E").replace(' ', "-");
    admin.delete_org(&plain).await.expect(200);
    assert_eq!(app.database.counts().await, (0, 0, 0));
}

#[tokio::test]
async fn no_name_that_is_only_cut_alike_deletes_during_a_rename() {
    let app = TestApp::start().await;
    let [before, other_before] = alike(&unique("Before"));
    let [after, other_after] = alike(&unique("After"));
    let org = app.sign_up(&before).await;
    let admin = app.with(&org.token);
    let wrong = [other_before, other_after];
    let attempts = (0..20).map(|turn| admin.delete_org(&wrong[turn % 2]));
    let (renamed, attempts) = tokio::join!(admin.rename(&after), join_all(attempts));
    renamed.expect(200);
    for attempt in attempts {
        attempt.refused(403, "forbidden");
    }
    admin.delete_org(&before).await.refused(403, "forbidden");
    admin.delete_org(&after).await.expect(200);
}

fn org_slug(collection: &serde_json::Value) -> String {
    collection.as_str().unwrap().trim_start_matches("org_").to_owned()
}
