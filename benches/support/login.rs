//! `POST /admin/login`. Its floor is the bare hash.

use std::{
    thread,
    time::{Duration, Instant},
};

use argon2::{Algorithm, Argon2, Block, Params, Version};
use http_body_util::Full;
use hyper::{Request, body::Bytes};
use serde_json::json;
use tenantry::{auth::HashParameters, config::Settings};

use super::{
    Result,
    bench::Bench,
    client::{self, Connection},
    database::PASSWORD,
    load::{Limits, Sample, drive},
    server::Server,
};

const GOAL: f64 = 0.9;

/// An organization's admin, by e-mail address.
pub(crate) struct Account(String);

/// Signs up the organization unless it exists. Its password is hashed at full cost.
pub(crate) async fn account(server: &Server, name: &str) -> Result<Account> {
    let account = Account(format!("{name}@example.com"));
    let sign_up = json!({ "organization_name": name, "email": account.0, "password": PASSWORD });
    let mut connection = Connection::open(server.address).await?;
    let status = connection.send(client::post("/org/create", &sign_up)?).await?.status;
    if status.is_success() || status.as_u16() == 409 {
        return Ok(account);
    }
    Err(format!("the sign-up of {name} was answered with {status}").into())
}

pub(crate) fn request(account: &Account) -> Result<Request<Full<Bytes>>> {
    client::post("/admin/login", &json!({ "email": account.0, "password": PASSWORD }))
}

/// The token of a new login.
pub(crate) async fn token(server: &Server, account: &Account) -> Result<String> {
    let mut connection = Connection::open(server.address).await?;
    let session = connection.json(request(account)?).await?;
    Ok(session["access_token"].as_str().ok_or("a login without a token")?.to_owned())
}

pub(crate) async fn run(bench: &mut Bench, server: &Server) -> Result<()> {
    let account = account(server, "login").await?;
    let mut connections = Connection::open_many(server.address, bench.load.connections).await?;
    let limits = Limits::seconds(bench.load.window);
    let sample = drive(&mut connections, limits, async |connection, _| {
        connection.succeeds(request(&account)).await
    });
    let logins = bench.measure("login", Some(server), sample).await?.rate;
    let hashes = hash_rate(bench).await?;
    bench.report.share("login / bare argon2id", logins, hashes, Some(GOAL));
    Ok(())
}

/// Hashes per second with the server's parameters and number of threads. Each thread reuses its
/// memory, as in the server, which is fastest.
pub(crate) async fn hash_rate(bench: &mut Bench) -> Result<f64> {
    let parameters = Settings::load(|_| None)?.hash;
    let threads = thread::available_parallelism().map_or(1, usize::from).saturating_sub(1).max(1);
    let window = bench.load.window;
    let hashes = async { hash_for(parameters, threads, window) };
    let hashes = async { hashes.await.unwrap_or(Sample::new([], 0, window)) };
    Ok(bench
        .measure(&format!("  floor: bare argon2id, {threads} threads"), None, hashes)
        .await?
        .rate)
}

fn hash_for(parameters: HashParameters, threads: usize, window: Duration) -> Result<Sample> {
    let HashParameters { memory_kib, iterations, parallelism, .. } = parameters;
    let params = Params::new(memory_kib, iterations, parallelism, None)?;
    let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
    let started = Instant::now();
    let latencies = thread::scope(|scope| {
        let threads: Vec<_> =
            (0..threads).map(|_| scope.spawn(|| hash_until(&argon2, started + window))).collect();
        let latencies = threads.into_iter().map(|thread| thread.join().unwrap_or_default());
        latencies.flatten().collect::<Vec<_>>()
    });
    Ok(Sample::new(latencies, 0, started.elapsed()))
}

fn hash_until(argon2: &Argon2<'_>, until: Instant) -> Vec<Duration> {
    let mut blocks = vec![Block::default(); argon2.params().block_count()];
    let mut latencies = Vec::new();
    while Instant::now() < until {
        let (began, mut output) = (Instant::now(), [0; Params::DEFAULT_OUTPUT_LEN]);
        let salt = latencies.len().to_le_bytes();
        let password = PASSWORD.as_bytes();
        if argon2.hash_password_into_with_memory(password, &salt, &mut output, &mut blocks).is_ok()
        {
            latencies.push(began.elapsed());
        }
    }
    latencies
}
