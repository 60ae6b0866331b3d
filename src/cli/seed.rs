//! `tenantry seed`: creates sample tenants for trials and measurements.

use std::{process::ExitCode, sync::Arc, time::Instant};

use clap::{Args, Subcommand};
use indicatif::{ProgressBar, ProgressFinish, ProgressStyle};

use super::{Failure, database::Database};
use crate::{
    config::Settings,
    domain::{SystemClock, identity::Password},
    manager::TenantManager,
    progress::Progress,
    startup,
    store::Store,
    upkeep::{self, ChartSeed},
};

/// What to create.
#[derive(Subcommand)]
pub(super) enum Seed {
    /// Create organizations with org charts; a repeated run adds what is missing.
    OrgCharts(OrgCharts),
    /// Create a few demo organizations with members, charts, events, registrations and waiting
    /// lists; a repeated run keeps existing ones.
    Demo(Demo),
}

#[derive(Args)]
pub(super) struct Demo {
    /// The password of all accounts.
    #[arg(long, default_value = "demo password")]
    password: String,
}

#[derive(Args)]
pub(super) struct OrgCharts {
    /// Total number of charts (default: 10000, or 1 with --people)
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    count: Option<u64>,
    /// Number of charts per organization.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=100_000))]
    per_tenant: u64,
    /// Number of people per chart (default: 5 to 15)
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..=200_000))]
    people: Option<u64>,
    /// The prefix of the organizations' names.
    #[arg(long, default_value = "Seed")]
    prefix: String,
    /// The password of all admins.
    #[arg(long, default_value = "seed password")]
    password: String,
}

pub(super) async fn run(settings: Settings, seed: Seed) -> Result<ExitCode, Failure> {
    let database = Database::open(&settings).await?;
    let outcome = match seed {
        Seed::OrgCharts(options) => org_charts(&settings, &database, options).await,
        Seed::Demo(options) => demo(&settings, &database, options).await,
    };
    database.close().await?;
    outcome
}

async fn manager(settings: &Settings, database: &Database) -> Result<Arc<TenantManager>, Failure> {
    let store = Store::connect(&database.settings).await?;
    let clock = Arc::new(SystemClock);
    startup::build_manager(settings, store, database.secret.clone(), clock)
        .map_err(|e| e.detail().unwrap_or_default().into())
}

fn password(raw: String) -> Result<Password, Failure> {
    Password::parse(raw).map_err(|e| format!("--password {e}").into())
}

async fn demo(
    settings: &Settings,
    database: &Database,
    options: Demo,
) -> Result<ExitCode, Failure> {
    let manager = manager(settings, database).await?;
    let made = upkeep::seed_demo(&manager, password(options.password.clone())?).await;
    manager.finish_work().await;
    for org in made.map_err(|e| e.detail().unwrap_or_else(|| e.to_string()))? {
        let word = if org.new { "created" } else { "already exists" };
        println!("{} ({word})", org.name);
        println!("  admin    {}", org.admin);
        println!("  members  {}", org.members.join(", "));
    }
    println!("log in with: {}", options.password);
    Ok(ExitCode::SUCCESS)
}

async fn org_charts(
    settings: &Settings,
    database: &Database,
    options: OrgCharts,
) -> Result<ExitCode, Failure> {
    let started = Instant::now();
    let password = password(options.password.clone())?;
    let manager = manager(settings, database).await?;
    let style = ProgressStyle::with_template("{bar:40} {pos}/{len} charts, {per_sec}, {eta} left")?;
    let charts = options.count.unwrap_or(if options.people.is_some() { 1 } else { 10_000 });
    let bar = ProgressBar::new(charts).with_style(style).with_finish(ProgressFinish::AndClear);
    let progress = Progress::start(bar, None);
    let seed = ChartSeed { charts, per_tenant: options.per_tenant, people: options.people };
    let count = |done| progress.add(done);
    let seeded = upkeep::seed_org_charts(&manager, &options.prefix, password, seed, count).await;
    manager.finish_work().await;
    progress.end();
    let seeded = seeded.map_err(|e| e.detail().unwrap_or_else(|| e.to_string()))?;
    println!(
        "{} charts with {} people in {} new organizations, in {:.1?}",
        seeded.charts,
        seeded.people,
        seeded.organizations,
        started.elapsed()
    );
    let slug = crate::domain::tenancy::OrgName::parse(&format!("{} 1", options.prefix));
    if let Ok(name) = slug {
        println!("log in as {}@example.com with: {}", name.slug().as_str(), options.password);
    }
    Ok(ExitCode::SUCCESS)
}
