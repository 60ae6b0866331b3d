//! A bounded, fair queue: clients with many jobs delay only themselves.

use std::{collections::VecDeque, net::IpAddr};

use super::throttle::network;
use crate::domain::{OrgId, identity::Email};

/// For whom a password is hashed. Each has a share of the queue.
#[derive(Clone, Debug)]
pub enum HashFor {
    /// A login.
    Login {
        /// The client's address.
        address: IpAddr,
        /// The e-mail address of the account, as given.
        email: Email,
        /// Whether the account has logged in from this address before.
        familiar: bool,
    },
    /// A sign-up from that address.
    SignUp(IpAddr),
    /// An action of an admin of that organization.
    Org(OrgId),
    /// The operator, on the command line.
    Operator,
}

/// One level of the path to a job in the queue.
#[derive(Clone, Debug, Eq, PartialEq)]
enum Key {
    Kind(Kind),
    Network(IpAddr),
    Account(Email),
    Org(OrgId),
}

/// The top level of the queue: each kind has its own turns.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Kind {
    FamiliarLogin,
    Login,
    SignUp,
    Org,
    Operator,
}

/// A queue of at most `most` jobs. It is served round-robin by kind, then by organization or
/// address, then by the accounts of an address. A full queue drops the newest job of the largest
/// share, not the job that arrived last.
pub(super) struct FairQueue<T> {
    line: Line<T>,
    most: usize,
}

/// The waiting jobs of one key, directly or under further keys.
struct Line<T> {
    length: usize,
    jobs: VecDeque<T>,
    /// The front one has the next turn.
    lines: VecDeque<(Key, Line<T>)>,
}

impl HashFor {
    fn path(self) -> Vec<Key> {
        match self {
            Self::Login { address, email, familiar } => {
                let kind = if familiar { Kind::FamiliarLogin } else { Kind::Login };
                vec![Key::Kind(kind), Key::Network(network(address)), Key::Account(email)]
            }
            Self::SignUp(address) => {
                vec![Key::Kind(Kind::SignUp), Key::Network(network(address))]
            }
            Self::Org(org) => vec![Key::Kind(Kind::Org), Key::Org(org)],
            Self::Operator => vec![Key::Kind(Kind::Operator)],
        }
    }
}

impl<T> FairQueue<T> {
    /// An empty queue for at most `most` jobs.
    pub(super) fn new(most: usize) -> Self {
        let kinds =
            [Kind::FamiliarLogin, Kind::Login, Kind::SignUp, Kind::Org, Kind::Operator].into_iter();
        let mut line = Line::default();
        // A kind keeps its turn even while it has no waiting jobs.
        line.lines.extend(kinds.map(|kind| (Key::Kind(kind), Line::default())));
        Self { line, most }
    }

    /// The number of waiting jobs.
    pub(super) fn len(&self) -> usize {
        self.line.length
    }

    /// Whether another job would displace one.
    pub(super) fn is_full(&self) -> bool {
        self.line.length >= self.most
    }

    /// Adds a job. Returns the job that is dropped for it, which may be the same one.
    pub(super) fn push(&mut self, who: HashFor, job: T) -> Option<T> {
        self.line.push(who.path().into_iter(), job);
        if self.line.length > self.most { self.line.shed() } else { None }
    }

    /// Removes the next job.
    pub(super) fn pop(&mut self) -> Option<T> {
        self.line.pop()
    }

    /// Removes the jobs for which `keep` is false.
    pub(super) fn retain(&mut self, keep: impl Fn(&T) -> bool) {
        self.line.retain(&keep);
    }
}

impl<T> Default for Line<T> {
    fn default() -> Self {
        Self { length: 0, jobs: VecDeque::new(), lines: VecDeque::new() }
    }
}

impl<T> Line<T> {
    fn push(&mut self, mut path: impl Iterator<Item = Key>, job: T) {
        self.length += 1;
        let Some(key) = path.next() else {
            self.jobs.push_back(job);
            return;
        };
        if let Some((_, line)) = self.lines.iter_mut().find(|(known, _)| *known == key) {
            line.push(path, job);
        } else {
            let mut line = Self::default();
            line.push(path, job);
            self.lines.push_back((key, line));
        }
    }

    fn pop(&mut self) -> Option<T> {
        let next = self.lines.iter().position(|(_, line)| line.length > 0);
        let job = match next.and_then(|at| self.lines.remove(at)) {
            Some((key, mut line)) => {
                let job = line.pop();
                self.put_back(key, line);
                job
            }
            None => self.jobs.pop_front(),
        };
        self.length -= usize::from(job.is_some());
        job
    }

    /// Drops the newest job of the longest line; of equally long lines, the last one's.
    fn shed(&mut self) -> Option<T> {
        let longest = self.lines.iter_mut().max_by_key(|(_, line)| line.length);
        let job = match longest.filter(|(_, line)| line.length > 0) {
            Some((_, line)) => line.shed(),
            None => self.jobs.pop_back(),
        };
        self.length -= usize::from(job.is_some());
        self.lines.retain(|(key, line)| line.length > 0 || key.is_kind());
        job
    }

    fn retain(&mut self, keep: &impl Fn(&T) -> bool) {
        self.jobs.retain(keep);
        for (_, line) in &mut self.lines {
            line.retain(keep);
        }
        self.lines.retain(|(key, line)| line.length > 0 || key.is_kind());
        self.length =
            self.jobs.len() + self.lines.iter().map(|(_, line)| line.length).sum::<usize>();
    }

    fn put_back(&mut self, key: Key, line: Self) {
        if line.length > 0 || key.is_kind() {
            self.lines.push_back((key, line));
        }
    }
}

impl Key {
    const fn is_kind(&self) -> bool {
        matches!(self, Self::Kind(_))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(last: u8) -> IpAddr {
        [192, 0, 2, last].into()
    }

    fn login(from: u8, name: &str) -> HashFor {
        let email = Email::parse(&format!("{name}@example.com")).unwrap();
        HashFor::Login { address: address(from), email, familiar: false }
    }

    fn familiar(from: u8, name: &str) -> HashFor {
        let email = Email::parse(&format!("{name}@example.com")).unwrap();
        HashFor::Login { address: address(from), email, familiar: true }
    }

    fn drain(queue: &mut FairQueue<&'static str>) -> Vec<&'static str> {
        std::iter::from_fn(|| queue.pop()).collect()
    }

    #[test]
    fn an_organization_with_many_jobs_delays_only_itself() {
        let (greedy, modest) = (OrgId::generate(), OrgId::generate());
        let mut queue = FairQueue::new(10);
        for job in ["a", "b", "c"] {
            assert_eq!(queue.push(HashFor::Org(greedy), job), None);
        }
        queue.push(HashFor::Org(modest), "modest");
        assert_eq!(drain(&mut queue), ["a", "modest", "b", "c"]);
        assert_eq!(queue.len(), 0);
    }

    #[test]
    fn a_login_is_next_even_while_many_members_are_added() {
        let mut queue = FairQueue::new(1_000);
        for _ in 0..100 {
            queue.push(HashFor::Org(OrgId::generate()), "member");
        }
        assert_eq!(queue.pop(), Some("member"));
        queue.push(login(1, "ada"), "login");
        assert_eq!(queue.pop(), Some("login"));
    }

    #[test]
    fn a_full_queue_drops_the_newest_job_of_the_largest_share() {
        let greedy = OrgId::generate();
        let mut queue = FairQueue::new(4);
        for job in ["a", "b", "c", "d"] {
            queue.push(HashFor::Org(greedy), job);
        }
        assert!(queue.is_full());
        assert_eq!(queue.push(HashFor::Org(greedy), "e"), Some("e"));
        assert_eq!(queue.push(login(1, "ada"), "login"), Some("d"));
        assert_eq!(queue.push(HashFor::SignUp(address(1)), "sign-up"), Some("c"));
        assert_eq!(queue.push(HashFor::Org(OrgId::generate()), "modest"), Some("b"));
        assert_eq!(drain(&mut queue), ["login", "sign-up", "a", "modest"]);
    }

    /// The negative control of the test above: in a single line, the last job is refused.
    #[test]
    fn in_a_single_line_the_last_job_is_refused() {
        let all = OrgId::generate();
        let mut queue = FairQueue::new(4);
        for job in ["a", "b", "c", "d"] {
            queue.push(HashFor::Org(all), job);
        }
        assert_eq!(queue.push(HashFor::Org(all), "login"), Some("login"));
    }

    #[test]
    fn a_guessing_address_does_not_take_turns_of_other_addresses() {
        let mut queue = FairQueue::new(6);
        for (name, job) in [("a", "1"), ("b", "2"), ("c", "3"), ("d", "4"), ("e", "5"), ("f", "6")]
        {
            queue.push(login(66, name), job);
        }
        assert_eq!(queue.push(login(1, "ada"), "ada"), Some("6"));
        assert_eq!(queue.push(login(2, "bob"), "bob"), Some("5"));
        assert_eq!(drain(&mut queue), ["1", "ada", "bob", "2", "3", "4"]);
    }

    #[test]
    fn accounts_of_one_address_take_turns() {
        let mut queue = FairQueue::new(4);
        for job in ["a", "b", "c", "d"] {
            queue.push(login(1, "guessed"), job);
        }
        assert_eq!(queue.push(login(1, "ada"), "ada"), Some("d"));
        assert_eq!(drain(&mut queue), ["a", "ada", "b", "c"]);
    }

    #[test]
    fn strangers_do_not_displace_logins_from_familiar_addresses() {
        let mut queue = FairQueue::new(4);
        for from in 1..5 {
            queue.push(login(from, "guessed"), "stranger");
        }
        assert_eq!(queue.push(login(9, "guessed"), "late"), Some("late"));
        assert_eq!(queue.push(familiar(9, "ada"), "ada"), Some("stranger"));
        assert_eq!(queue.pop(), Some("ada"));
    }

    #[test]
    fn an_ipv6_network_shares_one_line() {
        let from = |text: &str| HashFor::SignUp(text.parse().unwrap());
        let mut queue = FairQueue::new(10);
        queue.push(from("2001:db8::1"), "a");
        queue.push(from("2001:db8::2"), "b");
        queue.push(from("2001:db8:0:1::1"), "other");
        assert_eq!(drain(&mut queue), ["a", "other", "b"]);
    }

    #[test]
    fn removed_jobs_free_their_places_and_lines() {
        let mut queue = FairQueue::new(3);
        for (org, job) in [("a", "keep"), ("b", "gone"), ("c", "gone")] {
            queue.push(login(1, org), job);
        }
        queue.retain(|job| *job == "keep");
        assert_eq!((queue.len(), queue.is_full()), (1, false));
        assert_eq!(drain(&mut queue), ["keep"]);
        assert!(queue.line.lines.iter().all(|(_, line)| line.lines.is_empty()));
    }
}
