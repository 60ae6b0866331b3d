//! `tenantry verify`: checks the invariants of the stored data.

use std::{process::ExitCode, sync::Arc};

use indicatif::{ProgressBar, ProgressFinish, ProgressStyle};

use super::{Failure, database::Database};
use crate::{
    config::Settings, domain::SystemClock, progress::Progress, startup, store::Store, upkeep,
};

pub(super) async fn run(settings: Settings) -> Result<ExitCode, Failure> {
    let database = Database::open(&settings).await?;
    let outcome = verify(&settings, &database).await;
    database.close().await?;
    outcome
}

async fn verify(settings: &Settings, database: &Database) -> Result<ExitCode, Failure> {
    let store = Store::connect(&database.settings).await?;
    let place = format!(
        "{} and {} at {}",
        settings.mongo.master_db,
        settings.mongo.tenant_db,
        store.hosts()
    );
    let manager =
        startup::build_manager(settings, store, database.secret.clone(), Arc::new(SystemClock))
            .map_err(|e| e.detail().unwrap_or_default())?;
    let style = ProgressStyle::with_template("{spinner} {pos} organizations checked ({per_sec})")?;
    let bar = ProgressBar::new_spinner().with_style(style).with_finish(ProgressFinish::AndClear);
    let progress = Progress::start(bar, None);
    let report = upkeep::verify(&manager, |checked| progress.set(checked)).await;
    progress.end();
    let report = report.map_err(|e| e.detail().unwrap_or_else(|| e.to_string()))?;
    println!(
        "{} organizations, {} tenant collections: {}",
        report.organizations,
        report.collections,
        match report.findings.len() {
            0 => "every invariant holds".to_owned(),
            count => format!("{count} findings"),
        }
    );
    println!("checked: {place}");
    for finding in &report.findings {
        println!("  {finding}");
    }
    Ok(if report.findings.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
