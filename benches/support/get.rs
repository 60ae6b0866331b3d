//! `GET /org/get`: from the caches, from the database, and during a flood of logins.

use std::time::Duration;

use bson::{Document, doc};
use hyper::body::Bytes;
use mongodb::Collection;

use super::{
    PASS_WITHIN, Result,
    bench::Bench,
    client::{self, Connection},
    database::{Databases, name_of},
    load::{Limits, drive},
    login,
    report::Figures,
    server::Server,
};

const ROUTE: &str = "/org/get?organization_name=";
const FLOODING: usize = 8;
const BARE_GOAL: f64 = 0.6;
const FLOOD_GOAL: f64 = 2.0;

/// Reads each organization once from the database, then random ones from memory.
pub(crate) async fn run(
    bench: &mut Bench,
    server: &Server,
    databases: &Databases,
    organizations: u32,
) -> Result<()> {
    let mut connections = Connection::open_many(server.address, bench.load.connections).await?;
    let once = Limits { window: PASS_WITHIN, requests: organizations.into(), first: 0 };
    let first = drive(&mut connections, once, async |connection, number| {
        connection.succeeds(client::get(&path(number))).await
    });
    let first = bench.measure("get, every organization for the first time", Some(server), first);
    let first = first.await?.rate;

    let driver = databases.driver().await?;
    #[expect(clippy::disallowed_methods, reason = "the floor uses the driver without the store")]
    let collection = driver.database(&databases.master).collection("organizations");
    let mut handles: Vec<Collection<Document>> = vec![collection; bench.load.connections];
    let limits = Limits::seconds(bench.load.window);
    let finds = drive(&mut handles, limits, async |collection, number| {
        let filter = doc! { "slugs": name_of(random(number, organizations)) };
        collection.find_one(filter).await.is_ok_and(|found| found.is_some())
    });
    let finds = bench.measure("  floor: find_one of the bare driver", None, finds).await?.rate;
    bench.report.share("get for the first time / bare find_one", first, finds, None);

    drive(&mut connections, once, async |connection, number| {
        connection.succeeds(client::get(&path(number))).await
    })
    .await;
    let quiet = at_random(bench, server, &mut connections, organizations, "get").await?;
    let body = connections[0].send(client::get(&path(0))?).await?.body;
    let bare = run_bare(bench, &body, organizations).await?;
    bench.report.share("get / bare actix route", quiet.rate, bare.rate, Some(BARE_GOAL));
    if let Some((cpu, floor)) = quiet.server_cpu.zip(bare.server_cpu) {
        bench.report.times("server CPU of get / of the bare route", cpu, floor, None);
    }
    Ok(())
}

async fn run_bare(bench: &mut Bench, body: &Bytes, organizations: u32) -> Result<Figures> {
    let bare = bench.serve_bare(std::str::from_utf8(body)?).await?;
    let mut connections = Connection::open_many(bare.address, bench.load.connections).await?;
    let what = "  floor: bare actix route, same answer";
    at_random(bench, &bare, &mut connections, organizations, what).await
}

/// Alternates the same lookups without and with concurrent logins.
pub(crate) async fn run_under_logins(
    bench: &mut Bench,
    server: &Server,
    organizations: u32,
) -> Result<()> {
    let mut connections = Connection::open_many(server.address, bench.load.connections).await?;
    let pass = Limits { window: PASS_WITHIN, requests: u64::from(organizations) * 2, first: 0 };
    drive(&mut connections, pass, async |connection, number| {
        connection.succeeds(client::get(&path(number % u64::from(organizations)))).await
    })
    .await;
    let account = login::account(server, "flood").await?;
    let quiet = at_random(bench, server, &mut connections, organizations, "get, quiet").await?;

    let mut flooding = Connection::open_many(server.address, FLOODING).await?;
    let limits = Limits::seconds(bench.load.window + Duration::from_secs(1));
    let flood = drive(&mut flooding, limits, async |connection, _| {
        connection.succeeds(login::request(&account)).await
    });
    let under = async {
        tokio::time::sleep(Duration::from_millis(500)).await;
        at_random(bench, server, &mut connections, organizations, "get, under 8 logins").await
    };
    let (logins, under) = tokio::join!(flood, under);
    let under = under?;
    bench.report.times("p99 of get under logins / quiet", under.p99, quiet.p99, Some(FLOOD_GOAL));
    bench.report.share("get under logins / quiet", under.rate, quiet.rate, None);
    if logins.errors > 0 {
        return Err(format!("{} of the flooding logins failed", logins.errors).into());
    }
    Ok(())
}

async fn at_random(
    bench: &mut Bench,
    server: &Server,
    connections: &mut [Connection],
    organizations: u32,
    what: &str,
) -> Result<Figures> {
    let limits = Limits::seconds(bench.load.window);
    let sample = drive(connections, limits, async |connection, number| {
        connection.succeeds(client::get(&path(random(number, organizations)))).await
    });
    bench.measure(what, Some(server), sample).await
}

fn path(number: u64) -> String {
    format!("{ROUTE}{}", name_of(number))
}

/// Distributes request numbers evenly over the organizations.
fn random(number: u64, organizations: u32) -> u64 {
    (number.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32) % u64::from(organizations)
}
