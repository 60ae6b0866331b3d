//! What all who take part in the day share: where the servers are, and what has been answered.

use std::{
    collections::BTreeMap,
    fmt::{self, Display},
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use reqwest::RequestBuilder;
use tokio::time::sleep;

use crate::support::{Client, Reply};

/// How long nobody may get anything done, whatever has broken.
const STANDSTILL: Duration = Duration::from_mins(1);
/// So that a client without a server does not ask without pause.
const YIELD: Duration = Duration::from_millis(20);

pub(super) struct Day {
    servers: Mutex<[Client; 2]>,
    over: AtomicBool,
    done: AtomicUsize,
    tally: Mutex<BTreeMap<String, Told>>,
}

/// How often something was answered, and the longest that it took.
#[derive(Default)]
struct Told {
    times: usize,
    longest: Duration,
}

/// What came of a request.
#[derive(Debug)]
pub(super) enum Answer {
    Done(Reply),
    /// Not done, for a reason that a retry does not change.
    Refused(Reply),
    /// Nobody knows: 503, or a connection that broke.
    Unknown,
}

impl Day {
    pub(super) fn new(servers: [Client; 2]) -> Self {
        Self {
            servers: Mutex::new(servers),
            over: AtomicBool::new(false),
            done: AtomicUsize::new(0),
            tally: Mutex::default(),
        }
    }

    pub(super) fn server(&self, number: usize) -> Client {
        self.servers.lock().unwrap()[number].clone()
    }

    /// Another process has taken that server's place.
    pub(super) fn replace(&self, number: usize, client: Client) {
        self.servers.lock().unwrap()[number] = client;
    }

    pub(super) fn end(&self) {
        self.over.store(true, Ordering::Relaxed);
    }

    pub(super) fn is_over(&self) -> bool {
        self.over.load(Ordering::Relaxed)
    }

    /// Sends, and writes down what came of it. Every answer is held to the contract on its way.
    pub(super) async fn ask(&self, what: &str, request: RequestBuilder) -> Answer {
        let asked = Instant::now();
        let reply = Client::try_send(request).await;
        let word = reply.as_ref().map_or("silence".to_owned(), |reply| {
            let code = reply.body["code"].as_str().map(|code| format!(" {code}"));
            format!("{}{}", reply.status, code.unwrap_or_default())
        });
        let good = reply.as_ref().is_some_and(|reply| reply.status < 300);
        self.note(what, &word, good, asked).await;
        match reply {
            Some(reply) if reply.status < 300 => Answer::Done(reply),
            Some(reply) if reply.status == 503 => Answer::Unknown,
            Some(reply) => Answer::Refused(reply),
            None => Answer::Unknown,
        }
    }

    /// Writes an answer down.
    pub(super) async fn note(&self, what: &str, word: &str, good: bool, asked: Instant) {
        {
            let mut tally = self.tally.lock().unwrap();
            let told = tally.entry(format!("{what}: {word}")).or_default();
            told.times += 1;
            told.longest = told.longest.max(asked.elapsed());
        }
        if good {
            self.done.fetch_add(1, Ordering::Relaxed);
        } else {
            sleep(YIELD).await;
        }
    }

    /// Waits for so many more answers to requests that were granted.
    pub(super) async fn goes_on(&self, more: usize) {
        let (wanted, until) =
            (self.done.load(Ordering::Relaxed) + more, Instant::now() + STANDSTILL);
        while self.done.load(Ordering::Relaxed) < wanted {
            assert!(Instant::now() < until, "nothing is done any more:\n{self}");
            sleep(YIELD).await;
        }
    }
}

impl Display for Day {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (what, told) in &*self.tally.lock().unwrap() {
            writeln!(f, "{:>8} {what} (at most {:.1?})", told.times, told.longest)?;
        }
        Ok(())
    }
}
