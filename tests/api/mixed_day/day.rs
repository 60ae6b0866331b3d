//! State that all actors share: the servers, and counts of the answers.

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

/// Maximum time without any successful request.
const MAX_STANDSTILL: Duration = Duration::from_mins(1);
/// Pause after a failed request, so that clients without a server do not spin.
const PAUSE: Duration = Duration::from_millis(20);

pub(super) struct Day {
    servers: Mutex<[Client; 2]>,
    over: AtomicBool,
    done: AtomicUsize,
    tally: Mutex<BTreeMap<String, Answers>>,
}

/// The number of equal answers, and the longest time that one took.
#[derive(Default)]
struct Answers {
    count: usize,
    longest: Duration,
}

/// The outcome of a request.
#[derive(Debug)]
pub(super) enum Answer {
    Done(Reply),
    /// Refused for a reason that a retry does not change.
    Refused(Reply),
    /// Unknown: a 503 or a broken connection.
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

    /// Replaces a server by a restarted one.
    pub(super) fn replace(&self, number: usize, client: Client) {
        self.servers.lock().unwrap()[number] = client;
    }

    pub(super) fn end(&self) {
        self.over.store(true, Ordering::Relaxed);
    }

    pub(super) fn is_over(&self) -> bool {
        self.over.load(Ordering::Relaxed)
    }

    /// Sends the request and records the answer, after checking it against the error contract.
    pub(super) async fn send(&self, what: &str, request: RequestBuilder) -> Answer {
        let sent = Instant::now();
        let reply = Client::try_send(request).await;
        let word = reply.as_ref().map_or("silence".to_owned(), |reply| {
            let code = reply.body["code"].as_str().map(|code| format!(" {code}"));
            format!("{}{}", reply.status, code.unwrap_or_default())
        });
        let good = reply.as_ref().is_some_and(|reply| reply.status < 300);
        self.record(what, &word, good, sent).await;
        match reply {
            Some(reply) if reply.status < 300 => Answer::Done(reply),
            Some(reply) if reply.status == 503 => Answer::Unknown,
            Some(reply) => Answer::Refused(reply),
            None => Answer::Unknown,
        }
    }

    /// Records an answer.
    pub(super) async fn record(&self, what: &str, word: &str, good: bool, sent: Instant) {
        {
            let mut tally = self.tally.lock().unwrap();
            let answers = tally.entry(format!("{what}: {word}")).or_default();
            answers.count += 1;
            answers.longest = answers.longest.max(sent.elapsed());
        }
        if good {
            self.done.fetch_add(1, Ordering::Relaxed);
        } else {
            sleep(PAUSE).await;
        }
    }

    /// Waits for `more` successful requests.
    pub(super) async fn wait_for_successes(&self, more: usize) {
        let (wanted, until) =
            (self.done.load(Ordering::Relaxed) + more, Instant::now() + MAX_STANDSTILL);
        while self.done.load(Ordering::Relaxed) < wanted {
            assert!(Instant::now() < until, "no request succeeds any more:\n{self}");
            sleep(PAUSE).await;
        }
    }
}

impl Display for Day {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (what, answers) in &*self.tally.lock().unwrap() {
            writeln!(f, "{:>8} {what} (at most {:.1?})", answers.count, answers.longest)?;
        }
        Ok(())
    }
}
