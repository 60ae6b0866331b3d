//! What breaks, one after the other, and is mended again.

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
use crate::support::{Database, ReplicaSet, SOON_LOST, ServerProcess};

/// Answers that must come after each fault before the next one.
const RECOVERED: usize = 50;
/// Requests of a crowd, many more than there are connections to the database.
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
    /// The token of somebody who may read a chart.
    pub(super) reader: String,
    pub(super) rng: StdRng,
    /// What the first server, which is never killed, held in memory, in KiB, and when.
    pub(super) memory: Vec<(Duration, u64)>,
}

impl Faults {
    /// Each fault at least once, and on until the time is over.
    pub(super) async fn go_on_for(&mut self, day: &Day, length: Duration) {
        use Fault::{Crowd, KillPrimary, KillServer, StopPrimary, StopSecondary};
        let begin = Instant::now();
        let mut round = [KillServer, KillPrimary, StopSecondary, StopPrimary, Crowd];
        loop {
            round.shuffle(&mut self.rng);
            for fault in round {
                let gap = Duration::from_millis(self.rng.random_range(20_000..40_000));
                let gap = gap.min(length * self.rng.random_range(4..8) / 100);
                sleep(gap).await;
                self.memory.push((begin.elapsed(), resident(self.servers[0].pid())));
                println!("{:>4.0?} {fault:?}", begin.elapsed());
                self.strike(fault, day, gap / 2).await;
                day.goes_on(RECOVERED).await;
            }
            if begin.elapsed() >= length {
                break;
            }
        }
        self.memory.push((begin.elapsed(), resident(self.servers[0].pid())));
    }

    async fn strike(&mut self, fault: Fault, day: &Day, pause: Duration) {
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
                day.goes_on(RECOVERED).await;
                self.set.start_again(primary).await;
            }
            Fault::StopSecondary => {
                let secondary = (self.set.primary().await + 1) % 3;
                self.set.signal(secondary, Signal::STOP);
                day.goes_on(RECOVERED).await;
                sleep(pause).await;
                self.set.signal(secondary, Signal::CONT);
            }
            Fault::StopPrimary => {
                let primary = self.set.primary().await;
                self.set.signal(primary, Signal::STOP);
                sleep(pause).await;
                // The others have long chosen another one.
                self.set.primary().await;
                self.set.signal(primary, Signal::CONT);
            }
            Fault::Crowd => {
                let crowd = (0..CROWD).map(|number| {
                    let server = day.server(number % 2);
                    let reader = server.with(&self.reader);
                    day.ask("crowd", reader.request(Method::GET, "/orgcharts/1/tree"))
                });
                join_all(crowd).await;
            }
        }
    }
}

impl Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MiB of the first server, by seconds:")?;
        for (when, kib) in &self.memory {
            write!(f, " {}:{}", when.as_secs(), kib >> 10)?;
        }
        f.write_str("\n")
    }
}

fn resident(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.split_ascii_whitespace().next().unwrap().parse().unwrap()
}
