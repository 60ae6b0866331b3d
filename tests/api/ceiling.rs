//! Sign-ups beyond the database's capacity are refused, and the database keeps running.

use std::{
    path::Path,
    process::Command,
    time::{Duration, Instant},
};

use bson::{Document, doc};
use futures::{StreamExt, stream};
use reqwest::Method;
use tenantry::{
    domain::identity::Password,
    upkeep::{self, ChartSeed},
};

use crate::support::{
    Chart, Client, Database, PASSWORD, ServerProcess, TestApp, eventually, limited, mongod_program,
};

/// Limit of open files for the server and for its `mongod`.
const HANDLES: u64 = 1_000;
const AT_ONCE: usize = 8;

#[tokio::test]
async fn organizations_beyond_the_limit_are_refused_until_one_is_deleted() {
    let app = TestApp::start_with(|settings| settings.mongo.max_organizations = 1).await;
    let full = app.database.store().await.file_usage().await.unwrap();
    let full = full.expect("the database does not tell how full it is");
    assert!(full.files > 0 && full.handles > 0 && full.most_handles > 0, "{full:?}");

    let first = app.sign_up("First").await;
    // The last count is reused for half a second.
    eventually("a refusal", || async {
        let refused = app.create("First", "one@example.com").await;
        refused.body["code"] == "capacity_reached"
    })
    .await;
    let refused = app.create("One too many", "one@example.com").await;
    let refused = refused.refused(503, "capacity_reached");
    assert_eq!(refused.headers["retry-after"], "60");
    assert_eq!(app.database.tenant_collections().await, ["org_first"]);

    app.with(&first.token).delete_org("First").await.expect(200);
    eventually("capacity", || async {
        app.create("Second", "second@example.com").await.status == 201
    })
    .await;
}

#[tokio::test]
async fn repeated_seeding_needs_no_capacity_but_seeding_more_does() {
    let app = TestApp::start_with(|settings| settings.mongo.max_organizations = 2).await;
    let seed = async |charts| {
        let password = Password::parse("seed password".to_owned()).unwrap();
        let seed = ChartSeed { charts, per_tenant: 1, people: Some(1) };
        upkeep::seed_org_charts(&app.manager, "Seed", password, seed, |_| {}).await
    };
    assert_eq!(seed(2).await.unwrap().organizations, 2);
    eventually("a refusal", || async {
        app.create("Other", "other@example.com").await.body["code"] == "capacity_reached"
    })
    .await;
    assert_eq!(seed(2).await.unwrap().organizations, 0);
    assert_eq!(seed(3).await.unwrap_err().code(), "capacity_reached");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_with_few_file_handles_survives_being_filled() {
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join("ceiling");
    let _ = std::fs::remove_dir_all(&dir);
    let server = ServerProcess::spawn(&mut with_few_handles(&dir).await);
    let names = (0..).map(|number| format!("Org {number}"));
    let replies = stream::iter(names.map(async |name| {
        let email = format!("{}@example.com", name.replace(' ', ""));
        let reply = server.client.create(&name, &email).await;
        (reply.status, reply.body["code"].as_str().unwrap_or_default().to_owned())
    }));
    let mut replies = replies.buffer_unordered(AT_ONCE);
    let (mut created, until) = (0, Instant::now() + Duration::from_mins(3));
    loop {
        assert!(Instant::now() < until, "only busy answers after {created} organizations");
        match replies.next().await {
            Some((201, _)) => created += 1,
            // Temporarily too many files are open.
            Some((503, code)) if code == "busy" => {}
            Some((503, code)) if code == "capacity_reached" => break,
            other => panic!("{other:?} after {created} organizations"),
        }
    }
    drop(replies);
    assert!(created > HANDLES / 2, "refused after {created} organizations");
    server.client.create("One more", "more@example.com").await.refused(503, "capacity_reached");
    let metrics = server.client.get("/metrics").await.expect(200);
    let metrics = metrics.body.as_str().unwrap();
    assert!(metrics.contains("tenantry_sign_ups_without_room_total"), "{metrics}");

    // Opens the files of all tenants at once.
    let database = Database::in_dir(&dir).named("tenantry_master", "tenantry_tenants");
    let collections = database.tenant_collections().await;
    let client = database.client().await;
    let found = stream::iter(&collections).map(async |name| {
        let found = client.database("tenantry_tenants").run_command(doc! { "find": name }).await;
        found.map(|found: Document| found.get_document("cursor").is_ok())
    });
    let found: Vec<_> = found.buffer_unordered(AT_ONCE).collect().await;
    assert!(found.iter().all(|found| matches!(found, Ok(true))), "{found:?}");
    server.client.get("/health/ready").await.expect(200);
}

/// The program with an embedded database, both with a low limit of open files.
async fn with_few_handles(dir: &Path) -> Command {
    let mut few = limited(&Database::at("unused"), HANDLES);
    few.env_remove("MONGO_URI").env_remove("MASTER_DB").env_remove("TENANT_DB");
    few.env("TENANTRY_DIR", dir).env("TENANTRY_MONGOD", mongod_program().await);
    few
}

/// A chart of a thousand people has three indexes, so its tenant has four files.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn indexes_count_as_files_and_the_database_outlives_them() {
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join("indexes");
    let _ = std::fs::remove_dir_all(&dir);
    let server = ServerProcess::spawn(&mut with_few_handles(&dir).await);
    let people = (2..=1_000).map(|id| format!("{id},Person {id},Hand,1\n"));
    let list = format!("id,name,title,manager_id\n1,Chief,Chief,\n{}", people.collect::<String>());
    let (mut created, mut full) = (0, false);
    // Without the limit, three times as many would fit: as many as there are handles.
    while !full && created < HANDLES / 4 {
        let name = format!("Org {created}");
        let email = format!("org{created}@example.com");
        let reply = server.client.create(&name, &email).await;
        match (reply.status, reply.body["code"].as_str()) {
            (201, _) => {
                created += 1;
                let token = server.client.token(&email, PASSWORD).await;
                let chart = Chart::create(&server.client.with(&token), "All").await;
                let import = chart.client.request(Method::POST, &chart.path("/import"));
                let import = import.header("content-type", "text/csv").body(list.clone());
                Client::send(import).await.expect(200);
            }
            (503, Some("busy")) => {}
            (503, Some("capacity_reached")) => full = true,
            other => panic!("{other:?} after {created}"),
        }
    }
    assert!(full, "{created} organizations with four files each were not refused");
    assert!(created > HANDLES / 10, "refused after {created} organizations");
    let trees = (0..created).map(async |number| {
        let token = server.client.token(&format!("org{number}@example.com"), PASSWORD).await;
        server
            .client
            .with(&token)
            .get("/orgcharts/1/employees/1/direct_reports?limit=1")
            .await
            .status
    });
    let read: Vec<_> = stream::iter(trees).buffer_unordered(AT_ONCE).collect().await;
    assert!(read.iter().all(|status| *status == 200), "{read:?}");
    server.client.get("/health/ready").await.expect(200);
}
