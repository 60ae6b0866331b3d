//! Charts that are too large for one transaction: imported, replaced and deleted in batches that
//! nobody sees, whatever dies meanwhile.

use bson::doc;
use futures::{StreamExt, stream};
use reqwest::Method;
use serde_json::Value;

use crate::{
    chart_limits::Stored,
    lists::{import, list},
    support::{Chart, Client, Database, Org, Pair, ServerProcess, TestApp, eventually, patiently},
};

/// More people than one transaction replaces.
const LARGE: i64 = 6_000;

/// A list of so many people with the name `name`.
fn named(people: i64, name: &str) -> String {
    list(people).replace("Person", name)
}

async fn employees(database: &Database) -> u64 {
    let documents = database.tenant("org_acme").await;
    documents.count_documents(doc! { "_id.kind": "employee" }).await.unwrap()
}

/// A chart of the organization "Acme" with `LARGE` people in its first edition.
async fn large_chart(client: &Client) -> (Org, Chart) {
    let org = client.sign_up("Acme").await;
    let chart = Chart::create(&client.with(&org.token), "Large").await;
    import(&chart, "", named(LARGE, "Old")).await.expect(200);
    (org, chart)
}

#[tokio::test]
async fn two_hundred_thousand_people_are_imported_and_replaced_next_to_each_other() {
    const MOST: i64 = 200_000;
    let app = TestApp::start().await;
    let org = app.sign_up("Acme").await;
    let client = app.with(&org.token);
    let old = Chart::create(&client, "Old").await;
    let above = doc! { "$filter": { "input": [1], "cond": { "$lt": ["$$this", "$n"] } } };
    Stored::of(&app.database, &org, &old).await.fill(MOST, above).await;
    let new = Chart::create(&client, "New").await;
    let people = list(MOST);
    import(&new, "", people.clone()).await.expect(200);
    import(&old, "?replace=true", people).await.expect(200);
    for chart in [old, new] {
        assert_eq!(client.get(&chart.path("")).await.body["employee_count"], MOST);
        let chain = chart.path(&format!("/employees/{MOST}/manager_chain"));
        assert_eq!(client.get(&chain).await.expect(200).body.as_array().unwrap().len(), 7);
    }
    app.assert_sound().await;
}

/// The names that one answer of each kind of read shows, without the numbers in them.
async fn names_read(chart: &Chart) -> Vec<Vec<String>> {
    let ids = [
        "/employees?limit=1000",
        "/employees/9/subtree?limit=1000",
        "/employees/9/direct_reports",
        "/employees/5999/manager_chain",
        "/employees/5999",
    ];
    stream::iter(ids)
        .then(async |path| {
            let answer = chart.client.get(&chart.path(path)).await.expect(200).body;
            let people = answer.as_array().cloned().unwrap_or_else(|| vec![answer]);
            let names = people.iter().filter_map(|person| person["name"].as_str());
            let mut names: Vec<String> = names
                .filter(|name| *name != "Ada")
                .map(|name| name.split(' ').next().unwrap().to_owned())
                .collect();
            names.dedup();
            names
        })
        .collect()
        .await
}

/// Replaces the people of a chart by one server while another one reads it, and returns the answers
/// that the reader saw from the start of the replacement until after its end.
async fn read_while_replaced(reading: &str) -> (Pair, Org, Vec<Vec<String>>, Vec<Vec<String>>) {
    let pair = Pair::armed("", reading).await;
    let (org, chart) = large_chart(&pair.one.client).await;
    let reader = Chart { client: pair.two.client.with(&org.token), ..chart.clone() };
    let replacing = import(&chart, "?replace=true", named(LARGE, "New"));
    let mut replacing = std::pin::pin!(replacing);
    let mut seen = Vec::new();
    let replaced = loop {
        tokio::select! {
            replaced = &mut replacing => break replaced,
            names = names_read(&reader) => seen.extend(names),
        }
    };
    replaced.expect(200);
    let after = names_read(&reader).await;
    (pair, org, seen, after)
}

#[tokio::test]
async fn readers_of_a_chart_that_is_replaced_see_all_old_or_all_new_people() {
    let (pair, org, seen, after) = read_while_replaced("").await;
    assert!(!seen.is_empty());
    assert!(seen.iter().all(|names| names.len() == 1), "{seen:?}");
    let turn = seen.iter().position(|names| names[0] == "New").unwrap_or(seen.len());
    assert!(seen[turn..].iter().all(|names| names[0] == "New"), "{seen:?}");
    assert!(after.iter().all(|names| *names == ["New"]), "{after:?}");
    pair.assert_sound(&org).await;
    assert_eq!(employees(&pair.database).await, 6_000);
}

/// The control: a server that does not look up which edition a chart shows.
#[tokio::test]
async fn without_a_look_at_the_chart_readers_see_the_old_people() {
    let (_pair, _, _, after) = read_while_replaced("edition.skip_lookup=return").await;
    assert!(after.iter().all(|names| *names == ["Old"]), "{after:?}");
}

#[tokio::test]
async fn a_replacement_that_is_cut_short_leaves_the_old_chart_or_the_new_one_and_nothing_else() {
    for (point, name) in [
        ("import.after_record", "Old"),
        ("import.after_batch", "Old"),
        ("import.before_commit", "Old"),
        ("import.after_commit", "New"),
        ("removal.before_batch", "New"),
        ("removal.after_batch", "New"),
    ] {
        let database = Database::new().await;
        let armed = format!("{point}=return");
        let soon = ("PATIENCE_MS", "3000");
        let mut dying = ServerProcess::start_with(&database, &[("FAILPOINTS", &armed), soon]);
        let (org, mut chart) = large_chart(&dying.client).await;
        let request = chart.client.request(Method::POST, &chart.path("/import?replace=true"));
        let request = request.header("content-type", "text/csv").body(named(LARGE, "New"));
        let reply = Client::try_send(request).await;
        assert_eq!(reply.is_some(), point.starts_with("removal"), "{point}: {reply:?}");
        dying.died(&database).await;

        let server = ServerProcess::start_with(&database, &[soon]);
        chart.client = server.client.with(&org.token);
        let names =
            patiently(async || chart.client.get(&chart.path("/employees/5999")).await).await;
        assert!(names.expect(200).text("name").starts_with(name), "{point}");
        database.assert_recovered().await;
        assert_eq!(employees(&database).await, 6_000, "{point}");
        let names = names_read(&chart).await;
        assert!(names.iter().all(|names| *names == [name]), "{point}: {names:?}");
        patiently(async || import(&chart, "?replace=true", "name,title,manager\nAda,CEO,\n").await)
            .await
            .expect(200);
        database.assert_recovered().await;
        assert_eq!(employees(&database).await, 1, "{point}");
        drop(server);
        database.drop_all();
    }
}

#[tokio::test]
async fn an_import_that_was_taken_over_writes_nothing_more() {
    let database = Database::new().await;
    let server = ServerProcess::start(&database);
    let (_, chart) = large_chart(&server.client).await;
    let spare = database.master("spare_editions").await;
    let take_over = async {
        let taken = doc! { "$set": { "importing": false } };
        eventually("the import", || async {
            let taken = spare.update_one(doc! { "importing": true }, taken.clone()).await;
            taken.is_ok_and(|taken| taken.modified_count == 1)
        })
        .await;
    };
    let replacing = import(&chart, "?replace=true", named(LARGE, "New"));
    let (replaced, ()) = tokio::join!(replacing, take_over);
    replaced.refused(503, "busy");
    database.assert_recovered().await;
    assert_eq!(employees(&database).await, 6_000);
    assert!(names_read(&chart).await.iter().all(|names| *names == ["Old"]));
    drop(server);
    database.drop_all();
}

#[tokio::test]
async fn a_large_chart_grows_and_changes_in_its_new_edition_and_is_deleted_in_batches() {
    let database = Database::new().await;
    let server = ServerProcess::start_with(&database, &[("PATIENCE_MS", "3000")]);
    let (org, chart) = large_chart(&server.client).await;
    let client = server.client.with(&org.token);
    // Without ids the people get numbers after the highest one.
    let unnumbered =
        named(LARGE, "New").replace("id,name,title,manager_id", "key,name,title,manager");
    import(&chart, "?replace=true", unnumbered).await.expect(200);
    let top = client.get(&chart.path("")).await.expect(200).body["ceo_id"].as_i64().unwrap();
    assert_eq!(top, LARGE + 1);
    let hired = chart.hire("Hired", Some(top)).await;
    assert_eq!(hired, 2 * LARGE + 1);
    let change =
        |path: &str, body: Value| client.request(Method::PUT, &chart.path(path)).json(&body);
    let hired_path = format!("/employees/{hired}");
    let change =
        change(&hired_path, serde_json::json!({ "name": "Renamed", "manager_id": top + 1 }));
    let changed = Client::send(change).await.expect(200).body;
    assert_eq!((&changed["name"], &changed["org_id"]), (&"Renamed".into(), &chart.id.into()));
    client.delete(&chart.path(&format!("/employees/{}", top + 1))).await.expect(200);
    let promote = chart.path(&format!("{hired_path}/promote"));
    Client::send(client.request(Method::PUT, &promote)).await.expect(200);
    database.assert_recovered().await;
    assert_eq!(employees(&database).await, 6_000);
    assert_eq!(Chart::create(&client, "Next").await.id, chart.id + 1);

    client.delete(&chart.path("")).await.expect(200);
    client.get(&chart.path("/employees")).await.refused(404, "not_found");
    client.get(&chart.path(&hired_path)).await.refused(404, "not_found");
    eventually("the removal", || async { employees(&database).await == 0 }).await;
    database.assert_recovered().await;
    drop(server);
    database.drop_all();
}

#[tokio::test]
async fn a_change_of_more_people_than_one_transaction_holds_is_refused() {
    let app = TestApp::start().await;
    let org = app.sign_up("Acme").await;
    let client = app.with(&org.token);
    let chart = Chart::create(&client, "Large").await;
    let stored = Stored::of(&app.database, &org, &chart).await;
    let above = doc! { "$filter": { "input": [1, 2], "cond": { "$lt": ["$$this", "$n"] } } };
    stored.fill(20_003, above).await;
    let before = client.get(&chart.path("")).await.body;
    let put = async |path: &str, body: Value| {
        Client::send(client.request(Method::PUT, &chart.path(path)).json(&body)).await
    };
    let promote = client.request(Method::PUT, &chart.path("/employees/3/promote"));
    let refused = Client::send(promote).await.refused(409, "chart_change_too_large");
    let detail = refused.text("detail").to_owned();
    assert!(detail.contains("20003 people") && detail.contains("20000"), "{detail}");
    client.delete(&chart.path("/employees/2")).await.refused(409, "chart_change_too_large");
    assert_eq!(client.get(&chart.path("")).await.body, before);
    // A small team in the same chart moves.
    put("/employees/4", serde_json::json!({ "manager_id": 3 })).await.expect(200);
    put("/employees/2", serde_json::json!({ "manager_id": 1, "name": "Same manager" }))
        .await
        .expect(200);
    stored.assert_valid().await;
}
