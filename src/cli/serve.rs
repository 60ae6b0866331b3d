//! `tenantry serve`: runs the server until a signal stops it.

use std::{process::ExitCode, sync::Arc};

use super::{Failure, Warnings, database::Database, signals};
use crate::{
    config::{Profile, Settings},
    domain::SystemClock,
    startup::Application,
    telemetry,
};

pub(super) async fn run(settings: Settings, warnings: Warnings) -> Result<ExitCode, Failure> {
    let log = telemetry::start_log(&settings.log).map_err(|e| e.detail().unwrap_or_default())?;
    for warning in warnings {
        tracing::warn!("{warning}");
    }
    let (profile, print) = (settings.env, log.printer());
    let stop = signals::listen(move || tell_stopping(profile, &print))
        .map_err(|e| format!("signals cannot be listened for: {e}"))?;
    let database = tokio::select! {
        opened = Database::open(&settings) => opened?,
        () = stop.cancelled() => return Ok(ExitCode::SUCCESS),
    };
    let application = tokio::select! {
        built = build(&settings, &database) => built,
        () = stop.cancelled() => Ok(None),
    };
    let application = match application {
        Ok(Some(application)) => application,
        otherwise => {
            database.close().await?;
            return otherwise.map(|_| ExitCode::SUCCESS);
        }
    };
    announce(&settings, &application, &database, &log.printer());
    if settings.env == Profile::Production && database.is_embedded() {
        tracing::warn!(
            "production uses the embedded MongoDB, which is for development: set MONGO_URI"
        );
    }
    let handle = application.handle();
    let stopper = tokio::spawn(async move {
        stop.cancelled().await;
        handle.stop(true).await;
    });
    application.run_until_stopped().await.map_err(|e| format!("the server has failed: {e}"))?;
    stopper.abort();
    database.close().await?;
    tracing::info!("stopped");
    Ok(ExitCode::SUCCESS)
}

async fn build(settings: &Settings, database: &Database) -> Result<Option<Application>, Failure> {
    let (store, secret) = (database.settings.clone(), database.secret.clone());
    let built = Application::build(settings, store, secret, Arc::new(SystemClock)).await;
    built.map(Some).map_err(|error| error.to_string().into())
}

fn tell_stopping(profile: Profile, print: &impl Fn(&str)) {
    const TEXT: &str = "stopping: requests under way are finished; a second signal stops at once";
    match profile {
        Profile::Development => print(&format!("{TEXT}\n")),
        Profile::Production => tracing::info!("{TEXT}"),
    }
}

fn announce(
    settings: &Settings,
    application: &Application,
    database: &Database,
    print: &impl Fn(&str),
) {
    let address = application.address();
    match settings.env {
        Profile::Development => print(&format!(
            "\nTenantry {version} is up\n  \
             API       http://{address}\n  \
             API docs  http://{address}/docs\n  \
             GraphQL   http://{address}/graphiql\n  \
             runs on   {database}\n  \
             stop with Ctrl-C\n\n",
            version = env!("CARGO_PKG_VERSION"),
            database = database.description,
        )),
        Profile::Production => {
            tracing::info!(%address, database = database.description, "listening");
        }
    }
}
