//! Measures a server's latency and memory for other clients during an attack.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::{sync::watch, task::JoinHandle, time::Instant};

use super::{Client, ServerProcess, process::resident_bytes};

/// Bytes that an attack may add to a server's memory.
const MEMORY: u64 = 256 * 1024 * 1024;
/// Allowed mean latency of other clients, as a multiple of the idle latency. If an attack blocks a
/// thread, the latency is hundreds of times higher.
const FACTOR: u32 = 50;
/// Number of probes of the idle server.
const PROBES: usize = 100;
const PAUSE: Duration = Duration::from_millis(5);

/// Probes a server continuously, as other clients would use it.
pub struct Watch {
    quiet: Duration,
    idle: u64,
    over: Arc<AtomicBool>,
    answered: watch::Receiver<usize>,
    task: JoinHandle<(Vec<Duration>, u64)>,
}

impl Watch {
    /// Measures the idle server, then continues in the background.
    pub async fn start(server: &ServerProcess) -> Self {
        let client = Client::new(format!("http://{}", server.client.address()));
        let mut waits = Vec::new();
        for _ in 0..PROBES {
            waits.push(probe(&client).await);
        }
        let (quiet, idle) = (mean(&waits), resident_bytes(server.pid()));
        let over = Arc::new(AtomicBool::new(false));
        let (sender, answered) = watch::channel(0);
        let task = tokio::spawn(watch(client, server.pid(), Arc::clone(&over), sender));
        Self { quiet, idle, over, answered, task }
    }

    /// Waits for another 100 answered probes.
    pub async fn probe_more(&mut self) {
        let wanted = *self.answered.borrow() + PROBES;
        let more = self.answered.wait_for(|answered| *answered >= wanted).await;
        more.expect("a probe was not answered");
    }

    /// Asserts that all probes were answered quickly and memory stayed small.
    pub async fn assert_unharmed(self) {
        self.over.store(true, Ordering::Release);
        let (waits, most) = self.task.await.expect("a probe was not answered");
        let (quiet, busy) = (self.quiet, mean(&waits));
        assert!(busy <= quiet * FACTOR, "others wait {busy:?}, but {quiet:?} on the idle server");
        let more = most.saturating_sub(self.idle);
        assert!(more <= MEMORY, "the attack added {} MiB of memory", more >> 20);
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
        most = most.max(resident_bytes(pid));
        answered.send_replace(waits.len());
        tokio::time::sleep(PAUSE).await;
    }
    (waits, most)
}

async fn probe(client: &Client) -> Duration {
    let sent = Instant::now();
    client.get("/health/live").await.expect(200);
    client.get_org("Nobody").await.expect(404);
    sent.elapsed()
}

fn mean(waits: &[Duration]) -> Duration {
    waits.iter().sum::<Duration>() / u32::try_from(waits.len()).unwrap()
}
