//! Org charts: the fields and statuses of the API contract.

use serde_json::{Value, json};

use crate::support::{Chart, Client, Org, TestApp, ids};

async fn prepared() -> (TestApp, Org, Chart) {
    let app = TestApp::start().await;
    let org = app.sign_up("Acme").await;
    let chart = Chart::create(&app.with(&org.token), "Engineering").await;
    (app, org, chart)
}

#[tokio::test]
async fn admins_create_rename_and_delete_charts_and_members_only_read_them() {
    let (app, org, chart) = prepared().await;
    let admin = app.with(&org.token);
    let (_, member) = admin.add_member("member").await;
    let member = app.with(&member);

    let got = member.get(&chart.path("")).await.expect(200);
    assert_eq!(got.body["id"], 1);
    assert_eq!(got.text("name"), "Engineering");
    assert_eq!(got.body["employee_count"], 0);
    assert_eq!(got.body["ceo_id"], Value::Null);
    assert_eq!(got.body.as_object().unwrap().len(), 6);
    member.get("/orgcharts/1/employees").await.expect(200);

    let renamed = admin.put(&chart.path(""), json!({ "name": " Research " })).await.expect(200);
    assert_eq!(renamed.text("name"), "Research");
    Chart::create(&admin, "Sales").await;
    assert_eq!(ids(&member.get("/orgcharts").await.expect(200).body), [1, 2]);
    let page = member.get("/orgcharts?limit=1").await.expect(200);
    assert_eq!(page.headers["link"], "</orgcharts?limit=1&cursor=1>; rel=\"next\"");
    assert_eq!(ids(&member.get("/orgcharts?limit=1&cursor=1").await.expect(200).body), [2]);

    for refused in [
        member.post("/orgcharts", json!({ "name": "x" })).await,
        member.put(&chart.path(""), json!({ "name": "x" })).await,
        member.delete(&chart.path("")).await,
        member.post(&chart.path("/employees"), json!({})).await,
        member.put(&chart.path("/employees/1"), json!({})).await,
        member.delete(&chart.path("/employees/1")).await,
        member.put(&chart.path("/employees/1/promote"), json!({})).await,
    ] {
        refused.refused(403, "forbidden");
    }

    chart.hire("Ada", None).await;
    let deleted = admin.delete(&chart.path("")).await.expect(200);
    assert_eq!(deleted.body["id"], 1);
    admin.get(&chart.path("")).await.refused(404, "not_found");
    admin.get(&chart.path("/employees")).await.refused(404, "not_found");
    admin.get(&chart.path("/employees/1")).await.refused(404, "not_found");
    // Ids are never reused.
    assert_eq!(Chart::create(&admin, "Next").await.id, 3);
    app.assert_sound().await;
}

#[tokio::test]
async fn the_first_employee_is_the_ceo_and_all_others_have_a_manager() {
    let (_app, _, chart) = prepared().await;
    let hire = async |body: Value| chart.client.post(&chart.path("/employees"), body).await;
    hire(json!({ "name": "X", "title": "Y", "manager_id": 1 })).await.invalid(&["manager_id"]);
    let ceo = hire(json!({ "name": " Ada ", "title": "CEO" })).await.expect(201);
    assert_eq!(ceo.headers["location"], "/orgcharts/1/employees/1");
    assert_eq!(ceo.body["org_id"], 1);
    assert_eq!(ceo.text("name"), "Ada");
    assert_eq!(ceo.body["manager_id"], Value::Null);
    assert_eq!(ceo.body.as_object().unwrap().len(), 7);
    hire(json!({ "name": "Bob", "title": "CEO too" })).await.refused(409, "chart_has_ceo");
    let bob = hire(json!({ "name": "Bob", "title": "CTO", "manager_id": 1 })).await.expect(201);
    assert_eq!(bob.body["manager_id"], 1);
    hire(json!({ "name": "", "title": "x".repeat(129) })).await.invalid(&["name", "title"]);
    hire(json!({ "name": "X", "title": "Y", "manager_id": "1" })).await.invalid(&["manager_id"]);
    let got = chart.client.get(&chart.path("")).await.expect(200);
    assert_eq!((&got.body["ceo_id"], &got.body["employee_count"]), (&json!(1), &json!(2)));
}

/// 1 manages 2 and 3; 2 manages 4 and 5; 4 manages 6.
async fn team() -> (TestApp, Chart) {
    let (app, _, chart) = prepared().await;
    for manager in [None, Some(1), Some(1), Some(2), Some(2), Some(4)] {
        chart.hire("Person", manager).await;
    }
    (app, chart)
}

#[tokio::test]
async fn reports_chains_subtrees_and_the_tree_show_the_same_structure() {
    let (_app, chart) = team().await;
    let get = async |path: &str| chart.client.get(&chart.path(path)).await;
    assert_eq!(ids(&get("/employees").await.expect(200).body), [1, 2, 3, 4, 5, 6]);
    assert_eq!(ids(&get("/employees/2/direct_reports").await.expect(200).body), [4, 5]);
    assert_eq!(ids(&get("/employees/6/direct_reports").await.expect(200).body), [0; 0]);
    assert_eq!(ids(&get("/employees/6/manager_chain").await.expect(200).body), [4, 2, 1]);
    assert_eq!(ids(&get("/employees/1/manager_chain").await.expect(200).body), [0; 0]);
    let subtree = get("/employees/2/subtree").await.expect(200).body;
    assert_eq!(ids(&subtree), [2, 4, 5, 6]);
    let depths: Vec<i64> =
        subtree.as_array().unwrap().iter().map(|p| p["depth"].as_i64().unwrap()).collect();
    assert_eq!(depths, [0, 1, 1, 2]);
    let tree = get("/tree").await.expect(200).body;
    assert_eq!(ids(&tree["reports"]), [2, 3]);
    assert_eq!(ids(&tree["reports"][0]["reports"][0]["reports"]), [6]);
    assert_eq!(tree["org_id"], 1);
    for path in ["direct_reports", "manager_chain", "subtree"] {
        get(&format!("/employees/7/{path}")).await.refused(404, "not_found");
        let page = get(&format!("/employees/6/{path}?limit=2")).await.expect(200);
        assert!(page.body.as_array().unwrap().len() <= 2);
    }
    let page = get("/employees/6/manager_chain?limit=2").await.expect(200);
    let link = page.headers["link"].to_str().unwrap();
    let next = link.trim_start_matches('<').split('>').next().unwrap();
    assert_eq!(ids(&chart.client.get(next).await.expect(200).body), [1]);
}

#[tokio::test]
async fn an_empty_chart_is_empty_and_not_missing() {
    let (_app, _, chart) = prepared().await;
    assert_eq!(chart.client.get(&chart.path("/employees")).await.expect(200).body, json!([]));
    assert_eq!(chart.client.get(&chart.path("/tree")).await.expect(200).body, Value::Null);
    for path in
        ["/orgcharts/2", "/orgcharts/x", "/orgcharts/01", "/orgcharts/-1", "/orgcharts/2/tree"]
    {
        chart.client.get(path).await.refused(404, "not_found");
    }
}

#[tokio::test]
async fn changing_a_manager_moves_the_whole_team() {
    let (app, chart) = team().await;
    let put = async |id: i64, body: Value| {
        chart.client.put(&chart.path(&format!("/employees/{id}")), body).await
    };
    let moved = put(4, json!({ "manager_id": 3, "title": "Lead" })).await.expect(200);
    assert_eq!((&moved.body["manager_id"], moved.text("title")), (&json!(3), "Lead"));
    assert_eq!(chart.managers().await, [None, Some(1), Some(1), Some(3), Some(2), Some(4)]);
    let chain = chart.client.get(&chart.path("/employees/6/manager_chain")).await.expect(200);
    assert_eq!(ids(&chain.body), [4, 3, 1]);

    put(3, json!({ "manager_id": 6 })).await.refused(409, "chart_cycle");
    put(3, json!({ "manager_id": 3 })).await.refused(409, "chart_cycle");
    put(1, json!({ "manager_id": 6 })).await.refused(409, "chart_use_promote");
    put(3, json!({ "manager_id": null })).await.refused(409, "chart_use_promote");
    put(3, json!({ "manager_id": 99 })).await.invalid(&["manager_id"]);
    put(99, json!({ "manager_id": 1 })).await.refused(404, "not_found");
    put(3, json!({})).await.invalid(&[""]);
    put(1, json!({ "manager_id": null, "name": "Ada" })).await.expect(200);
    let same = put(5, json!({ "name": "Eve" })).await.expect(200);
    assert_eq!((same.text("name"), &same.body["manager_id"]), ("Eve", &json!(2)));
    app.assert_sound().await;
}

#[tokio::test]
async fn removing_an_employee_moves_the_team_to_the_manager() {
    for (mode, managers, reassigned) in [
        ("", [None, Some(1), Some(1), Some(1), Some(1)], 3),
        ("?reparent=all", [None, Some(1), Some(1), Some(1), Some(1)], 3),
        ("?reparent=direct", [None, Some(1), Some(1), Some(1), Some(4)], 2),
    ] {
        let (app, chart) = team().await;
        let left =
            chart.client.delete(&chart.path(&format!("/employees/2{mode}"))).await.expect(200);
        assert_eq!(left.body, json!({ "id": 2, "new_manager_id": 1, "reassigned": reassigned }));
        assert_eq!(chart.managers().await, managers);
        chart.client.get(&chart.path("/employees/2")).await.refused(404, "not_found");
        chart.client.delete(&chart.path("/employees/2")).await.refused(404, "not_found");
        app.assert_sound().await;
    }
    let (_app, chart) = team().await;
    chart.client.delete(&chart.path("/employees/1")).await.refused(409, "chart_ceo_protected");
    chart.client.delete(&chart.path("/employees/2?reparent=none")).await.invalid(&["reparent"]);
}

#[tokio::test]
async fn promotion_moves_the_ceo_below_and_keeps_all_other_managers() {
    let (app, chart) = team().await;
    let promote = |id: i64| {
        let path = chart.path(&format!("/employees/{id}/promote"));
        Client::send(chart.client.request(reqwest::Method::PUT, &path))
    };
    let ceo = promote(4).await.expect(200);
    assert_eq!((&ceo.body["id"], &ceo.body["manager_id"]), (&json!(4), &Value::Null));
    assert_eq!(chart.managers().await, [Some(4), Some(1), Some(1), None, Some(2), Some(4)]);
    assert_eq!(chart.client.get(&chart.path("")).await.expect(200).body["ceo_id"], 4);
    let chain = chart.client.get(&chart.path("/employees/5/manager_chain")).await.expect(200);
    assert_eq!(ids(&chain.body), [2, 1, 4]);
    let before = chart.client.get(&chart.path("/employees/4")).await.expect(200).body;
    assert_eq!(promote(4).await.expect(200).body, before);
    promote(99).await.refused(404, "not_found");
    chart.client.delete(&chart.path("/employees/4")).await.refused(409, "chart_ceo_protected");
    chart.client.delete(&chart.path("/employees/1")).await.expect(200);
    app.assert_sound().await;
}

#[tokio::test]
async fn employees_of_another_chart_or_tenant_are_unknown() {
    let (app, chart) = team().await;
    let other = Chart::create(&chart.client, "Other").await;
    other.hire("Ada", None).await;
    // Only the first chart has an employee 5.
    let body = json!({ "name": "X", "title": "Y", "manager_id": 5 });
    chart.client.post(&other.path("/employees"), body).await.invalid(&["manager_id"]);
    chart.client.get(&other.path("/employees/5")).await.refused(404, "not_found");

    let intruder = app.sign_up("Intruder").await;
    let intruder = app.with(&intruder.token);
    intruder.get(&chart.path("")).await.refused(404, "not_found");
    let own = Chart::create(&intruder, "Own").await;
    own.hire("Eve", None).await;
    let body = json!({ "name": "X", "title": "Y", "manager_id": 5 });
    intruder.post(&own.path("/employees"), body).await.invalid(&["manager_id"]);
    intruder.get(&own.path("/employees/5")).await.refused(404, "not_found");
    assert_eq!(ids(&intruder.get("/orgcharts").await.expect(200).body), [1]);
}
