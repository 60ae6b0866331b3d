//! Hundreds of events with long descriptions, read by a cold server.

use bson::{doc, oid::ObjectId};
use serde_json::json;

use super::{MOST_MEMORY, beside};
use crate::support::{Database, Event, Org, ServerProcess, ahead, peak_bytes, resident_bytes};

const EVENTS: usize = 600;
/// Characters of four bytes each.
const DESCRIPTION: usize = 10_000;
const ALIASES: usize = 50;

/// Many events like one that the server has created.
async fn multiply(database: &Database, org: &Org) {
    let tenant = database.tenant_of(org).await;
    let model = tenant.find_one(doc! { "_id.kind": "event" }).await.unwrap().unwrap();
    let events = (0..EVENTS).map(|_| {
        let mut event = model.clone();
        event.get_document_mut("_id").unwrap().insert("event", ObjectId::new());
        event
    });
    tenant.insert_many(events.collect::<Vec<_>>()).await.unwrap();
    let all = i64::try_from(EVENTS).unwrap();
    let counted = doc! { "$inc": { "events": all, "agenda": all } };
    tenant.update_one(doc! { "_id.kind": "tenant" }, counted).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fifty_lists_of_long_events_by_a_cold_server_need_little_memory() {
    let database = Database::new().await;
    let (loud, quiet) = {
        let server = ServerProcess::start(&database);
        let loud = server.client.sign_up("Loud").await;
        let start = ahead(24).format("%Y-%m-%dT%H:%M:%S").to_string();
        let event = json!({
            "startsAt": start, "capacity": 1, "description": "🧘".repeat(DESCRIPTION),
        });
        Event::create(&server.client.with(&loud.token), event).await;
        multiply(&database, &loud).await;
        (loud, server.client.sign_up("Quiet").await)
    };
    // Long enough for a debug build on a busy machine.
    let patient = [("PATIENCE_MS", "60000"), ("REQUEST_TIMEOUT_SECONDS", "90")];
    let server = ServerProcess::start_with(&database, &patient);
    let client = server.client.with(&loud.token);
    let (from, to) = (ahead(0).to_rfc3339(), ahead(48).to_rfc3339());
    let list = format!(
        r#"occurrences(from: "{from}", to: "{to}", first: 1) {{ edges {{ node {{ id }} }} }}"#
    );
    let aliases: Vec<_> = (0..ALIASES).map(|number| format!("a{number}: {list}")).collect();
    let described =
        list.replace("first: 1", "first: 500").replace("id }", "event { description } }");

    server.client.with(&quiet.token).get_org("Quiet").await.expect(200);
    let idle = resident_bytes(server.pid());
    let (cold, long) = beside(&server.client, &quiet, async {
        let ask = |query: String| {
            let client = &client;
            async move { client.graphql(&query, json!({})).await }
        };
        let query = format!("{{ {} }}", aliases.join(" "));
        let cold = futures::future::join(ask(query.clone()), ask(query)).await;
        (cold, ask(format!("{{ {described} }}")).await)
    })
    .await;
    for reply in [cold.0, cold.1] {
        assert_eq!(reply.body["data"]["a0"]["edges"].as_array().unwrap().len(), 1, "{reply:?}");
    }
    assert_eq!(long.body["errors"][0]["extensions"]["code"], "answer_too_large");
    let grown = peak_bytes(server.pid()).saturating_sub(idle);
    assert!(grown < MOST_MEMORY, "{} MiB more than idle", grown >> 20);
    drop(server);
    database.drop_all();
}
