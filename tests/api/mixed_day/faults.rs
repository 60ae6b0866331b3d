//! Faults, one at a time, each repaired afterwards.

use std::{
    fmt::{self, Display},
    time::{Duration, Instant},
};

use futures::future::join_all;
use rand::{Rng, rngs::StdRng, seq::SliceRandom};
use reqwest::Method;
use rustix::process::Signal;
use tokio::{task::block_in_place, time::sleep};

use super::day::Day;
use crate::support::{Database, ReplicaSet, SOON_LOST, ServerProcess, resident_bytes};

/// Successful requests to wait for after each fault.
const RECOVERED: usize = 50;
/// Concurrent requests of a crowd, many more than database connections.
const CROWD: usize = 400;

#[derive(Clone, Copy, Debug)]
enum Fault {
    KillServer,
    KillPrimary,
    StopSecondary,
    StopPrimary,
    Crowd,
}

pub(super) struct Faults {
    pub(super) set: ReplicaSet,
    pub(super) servers: [ServerProcess; 2],
    pub(super) database: Database,
    /// The token of an account that may read a chart.
    pub(super) reader: String,
    pub(super) rng: StdRng,
    /// Memory of the first server in bytes over time; that server is never killed.
    pub(super) memory: Vec<(Duration, u64)>,
}

impl Faults {
    /// Causes each fault at least once, and continues until the time is over.
    pub(super) async fn run_for(&mut self, day: &Day, length: Duration) {
        use Fault::{Crowd, KillPrimary, KillServer, StopPrimary, StopSecondary};
        let begin = Instant::now();
        let mut round = [KillServer, KillPrimary, StopSecondary, StopPrimary, Crowd];
        loop {
            round.shuffle(&mut self.rng);
            for fault in round {
                let gap = Duration::from_millis(self.rng.random_range(20_000..40_000));
                let gap = gap.min(length * self.rng.random_range(4..8) / 100);
                sleep(gap).await;
                self.memory.push((begin.elapsed(), resident_bytes(self.servers[0].pid())));
                println!("{:>4.0?} {fault:?}", begin.elapsed());
                self.cause(fault, day, gap / 2).await;
                day.wait_for_successes(RECOVERED).await;
            }
            if begin.elapsed() >= length {
                break;
            }
        }
        self.memory.push((begin.elapsed(), resident_bytes(self.servers[0].pid())));
    }

    async fn cause(&mut self, fault: Fault, day: &Day, pause: Duration) {
        match fault {
            Fault::KillServer => {
                self.servers[1].kill();
                sleep(pause).await;
                let again =
                    block_in_place(|| ServerProcess::start_with(&self.database, &[SOON_LOST]));
                day.replace(1, again.client.clone());
                self.servers[1] = again;
            }
            Fault::KillPrimary => {
                let primary = self.set.primary().await;
                self.set.kill(primary);
                day.wait_for_successes(RECOVERED).await;
                self.set.restart(primary).await;
            }
            Fault::StopSecondary => {
                let secondary = (self.set.primary().await + 1) % 3;
                self.set.signal(secondary, Signal::STOP);
                day.wait_for_successes(RECOVERED).await;
                sleep(pause).await;
                self.set.signal(secondary, Signal::CONT);
            }
            Fault::StopPrimary => {
                let primary = self.set.primary().await;
                self.set.signal(primary, Signal::STOP);
                sleep(pause).await;
                // By now the other nodes have elected another primary.
                self.set.primary().await;
                self.set.signal(primary, Signal::CONT);
            }
            Fault::Crowd => {
                let crowd = (0..CROWD).map(|number| {
                    let server = day.server(number % 2);
                    let reader = server.with(&self.reader);
                    day.send("crowd", reader.request(Method::GET, "/orgcharts/1/tree"))
                });
                join_all(crowd).await;
            }
        }
    }
}

impl Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MiB of the first server, by seconds:")?;
        for (when, bytes) in &self.memory {
            write!(f, " {}:{}", when.as_secs(), bytes >> 20)?;
        }
        f.write_str("\n")
    }
}
