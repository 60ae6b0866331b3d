//! argon2id on threads of its own, at most a few at once, with a bounded queue in front.

use std::{
    sync::{
        Arc, Mutex,
        mpsc::{Receiver, SyncSender, TrySendError, sync_channel},
    },
    thread,
};

use argon2::{
    Algorithm, Argon2, Block, Params, Version,
    password_hash::{PasswordHash, Salt, SaltString, rand_core::OsRng},
};
use metrics::gauge;
use tokio::sync::oneshot;

use crate::{
    domain::{Password, PasswordDigest},
    error::{Error, Result},
};

/// What a hash costs. The default is the OWASP minimum for argon2id (Password Storage Cheat Sheet):
/// 19 MiB, two passes, one lane.
#[derive(Clone, Copy, Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HashParameters {
    /// Memory in KiB.
    pub memory_kib: u32,
    /// Passes over it.
    pub iterations: u32,
    /// Lanes.
    pub parallelism: u32,
    /// How many hashes run at once; 0 for one less than there are cores, but at least one.
    pub concurrency: usize,
    /// How many may wait; past that the answer is "busy".
    pub queue: usize,
}

/// Hashes and verifies passwords off the threads that answer requests.
///
/// Each thread keeps its memory blocks: a fresh allocation of 19 MiB for every hash costs thousands
/// of page faults. The threads yield to the ones that answer requests (`nice`).
#[derive(Clone)]
pub struct PasswordHasher {
    jobs: SyncSender<Job>,
    decoy: PasswordDigest,
}

struct Job {
    work: Work,
    answer: oneshot::Sender<Result<Outcome>>,
}

enum Work {
    Hash(Password),
    Verify(Password, PasswordDigest),
}

enum Outcome {
    Hashed(PasswordDigest),
    Verified(bool),
}

const QUEUE_GAUGE: &str = "tenantry_hash_queue_depth";
const BACKGROUND_NICENESS: i32 = 5;

impl PasswordHasher {
    /// Starts the hashing threads; they end when the last clone is dropped.
    ///
    /// # Errors
    /// [`Error::Internal`] when argon2 does not take the parameters, or no thread can be started.
    pub fn start(parameters: HashParameters) -> Result<Self> {
        let params =
            Params::new(parameters.memory_kib, parameters.iterations, parameters.parallelism, None)
                .map_err(|e| Error::Internal(format!("argon2 parameters: {e}")))?;
        let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
        let decoy = Bench::new(argon2.clone()).hash(b"nobody's password")?;
        let (jobs, inbox) = sync_channel(parameters.queue.max(1));
        let inbox = Arc::new(Mutex::new(inbox));
        for number in 0..threads(parameters.concurrency) {
            let (inbox, argon2) = (Arc::clone(&inbox), argon2.clone());
            thread::Builder::new()
                .name(format!("hash-{number}"))
                .spawn(move || work(&inbox, &mut Bench::new(argon2)))
                .map_err(|e| Error::Internal(format!("no hashing thread: {e}")))?;
        }
        Ok(Self { jobs, decoy })
    }

    /// The hash of a new password.
    ///
    /// # Errors
    /// [`Error::Busy`] when the queue is full.
    pub async fn hash(&self, password: Password) -> Result<PasswordDigest> {
        match self.submit(Work::Hash(password)).await? {
            Outcome::Hashed(digest) => Ok(digest),
            Outcome::Verified(_) => Err(Error::Internal("a hash job was answered amiss".into())),
        }
    }

    /// Whether `password` is the one of `digest`. Without a digest the answer is no, at the same
    /// cost, so that the time tells nobody whether an account exists.
    ///
    /// # Errors
    /// [`Error::Busy`] when the queue is full.
    pub async fn verify(&self, password: Password, digest: Option<PasswordDigest>) -> Result<bool> {
        let known = digest.is_some();
        let digest = digest.unwrap_or_else(|| self.decoy.clone());
        match self.submit(Work::Verify(password, digest)).await? {
            Outcome::Verified(matches) => Ok(matches && known),
            Outcome::Hashed(_) => Err(Error::Internal("a hash job was answered amiss".into())),
        }
    }

    async fn submit(&self, work: Work) -> Result<Outcome> {
        let (answer, outcome) = oneshot::channel();
        gauge!(QUEUE_GAUGE).increment(1.0);
        self.jobs.try_send(Job { work, answer }).map_err(|refused| {
            gauge!(QUEUE_GAUGE).decrement(1.0);
            match refused {
                TrySendError::Full(_) => {
                    metrics::counter!("tenantry_hash_queue_rejections_total").increment(1);
                    Error::Busy { what: "the password hashing queue is full" }
                }
                TrySendError::Disconnected(_) => {
                    Error::Internal("the hashing threads are gone".into())
                }
            }
        })?;
        outcome.await.map_err(|_| Error::Internal("a hashing thread has died".into()))?
    }
}

fn threads(configured: usize) -> usize {
    match configured {
        0 => thread::available_parallelism().map_or(1, usize::from).saturating_sub(1).max(1),
        chosen => chosen,
    }
}

fn work(inbox: &Mutex<Receiver<Job>>, bench: &mut Bench) {
    // Without the right to lower its priority a thread hashes all the same.
    let _ = rustix::process::nice(BACKGROUND_NICENESS);
    loop {
        let Ok(inbox) = inbox.lock() else { return };
        let Ok(job) = inbox.recv() else { return };
        drop(inbox);
        gauge!(QUEUE_GAUGE).decrement(1.0);
        // Whoever has stopped waiting needs no hash.
        if job.answer.is_closed() {
            continue;
        }
        let started = std::time::Instant::now();
        let outcome = match job.work {
            Work::Hash(password) => bench.hash(password.expose().as_bytes()).map(Outcome::Hashed),
            Work::Verify(password, digest) => {
                bench.verify(password.expose().as_bytes(), &digest).map(Outcome::Verified)
            }
        };
        metrics::histogram!("tenantry_hash_seconds").record(started.elapsed().as_secs_f64());
        let _ = job.answer.send(outcome);
    }
}

/// One thread's argon2 and the memory that it works on.
struct Bench {
    argon2: Argon2<'static>,
    blocks: Vec<Block>,
}

impl Bench {
    fn new(argon2: Argon2<'static>) -> Self {
        let blocks = vec![Block::default(); argon2.params().block_count()];
        Self { argon2, blocks }
    }

    fn hash(&mut self, password: &[u8]) -> Result<PasswordDigest> {
        let salt = SaltString::generate(&mut OsRng);
        let mut salt_bytes = [0; Salt::RECOMMENDED_LENGTH];
        salt.decode_b64(&mut salt_bytes).map_err(internal)?;
        let mut output = [0; Params::DEFAULT_OUTPUT_LEN];
        self.argon2
            .hash_password_into_with_memory(password, &salt_bytes, &mut output, &mut self.blocks)
            .map_err(|e| Error::Internal(e.to_string()))?;
        let hash = PasswordHash {
            algorithm: Algorithm::Argon2id.ident(),
            version: Some(Version::V0x13.into()),
            params: self.argon2.params().try_into().map_err(internal)?,
            salt: Some(salt.as_salt()),
            hash: Some(argon2::password_hash::Output::new(&output).map_err(internal)?),
        };
        Ok(PasswordDigest::new(hash.to_string()))
    }

    fn verify(&mut self, password: &[u8], digest: &PasswordDigest) -> Result<bool> {
        let stored = PasswordHash::new(digest.expose()).map_err(internal)?;
        let (Some(salt), Some(expected)) = (stored.salt, stored.hash) else {
            return Err(Error::Internal("a stored hash has no salt or no output".into()));
        };
        let params = Params::try_from(&stored).map_err(internal)?;
        // The parameters of the settings may have changed since this password was set.
        if params.block_count() > self.blocks.len() {
            self.blocks.resize(params.block_count(), Block::default());
        }
        let mut salt_bytes = [0; Salt::MAX_LENGTH];
        let salt_bytes = salt.decode_b64(&mut salt_bytes).map_err(internal)?;
        let mut output = vec![0; expected.len()];
        Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
            .hash_password_into_with_memory(password, salt_bytes, &mut output, &mut self.blocks)
            .map_err(|e| Error::Internal(e.to_string()))?;
        let output = argon2::password_hash::Output::new(&output).map_err(internal)?;
        // `Output` compares in constant time.
        Ok(output == expected)
    }
}

fn internal(error: argon2::password_hash::Error) -> Error {
    Error::Internal(format!("a password hash: {error}"))
}

#[cfg(test)]
mod tests {
    use argon2::PasswordVerifier;

    use super::*;

    const CHEAP: HashParameters =
        HashParameters { memory_kib: 64, iterations: 1, parallelism: 1, concurrency: 1, queue: 1 };

    fn password(raw: &str) -> Password {
        Password::parse(raw.to_owned()).unwrap()
    }

    #[tokio::test]
    async fn hashes_verify_here_and_by_the_library() {
        let hasher = PasswordHasher::start(CHEAP).unwrap();
        let digest = hasher.hash(password("correct horse")).await.unwrap();
        assert!(digest.expose().starts_with("$argon2id$v=19$m=64,t=1,p=1$"));
        assert!(hasher.verify(password("correct horse"), Some(digest.clone())).await.unwrap());
        assert!(!hasher.verify(password("correct hors!"), Some(digest.clone())).await.unwrap());
        let parsed = PasswordHash::new(digest.expose()).unwrap();
        Argon2::default().verify_password(b"correct horse", &parsed).unwrap();
    }

    #[tokio::test]
    async fn hashes_of_other_parameters_still_verify() {
        let old =
            PasswordHasher::start(CHEAP).unwrap().hash(password("correct horse")).await.unwrap();
        let now = PasswordHasher::start(HashParameters { memory_kib: 128, ..CHEAP }).unwrap();
        assert!(now.verify(password("correct horse"), Some(old)).await.unwrap());
        let new = now.hash(password("correct horse")).await.unwrap();
        assert!(new.expose().contains("m=128"));
    }

    #[tokio::test]
    async fn bytes_past_72_count() {
        let hasher = PasswordHasher::start(CHEAP).unwrap();
        let (one, two) = (format!("{}1", "a".repeat(72)), format!("{}2", "a".repeat(72)));
        let digest = hasher.hash(password(&one)).await.unwrap();
        assert!(!hasher.verify(password(&two), Some(digest)).await.unwrap());
    }

    #[tokio::test]
    async fn nobody_matches_even_the_decoys_password() {
        let hasher = PasswordHasher::start(CHEAP).unwrap();
        assert!(!hasher.verify(password("nobody's password"), None).await.unwrap());
    }

    #[tokio::test]
    async fn a_full_queue_answers_busy_and_loses_nothing() {
        let slow = HashParameters { memory_kib: 32 * 1024, ..CHEAP };
        let hasher = PasswordHasher::start(slow).unwrap();
        let all = (0..16).map(|_| hasher.hash(password("correct horse")));
        let outcomes = futures_util::future::join_all(all).await;
        let done = outcomes.iter().filter(|outcome| outcome.is_ok()).count();
        let busy = outcomes.iter().filter(|o| matches!(o, Err(Error::Busy { .. }))).count();
        assert!(done >= 1 && busy >= 1, "{done} done, {busy} busy");
        assert_eq!(done + busy, 16);
    }
}
