//! Rate limits for logins and sign-ups, per account and per address.

use std::{
    hash::Hash,
    net::{IpAddr, Ipv6Addr},
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

use moka::sync::Cache;
use validator::Validate;

use crate::{
    domain::identity::Email,
    error::{Error, Result},
};

/// The limits; 0 turns a limit off.
#[derive(Clone, Copy, Debug, serde::Deserialize, Validate)]
#[serde(deny_unknown_fields)]
pub struct ThrottleSettings {
    /// Failed logins per account and window.
    pub login_failures_per_account: u32,
    /// Failed logins per address and window.
    pub login_failures_per_address: u32,
    /// The window in minutes.
    #[validate(range(min = 1, max = 5_256_000))]
    pub login_window_minutes: u64,
    /// Sign-ups per address and minute.
    pub sign_ups_per_address_minute: u32,
    /// Polls per calendar feed and minute.
    pub calendar_polls_per_minute: u32,
}

/// Refuses logins before they cost a hash, once too many have failed.
///
/// Only failures count, so concurrent attempts do not block each other; the hashing queue bounds
/// how far a burst can exceed the limit. Addresses from which an account has logged in recently
/// have a separate budget, so a stranger who fails on purpose does not lock the owner out.
pub struct LoginThrottle {
    accounts: Windows<Email>,
    known: Windows<(Email, IpAddr)>,
    addresses: Windows<IpAddr>,
    familiar: Cache<(Email, IpAddr), ()>,
}

/// Limits sign-ups by address.
pub struct SignUpThrottle(Windows<IpAddr>);

/// Fixed windows that begin with their first event, for at most [`KEYS`] keys.
pub(super) struct Windows<K> {
    limit: u32,
    window: Duration,
    counts: Cache<K, Arc<Window>>,
}

struct Window {
    began: Instant,
    count: AtomicU32,
}

/// The maximum number of keys. Beyond it the least used are dropped, so memory is bounded.
const KEYS: u64 = 100_000;
const FAMILIAR_FOR: Duration = Duration::from_hours(30 * 24);
pub(super) const MINUTE: Duration = Duration::from_mins(1);

impl LoginThrottle {
    /// A throttle without any counts.
    #[must_use]
    pub fn new(settings: &ThrottleSettings) -> Self {
        let window = MINUTE * u32::try_from(settings.login_window_minutes).unwrap_or(u32::MAX);
        Self {
            accounts: Windows::new(settings.login_failures_per_account, window),
            known: Windows::new(settings.login_failures_per_account, window),
            addresses: Windows::new(settings.login_failures_per_address, window),
            familiar: Cache::builder().max_capacity(KEYS).time_to_live(FAMILIAR_FOR).build(),
        }
    }

    /// Checks whether another attempt is allowed.
    ///
    /// # Errors
    /// [`Error::Throttled`] if too many attempts have failed.
    pub fn check(&self, email: &Email, address: IpAddr) -> Result<()> {
        let address = network(address);
        self.addresses.check(&address)?;
        let key = (email.clone(), address);
        if self.familiar.contains_key(&key) {
            self.known.check(&key)
        } else {
            self.accounts.check(email)
        }
    }

    /// Whether the account has logged in from this address before.
    #[must_use]
    pub fn is_familiar(&self, email: &Email, address: IpAddr) -> bool {
        self.familiar.contains_key(&(email.clone(), network(address)))
    }

    /// Counts a failed attempt.
    pub fn failed(&self, email: &Email, address: IpAddr) {
        let address = network(address);
        self.addresses.count(address);
        let key = (email.clone(), address);
        if self.familiar.contains_key(&key) {
            self.known.count(key);
        } else {
            self.accounts.count(key.0);
        }
    }

    /// Records a successful login: clears the failures and marks the address as familiar. A login
    /// from a familiar address does not clear the failures of strangers.
    pub fn succeeded(&self, email: &Email, address: IpAddr) {
        let key = (email.clone(), network(address));
        if self.familiar.contains_key(&key) {
            self.known.forget(&key);
        } else {
            self.accounts.forget(email);
            self.familiar.insert(key, ());
        }
    }
}

impl SignUpThrottle {
    /// A throttle without any counts.
    #[must_use]
    pub fn new(settings: &ThrottleSettings) -> Self {
        Self(Windows::new(settings.sign_ups_per_address_minute, MINUTE))
    }

    /// Counts a sign-up.
    ///
    /// # Errors
    /// [`Error::Throttled`] if there were too many from this address in the current minute.
    pub fn sign_up(&self, address: IpAddr) -> Result<()> {
        let address = network(address);
        self.0.check(&address)?;
        self.0.count(address);
        Ok(())
    }
}

/// The address to count: an IPv4 address, or the /64 network of an IPv6 address, because a client
/// with one address has the whole /64 (RFC 6177).
#[must_use]
pub fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => Ipv6Addr::from_bits(v6.to_bits() & (u128::MAX << 64)).into(),
        v4 @ IpAddr::V4(_) => v4,
    }
}

impl<K: Hash + Eq + Send + Sync + 'static> Windows<K> {
    pub(super) fn new(limit: u32, window: Duration) -> Self {
        let counts = Cache::builder().max_capacity(KEYS).time_to_live(window).build();
        Self { limit, window, counts }
    }

    pub(super) fn check(&self, key: &K) -> Result<()> {
        let full = (self.limit > 0)
            .then(|| self.counts.get(key))
            .flatten()
            .filter(|window| window.count.load(Ordering::Acquire) >= self.limit);
        full.map_or(Ok(()), |window| {
            let left = self.window.saturating_sub(window.began.elapsed());
            Err(Error::Throttled { retry_after: left })
        })
    }

    pub(super) fn count(&self, key: K) {
        if self.limit > 0 {
            self.window(key).count.fetch_add(1, Ordering::AcqRel);
        }
    }

    /// Counts an event and refuses those beyond the limit, even if many arrive at once.
    pub(super) fn take(&self, key: K) -> Result<()> {
        if self.limit == 0 {
            return Ok(());
        }
        let window = self.window(key);
        if window.count.fetch_add(1, Ordering::AcqRel) < self.limit {
            return Ok(());
        }
        // Stay at the limit, so that the counter never wraps.
        window.count.store(self.limit, Ordering::Release);
        Err(Error::Throttled { retry_after: self.window.saturating_sub(window.began.elapsed()) })
    }

    fn window(&self, key: K) -> Arc<Window> {
        self.counts
            .get_with(key, || Arc::new(Window { began: Instant::now(), count: AtomicU32::new(0) }))
    }

    fn forget(&self, key: &K) {
        self.counts.invalidate(key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SETTINGS: ThrottleSettings = ThrottleSettings {
        login_failures_per_account: 3,
        login_failures_per_address: 5,
        login_window_minutes: 15,
        sign_ups_per_address_minute: 2,
        calendar_polls_per_minute: 3,
    };

    fn email(name: &str) -> Email {
        Email::parse(&format!("{name}@example.com")).unwrap()
    }

    fn address(last: u8) -> IpAddr {
        [192, 0, 2, last].into()
    }

    fn fail(throttle: &LoginThrottle, name: &str, last: u8) -> Result<()> {
        throttle.check(&email(name), address(last))?;
        throttle.failed(&email(name), address(last));
        Ok(())
    }

    #[test]
    fn failures_of_an_account_add_up_across_addresses() {
        let throttle = LoginThrottle::new(&SETTINGS);
        for last in 0..3 {
            fail(&throttle, "ada", last).unwrap();
        }
        let refused = fail(&throttle, "ada", 9).unwrap_err();
        assert!(matches!(refused, Error::Throttled { retry_after } if retry_after > MINUTE));
        fail(&throttle, "bob", 9).unwrap();
    }

    #[test]
    fn failures_of_an_address_add_up_across_accounts() {
        let throttle = LoginThrottle::new(&SETTINGS);
        for name in ["a", "b", "c", "d", "e"] {
            fail(&throttle, name, 1).unwrap();
        }
        assert!(fail(&throttle, "f", 1).is_err());
        fail(&throttle, "f", 2).unwrap();
    }

    #[test]
    fn a_success_clears_the_failures() {
        let throttle = LoginThrottle::new(&SETTINGS);
        for round in 0..2 {
            fail(&throttle, "ada", 1).unwrap();
            fail(&throttle, "ada", 2).unwrap();
            throttle.succeeded(&email("ada"), address(3 + round));
        }
    }

    #[test]
    fn a_stranger_who_fails_does_not_lock_the_owner_out() {
        let throttle = LoginThrottle::new(&SETTINGS);
        throttle.succeeded(&email("ada"), address(1));
        for _ in 0..3 {
            fail(&throttle, "ada", 66).unwrap();
        }
        assert!(fail(&throttle, "ada", 67).is_err());
        throttle.check(&email("ada"), address(1)).unwrap();
    }

    #[test]
    fn an_ipv6_network_counts_as_one_address() {
        let one: IpAddr = "2001:db8::1".parse().unwrap();
        assert_eq!(network(one), network("2001:db8::ffff:2".parse().unwrap()));
        assert_ne!(network(one), network("2001:db8:0:1::1".parse().unwrap()));
        assert_eq!(network("::ffff:192.0.2.1".parse().unwrap()), address(1));
    }

    #[test]
    fn sign_ups_are_limited_by_address() {
        let throttle = SignUpThrottle::new(&SETTINGS);
        throttle.sign_up(address(1)).unwrap();
        throttle.sign_up(address(1)).unwrap();
        assert!(throttle.sign_up(address(1)).is_err());
        throttle.sign_up(address(2)).unwrap();
    }
}
