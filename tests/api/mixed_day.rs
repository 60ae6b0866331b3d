//! A soak test: two servers on a replica set of three nodes, many kinds of concurrent requests, and
//! a fault every few seconds. In the end everything acknowledged is stored, and no request ever
//! failed in a way that a retry would not have fixed.
//!
//! `DAY_SECONDS` makes it longer, with more time between faults. `TENANTRY_PROGRAM` names a release
//! build to run it with, and `--nocapture` shows the progress.
#![expect(clippy::print_stdout, reason = "long runs show their progress")]

mod charts;
mod day;
mod faults;
mod organizations;
mod people;

use std::{
    path::Path,
    time::{Duration, Instant},
};

use futures::future::{join, join_all};
use rand::{Rng, SeedableRng, rngs::StdRng};

use crate::support::{Client, Database, ReplicaSet, SOON_LOST, ServerProcess};
use charts::ChartKeeper;
use day::Day;
use faults::Faults;
use organizations::{Founder, Renamer};
use people::Tenant;

const SHORT: u64 = 45;
const TENANTS: usize = 2;
const MEMBERS: usize = 4;
const FOUNDERS: u64 = 2;
const READERS: u64 = 2;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_acknowledged_is_lost_whatever_fails() {
    let length = std::env::var("DAY_SECONDS").map_or(SHORT, |text| text.parse().unwrap());
    let set = ReplicaSet::start(&Path::new(env!("CARGO_TARGET_TMPDIR")).join("day")).await;
    let database = Database::at(&set.uri());
    let start = || ServerProcess::start_with(&database, &[SOON_LOST]);
    let servers = [start(), start()];
    let clients = [servers[0].client.clone(), servers[1].client.clone()];
    let mut tenants = Vec::new();
    for number in 0..TENANTS {
        tenants.push(Tenant::open(&database, &clients[0], number, MEMBERS).await);
    }
    let day = Day::new(clients);
    let seed: u64 = rand::random();
    let dice = |number: u64| StdRng::seed_from_u64(seed.wrapping_add(number));

    let mut faults = Faults {
        set,
        servers,
        database: database.clone(),
        reader: tenants[0].org.token.clone(),
        rng: dice(0),
        memory: Vec::new(),
    };
    let begin = Instant::now();
    let trouble = async {
        faults.run_for(&day, Duration::from_secs(length)).await;
        day.end();
    };
    let founders = (0..FOUNDERS).map(|number| Founder::new(number).work(&day, dice(100 + number)));
    let renamers = tenants.iter().map(|tenant| Renamer::of(&tenant.org).work(&day));
    let keepers = tenants.iter().map(|tenant| {
        ChartKeeper::of(&tenant.org, &tenant.chart).work(&day, dice(200 + tenant.number))
    });
    let visitors = tenants.iter().map(|tenant| tenant.register_at_random(&day, dice(300)));
    let readers =
        (0..READERS).map(|number| people::read_at_random(&day, &tenants, dice(400 + number)));
    let actors = join(
        join(join_all(founders), join_all(renamers)),
        join(join(join_all(keepers), join_all(visitors)), join_all(readers)),
    );
    let (((founders, renamers), ((keepers, journals), _)), ()) = join(actors, trouble).await;

    println!("{:.0?}, seed {seed}\n{day}{faults}", begin.elapsed());
    database.assert_recovered().await;
    let server = day.server(0);
    for founder in founders {
        founder.assert_kept(&server).await;
    }
    for renamer in renamers {
        renamer.assert_kept(&server).await;
    }
    for keeper in keepers {
        keeper.assert_kept(&server).await;
    }
    for (tenant, journals) in tenants.iter().zip(journals) {
        let seats = database.seats(&tenant.org).await;
        // Members may still wait for free seats here: the events overlap, and a member who was busy
        // when a seat was freed stays on the list.
        seats.assert_sound();
        for journal in &journals {
            journal.assert_kept(&seats);
        }
    }
}

/// One of the two servers, at random.
fn any(day: &Day, rng: &mut StdRng) -> Client {
    day.server(rng.random_range(0..2))
}
