//! What reads of a chart cost the database, as its own profiler tells.

use bson::{Document, doc};
use futures_util::TryStreamExt;
use serde_json::Value;

use crate::{
    lists::{import, list},
    support::{Chart, Database, Reply, TestApp},
};

/// What was asked of the tenant's collection while `work` ran, one entry a command.
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

/// The one command that a read took, and how many documents the database looked at for it.
async fn examined(chart: &Chart, database: &Database, path: &str) -> (Value, i32) {
    let path = chart.path(path);
    let (answer, commands) = profiled(database, chart.client.get(&path)).await;
    let [command] = &commands[..] else { panic!("{path} took {commands:#?}") };
    (answer, command.get_i32("docsExamined").unwrap())
}

fn ids(answer: &Value) -> Vec<i64> {
    answer.as_array().unwrap().iter().map(|person| person["id"].as_i64().unwrap()).collect()
}

/// So many people, seven to a manager, in a chart that has no indexes.
async fn prepared(people: i64) -> (TestApp, Chart) {
    let app = TestApp::start().await;
    let org = app.sign_up("Acme").await;
    let chart = Chart::create(&app.with(&org.token), "Chart").await;
    import(&chart, "", list(people)).await.expect(200);
    (app, chart)
}

#[tokio::test]
async fn a_chain_is_one_command_that_finds_everybody_by_key() {
    let (app, chart) = prepared(900).await;
    let chain = async |path: &str| {
        let (answer, documents) = examined(&chart, &app.database, path).await;
        (ids(&answer), documents)
    };
    let (above, documents) = chain("/employees/900/manager_chain").await;
    assert_eq!(above, [129, 19, 3, 1]);
    // The person twice, and each manager once.
    assert!(documents <= 6, "{documents} documents");
    assert_eq!(chain("/employees/900/manager_chain?limit=2").await.0, [129, 19]);
    assert_eq!(chain("/employees/900/manager_chain?limit=1&cursor=19").await.0, [3]);
    assert_eq!(chain("/employees/900/manager_chain?cursor=19").await.0, [3, 1]);
    for nobody in ["/employees/900/manager_chain?cursor=1", "/employees/900/manager_chain?cursor=7"]
    {
        assert_eq!(chain(nobody).await.0, [0; 0]);
    }
    assert_eq!(chain("/employees/1/manager_chain").await.0, [0; 0]);
}
