//! `tenantry verify` finds inconsistencies, which these tests write directly to the database.

use bson::{Bson, doc, oid::ObjectId};
use tenantry::upkeep::{self, Finding};

use crate::support::{Chart, Org, TestApp, command, made_ago, seconds_from_now};

async fn findings(app: &TestApp) -> Vec<Finding> {
    upkeep::verify(&app.manager, |_| {}).await.unwrap().findings
}

fn id(org: &Org) -> ObjectId {
    ObjectId::parse_str(&org.id).unwrap()
}

#[tokio::test]
async fn a_consistent_platform_has_no_findings() {
    let app = TestApp::start().await;
    assert!(findings(&app).await.is_empty());
    for name in ["Acme", "Globex", "Initech"] {
        app.sign_up(name).await;
    }
    let report = upkeep::verify(&app.manager, |_| {}).await.unwrap();
    assert_eq!((report.organizations, report.collections), (3, 3));
    assert!(report.findings.is_empty());
}

#[tokio::test]
async fn a_collection_without_an_organization_is_found() {
    let app = TestApp::start().await;
    app.sign_up("Acme").await;
    app.database.tenant("org_stray").await.insert_one(doc! {}).await.unwrap();
    assert_eq!(findings(&app).await, [Finding::OrphanCollection("org_stray".to_owned())]);
}

#[tokio::test]
async fn an_organization_without_its_documents_is_found() {
    let app = TestApp::start().await;
    let org = app.sign_up("Acme").await;
    app.database.tenant("org_acme").await.drop().await.unwrap();
    let expected = Finding::MissingTenant(org.id.parse().unwrap(), "org_acme".to_owned());
    assert_eq!(findings(&app).await, [expected]);
}

#[tokio::test]
async fn an_organization_without_an_admin_and_accounts_without_an_organization_are_found() {
    let app = TestApp::start().await;
    let org = app.sign_up("Acme").await;
    let unknown = ObjectId::new();
    let accounts = app.database.master("accounts").await;
    accounts.update_one(doc! {}, doc! { "$set": { "org_id": unknown } }).await.unwrap();
    let found = findings(&app).await;
    assert!(found.contains(&Finding::NoAdmin(org.id.parse().unwrap())), "{found:?}");
    assert!(found.contains(&Finding::OrphanAccounts(unknown.into())), "{found:?}");
    assert_eq!(found.len(), 2);
}

#[tokio::test]
async fn a_chart_that_breaks_a_rule_is_found() {
    let app = TestApp::start().await;
    let org = app.sign_up("Acme").await;
    let chart = Chart::create(&app.with(&org.token), "Chart").await;
    for manager in [None, Some(1), Some(2)] {
        chart.hire("Person", manager).await;
    }
    assert!(findings(&app).await.is_empty());
    let documents = app.database.tenant("org_acme").await;
    // People of an edition that no chart shows are lost, unless they are recorded.
    let stray = doc! {
        "_id": { "org": id(&org), "kind": "employee", "chart": -1_i64, "employee": 1_i64 },
        "manager": Bson::Null, "ancestors": [],
    };
    documents.insert_one(stray).await.unwrap();
    assert_eq!(findings(&app).await, [Finding::UncountedEmployees(org.id.parse().unwrap())]);
    let spare = app.database.master("spare_editions").await;
    let record = doc! {
        "org_id": id(&org), "chart": 1_i64, "edition": -1_i64,
        "importing": true, "lease_until": seconds_from_now(3_600),
    };
    spare.insert_one(record).await.unwrap();
    for (ago, stuck) in [(1, false), (90, true)] {
        let progress = doc! { "$set": { "progress_at": seconds_from_now(-ago) } };
        spare.update_one(doc! {}, progress).await.unwrap();
        let expected = if stuck {
            vec![Finding::StuckTasks("chart_edition".to_owned(), 1)]
        } else {
            Vec::new()
        };
        assert_eq!(findings(&app).await, expected, "{ago}");
    }
    spare.delete_one(doc! {}).await.unwrap();
    documents.delete_one(doc! { "_id.chart": -1_i64 }).await.unwrap();
    let counter = doc! { "$inc": { "employee_count": 1_i64 } };
    documents.update_one(doc! { "_id.kind": "chart" }, counter).await.unwrap();
    let gone = doc! { "_id.kind": "employee", "_id.employee": 2_i64 };
    documents.delete_one(gone).await.unwrap();
    let found: Vec<String> = findings(&app).await.iter().map(ToString::to_string).collect();
    assert_eq!(found.len(), 2, "{found:?}");
    assert!(found[0].contains("counts 4 people and has 2"), "{found:?}");
    assert!(found[1].contains("employee 3 reports to unknown id 2"), "{found:?}");
    documents.delete_one(doc! { "_id.kind": "chart" }).await.unwrap();
    assert_eq!(findings(&app).await, [Finding::UncountedEmployees(org.id.parse().unwrap())]);
}

#[tokio::test]
async fn slugs_that_do_not_match_the_name_are_found() {
    let app = TestApp::start().await;
    let org = app.sign_up("Acme").await;
    let organizations = app.database.master("organizations").await;
    let corrupt = doc! { "$push": { "slugs": "leftover" } };
    organizations.update_one(doc! { "_id": id(&org) }, corrupt).await.unwrap();
    assert_eq!(findings(&app).await, [Finding::WrongSlugs(org.id.parse().unwrap())]);

    let (ok, text) = verify(&app);
    assert!(!ok && text.contains(&org.id), "{text}");
    let repair = doc! { "$pull": { "slugs": "leftover" } };
    organizations.update_one(doc! { "_id": id(&org) }, repair).await.unwrap();
    let (ok, text) = verify(&app);
    assert!(ok && text.contains("every invariant holds"), "{text}");
    assert!(text.contains(&app.database.master) && text.contains("127.0.0.1:"), "{text}");
}

#[tokio::test]
async fn operations_without_progress_are_found_and_slow_ones_are_not() {
    let app = TestApp::start().await;
    let org = app.sign_up("Acme").await;
    let tasks = app.database.master("tasks").await;
    // Somebody else's lease, so that this server leaves it alone.
    let cancellation = doc! {
        "_id": made_ago(90), "org_id": id(&org), "kind": "release_member",
        "member": ObjectId::new(),
        "lease_until": seconds_from_now(3_600),
    };
    tasks.insert_one(cancellation).await.unwrap();
    assert_eq!(findings(&app).await, [Finding::StuckTasks("release_member".to_owned(), 1)]);
    for (ago, stuck) in [(1, false), (90, true)] {
        let progress = doc! { "$set": { "progress_at": seconds_from_now(-ago) } };
        tasks.update_one(doc! {}, progress).await.unwrap();
        assert_eq!(findings(&app).await.is_empty(), !stuck, "{ago}");
    }
    tasks.delete_one(doc! {}).await.unwrap();

    for (ago, stuck) in [(30, false), (90, true)] {
        let operation = doc! {
            "_id": made_ago(ago), "org_id": id(&org), "kind": "delete", "exclusive": true,
            "lease_until": seconds_from_now(3_600),
        };
        tasks.insert_one(operation).await.unwrap();
        assert_eq!(findings(&app).await.is_empty(), !stuck, "{ago}");
        tasks.delete_one(doc! {}).await.unwrap();
    }
}

fn verify(app: &TestApp) -> (bool, String) {
    let output = command(&app.database).arg("verify").output().unwrap();
    (output.status.success(), String::from_utf8(output.stdout).unwrap())
}
