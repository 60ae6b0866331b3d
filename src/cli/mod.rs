//! The command line: one file a command.
#![expect(clippy::print_stdout, reason = "a command line talks to a person")]

mod database;
mod dot_env;
mod graphql_schema;
mod health;
mod openapi;
mod seed;
mod serve;
mod signals;
mod verify;

use std::{path::PathBuf, process::ExitCode};

use clap::{Parser, Subcommand};

use crate::{
    config::{Settings, misspelt},
    dev, progress,
};

/// A multi-tenant organization platform over MongoDB.
///
/// Without a command, it serves the API. Every setting is an environment variable; .env.example
/// lists them.
#[derive(Parser)]
#[command(version, about)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Subcommand)]
enum Command {
    /// Serve the API (the default).
    Serve,
    /// Check the invariants of the stored data; exit with 1 if one is violated.
    Verify,
    /// Check whether the server of these settings is ready; exit with 1 if it is not.
    Health,
    /// Create sample organizations for trials and measurements.
    #[command(subcommand)]
    Seed(seed::Seed),
    /// Print the OpenAPI document.
    Openapi,
    /// Print the GraphQL schema.
    GraphqlSchema,
    /// Stop the embedded MongoDB of a directory after its last user has ended.
    #[command(name = dev::SUBCOMMAND, hide = true)]
    EmbeddedWatch {
        /// The directory.
        #[arg(long)]
        dir: PathBuf,
    },
}

/// Why a command failed, as a sentence for the user.
type Failure = Box<dyn std::error::Error + Send + Sync>;

/// Runs the command of the process's arguments.
#[must_use]
pub fn run() -> ExitCode {
    #[cfg(debug_assertions)]
    let _armed = crate::failpoint::arm();
    let outcome = match Cli::parse().command.unwrap_or(Command::Serve) {
        Command::EmbeddedWatch { dir } => {
            dev::watch(&dir).map(|()| ExitCode::SUCCESS).map_err(Failure::from)
        }
        Command::Openapi => openapi::run(),
        Command::GraphqlSchema => Ok(graphql_schema::run()),
        Command::Health => settings().and_then(|(settings, _)| health::run(&settings)),
        Command::Serve => {
            settings().and_then(|(settings, warnings)| block_on(serve::run(settings, warnings)))
        }
        Command::Seed(seed) => with_settings(|settings| seed::run(settings, seed)),
        Command::Verify => with_settings(verify::run),
    };
    outcome.unwrap_or_else(|failure| {
        progress::tell(format!("tenantry: {failure}"));
        ExitCode::FAILURE
    })
}

fn with_settings<F>(command: impl FnOnce(Settings) -> F) -> Result<ExitCode, Failure>
where
    F: Future<Output = Result<ExitCode, Failure>>,
{
    let (settings, warnings) = settings()?;
    for warning in warnings {
        progress::tell(format!("tenantry: {warning}"));
    }
    block_on(command(settings))
}

fn block_on(command: impl Future<Output = Result<ExitCode, Failure>>) -> Result<ExitCode, Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.map_err(|e| format!("no threads can be started: {e}"))?;
    let outcome = runtime.block_on(command);
    // What still blocks a thread, such as a download, must not hold up the end.
    runtime.shutdown_background();
    outcome
}

/// Sentences about variables that mean nothing.
type Warnings = Vec<String>;

/// The settings of the environment and of `.env` in the working directory.
fn settings() -> Result<(Settings, Warnings), Failure> {
    let mut warnings = misspelt::in_environment();
    warnings.extend(dot_env::load()?);
    Ok((Settings::from_environment()?, warnings))
}
