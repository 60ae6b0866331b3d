//! How a server is doing for others while somebody does their worst.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::{sync::watch, task::JoinHandle, time::Instant};

use super::{Client, ServerProcess};

/// What an attack may add to the memory of a server, in bytes.
const MEMORY: u64 = 256 * 1024 * 1024;
/// How many times as long as in quiet times others may wait on average. Where an attack keeps a
/// thread busy, they wait hundreds of times as long.
const FACTOR: u32 = 50;
/// How often others ask in quiet times.
const PROBES: usize = 100;
const PAUSE: Duration = Duration::from_millis(5);

/// Asks a server again and again, as its other clients would.
pub struct Watch {
    quiet: Duration,
    idle: u64,
    over: Arc<AtomicBool>,
    answered: watch::Receiver<usize>,
    task: JoinHandle<(Vec<Duration>, u64)>,
}

impl Watch {
    /// Measures the server while nothing happens, and goes on beside what happens then.
    pub async fn start(server: &ServerProcess) -> Self {
        let client = Client::new(format!("http://{}", server.client.address()));
        let mut waits = Vec::new();
        for _ in 0..PROBES {
            waits.push(probe(&client).await);
        }
        let (quiet, idle) = (mean(&waits), memory(server.pid()));
        let over = Arc::new(AtomicBool::new(false));
        let (sender, answered) = watch::channel(0);
        let task = tokio::spawn(watch(client, server.pid(), Arc::clone(&over), sender));
        Self { quiet, idle, over, answered, task }
    }

    /// Waits until others were answered as often again as in quiet times.
    pub async fn goes_on(&mut self) {
        let wanted = *self.answered.borrow() + PROBES;
        let more = self.answered.wait_for(|answered| *answered >= wanted).await;
        more.expect("a probe was not answered");
    }

    /// Everybody else was answered, soon, and the server has stayed small.
    pub async fn assert_unharmed(self) {
        self.over.store(true, Ordering::Release);
        let (waits, most) = self.task.await.expect("a probe was not answered");
        let (quiet, busy) = (self.quiet, mean(&waits));
        assert!(busy <= quiet * FACTOR, "others wait {busy:?}, and {quiet:?} in quiet times");
        let more = most.saturating_sub(self.idle);
        assert!(more <= MEMORY, "the attack has added {} MiB", more >> 20);
    }
}

async fn watch(
    client: Client,
    pid: u32,
    over: Arc<AtomicBool>,
    answered: watch::Sender<usize>,
) -> (Vec<Duration>, u64) {
    let (mut waits, mut most) = (Vec::new(), 0);
    while !over.load(Ordering::Acquire) || waits.is_empty() {
        waits.push(probe(&client).await);
        most = most.max(memory(pid));
        answered.send_replace(waits.len());
        tokio::time::sleep(PAUSE).await;
    }
    (waits, most)
}

async fn probe(client: &Client) -> Duration {
    let asked = Instant::now();
    client.get("/health/live").await.expect(200);
    client.get_org("Nobody").await.expect(404);
    asked.elapsed()
}

fn mean(waits: &[Duration]) -> Duration {
    waits.iter().sum::<Duration>() / u32::try_from(waits.len()).unwrap()
}

/// The resident memory of a process, in bytes.
fn memory(pid: u32) -> u64 {
    let status =
        std::fs::read_to_string(format!("/proc/{pid}/status")).expect("the server is dead");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
}
