//! Charts of ten thousand tenants, and one chart of a hundred thousand people.
#![expect(clippy::print_stdout, reason = "prints progress")]

use std::sync::Arc;

use bson::{Bson, Document, doc};
use futures::{StreamExt, TryStreamExt, stream};
use mongodb::Collection;
use tenantry::{
    domain::{Label, OrgId, charts::Placed},
    manager::{
        AdminContext, TenantManager,
        charts::ImportMode,
        identity::{Login, LoginKind},
    },
};

use super::{
    Failure, Result,
    bench::Bench,
    client::{self, Connection},
    database::{Databases, PASSWORD, name_of, scatter},
    in_an_hour,
    load::{Limits, Sample, drive},
    server::Server,
};

const PEOPLE: i64 = 10;
const MANY: i64 = 100_000;
const AT_ONCE: usize = 16;
const RATE_GOAL: f64 = 0.6;
const P99_GOAL: f64 = 2.0;
const SPREAD_GOAL: f64 = 0.8;

/// A tenant with a chart: its token, identity and collection.
pub(crate) struct Tenant {
    pub(crate) token: String,
    org: OrgId,
    collection: String,
}

/// A read, its path in a chart, and a plain find for the same people.
type Read = (&'static str, &'static str, fn(&Tenant) -> Document);

const READS: [Read; 5] = [
    ("employees", "employees", |_| Document::new()),
    ("direct_reports", "employees/1/direct_reports", |_| doc! { "manager": 1_i64 }),
    ("direct_reports, without reports", "employees/10/direct_reports", |tenant| {
        doc! { "$or": [{ "_id": key(tenant.org, 1, 10) }, { "manager": 10_i64 }] }
    }),
    ("subtree", "employees/2/subtree", |tenant| {
        doc! { "$or": [{ "_id": key(tenant.org, 1, 2) }, { "ancestors": 2_i64 }] }
    }),
    ("manager_chain", "employees/10/manager_chain", |tenant| {
        let above = [1, 2].map(|id| key(tenant.org, 1, id));
        doc! { "_id": { "$in": above.to_vec() } }
    }),
];

pub(crate) async fn run(
    bench: &mut Bench,
    server: &Server,
    databases: &Databases,
    organizations: u32,
) -> Result<()> {
    let (tenants, big) = tenants(databases, organizations).await?;
    let mut connections = Connection::open_many(server.address, bench.load.connections).await?;
    // Reads each tenant once, so that only charts are measured and not the first lookup of an
    // account.
    let pass = Limits { window: super::PASS_WITHIN, requests: organizations.into(), first: 0 };
    drive(&mut connections, pass, async |connection, number| {
        let tenant = &tenants[usize::try_from(number).unwrap_or_default() % tenants.len()];
        connection.succeeds(client::get_as("/orgcharts/1", &tenant.token)).await
    })
    .await;

    let driver = databases.driver().await?;
    for (what, path, filter) in READS {
        let mut handles = vec![(); bench.load.connections];
        let [api, bare] = bench
            .measure_alternately(
                [&format!("chart: {what}"), "  floor: find of the bare driver"],
                [Some(server), None],
                async |limits| {
                    drive(&mut connections, limits, async |connection, number| {
                        let tenant = &tenants[scatter(number, tenants.len())];
                        let path = format!("/orgcharts/1/{path}");
                        connection.succeeds(client::get_as(&path, &tenant.token)).await
                    })
                    .await
                },
                async |limits| {
                    drive(&mut handles, limits, async |(), number| {
                        let tenant = &tenants[scatter(number, tenants.len())];
                        find(&driver, databases, tenant, filter(tenant)).await.is_ok()
                    })
                    .await
                },
            )
            .await?;
        let ratio = format!("{what} / bare find");
        bench.report.share(&ratio, api.rate, bare.rate, Some(RATE_GOAL));
        let ratio = format!("p99 of {what} / of the bare find");
        bench.report.times(&ratio, api.p99, bare.p99, Some(P99_GOAL));
    }

    run_sizes(bench, server, &tenants, &big).await
}

/// The same read in few tenants and in all, and reads of one large chart.
async fn run_sizes(
    bench: &mut Bench,
    server: &Server,
    tenants: &[Tenant],
    big: &Tenant,
) -> Result<()> {
    let at_once = bench.load.connections;
    let among = |few: usize| {
        let address = server.address;
        async move |limits: Limits| {
            let opened = Connection::open_many(address, at_once).await;
            let Ok(mut connections) = opened else { return Sample::new([], 1, limits.window) };
            drive(&mut connections, limits, async |connection, number| {
                let tenant = &tenants[scatter(number, few)];
                connection.succeeds(client::get_as("/orgcharts/1/employees", &tenant.token)).await
            })
            .await
        }
    };
    let [all, few] = bench
        .measure_alternately(
            ["chart: employees, of all tenants", "chart: employees, of 100 of them"],
            [Some(server); 2],
            among(tenants.len()),
            among(tenants.len().min(100)),
        )
        .await?;
    bench.report.share("all tenants / 100 tenants", all.rate, few.rate, Some(SPREAD_GOAL));

    for path in ["direct_reports", "manager_chain"] {
        let mut connections = Connection::open_many(server.address, bench.load.connections).await?;
        let limits = Limits::seconds(bench.load.window);
        let sample = drive(&mut connections, limits, async |connection, number| {
            let id = scatter(number, usize::try_from(MANY / 8).unwrap_or(1)) + 1;
            let path = format!("/orgcharts/2/employees/{id}/{path}");
            connection.succeeds(client::get_as(&path, &big.token)).await
        });
        let what = format!("chart of 100,000 people: {path}");
        bench.measure(&what, Some(server), sample).await?;
    }
    Ok(())
}

/// All tenants, and the one with the large chart.
pub(crate) async fn tenants(
    databases: &Databases,
    organizations: u32,
) -> Result<(Vec<Tenant>, Tenant)> {
    println!("charts in {organizations} tenants, made once");
    let (store, manager) = databases.manager().await?;
    let prepared = stream::iter(0..u64::from(organizations))
        .map(|number| prepare(&manager, name_of(number), PEOPLE));
    let mut tenants: Vec<Tenant> = prepared.buffered(AT_ONCE).try_collect().await?;
    let big = prepare(&manager, name_of(0), MANY).await?;
    manager.finish_work().await;
    for tenant in &mut tenants {
        let found = store.organization(tenant.org).await?;
        tenant.collection = found.ok_or("a tenant is missing")?.location.collection;
    }
    Ok((tenants, big))
}

/// Logs in and creates the chart if it does not exist: the first one small, the second one large.
async fn prepare(manager: &Arc<TenantManager>, name: String, people: i64) -> Result<Tenant> {
    let login = Login {
        email: format!("{name}@example.com"),
        password: PASSWORD.to_owned(),
        address: [127, 0, 0, 1].into(),
    };
    let session = manager.log_in(login, LoginKind::Admin).await?;
    let ctx = manager.authenticate(&session.token).await?;
    let ctx = ctx.until(in_an_hour()).admin()?;
    let number = if people == MANY { 2 } else { 1 };
    let charts = manager.chart_list(&ctx, None, number).await?;
    if charts.len() < usize::try_from(number)? {
        fill(manager, &ctx, people).await?;
    }
    let org = ctx.org_id();
    Ok(Tenant { token: session.token, org, collection: String::new() })
}

async fn fill(manager: &TenantManager, ctx: &AdminContext, people: i64) -> Result<()> {
    let label = |text: &str| Label::parse(text).map_err(Failure::from);
    let chart = manager.chart_create(ctx, label("Company")?).await?;
    let mut places: Vec<Placed> = Vec::new();
    for id in 1..=people {
        let above = (id > 1).then(|| &places[usize::try_from((id - 2) / 7).unwrap_or_default()]);
        let ancestors = above.map_or_else(Vec::new, |manager| {
            manager.ancestors.iter().copied().chain([manager.id]).collect()
        });
        let (name, title) = (label(&format!("Person {id}"))?, label("Engineer")?);
        places.push(Placed { id: id.into(), name, title, ancestors });
    }
    manager.chart_import(ctx, chart.id, places, ImportMode::default()).await?;
    Ok(())
}

async fn find(
    driver: &mongodb::Client,
    databases: &Databases,
    tenant: &Tenant,
    more: Document,
) -> Result<usize> {
    #[expect(clippy::disallowed_methods, reason = "the floor uses the driver without the store")]
    let collection: Collection<Document> =
        driver.database(&databases.tenants).collection(&tenant.collection);
    let from = doc! { "org": tenant.org.object_id(), "kind": "employee", "chart": 1_i64 };
    let mut to = from.clone();
    to.insert("~", Bson::MaxKey);
    let mut filter = doc! { "_id": { "$gte": from, "$lt": to } };
    filter.extend(more);
    let found: Vec<Document> = collection.find(filter).limit(101).await?.try_collect().await?;
    if found.is_empty() { Err("nothing was found".into()) } else { Ok(found.len()) }
}

fn key(org: OrgId, chart: i64, employee: i64) -> Document {
    doc! { "org": org.object_id(), "kind": "employee", "chart": chart, "employee": employee }
}
