//! `tenantry serve`: runs the server until a signal stops it.

use std::{process::ExitCode, sync::Arc};

use tokio::signal::unix::{SignalKind, signal};

use super::{Failure, database::Database};
use crate::{
    config::{Profile, Settings},
    domain::SystemClock,
    startup::Application,
    telemetry,
};

pub(super) async fn run(settings: Settings) -> Result<ExitCode, Failure> {
    let _log = telemetry::start_log(&settings.log).map_err(|e| e.detail().unwrap_or_default())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let database = tokio::select! {
        opened = Database::open(&settings) => opened?,
        _ = interrupt.recv() => return Ok(ExitCode::SUCCESS),
        _ = terminate.recv() => return Ok(ExitCode::SUCCESS),
    };
    let application = Application::build(
        &settings,
        database.settings.clone(),
        database.secret.clone(),
        Arc::new(SystemClock),
    )
    .await;
    let application = match application {
        Ok(application) => application,
        Err(error) => {
            database.close().await?;
            return Err(error.to_string().into());
        }
    };
    announce(&settings, &application, &database);
    if settings.env == Profile::Production && database.is_embedded() {
        tracing::warn!(
            "production uses the embedded MongoDB, which has no password: set MONGO_URI"
        );
    }
    let handle = application.handle();
    let stopper = tokio::spawn(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
        tracing::info!("stopping: finishing current requests, accepting no new ones");
        handle.stop(true).await;
    });
    application.run_until_stopped().await?;
    stopper.abort();
    database.close().await?;
    tracing::info!("stopped");
    Ok(ExitCode::SUCCESS)
}

fn announce(settings: &Settings, application: &Application, database: &Database) {
    let address = application.address();
    match settings.env {
        Profile::Development => {
            println!("\nTenantry {} is up", env!("CARGO_PKG_VERSION"));
            println!("  API       http://{address}");
            println!("  API docs  http://{address}/docs");
            println!("  GraphQL   http://{address}/graphiql");
            println!("  runs on   {}", database.description);
            println!("  stop with Ctrl-C\n");
        }
        Profile::Production => {
            tracing::info!(%address, database = database.description, "listening");
        }
    }
}
