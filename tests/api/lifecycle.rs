//! Renames under load: no acknowledged write is lost, and no read misses a document.

use std::{
    collections::BTreeSet,
    sync::atomic::{AtomicBool, AtomicI64, Ordering},
};

use bson::{Document, doc};
use futures::{StreamExt, TryStreamExt, future::join_all, stream};
use tenantry::{
    domain::OrgId,
    error::Result,
    failpoint,
    manager::OrgContext,
    store::{
        driver::StoreError,
        tenant::{Key, Kind},
    },
    upkeep,
};

use crate::support::{Database, Org, TestApp, patiently, unbusy, unique};

/// Maximum number of rounds in a negative control.
const ROUNDS: usize = 10;

async fn write_probe(app: &TestApp, ctx: &OrgContext, number: i64) -> Result<()> {
    let key = Key::probe(ctx.org_id(), number);
    app.manager
        .tenant_write(ctx, "test.probe", key, |mut tx, key| {
            Box::pin(async move { tx.insert(key, Document::new()).await })
        })
        .await
}

/// Whether all twenty probes are found, individually and in a list.
async fn reads_all(app: &TestApp, ctx: &OrgContext, number: i64) -> Result<bool> {
    let key = Key::probe(ctx.org_id(), number);
    let found = app.manager.tenant_read(ctx, "test.get", key, |mut reader, key| {
        Box::pin(async move { reader.get(key.clone()).await })
    });
    let found = found.await?.is_some();
    let listed = app.manager.tenant_read(ctx, "test.list", (), |mut reader, ()| {
        Box::pin(async move { reader.list(Kind::Probe, 100).await })
    });
    Ok(found && listed.await?.len() == 20)
}

/// Inserts `count` documents, numbered from one million.
async fn fill(app: &TestApp, ctx: &OrgContext, count: i64) {
    const BATCH: i64 = 5_000;
    let org = ctx.org_id();
    stream::iter((0..count).step_by(5_000))
        .for_each_concurrent(4, |start| async move {
            let write = app.manager.tenant_write(ctx, "test.fill", start, move |mut tx, start| {
                let numbers = *start..(*start + BATCH).min(count);
                let documents = numbers
                    .map(|n| (Key::probe(org, 1_000_000 + n), doc! { "text": "x" }))
                    .collect();
                Box::pin(async move { tx.insert_many(documents).await })
            });
            write.await.unwrap();
        })
        .await;
}

/// The numbers of the stored probes below one million.
async fn stored(database: &Database, collection: &str) -> BTreeSet<i64> {
    let collection = database.tenant(collection).await;
    let cursor = collection.find(doc! { "_id.probe": { "$lt": 1_000_000 } }).await.unwrap();
    let found: Vec<Document> = cursor.try_collect().await.unwrap();
    found.iter().map(|d| d.get_document("_id").unwrap().get_i64("probe").unwrap()).collect()
}

async fn identity(database: &Database, collection: &str) -> Vec<u8> {
    let client = database.client().await;
    let tenants = client.database(&database.tenants);
    let filter = doc! { "name": collection };
    let mut listed = tenants.list_collections().filter(filter).await.unwrap();
    listed.try_next().await.unwrap().expect("no such collection").info.uuid.unwrap().bytes
}

/// Eight writers write while the organization is renamed repeatedly. Returns its last collection
/// and the acknowledged writes.
async fn write_during_renames(
    app: &TestApp,
    org: &Org,
    renames: usize,
    write: impl AsyncFn(i64) -> Result<()>,
) -> (String, BTreeSet<i64>) {
    static NUMBER: AtomicI64 = AtomicI64::new(0);
    let done = AtomicBool::new(false);
    let writer = || async {
        let mut acknowledged = Vec::new();
        while !done.load(Ordering::Relaxed) {
            let number = NUMBER.fetch_add(1, Ordering::Relaxed);
            if write(number).await.is_ok() {
                acknowledged.push(number);
            }
        }
        acknowledged
    };
    let renaming = async {
        let admin = app.with(&org.token);
        let mut last = String::new();
        for _ in 0..renames {
            let name = unique("Moving ");
            let reply = patiently(async || admin.rename(&name).await).await.expect(200);
            reply.text("collection_name").clone_into(&mut last);
        }
        done.store(true, Ordering::Relaxed);
        last
    };
    let (last, acknowledged) = tokio::join!(renaming, join_all((0..8).map(|_| writer())));
    (last, acknowledged.into_iter().flatten().collect())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn renaming_a_large_tenant_loses_no_concurrent_write() {
    let app = TestApp::start().await;
    let org = app.sign_up("Large").await;
    let ctx = app.context(&org).await;
    fill(&app, &ctx, 100_000).await;
    let before = identity(&app.database, "org_large").await;

    let write = async |number| {
        unbusy(async || write_probe(&app, &ctx, number).await).await.unwrap();
        Ok(())
    };
    let (last, acknowledged) = write_during_renames(&app, &org, 10, write).await;

    assert!(acknowledged.len() > 10, "only {} writes", acknowledged.len());
    assert_eq!(stored(&app.database, &last).await, acknowledged);
    assert_eq!(app.database.tenant_collections().await, [last.as_str()]);
    // The UUID is the same, so the collection was renamed and not copied.
    assert_eq!(identity(&app.database, &last).await, before);
    let documents = app.database.tenant(&last).await.count_documents(doc! {}).await.unwrap();
    assert_eq!(documents, 100_000 + acknowledged.len() as u64 + 1);
    app.assert_sound().await;
}

/// Negative control of the test above.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_the_fence_a_write_during_a_rename_is_lost() {
    let app = TestApp::start().await;
    let org = app.sign_up("Large").await;
    let ctx = app.context(&org).await;
    let write =
        async |number| failpoint::without("fence.skip", write_probe(&app, &ctx, number)).await;
    for _ in 0..ROUNDS {
        let (last, acknowledged) = write_during_renames(&app, &org, 10, write).await;
        if !acknowledged.is_subset(&stored(&app.database, &last).await) {
            // Lost writes are in collections that belong to no organization.
            assert!(app.database.tenant_collections().await.len() > 1);
            assert!(!upkeep::verify(&app.manager, |_| {}).await.unwrap().findings.is_empty());
            return;
        }
    }
    panic!("no write was lost");
}

#[tokio::test]
async fn a_write_to_a_stale_location_is_refused_and_retried_at_the_new_one() {
    let app = TestApp::start().await;
    let org = app.sign_up("Before").await;
    let ctx = app.context(&org).await;
    let stale = app.with(&org.token).get_org("before").await.text("collection_name").to_owned();
    app.with(&org.token).rename("After").await.expect(200);
    let store = app.database.store().await;
    let mut location = store.organization(ctx.org_id()).await.unwrap().unwrap().location;
    location.collection = stale;
    let tenant = store.tenant(ctx.org_id(), &location);
    let key = Key::probe(ctx.org_id(), 1);
    let written = store
        .fenced(ctx.deadline(), &tenant, "test.probe", key, |mut tx, key| {
            Box::pin(async move { tx.insert(key, Document::new()).await })
        })
        .await;
    assert!(written.is_err_and(|error| StoreError::is_fence_missing(&error)));
    write_probe(&app, &ctx, 1).await.unwrap();
    assert_eq!(stored(&app.database, "org_after").await, BTreeSet::from([1]));
    assert_eq!(app.database.tenant_collections().await, ["org_after"]);
}

/// Four readers check twenty probes while the organization is renamed repeatedly. Returns each
/// reader's results.
async fn read_during_renames(
    app: &TestApp,
    org: &Org,
    renames: usize,
    read: impl AsyncFn(i64) -> Result<bool>,
) -> Vec<Vec<bool>> {
    let done = AtomicBool::new(false);
    let (done, read) = (&done, &read);
    let reader = |number: i64| async move {
        let mut seen = Vec::new();
        while !done.load(Ordering::Relaxed) {
            seen.push(unbusy(async || read(number).await).await.unwrap());
        }
        seen
    };
    let renaming = async {
        let admin = app.with(&org.token);
        for round in 0..renames {
            let name = format!("Read {}", round % 3);
            patiently(async || admin.rename(&name).await).await.expect(200);
        }
        done.store(true, Ordering::Relaxed);
    };
    tokio::join!(join_all((0..4).map(reader)), renaming).0
}

async fn twenty_probes(app: &TestApp) -> (Org, OrgContext) {
    let org = app.sign_up("Read").await;
    let ctx = app.context(&org).await;
    for number in 0..20 {
        write_probe(app, &ctx, number).await.unwrap();
    }
    (org, ctx)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn readers_find_everything_during_a_hundred_renames() {
    let app = TestApp::start().await;
    let (org, ctx) = twenty_probes(&app).await;
    let read = async |number| reads_all(&app, &ctx, number).await;
    for seen in read_during_renames(&app, &org, 100, read).await {
        assert!(!seen.is_empty());
        let missed = seen.iter().filter(|all| !**all).count();
        assert_eq!(missed, 0, "of {} reads", seen.len());
    }
}

/// Negative control of the test above: a reader trusts a location that the tenant has just left.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_second_lookup_a_stale_location_reads_as_empty() {
    let app = TestApp::start().await;
    let (org, ctx) = twenty_probes(&app).await;
    let read = async |number| {
        failpoint::without("fence.skip_second_look", reads_all(&app, &ctx, number)).await
    };
    for _ in 0..ROUNDS {
        let seen = read_during_renames(&app, &org, 10, read).await;
        if seen.concat().contains(&false) {
            return;
        }
    }
    panic!("every read found all probes");
}

#[tokio::test]
async fn a_missing_document_is_reported_as_missing() {
    let app = TestApp::start().await;
    let org = app.sign_up("Acme").await;
    let ctx = app.context(&org).await;
    let key = Key::probe(ctx.org_id(), 1);
    let found = app.manager.tenant_read(&ctx, "test.get", key, |mut reader, key| {
        Box::pin(async move { reader.get(key.clone()).await })
    });
    assert!(found.await.unwrap().is_none());
}

#[tokio::test]
async fn counters_never_return_a_number_twice() {
    let app = TestApp::start().await;
    let org = app.sign_up("Acme").await;
    let ctx = app.context(&org).await;
    let numbers = join_all((0..20).map(|_| {
        app.manager.tenant_write(&ctx, "test.count", (), |mut tx, ()| {
            Box::pin(async move { tx.count("charts", 1).await })
        })
    }))
    .await;
    let numbers: BTreeSet<i64> = numbers.into_iter().map(Result::unwrap).collect();
    assert_eq!(numbers, (1..=20).collect());
}

#[tokio::test]
async fn the_database_itself_refuses_an_invalid_tenant_document() {
    let app = TestApp::start().await;
    let org = app.sign_up("Acme").await;
    let id: OrgId = org.id.parse().unwrap();
    let collection = app.database.tenant("org_acme").await;
    let fence = doc! { "_id": { "org": id.object_id(), "kind": "tenant" } };
    let spoiled = collection.update_one(fence, doc! { "$set": { "charts": -1_i64 } }).await;
    assert!(spoiled.unwrap_err().to_string().contains("121"));
    app.with(&org.token).rename("Globex").await.expect(200);
    let client = app.database.client().await;
    let listed = client.database(&app.database.tenants).list_collections().await.unwrap();
    let listed: Vec<_> = listed.try_collect().await.unwrap();
    assert_eq!(listed.len(), 1);
    assert!(listed[0].options.validator.is_some() && listed[0].options.clustered_index.is_some());
}
