//! The load harness: `cargo bench --bench http`. docs/BENCHMARKS.md explains its output.
#![expect(clippy::print_stdout, reason = "prints the report")]

mod support;

use std::{path::PathBuf, process::ExitCode, time::Duration};

use clap::{Parser, ValueEnum};
use support::{
    Failure, Result,
    bench::{Bench, Load},
    chart, compare, create, get, login, machine, register, rename, scale, server,
};

/// Measures the `tenantry` program under load, with a floor beside each figure.
#[derive(Parser)]
struct Options {
    /// What to measure [default: everything except scale]
    #[arg(long, value_enum, num_args = 1..)]
    mix: Vec<Mix>,
    /// Concurrent connections.
    #[arg(long, default_value_t = 16, value_parser = clap::value_parser!(u16).range(1..=1024))]
    connections: u16,
    /// Seconds per measurement.
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u64).range(1..=600))]
    seconds: u64,
    /// Number of organizations that `get` looks up.
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    organizations: u32,
    /// Numbers of tenants at which `scale` measures, in ascending order.
    #[arg(long, value_delimiter = ',', default_values_t = [1_000, 10_000, 20_000, 30_000, 40_000])]
    sizes: Vec<u32>,
    /// Server threads that answer requests; 0 for one per core.
    #[arg(long, default_value_t = 0)]
    workers: usize,
    /// A setting of the server, as in .env.example: `--set LOG=warn`.
    #[arg(long, value_name = "NAME=VALUE", value_parser = setting)]
    set: Vec<(String, String)>,
    /// Another build of `tenantry` to compare with this one in turns.
    #[arg(long, value_name = "PROGRAM", conflicts_with = "mix")]
    before: Option<PathBuf>,
    /// Serve this body at a bare route: the floor of `get`, started by the harness itself.
    #[arg(long, hide = true)]
    serve_bare: Option<String>,
    /// Set by `cargo bench`.
    #[arg(long, hide = true)]
    bench: bool,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
enum Mix {
    /// `GET /org/get` of many organizations.
    Get,
    /// `GET /org/get` during continuous logins.
    GetUnderLogins,
    /// Org charts of random tenants, and one with 100,000 people.
    Chart,
    /// `POST /admin/login`.
    Login,
    /// `POST /org/create`.
    Create,
    /// Registrations by GraphQL, and the occurrences of thirty days.
    Register,
    /// How many tenants one `mongod` can hold. Takes half an hour, so it only runs if named.
    Scale,
    /// `PUT /org/update` of the name, with 0, 10,000 and 100,000 documents in the tenant.
    Rename,
}

fn setting(raw: &str) -> std::result::Result<(String, String), String> {
    let (name, value) = raw.split_once('=').ok_or("needs NAME=VALUE")?;
    Ok((name.to_owned(), value.to_owned()))
}

fn main() -> ExitCode {
    let options = Options::parse();
    let outcome = match &options.serve_bare {
        Some(body) => server::serve_bare(body, options.workers).map_err(Failure::from),
        // `cargo test --all-targets` runs this program, too.
        None if !options.bench => Err("run it with `cargo bench --bench http`".into()),
        None => measure(&options),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            println!("http: {failure}");
            if options.bench { ExitCode::FAILURE } else { ExitCode::SUCCESS }
        }
    }
}

/// Sends from one thread, because it shares the cores with the server and must be cheap.
fn measure(options: &Options) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let load = Load {
            connections: options.connections.into(),
            window: Duration::from_secs(options.seconds),
            workers: options.workers,
            settings: options.set.clone(),
        };
        let scale = options.mix == [Mix::Scale];
        // In the other directory, further databases would count as tenants.
        let dir = if scale { "scale-data" } else { "bench-data" };
        let mut bench = Bench::start(load, dir).await?;
        println!("{}", machine::description(&bench));
        let outcome = if scale {
            scale::run(&mut bench, &options.sizes).await
        } else {
            let outcome = run(options, &mut bench).await;
            bench.print_report();
            outcome
        };
        if scale {
            bench.discard().await?;
        } else {
            bench.stop().await?;
        }
        outcome
    })
}

async fn run(options: &Options, bench: &mut Bench) -> Result<()> {
    if let Some(before) = &options.before {
        return compare::run(bench, before, options.organizations).await;
    }
    let wanted = |mix| options.mix.is_empty() || options.mix.contains(&mix);
    if wanted(Mix::Get) || wanted(Mix::GetUnderLogins) || wanted(Mix::Chart) {
        let databases = bench.seeded(options.organizations).await?;
        let server = bench.serve(&databases).await?;
        if wanted(Mix::Get) {
            get::run(bench, &server, &databases, options.organizations).await?;
        }
        if wanted(Mix::GetUnderLogins) {
            get::run_under_logins(bench, &server, options.organizations).await?;
        }
        if wanted(Mix::Chart) {
            chart::run(bench, &server, &databases, options.organizations).await?;
        }
        server.stop().await?;
        if wanted(Mix::Chart) {
            bench.restart(options.organizations).await?;
        }
    }
    if wanted(Mix::Register) {
        let databases = bench.fresh("register").await?;
        let server = bench.serve(&databases).await?;
        register::run(bench, &server, &databases).await?;
        server.stop().await?;
    }
    if wanted(Mix::Login) || wanted(Mix::Create) || wanted(Mix::Rename) {
        let databases = bench.fresh("run").await?;
        let server = bench.serve(&databases).await?;
        if wanted(Mix::Login) {
            login::run(bench, &server).await?;
        }
        if wanted(Mix::Create) {
            create::run(bench, &server).await?;
        }
        if wanted(Mix::Rename) {
            rename::run(bench, &server, &databases).await?;
        }
        server.stop().await?;
    }
    Ok(())
}
