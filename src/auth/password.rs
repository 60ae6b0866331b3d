//! Hashes passwords with argon2id on a few dedicated threads, from a bounded, fair queue.

use std::{
    sync::{Arc, Condvar, Mutex, PoisonError},
    thread,
};

use argon2::{
    Algorithm, Argon2, Block, Params, Version,
    password_hash::{PasswordHash, Salt, SaltString, rand_core::OsRng},
};
use metrics::gauge;
use tokio::sync::oneshot;

use super::{
    fair::{FairQueue, HashFor},
    parameters::HashParameters,
};
use crate::{
    domain::identity::{Password, PasswordDigest},
    error::{Error, Result},
    supervise::supervised_thread,
};

/// Hashes and verifies passwords on dedicated threads, not on those that serve requests.
///
/// Each thread keeps its memory blocks, because allocating 19 MiB for every hash costs thousands of
/// page faults. The threads have a lower priority than those that serve requests (`nice`).
#[derive(Clone)]
pub struct PasswordHasher {
    queue: Arc<CloseOnDrop>,
    decoy: PasswordDigest,
}

/// Stops the hashing threads when the last clone of the hasher is dropped.
struct CloseOnDrop(Arc<JobQueue>);

/// Holds the jobs that wait for a thread.
struct JobQueue {
    waiting: Mutex<Waiting>,
    arrival: Condvar,
}

struct Waiting {
    jobs: FairQueue<Job>,
    closed: bool,
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
    /// Starts the hashing threads. They end when the last clone is dropped.
    ///
    /// # Errors
    /// [`Error::Internal`] if argon2 rejects the parameters, or a thread cannot be started.
    pub fn start(parameters: HashParameters) -> Result<Self> {
        let params =
            Params::new(parameters.memory_kib, parameters.iterations, parameters.parallelism, None)
                .map_err(|e| Error::Internal(format!("argon2 parameters: {e}")))?;
        let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
        let decoy = Worker::new(argon2.clone()).hash(b"nobody's password")?;
        let queue = Arc::new(JobQueue::new(parameters.queue.max(1)));
        let closing = Arc::new(CloseOnDrop(Arc::clone(&queue)));
        for number in 0..threads(parameters.concurrency) {
            let (queue, argon2) = (Arc::clone(&queue), argon2.clone());
            thread::Builder::new()
                .name(format!("hash-{number}"))
                .spawn(move || {
                    supervised_thread("hashing", || work(&queue, &mut Worker::new(argon2.clone())));
                })
                .map_err(|e| Error::Internal(format!("cannot start a hashing thread: {e}")))?;
        }
        Ok(Self { queue: closing, decoy })
    }

    /// Hashes a new password.
    ///
    /// # Errors
    /// [`Error::Busy`] if the queue is full and no client has more jobs in it.
    pub async fn hash(&self, who: HashFor, password: Password) -> Result<PasswordDigest> {
        match self.submit(who, Work::Hash(password)).await? {
            Outcome::Hashed(digest) => Ok(digest),
            Outcome::Verified(_) => {
                Err(Error::Internal("a hash job returned the wrong kind of result".into()))
            }
        }
    }

    /// Whether `password` matches `digest`. Without a digest, returns false at the same cost, so
    /// that the response time does not reveal whether an account exists.
    ///
    /// # Errors
    /// [`Error::Busy`] if the queue is full and no client has more jobs in it.
    pub async fn verify(
        &self,
        who: HashFor,
        password: Password,
        digest: Option<PasswordDigest>,
    ) -> Result<bool> {
        let known = digest.is_some();
        let digest = digest.unwrap_or_else(|| self.decoy.clone());
        match self.submit(who, Work::Verify(password, digest)).await? {
            Outcome::Verified(matches) => Ok(matches && known),
            Outcome::Hashed(_) => {
                Err(Error::Internal("a hash job returned the wrong kind of result".into()))
            }
        }
    }

    async fn submit(&self, who: HashFor, work: Work) -> Result<Outcome> {
        let (answer, outcome) = oneshot::channel();
        self.queue.0.push(who, Job { work, answer });
        outcome
            .await
            .map_err(|_| Error::Internal("a hashing thread has ended unexpectedly".into()))?
    }
}

impl JobQueue {
    fn new(most: usize) -> Self {
        let waiting = Waiting { jobs: FairQueue::new(most), closed: false };
        Self { waiting: Mutex::new(waiting), arrival: Condvar::new() }
    }

    /// Adds a job. If the queue is full, a job of the client with the most jobs gets "busy".
    fn push(&self, who: HashFor, job: Job) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let before = waiting.jobs.len();
        if waiting.jobs.is_full() {
            // Drop the jobs whose clients no longer wait.
            waiting.jobs.retain(|job| !job.answer.is_closed());
        }
        let refused = waiting.jobs.push(who, job);
        count(before, waiting.jobs.len());
        drop(waiting);
        self.arrival.notify_one();
        if let Some(refused) = refused {
            metrics::counter!("tenantry_hash_queue_rejections_total").increment(1);
            let busy = Error::Busy { what: "the password hashing queue is full" };
            let _ = refused.answer.send(Err(busy));
        }
    }

    /// Waits for a job; `None` if the queue is closed and empty.
    fn next(&self) -> Option<Job> {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            let before = waiting.jobs.len();
            // Skip the jobs whose clients no longer wait.
            let job = std::iter::from_fn(|| waiting.jobs.pop()).find(|job| !job.answer.is_closed());
            count(before, waiting.jobs.len());
            if job.is_some() || waiting.closed {
                return job;
            }
            waiting = self.arrival.wait(waiting).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

impl Drop for CloseOnDrop {
    fn drop(&mut self) {
        self.0.waiting.lock().unwrap_or_else(PoisonError::into_inner).closed = true;
        self.0.arrival.notify_all();
    }
}

#[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
fn count(before: usize, after: usize) {
    gauge!(QUEUE_GAUGE).increment(after as f64 - before as f64);
}

fn threads(configured: usize) -> usize {
    match configured {
        0 => thread::available_parallelism().map_or(1, usize::from).saturating_sub(1).max(1),
        chosen => chosen,
    }
}

fn work(queue: &JobQueue, worker: &mut Worker) {
    // If the priority cannot be lowered, hashing works anyway.
    let _ = rustix::process::nice(BACKGROUND_NICENESS);
    while let Some(job) = queue.next() {
        let started = std::time::Instant::now();
        let outcome = match job.work {
            Work::Hash(password) => worker.hash(password.expose().as_bytes()).map(Outcome::Hashed),
            Work::Verify(password, digest) => {
                worker.verify(password.expose().as_bytes(), &digest).map(Outcome::Verified)
            }
        };
        metrics::histogram!("tenantry_hash_seconds").record(started.elapsed().as_secs_f64());
        let _ = job.answer.send(outcome);
    }
}

/// One thread's argon2 instance and its memory blocks.
struct Worker {
    argon2: Argon2<'static>,
    blocks: Vec<Block>,
}

impl Worker {
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
        // The configured parameters may have changed since this password was set.
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
    use std::time::Duration;

    use argon2::PasswordVerifier;

    use super::*;
    use crate::domain::OrgId;

    const CHEAP: HashParameters =
        HashParameters { memory_kib: 64, iterations: 1, parallelism: 1, concurrency: 1, queue: 1 };

    fn password(raw: &str) -> Password {
        Password::parse(raw.to_owned()).unwrap()
    }

    #[tokio::test]
    async fn hashes_verify_here_and_with_the_library() {
        let hasher = PasswordHasher::start(CHEAP).unwrap();
        let digest = hasher.hash(HashFor::Operator, password("correct horse")).await.unwrap();
        assert!(digest.expose().starts_with("$argon2id$v=19$m=64,t=1,p=1$"));
        assert!(
            hasher
                .verify(HashFor::Operator, password("correct horse"), Some(digest.clone()))
                .await
                .unwrap()
        );
        assert!(
            !hasher
                .verify(HashFor::Operator, password("correct hors!"), Some(digest.clone()))
                .await
                .unwrap()
        );
        let parsed = PasswordHash::new(digest.expose()).unwrap();
        Argon2::default().verify_password(b"correct horse", &parsed).unwrap();
    }

    #[tokio::test]
    async fn hashes_of_other_parameters_still_verify() {
        let old = PasswordHasher::start(CHEAP)
            .unwrap()
            .hash(HashFor::Operator, password("correct horse"))
            .await
            .unwrap();
        let now = PasswordHasher::start(HashParameters { memory_kib: 128, ..CHEAP }).unwrap();
        assert!(now.verify(HashFor::Operator, password("correct horse"), Some(old)).await.unwrap());
        let new = now.hash(HashFor::Operator, password("correct horse")).await.unwrap();
        assert!(new.expose().contains("m=128"));
    }

    #[tokio::test]
    async fn bytes_after_the_first_72_count() {
        let hasher = PasswordHasher::start(CHEAP).unwrap();
        let (one, two) = (format!("{}1", "a".repeat(72)), format!("{}2", "a".repeat(72)));
        let digest = hasher.hash(HashFor::Operator, password(&one)).await.unwrap();
        assert!(!hasher.verify(HashFor::Operator, password(&two), Some(digest)).await.unwrap());
    }

    #[tokio::test]
    async fn even_the_decoys_password_does_not_match_without_a_digest() {
        let hasher = PasswordHasher::start(CHEAP).unwrap();
        assert!(
            !hasher.verify(HashFor::Operator, password("nobody's password"), None).await.unwrap()
        );
    }

    #[tokio::test]
    async fn a_full_queue_answers_busy_and_loses_nothing() {
        let slow = HashParameters { memory_kib: 32 * 1024, ..CHEAP };
        let hasher = PasswordHasher::start(slow).unwrap();
        let all = (0..16).map(|_| hasher.hash(HashFor::Operator, password("correct horse")));
        let outcomes = futures::future::join_all(all).await;
        let done = outcomes.iter().filter(|outcome| outcome.is_ok()).count();
        let busy = outcomes.iter().filter(|o| matches!(o, Err(Error::Busy { .. }))).count();
        assert!(done >= 1 && busy >= 1, "{done} done, {busy} busy");
        assert_eq!(done + busy, 16);
    }

    /// A hasher whose only thread is busy for a while.
    async fn occupied(queue: usize) -> PasswordHasher {
        let slow = HashParameters { memory_kib: 64 * 1024, iterations: 4, queue, ..CHEAP };
        let hasher = PasswordHasher::start(slow).unwrap();
        let busy = hasher.clone();
        tokio::spawn(async move { busy.hash(HashFor::Operator, password("correct horse")).await });
        while hasher.queue.0.waiting.lock().unwrap().jobs.len() > 0 {
            tokio::task::yield_now().await;
        }
        hasher
    }

    #[tokio::test]
    async fn in_a_full_queue_the_client_with_the_most_jobs_is_refused() {
        let hasher = occupied(2).await;
        let org = HashFor::Org(OrgId::generate());
        let hash = |who: &HashFor| {
            let (hasher, who) = (hasher.clone(), who.clone());
            tokio::spawn(async move { hasher.hash(who, password("correct horse")).await })
        };
        let all = [hash(&org), hash(&org), hash(&HashFor::SignUp([192, 0, 2, 1].into()))];
        let [first, second, sign_up] = futures::future::join_all(all).await.try_into().unwrap();
        first.unwrap().unwrap();
        assert!(matches!(second.unwrap(), Err(Error::Busy { .. })));
        sign_up.unwrap().unwrap();
    }

    #[tokio::test]
    async fn cancelled_jobs_are_dropped_and_not_hashed() {
        let hasher = occupied(2).await;
        let org = HashFor::Org(OrgId::generate());
        for _ in 0..10 {
            let impatient = hasher.hash(org.clone(), password("correct horse"));
            assert!(tokio::time::timeout(Duration::ZERO, impatient).await.is_err());
        }
        assert_eq!(hasher.queue.0.waiting.lock().unwrap().jobs.len(), 2);
        let patient = hasher.hash(org, password("correct horse"));
        patient.await.expect("cancelled jobs must not fill the queue");
    }
}
