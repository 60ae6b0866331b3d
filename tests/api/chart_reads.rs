//! The database commands that chart reads need, as recorded by MongoDB's profiler.

use std::sync::atomic::{AtomicBool, Ordering};

use bson::{Document, doc};
use futures::TryStreamExt;
use reqwest::Method;
use serde_json::{Value, json};

use crate::{
    lists::{import, list},
    support::{Chart, Client, Database, Reply, TestApp, ids},
};

/// The answer to `work`, and the profiled commands on the tenant's collection.
async fn profiled(
    database: &Database,
    work: impl Future<Output = Reply>,
) -> (Value, Vec<Document>) {
    let tenants = database.client().await.database(&database.tenants);
    tenants.run_command(doc! { "profile": 2 }).await.unwrap();
    let answer = work.await.expect(200).body;
    tenants.run_command(doc! { "profile": 0 }).await.unwrap();
    let profile = database.tenant("system.profile").await;
    let of_the_tenant = doc! { "ns": format!("{}.org_acme", database.tenants) };
    let commands = profile.find(of_the_tenant).await.unwrap().try_collect().await.unwrap();
    profile.drop().await.unwrap();
    (answer, commands)
}

/// The answer to a read that needs one command, and how many documents the database examined for
/// it.
async fn examined(chart: &Chart, database: &Database, path: &str) -> (Value, i32) {
    let path = chart.path(path);
    let (answer, commands) = profiled(database, chart.client.get(&path)).await;
    let [command] = &commands[..] else { panic!("{path} took {commands:#?}") };
    (answer, command.get_i32("docsExamined").unwrap())
}

/// A chart of `people`, seven per manager, without indexes.
async fn prepared(people: i64) -> (TestApp, Chart) {
    let app = TestApp::start().await;
    let org = app.sign_up("Acme").await;
    let chart = Chart::create(&app.with(&org.token), "Chart").await;
    import(&chart, "", list(people)).await.expect(200);
    (app, chart)
}

#[tokio::test]
async fn a_manager_chain_is_read_by_key_in_one_command() {
    let (app, chart) = prepared(900).await;
    let chain = async |path: &str| {
        let (answer, documents) = examined(&chart, &app.database, path).await;
        (ids(&answer), documents)
    };
    let (above, documents) = chain("/employees/900/manager_chain").await;
    assert_eq!(above, [129, 19, 3, 1]);
    // Five keys, each of which may examine two documents at the end of its scan.
    assert!(documents <= 12, "{documents} documents");
    assert_eq!(chain("/employees/900/manager_chain?limit=2").await.0, [129, 19]);
    assert_eq!(chain("/employees/900/manager_chain?limit=1&cursor=19").await.0, [3]);
    assert_eq!(chain("/employees/900/manager_chain?cursor=19").await.0, [3, 1]);
    for nobody in ["/employees/900/manager_chain?cursor=1", "/employees/900/manager_chain?cursor=7"]
    {
        assert_eq!(chain(nobody).await.0, [0; 0]);
    }
    assert_eq!(chain("/employees/1/manager_chain").await.0, [0; 0]);
}

#[tokio::test]
async fn direct_reports_take_one_command_even_if_there_are_none() {
    let (app, chart) = prepared(30).await;
    let reports = async |path: &str| ids(&examined(&chart, &app.database, path).await.0);
    assert_eq!(reports("/employees/30/direct_reports").await, [0; 0]);
    assert_eq!(reports("/employees/30/subtree").await, [30]);
    assert_eq!(reports("/employees/4/direct_reports").await, (23..30).collect::<Vec<_>>());
    assert_eq!(reports("/employees/5/direct_reports").await, [30]);
    // The manager is read in the same command, but does not count towards the limit.
    assert_eq!(reports("/employees/4/direct_reports?limit=6").await, (23..29).collect::<Vec<_>>());
    assert_eq!(reports("/employees/4/direct_reports?limit=7").await, (23..30).collect::<Vec<_>>());
    assert_eq!(reports("/employees/4/direct_reports?cursor=27").await, [28, 29]);
    // The same if the reports have smaller ids than the manager.
    let promote = chart.client.request(Method::PUT, &chart.path("/employees/30/promote"));
    Client::send(promote).await.expect(200);
    for path in ["", "?limit=1"] {
        assert_eq!(reports(&format!("/employees/30/direct_reports{path}")).await, [1]);
    }
    chart.client.get(&chart.path("/employees/31/direct_reports")).await.refused(404, "not_found");
}

#[tokio::test]
async fn empty_lists_of_a_new_chart_and_tenant_take_two_commands() {
    let app = TestApp::start().await;
    let org = app.sign_up("Acme").await;
    let admin = app.with(&org.token);
    let (charts, commands) = profiled(&app.database, admin.get("/orgcharts")).await;
    assert_eq!((charts, commands.len()), (json!([]), 2), "{commands:#?}");
    let chart = Chart::create(&admin, "Chart").await;
    let path = chart.path("/employees");
    let (people, commands) = profiled(&app.database, admin.get(&path)).await;
    assert_eq!((people, commands.len()), (json!([]), 2), "{commands:#?}");
    // An empty page of a chart that has had people, and a list after its last chart was deleted.
    let ceo = chart.hire("Ada", None).await;
    let after = format!("{path}?cursor={ceo}");
    assert_eq!(admin.get(&after).await.expect(200).body, json!([]));
    admin.delete(&chart.path("")).await.expect(200);
    assert_eq!(admin.get("/orgcharts").await.expect(200).body, json!([]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn chains_and_empty_lists_stay_correct_during_a_hundred_renames() {
    let app = TestApp::start().await;
    let org = app.sign_up("Acme").await;
    let admin = app.with(&org.token);
    let chart = Chart::create(&admin, "Chart").await;
    let empty = Chart::create(&admin, "Empty").await;
    for manager in [None, Some(1), Some(2)] {
        chart.hire("Person", manager).await;
    }
    let done = AtomicBool::new(false);
    let expected: [(String, &[i64]); 6] = [
        (chart.path("/employees/3/manager_chain"), &[2, 1]),
        (chart.path("/employees/1/manager_chain"), &[]),
        (chart.path("/employees/2/direct_reports"), &[3]),
        (chart.path("/employees/3/direct_reports"), &[]),
        (empty.path("/employees"), &[]),
        ("/orgcharts".to_owned(), &[1, 2]),
    ];
    let reader = async || {
        let mut reads = 0_u32;
        while !done.load(Ordering::Relaxed) {
            for (path, expected) in &expected {
                let answer = admin.get(path).await.expect(200).body;
                assert_eq!(ids(&answer), *expected, "{path} after {reads} rounds");
            }
            reads += 1;
        }
        reads
    };
    let renaming = async {
        for round in 0..100 {
            admin.rename(&format!("Acme {}", round % 3)).await.expect(200);
        }
        done.store(true, Ordering::Relaxed);
    };
    let (one, two, ()) = tokio::join!(reader(), reader(), renaming);
    assert!(one > 0 && two > 0, "{one} and {two} rounds");
}
