//! Org charts: CSV import and export, statistics, pictures, and the admission of large charts.

use std::fmt::Write as _;

use bson::doc;
use reqwest::Method;
use serde_json::{Value, json};
use tenantry::manager::charts::ChartWork;

use crate::support::{Chart, Client, Reply, TestApp, eventually, patiently};

pub(crate) async fn import(chart: &Chart, query: &str, csv: impl Into<reqwest::Body>) -> Reply {
    let request = chart.client.request(Method::POST, &chart.path(&format!("/import{query}")));
    Client::send(request.header("content-type", "text/csv; charset=utf-8").body(csv)).await
}

async fn export(chart: &Chart) -> String {
    let reply = chart.client.get(&chart.path("/export")).await.expect(200);
    assert_eq!(reply.headers["content-type"], "text/csv; charset=utf-8");
    reply.body.as_str().unwrap().to_owned()
}

async fn prepared() -> (TestApp, Chart) {
    let app = TestApp::start().await;
    let org = app.sign_up("Acme").await;
    let chart = Chart::create(&app.with(&org.token), "Chart").await;
    (app, chart)
}

#[tokio::test]
async fn an_exported_chart_imports_to_the_same_chart() {
    let (app, chart) = prepared().await;
    for (name, manager) in
        [("Ada", None), ("Bobby \"Tables\", Jr.", Some(1)), ("=1+1", Some(1)), ("Zoë", Some(3))]
    {
        chart.hire(name, manager).await;
    }
    chart.client.delete(&chart.path("/employees/2")).await.expect(200);
    let list = export(&chart).await;
    assert!(list.starts_with("id,name,title,manager_id\n1,Ada,Engineer,\n3,=1+1,Engineer,1\n"));

    let copy = Chart::create(&chart.client, "Copy").await;
    let reply = import(&copy, "", list.clone()).await.expect(200);
    assert_eq!(reply.body, json!({ "id": 2, "imported": 3, "dry_run": false }));
    assert_eq!(export(&copy).await, list);
    import(&chart, "", list.clone()).await.refused(409, "chart_not_empty");
    import(&chart, "?replace=true", list.clone()).await.expect(200);
    assert_eq!(export(&chart).await, list);
    // New ids follow the highest id ever used.
    assert_eq!(copy.hire("New", Some(1)).await, 5);
    app.assert_sound().await;
}

#[tokio::test]
async fn a_chart_with_the_largest_importable_id_still_grows() {
    let (app, chart) = prepared().await;
    let highest = (1_i64 << 52) - 1;
    let refused = format!("id,name,title,manager_id\n{},Ada,CEO,\n", highest + 1);
    import(&chart, "", refused).await.invalid(&["line 2"]);
    let list = format!("id,name,title,manager_id\n1,Ada,CEO,\n{highest},Bob,x,1\n");
    import(&chart, "", list).await.expect(200);
    // The next id is too large for a list, but still exact as a JSON number.
    assert_eq!(chart.hire("Cy", Some(highest)).await, highest + 1);
    assert_eq!(chart.managers().await, [None, Some(1), Some(highest)]);
    app.assert_sound().await;
}

#[tokio::test]
async fn managers_may_be_named_by_name_or_key() {
    let (app, chart) = prepared().await;
    let by_name = "title,name,manager\nCTO,Bob,Ada\nCEO,Ada,\nEngineer,Cy,bob\n";
    import(&chart, "", by_name).await.expect(200);
    assert_eq!(chart.managers().await, [Some(2), None, Some(1)]);
    let by_key = "email,name,title,manager\na@x.co,Ada,CEO,\nb@x.co,Ada,CTO,A@x.co\n";
    import(&chart, "?replace=true", by_key).await.expect(200);
    assert_eq!(chart.managers().await, [None, Some(4)]);
    app.assert_sound().await;
}

#[tokio::test]
async fn every_wrong_line_is_named_and_nothing_is_imported() {
    let (_app, chart) = prepared().await;
    let list = "id,name,title,manager_id\n1,Ada,CEO,\n2,,CTO,1\n2,Cy,x,9\nx,Dan,x,1\n5,Eve,x,\n";
    let refused = import(&chart, "", list).await;
    let refused = refused.invalid(&["line 3", "line 4", "line 4", "line 5", "line 6"]);
    assert_eq!(refused.body["errors"][1]["message"], "id is already used in line 3");
    let cycle = "id,name,title,manager_id\n1,Ada,CEO,\n2,Bob,x,3\n3,Cy,x,2\n";
    let refused = import(&chart, "", cycle).await.invalid(&["line 3"]);
    let message = refused.body["errors"][0]["message"].as_str().unwrap().to_owned();
    assert_eq!(message, "is in a cycle: Bob reports to Cy reports to Bob");
    import(&chart, "", "name,title\nAda,CEO\n").await.invalid(&["manager_id"]);
    import(&chart, "", vec![0xff, 0xfe, 0x00]).await.expect(400);
    import(&chart, "?dryrun=true", "").await.invalid(&["dryrun"]);
    import(&chart, "?dry_run=maybe", "").await.invalid(&["dry_run"]);
    let path = chart.path("/import");
    chart.client.post(&path, json!({})).await.expect(415);
    assert!(chart.managers().await.is_empty());

    let right = "name,title,manager\nAda,CEO,\n";
    let before = chart.client.get(&chart.path("")).await.body;
    let dry = import(&chart, "?dry_run=true", right).await.expect(200);
    assert_eq!(dry.body, json!({ "id": 1, "imported": 1, "dry_run": true }));
    assert_eq!(chart.client.get(&chart.path("")).await.body, before);
    let nowhere = Chart { id: 9, ..chart.clone() };
    import(&nowhere, "", right).await.refused(404, "not_found");
}

#[tokio::test]
async fn statistics_describe_the_chart() {
    let (_app, chart) = prepared().await;
    let stats = async || chart.client.get(&chart.path("/stats")).await.expect(200).body;
    assert_eq!(stats().await["people"], 0);
    for manager in [None, Some(1), Some(1), Some(2), Some(4)] {
        chart.hire("Person", manager).await;
    }
    let expected = json!({
        "people": 5, "depth": 3, "managers": 3, "individual_contributors": 2,
        "span_of_control": {
            "mean": 4.0 / 3.0, "max": 2,
            "widest": [{ "id": 1, "name": "Person", "title": "Engineer" }],
        },
    });
    assert_eq!(stats().await, expected);
}

#[tokio::test]
async fn a_picture_escapes_markup_in_names() {
    let (_app, chart) = prepared().await;
    let picture =
        async |query: &str| chart.client.get(&chart.path(&format!("/chart.svg{query}"))).await;
    assert!(picture("").await.expect(200).body.as_str().unwrap().starts_with("<svg"));
    for (name, manager) in [("Ada", None), ("<script>alert(1)</script>", Some(1)), ("Zoë", Some(2))]
    {
        chart.hire(name, manager).await;
    }
    let drawn = picture("").await.expect(200);
    assert_eq!(drawn.headers["content-type"], "image/svg+xml");
    let policy = drawn.headers["content-security-policy"].to_str().unwrap();
    assert!(policy.starts_with("default-src 'none'"), "{policy}");
    let text = drawn.body.as_str().unwrap();
    assert!(text.contains("Ada") && text.contains("Zoë") && !text.contains("<script"), "{text}");
    let part = picture("?root=2&depth=0").await.expect(200);
    assert!(!part.body.as_str().unwrap().contains("Zoë"));
    picture("?root=9").await.refused(404, "not_found");
    picture("?depth=-1").await.invalid(&["depth"]);
}

/// A list of `people`, seven per manager.
pub(crate) fn list(people: i64) -> String {
    let mut csv = "id,name,title,manager_id\n1,Ada,CEO,\n".to_owned();
    for id in 2..=people {
        writeln!(csv, "{id},Person {id},Engineer,{}", (id - 2) / 7 + 1).unwrap();
    }
    csv
}

#[tokio::test]
async fn a_large_chart_gets_indexes_that_do_not_change_its_answers() {
    let app = TestApp::start().await;
    let org = app.sign_up("Acme").await;
    let chart = Chart::create(&app.with(&org.token), "Chart").await;
    let small = Chart::create(&chart.client, "Small").await;
    import(&small, "", list(900)).await.expect(200);
    let documents = app.database.tenant("org_acme").await;
    let indexes = async || documents.list_index_names().await.unwrap();
    import(&chart, "", list(2_000)).await.expect(200);
    eventually("the indexes", || async { indexes().await.len() == 4 }).await;
    // A repeated call waits for a running build and changes nothing.
    let store = app.database.store().await;
    let id = app.context(&org).await.org_id();
    let place = store.organization(id).await.unwrap().unwrap().location;
    let identity = store.collection_identity(&place).await.unwrap().unwrap();
    store.index_teams(&place, identity).await.unwrap();
    assert_eq!(indexes().await.len(), 4);
    assert!(store.index_teams(&place, [0; 16]).await.is_err());

    let answers = async || {
        let mut answers: Vec<Value> = Vec::new();
        for (id, path) in
            [(1, "direct_reports"), (9, "subtree"), (1_999, "manager_chain"), (2_000, "subtree")]
        {
            let path = chart.path(&format!("/employees/{id}/{path}?limit=1000"));
            answers.push(chart.client.get(&path).await.expect(200).body);
        }
        answers
    };
    let with = answers().await;
    // No read of a team scans the whole chart or collection.
    let scanned = async |filter: bson::Document| {
        let find = doc! { "find": "org_acme", "filter": filter };
        let explain = doc! { "explain": find, "verbosity": "executionStats" };
        let tenants = app.database.client().await.database(&app.database.tenants);
        let explained = tenants.run_command(explain).await.unwrap();
        explained.get_document("executionStats").unwrap().get_i32("totalDocsExamined").unwrap()
    };
    let chart_key = doc! { "org": id.object_id(), "kind": "employee", "chart": 1_i64 };
    let mut end = chart_key.clone();
    end.insert("~", bson::Bson::MaxKey);
    for (more, at_most) in [
        (doc! { "manager": 9_i64 }, 7),
        (doc! { "$or": [{ "_id.employee": 9_i64 }, { "manager": 9_i64 }] }, 8),
        (doc! { "$or": [{ "_id.employee": 2_000_i64 }, { "manager": 2_000_i64 }] }, 1),
        (doc! { "$or": [{ "_id.employee": 9_i64 }, { "ancestors": 9_i64 }] }, 100),
    ] {
        let mut filter = doc! { "_id": { "$gte": chart_key.clone(), "$lt": end.clone() } };
        filter.insert("_id.chart", 1_i64);
        filter.extend(more.clone());
        let scanned = scanned(filter).await;
        assert!(scanned <= at_most, "{more}: {scanned} documents");
    }
    for name in ["manager", "ancestors", "employee"] {
        documents.drop_index(name).await.unwrap();
    }
    assert_eq!(answers().await, with);
    assert!(with.iter().all(|answer| !answer.as_array().unwrap().is_empty()));

    app.assert_sound().await;
}

#[tokio::test]
async fn a_tenant_processes_one_large_chart_at_a_time_and_small_ones_always() {
    let app = TestApp::start_with(|settings| settings.operations.patience_ms = 2_000).await;
    let org = app.sign_up("Acme").await;
    let chart = Chart::create(&app.with(&org.token), "Large").await;
    let small = Chart::create(&chart.client, "Small").await;
    import(&chart, "", list(10_000)).await.expect(200);
    import(&small, "", list(600)).await.expect(200);
    let ctx = app.context(&org).await;
    let admit = async |work| app.manager.admit_chart(&ctx, work, 5_000).await.unwrap();
    let permits = [admit(ChartWork::Read).await, admit(ChartWork::Import).await];
    let whole = ["/tree", "/export", "/stats", "/chart.svg"];
    for path in whole {
        chart.client.get(&chart.path(path)).await.refused(503, "busy");
        chart.client.get(&small.path(path)).await.expect(200);
    }
    import(&chart, "?replace=true", list(10_000)).await.refused(503, "busy");
    import(&small, "?replace=true", list(600)).await.expect(200);
    drop(permits);
    for path in whole {
        patiently(async || chart.client.get(&chart.path(path)).await).await.expect(200);
    }
    patiently(async || import(&chart, "?replace=true", list(10_000)).await).await.expect(200);
    // All permits were returned.
    for _ in 0..2 {
        drop([admit(ChartWork::Read).await, admit(ChartWork::Import).await]);
    }
    let stats = patiently(async || chart.client.get(&chart.path("/stats")).await).await.expect(200);
    assert_eq!(stats.body["people"], 10_000);
    app.assert_sound().await;
}
