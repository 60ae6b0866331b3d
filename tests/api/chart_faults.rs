//! Kills the server during a large change of a chart and starts another one. The chart is
//! unchanged, and the same change then succeeds.

use bson::doc;
use reqwest::{Method, RequestBuilder};
use serde_json::json;

use crate::{
    chart_limits::{Managers, Stored, read_tree},
    support::{Chart, Client, Database, Org, ServerProcess, patiently},
};

const REPORTS: i64 = 2_000;
/// The first report of the team of 2,000.
const REPORT: i64 = 3;
/// The employee that the team's manager moves to.
const PEER: i64 = REPORTS + 3;

/// 1 manages 2 and the peer; 2 manages 2,000 employees.
async fn large_chart(database: &Database, client: &Client) -> (Org, Chart, Stored) {
    let org = client.sign_up("Acme").await;
    let chart = Chart::create(&client.with(&org.token), "Engineering").await;
    let stored = Stored::of(database, &org, &chart).await;
    let above = doc! { "$filter": { "input": [1, 2], "cond": { "$lt": ["$$this", "$n"] } } };
    stored.fill(REPORTS + 2, above).await;
    assert_eq!(chart.hire("Peer", Some(1)).await, PEER);
    (org, chart, stored)
}

/// Kills the server after all writes of `change` and before its commit, then repeats the change on
/// another server.
async fn assert_all_or_nothing(
    change: impl Fn(&Chart) -> RequestBuilder,
    expected: impl FnOnce(&mut Managers),
) {
    let database = Database::new().await;
    let armed = [("FAILPOINTS", "chart.before_commit=return")];
    let mut dying = ServerProcess::start_with(&database, &armed);
    let (org, mut chart, stored) = large_chart(&database, &dying.client).await;
    let before = stored.dump().await;
    let mut managers = stored.assert_valid().await;
    let reply = Client::try_send(change(&chart)).await;
    assert!(reply.is_none(), "the server answered instead of dying: {reply:?}");
    dying.died(&database).await;

    let server = ServerProcess::start(&database);
    chart.client = server.client.with(&org.token);
    assert!(stored.dump().await == before, "the chart is not as before");
    assert_eq!(read_tree(&chart).await, managers);
    patiently(async || Client::send(change(&chart)).await).await.expect(200);
    expected(&mut managers);
    assert_eq!(stored.assert_valid().await, managers);
    assert_eq!(read_tree(&chart).await, managers);
    drop(server);
    database.drop_all();
}

#[tokio::test]
async fn an_interrupted_removal_reassigns_nobody() {
    let leave = |chart: &Chart| chart.client.request(Method::DELETE, &chart.path("/employees/2"));
    assert_all_or_nothing(leave, |managers| {
        managers.remove(&2);
        managers.values_mut().filter(|m| **m == Some(2)).for_each(|m| *m = Some(1));
    })
    .await;
}

#[tokio::test]
async fn an_interrupted_promotion_keeps_the_ceo() {
    let promote = |chart: &Chart| {
        chart.client.request(Method::PUT, &chart.path(&format!("/employees/{REPORT}/promote")))
    };
    assert_all_or_nothing(promote, |managers| {
        managers.insert(1, Some(REPORT));
        managers.insert(REPORT, None);
    })
    .await;
}

#[tokio::test]
async fn an_interrupted_move_moves_nobody() {
    let manager = json!({ "manager_id": PEER });
    let moved = |chart: &Chart| {
        chart.client.request(Method::PUT, &chart.path("/employees/2")).json(&manager)
    };
    assert_all_or_nothing(moved, |managers| {
        managers.insert(2, Some(PEER));
    })
    .await;
}
