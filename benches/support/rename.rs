//! `PUT /org/update` of the name for tenants of several sizes. The floor is `renameCollection`.

use std::ops::Range;

use bson::doc;
use futures::FutureExt;
use serde_json::json;
use tenantry::{
    domain::OrgId,
    manager::{
        OrgContext, TenantManager,
        identity::{Login, LoginKind},
    },
    store::tenant::Key,
};

use super::{
    Result,
    bench::Bench,
    client::{self, Connection},
    database::{Databases, PASSWORD},
    in_an_hour,
    load::{Limits, drive},
    login,
    server::Server,
};

const SIZES: [i64; 3] = [0, 10_000, 100_000];
const BATCH: i64 = 2_000;
const RENAMES: u64 = 200;
const GOAL_MS: f64 = 100.0;
/// Allowed ratio between the rename of the largest and of an empty tenant.
const SIZE_GOAL: f64 = 1.5;

pub(crate) async fn run(bench: &mut Bench, server: &Server, databases: &Databases) -> Result<()> {
    let account = login::account(server, "rename").await?;
    let token = login::token(server, &account).await?;
    let (_, manager) = databases.manager().await?;
    let ctx = context(&manager).await?;
    let limits = Limits { window: bench.load.window, requests: RENAMES, first: 0 };
    let (mut filled, mut empty, mut full) = (0, None, f64::NAN);
    for size in SIZES {
        fill(&manager, &ctx, filled..size).await?;
        filled = size;
        let mut connections = Connection::open_many(server.address, 1).await?;
        let sample = drive(&mut connections, limits, async |connection, number| {
            let name = format!("rename {size} {number}");
            let body = json!({ "organization_name": name });
            connection.succeeds(client::put("/org/update", &token, &body)).await
        });
        let what = format!("rename, {size} documents");
        let renames = bench.measure(&what, Some(server), sample).await?;
        let bare = rename_bare(bench, databases, limits, size).await?;
        let what = format!("p50 of rename at {size} documents / bare renameCollection");
        bench.report.times(&what, renames.p50, bare, None);
        bench.report.below(&format!("p99 of rename at {size} documents"), renames.p99, GOAL_MS);
        full = renames.p50;
        empty = empty.or(Some(renames.p50));
    }
    let what = "p50 of rename, the most documents / none";
    bench.report.times(what, full, empty.unwrap_or(f64::NAN), Some(SIZE_GOAL));
    Ok(())
}

async fn context(manager: &TenantManager) -> Result<OrgContext> {
    let login = Login {
        email: "rename@example.com".to_owned(),
        password: PASSWORD.to_owned(),
        address: [127, 0, 0, 1].into(),
    };
    let session = manager.log_in(login, LoginKind::Admin).await?;
    Ok(manager.authenticate(&session.token).await?.until(in_an_hour()))
}

/// Writes documents with these numbers through the tenant's fence.
async fn fill(manager: &TenantManager, ctx: &OrgContext, numbers: Range<i64>) -> Result<()> {
    let mut start = numbers.start;
    while start < numbers.end {
        let batch = (ctx.org_id(), start..(start + BATCH).min(numbers.end));
        start = batch.1.end;
        manager
            .tenant_write(ctx, "bench.fill", batch, |mut tx, (org, numbers)| {
                let documents = numbers.clone().map(|number| probe(*org, number)).collect();
                async move { tx.insert_many(documents).await }.boxed()
            })
            .await?;
    }
    Ok(())
}

fn probe(org: OrgId, number: i64) -> (Key, bson::Document) {
    (
        Key::probe(org, number),
        doc! { "text": "a hundred bytes or so, as an employee has ".repeat(3) },
    )
}

/// The same number of bare renames, back and forth, so that the collection keeps its name.
async fn rename_bare(
    bench: &mut Bench,
    databases: &Databases,
    limits: Limits,
    size: i64,
) -> Result<f64> {
    let driver = databases.driver().await?;
    let tenants = driver.database(&databases.tenants);
    let names = tenants.list_collection_names().await?;
    let home = names.iter().find(|name| name.starts_with("org_rename"));
    let home = format!("{}.{}", databases.tenants, home.ok_or("the tenant has no collection")?);
    let away = format!("{}.away", databases.tenants);
    let admin = driver.database("admin");
    let mut workers = [()];
    let pairs = Limits { requests: limits.requests / 2, ..limits };
    let sample = drive(&mut workers, pairs, async |(), _| {
        let there = doc! { "renameCollection": &home, "to": &away };
        let back = doc! { "renameCollection": &away, "to": &home };
        admin.run_command(there).await.is_ok() && admin.run_command(back).await.is_ok()
    });
    let what = format!("  floor: renameCollection twice, {size} docs");
    Ok(bench.measure(&what, None, sample).await?.p50 / 2.0)
}
