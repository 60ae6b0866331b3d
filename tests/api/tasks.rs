//! Durable tasks: completed whoever recorded them, and never in the way of others.

use bson::{Binary, Bson, DateTime, Document, doc, oid::ObjectId, spec::BinarySubtype};
use chrono::Duration;
use serde_json::json;

use crate::support::{
    Client, Database, Event, Org, ServerProcess, ahead, eventually, seconds_from_now,
};

fn id(org: &Org) -> ObjectId {
    ObjectId::parse_str(&org.id).unwrap()
}

/// What earlier releases recorded in two other collections.
#[tokio::test]
async fn tasks_of_an_earlier_release_are_completed() {
    let database = Database::new().await;
    let before = ServerProcess::start(&database);
    let gym = before.client.sign_up("Gym").await;
    let start = ahead(24);
    let admin = before.client.with(&gym.token);
    let event = Event::once(&admin, start, 2).await;
    admin.register(&event.at(start)).await.registration();
    let member = database.add_members(&gym, 1).await.remove(0);
    member.at(&before.client).register(&event.at(start)).await.registration();
    drop(before);

    let store = database.store().await;
    let found = store.organization(gym.id.parse().unwrap()).await.unwrap().unwrap();
    let uuid = store.collection_identity(&found.location).await.unwrap().unwrap();
    let place = |name: &str| {
        doc! { "cluster": "default", "database": &database.tenants, "collection": name }
    };
    let rename = doc! {
        "_id": ObjectId::new(), "org_id": id(&gym), "kind": "rename",
        "from": place("org_gym"), "to": place("org_studio"),
        "collection": Binary { subtype: BinarySubtype::Uuid, bytes: uuid.to_vec() },
        "old_slug": "gym", "new_name": "Studio", "new_slug": "studio",
        "lease_until": seconds_from_now(-60),
    };
    let renaming = doc! { "$set": {
        "status": "renaming", "moving_to": place("org_studio"), "slugs": ["gym", "studio"],
    } };
    let organizations = database.master("organizations").await;
    organizations.update_one(doc! { "_id": id(&gym) }, renaming).await.unwrap();
    database.master("operations").await.insert_one(rename).await.unwrap();
    let release = doc! {
        "_id": ObjectId::new(), "org_id": id(&gym), "of": "member",
        "member": ObjectId::parse_str(&member.id).unwrap(), "lease_until": seconds_from_now(-60),
    };
    database.master("drains").await.insert_one(release).await.unwrap();

    let server = ServerProcess::start(&database);
    database.no_tasks().await;
    let renamed = server.client.with(&gym.token).get_org("Studio").await.expect(200);
    assert_eq!(renamed.text("collection_name"), "org_studio");
    assert_eq!(database.seats(&gym).await.at(&event.at(start)), (1, 1));
    let client = database.client().await;
    let names = client.database(&database.master).list_collection_names().await.unwrap();
    assert!(!names.iter().any(|name| ["operations", "drains"].contains(&name.as_str())));
    drop(server);
    database.drop_all();
}

#[tokio::test]
async fn a_kind_of_a_later_release_is_left_to_it_and_a_failure_is_recorded() {
    let database = Database::new().await;
    let server = ServerProcess::start(&database);
    let lost = server.client.sign_up("Lost").await;
    let tasks = database.master("tasks").await;
    let leave = async |kind: &str, fields: Document| {
        let mut task = doc! {
            "_id": ObjectId::new(), "org_id": id(&lost), "owner": ObjectId::new(), "kind": kind,
            "lease_until": DateTime::MIN,
        };
        task.extend(fields);
        tasks.insert_one(task).await.unwrap();
    };
    leave("teleport", doc! { "to": "elsewhere" }).await;
    // Its tenant is nowhere.
    database.tenant("org_lost").await.drop().await.unwrap();
    leave("promote_waiting", doc! { "event": ObjectId::new() }).await;
    eventually("a second attempt", || async {
        let filter = doc! { "kind": "promote_waiting", "attempts": { "$gt": 1_i64 } };
        let failed = tasks.find_one(filter).await.unwrap();
        failed.is_some_and(|failed| failed.get_str("error").is_ok_and(|error| !error.is_empty()))
    })
    .await;
    let left = tasks.find_one(doc! { "kind": "teleport" }).await.unwrap().unwrap();
    assert_eq!(left.get("attempts"), None);
    assert!(
        server
            .client
            .metric(r#"tenantry_tasks_total{kind="promote_waiting",outcome="error"}"#)
            .await
            > 0
    );
    drop(server);
    database.drop_all();
}

/// The seats of an event with sixty occurrences, thirty people waiting for each: more than one
/// transaction gives away.
#[tokio::test]
async fn many_added_seats_are_given_away_also_when_the_server_dies_in_between() {
    for point in
        ["event_update.after_commit", "promotion.before_batch", "mass_cancellation.before_close"]
    {
        let database = Database::new().await;
        let server = ServerProcess::start(&database);
        let gym = server.client.sign_up("Gym").await;
        let (admin, start) = (server.client.with(&gym.token), ahead(24));
        let daily = json!({ "startsAt": start.format("%Y-%m-%dT%H:%M:%S").to_string(), "capacity": 1,
            "recurrence": { "frequency": "DAILY", "count": 60 } });
        let event = Event::create(&admin, daily).await;
        let occurrences: Vec<_> =
            (0..60).map(|day| event.at(start + Duration::days(day))).collect();
        let members = database.add_members(&gym, 30).await;
        for occurrence in &occurrences {
            admin.register(occurrence).await.registration();
            members[0].at(&server.client).join(occurrence).await.done("entry");
        }
        let all: Vec<Bson> = members
            .iter()
            .map(|member| {
                let id = ObjectId::parse_str(&member.id).unwrap();
                doc! { "member": id, "since": DateTime::now() }.into()
            })
            .collect();
        let tenant = database.tenant_of(&gym).await;
        let set = doc! { "$set": { "members": all } };
        tenant.update_many(doc! { "_id.kind": "waiting" }, set).await.unwrap();
        drop(server);

        let mut dying =
            ServerProcess::start_with(&database, &[("FAILPOINTS", &format!("{point}=return"))]);
        let update = format!(
            "updateEvent(id: \"{}\", input: {{ capacity: 31 }}) {{ refusal {{ code }} }}",
            event.id
        );
        let body = json!({ "query": format!("mutation {{ {update} }}") });
        let request =
            dying.client.with(&gym.token).request(reqwest::Method::POST, "/graphql").json(&body);
        Client::try_send(request).await;
        eventually("the server's death", || {
            let dead = dying.is_dead();
            async move { dead }
        })
        .await;
        dying.died(&database).await;
        let server = ServerProcess::start(&database);
        database.no_tasks().await;
        let seats = database.seats(&gym).await;
        seats.assert_sound();
        for occurrence in &occurrences {
            assert_eq!(seats.at(occurrence), (31, 31), "{point}");
        }
        drop(server);
        database.drop_all();
    }
}
