//! The command line, with one file per command.
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a command line prints for its user"
)]

mod database;
mod graphql_schema;
mod health;
mod openapi;
mod seed;
mod serve;
mod verify;

use std::{path::PathBuf, process::ExitCode};

use clap::{Parser, Subcommand};

use crate::{
    config::Settings,
    dev,
    trust::{self, Closed},
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
        Command::Health => settings().and_then(|settings| health::run(&settings)),
        Command::Serve => with_settings(serve::run),
        Command::Seed(seed) => with_settings(|settings| seed::run(settings, seed)),
        Command::Verify => with_settings(verify::run),
    };
    outcome.unwrap_or_else(|failure| {
        eprintln!("tenantry: {failure}");
        ExitCode::FAILURE
    })
}

fn with_settings<F>(command: impl FnOnce(Settings) -> F) -> Result<ExitCode, Failure>
where
    F: Future<Output = Result<ExitCode, Failure>>,
{
    let settings = settings()?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(command(settings))
}

fn settings() -> Result<Settings, Failure> {
    dot_env()?;
    Ok(Settings::from_environment()?)
}

/// Reads `.env` of the working directory only, and only if no other user can write it, because it
/// can name a program to run.
fn dot_env() -> Result<(), Failure> {
    let path = std::env::current_dir()?.join(".env");
    if let Some(text) = trust::read(&path, Closed::Unwritable)? {
        dotenvy::from_read(text.as_bytes())
            .map_err(|e| format!("{} cannot be read: {e}", path.display()))?;
    }
    Ok(())
}
