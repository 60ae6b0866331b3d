//! How many tenants one `mongod` can hold, and the resources that they need.
#![expect(clippy::print_stdout, reason = "prints the measurements")]

use std::{
    fmt::Write as _,
    fs,
    time::{Duration, Instant},
};

use bson::{Document, doc, oid::ObjectId};
use futures::{TryStreamExt, future::join};
use mongodb::Client;
use tokio::time::sleep;

use super::{
    Result,
    bench::Bench,
    database::{self, Databases},
    load::{Limits, Sample, drive},
    machine,
};

const COLUMNS: &str = "tenants,creates_per_s,finds_per_s,find_p50_ms,find_p99_ms,handles_under_finds,\
                       memory_mib,data_files,checkpoint_ms,restart_after_stop_s,restart_after_kill_s";
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// The measurements at one number of tenants; one line of the table.
struct Step {
    tenants: usize,
    creates: f64,
    after_kill: Duration,
    finds: Sample,
    handles: u64,
    memory_mib: u64,
    files: usize,
    checkpoint_ms: i64,
    after_stop: Duration,
}

/// Grows one deployment to each of the sizes and measures it. Ends early if the server refuses more
/// tenants.
pub(crate) async fn run(bench: &mut Bench, sizes: &[u32]) -> Result<()> {
    let databases = Databases::fresh(bench.uri(), "scale");
    let mut table = format!("{COLUMNS}\n");
    println!("{COLUMNS}");
    for size in sizes {
        let databases = databases.at(bench.uri());
        let grown = grow(&databases, *size).await?;
        let step = measure(bench, &databases, grown).await?;
        println!("{}", step.line());
        writeln!(table, "{}", step.line())?;
        if step.tenants < usize::try_from(*size)? {
            println!("refused: no more than {} tenants fit", step.tenants);
            break;
        }
    }
    let path = bench.dir().join("scale.csv");
    fs::write(&path, table)?;
    println!("\nwritten to {}", path.display());
    Ok(())
}

/// Creates tenants up to `size`; returns their number and creations per second.
async fn grow(databases: &Databases, size: u32) -> Result<(usize, f64)> {
    let before = tenants(databases).await?.len();
    let started = Instant::now();
    if let Err(failure) = database::seed(databases, size).await {
        println!("{failure}");
    }
    let elapsed = started.elapsed();
    let after = tenants(databases).await?.len();
    let created = u32::try_from(after - before)?;
    Ok((after, f64::from(created) / elapsed.as_secs_f64()))
}

async fn measure(
    bench: &mut Bench,
    databases: &Databases,
    (count, creates): (usize, f64),
) -> Result<Step> {
    let driver = databases.driver().await?;
    let checkpoint_ms = longest_checkpoint(&driver).await?;
    // Flushes first, otherwise the restart would replay the last minute of sign-ups.
    driver.database("admin").run_command(doc! { "fsync": 1 }).await?;
    bench.kill_database()?;
    let after_kill = bench.start_database().await?;
    let databases = databases.at(bench.uri());
    let tenants = tenants(&databases).await?;
    let driver = databases.driver().await?;
    let limits = Limits::seconds(bench.load.window);
    let mut workers = vec![(); bench.load.connections];
    let finds = drive(&mut workers, limits, async |(), number| {
        let (org, collection) = &tenants[database::scatter(number, tenants.len())];
        find(&driver, &databases, *org, collection).await.is_ok()
    });
    let (finds, handles) = join(finds, most_handles(&driver, bench.load.window)).await;
    if finds.errors > 0 {
        return Err(format!("{} finds failed", finds.errors).into());
    }
    let memory_mib = machine::memory_mib(bench.mongod())?;
    let files = fs::read_dir(bench.dir().join("mongod/db"))?.count();
    bench.stop_database().await?;
    let after_stop = bench.start_database().await?;
    Ok(Step {
        tenants: count,
        creates,
        after_kill,
        finds,
        handles: handles?,
        memory_mib,
        files,
        checkpoint_ms,
        after_stop,
    })
}

impl Step {
    fn line(&self) -> String {
        format!(
            "{},{:.0},{:.0},{:.2},{:.2},{},{},{},{},{:.1},{:.1}",
            self.tenants,
            self.creates,
            self.finds.rate(),
            self.finds.percentile(50),
            self.finds.percentile(99),
            self.handles,
            self.memory_mib,
            self.files,
            self.checkpoint_ms,
            self.after_stop.as_secs_f64(),
            self.after_kill.as_secs_f64(),
        )
    }
}

async fn tenants(databases: &Databases) -> Result<Vec<(ObjectId, String)>> {
    let (store, _) = databases.manager().await?;
    let all = store.all_organizations().await?;
    let all = all.map_ok(|org| (org.id.object_id(), org.location.collection));
    Ok(all.try_collect().await?)
}

#[expect(clippy::disallowed_methods, reason = "measures the database itself")]
async fn find(
    driver: &Client,
    databases: &Databases,
    org: ObjectId,
    collection: &str,
) -> Result<Document> {
    let collection = driver.database(&databases.tenants).collection::<Document>(collection);
    let found = collection.find_one(doc! { "_id": { "org": org, "kind": "tenant" } }).await?;
    found.ok_or_else(|| "a tenant document is missing".into())
}

/// The maximum number of file handles in use during the window.
async fn most_handles(driver: &Client, window: Duration) -> Result<u64> {
    let (until, mut most) = (Instant::now() + window, 0);
    while Instant::now() < until {
        let status = driver.database("admin").run_command(doc! { "serverStatus": 1 }).await?;
        let open = status
            .get_document("wiredTiger")?
            .get_document("connection")?
            .get("files currently open")
            .and_then(|open| open.as_i64().or_else(|| open.as_i32().map(i64::from)));
        most = most.max(u64::try_from(open.ok_or("mongod does not report its open files")?)?);
        sleep(LOOK_EVERY).await;
    }
    Ok(most)
}

/// Duration in milliseconds of the longest checkpoint since `mongod` started.
async fn longest_checkpoint(driver: &Client) -> Result<i64> {
    let status = driver.database("admin").run_command(doc! { "serverStatus": 1 }).await?;
    let longest = status
        .get_document("wiredTiger")?
        .get_document("transaction")?
        .get("transaction checkpoint max time (msecs)")
        .and_then(|time| time.as_i64().or_else(|| time.as_i32().map(i64::from)));
    longest.ok_or_else(|| "mongod does not report its checkpoints".into())
}
