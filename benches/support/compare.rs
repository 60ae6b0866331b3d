//! Compares this build with an earlier one, alternately on the same database.

use std::{cell::Cell, path::Path};

use super::{
    Result,
    bench::Bench,
    chart::{self, Tenant},
    client::{self, Connection},
    database::{name_of, scatter},
    load::{Limits, drive},
    register::{self, Stage},
    report::Figures,
    server::Server,
};

/// The request path for the tenant with that number.
type PathOf = fn(u64) -> String;

const MEMBERS: u64 = 2_000;
const EVENTS: i64 = 40;

/// Runs the same requests on both builds; `before` is the program of the earlier one.
pub(crate) async fn run(bench: &mut Bench, before: &Path, organizations: u32) -> Result<()> {
    let databases = bench.seeded(organizations).await?;
    let (tenants, _) = chart::tenants(&databases, organizations).await?;
    let servers = [bench.serve(&databases).await?, bench.serve_as(before, &databases).await?];
    let paths: [(&str, PathOf); 6] = [
        ("get, by its own admin", |number| {
            format!("/org/get?organization_name={}", name_of(number))
        }),
        ("chart: employees", |_| "/orgcharts/1/employees".to_owned()),
        ("chart: direct_reports", |_| "/orgcharts/1/employees/1/direct_reports".to_owned()),
        ("chart: direct_reports, without reports", |_| {
            "/orgcharts/1/employees/10/direct_reports".to_owned()
        }),
        ("chart: subtree", |_| "/orgcharts/1/employees/2/subtree".to_owned()),
        ("chart: manager_chain", |_| "/orgcharts/1/employees/10/manager_chain".to_owned()),
    ];
    for (what, path) in paths {
        read(bench, &servers, &tenants, what, path).await?;
    }
    for server in servers {
        server.stop().await?;
    }
    registrations(bench, before).await
}

async fn read(
    bench: &mut Bench,
    servers: &[Server; 2],
    tenants: &[Tenant],
    what: &str,
    path: PathOf,
) -> Result<()> {
    let [mut ours, mut theirs] = open(servers, bench.load.connections).await?;
    let send = async |connections: &mut [Connection], limits| {
        drive(connections, limits, async |connection, number| {
            let which = scatter(number, tenants.len());
            let request = client::get_as(&path(which as u64), &tenants[which].token);
            connection.succeeds(request).await
        })
        .await
    };
    // Reads each tenant once, so that first lookups are not compared.
    let once = Limits { requests: tenants.len() as u64, ..Limits::seconds(super::PASS_WITHIN) };
    send(&mut ours, once).await;
    send(&mut theirs, once).await;
    // The first connections have been idle for longer than the server allows.
    [ours, theirs] = open(servers, bench.load.connections).await?;
    let figures = bench
        .measure_alternately(
            [what, "  before"],
            [Some(&servers[0]), Some(&servers[1])],
            async |limits| send(&mut ours, limits).await,
            async |limits| send(&mut theirs, limits).await,
        )
        .await?;
    compare(bench, what, figures);
    Ok(())
}

/// Each build's members register for their own events, so the builds do not conflict.
async fn registrations(bench: &mut Bench, before: &Path) -> Result<()> {
    let databases = bench.fresh("compare").await?;
    let stage = Stage::set(&databases, MEMBERS).await?;
    let servers = [bench.serve(&databases).await?, bench.serve_as(before, &databases).await?];
    let mut events = [Vec::new(), Vec::new()];
    for day in 1..=EVENTS {
        events[0].push(stage.event(day, 1_000_000).await?);
        events[1].push(stage.event(EVENTS + day, 1_000_000).await?);
    }
    let [mut ours, mut theirs] = open(&servers, register::CLIENTS).await?;
    let asked = [Cell::new(0), Cell::new(0)];
    let register = async |connections: &mut [Connection], side: usize, limits| {
        drive(connections, limits, async |connection, _| {
            let number = asked[side].replace(asked[side].get() + 1);
            let events = &events[side];
            let event = usize::try_from(number / MEMBERS).unwrap_or_default() % events.len();
            register::try_register(connection, &events[event], stage.token(number)).await
        })
        .await
    };
    let once = Limits { requests: MEMBERS, ..Limits::seconds(super::PASS_WITHIN) };
    register(&mut ours, 0, once).await;
    register(&mut theirs, 1, once).await;
    let what = "register: one occurrence after the other";
    let figures = bench
        .measure_alternately(
            [what, "  before"],
            [Some(&servers[0]), Some(&servers[1])],
            async |limits| register(&mut ours, 0, limits).await,
            async |limits| register(&mut theirs, 1, limits).await,
        )
        .await?;
    compare(bench, what, figures);
    for server in servers {
        server.stop().await?;
    }
    Ok(())
}

async fn open(servers: &[Server; 2], count: usize) -> Result<[Vec<Connection>; 2]> {
    let ours = Connection::open_many(servers[0].address, count).await?;
    Ok([ours, Connection::open_many(servers[1].address, count).await?])
}

fn compare(bench: &mut Bench, what: &str, [now, before]: [Figures; 2]) {
    let report = &mut bench.report;
    report.times(&format!("{what}: rate now / before"), now.rate, before.rate, None);
    if let Some((now, before)) = now.server_cpu.zip(before.server_cpu) {
        report.times(&format!("{what}: server CPU now / before"), now, before, None);
    }
    let (now, before) = (now.mongod_cpu, before.mongod_cpu);
    if before > 0.0 {
        report.times(&format!("{what}: mongod CPU now / before"), now, before, None);
    }
}
