//! Rate limits for polls of calendar feeds, which need no token.

use std::{net::IpAddr, time::Duration};

use moka::sync::Cache;

use super::throttle::{MINUTE, ThrottleSettings, Windows, network};
use crate::error::Result;

/// Refuses excessive polls before they cause any work.
///
/// An address that requests too many unknown feeds is refused, except for feeds that were found
/// recently, because the calendar clients of many people may share one address.
pub struct PollThrottle {
    polls: Windows<String>,
    unknown: Windows<IpAddr>,
    known: Cache<String, ()>,
}

/// How many unknown feeds one address may request per minute.
const UNKNOWN: u32 = 600;
const KNOWN: u64 = 100_000;
const KNOWN_FOR: Duration = Duration::from_hours(24);

impl PollThrottle {
    /// A throttle without any counts.
    #[must_use]
    pub fn new(settings: &ThrottleSettings) -> Self {
        let polls = settings.calendar_polls_per_minute;
        Self {
            polls: Windows::new(polls, MINUTE),
            unknown: Windows::new(if polls == 0 { 0 } else { UNKNOWN }, MINUTE),
            known: Cache::builder().max_capacity(KNOWN).time_to_idle(KNOWN_FOR).build(),
        }
    }

    /// Checks whether the feed with that hash may be looked up.
    ///
    /// # Errors
    /// [`Error::Throttled`](crate::error::Error::Throttled) if the limit is reached.
    pub fn check(&self, feed: &str, address: IpAddr) -> Result<()> {
        if self.known.contains_key(feed) {
            return self.polls.check(&feed.to_owned());
        }
        self.unknown.check(&network(address))
    }

    /// Counts a poll of an existing feed.
    ///
    /// # Errors
    /// [`Error::Throttled`](crate::error::Error::Throttled) if the limit is reached.
    pub fn found(&self, feed: String) -> Result<()> {
        self.known.insert(feed.clone(), ());
        self.polls.take(feed)
    }

    /// Counts a request for a feed that does not exist.
    pub fn missed(&self, feed: &str, address: IpAddr) {
        self.known.invalidate(feed);
        self.unknown.count(network(address));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SETTINGS: ThrottleSettings = ThrottleSettings {
        login_failures_per_account: 0,
        login_failures_per_address: 0,
        login_window_minutes: 15,
        sign_ups_per_address_minute: 0,
        calendar_polls_per_minute: 3,
    };

    fn address(last: u8) -> IpAddr {
        [192, 0, 2, last].into()
    }

    #[test]
    fn polls_of_a_feed_are_limited_across_addresses() {
        let throttle = PollThrottle::new(&SETTINGS);
        for last in 0..3 {
            throttle.check("a", address(last)).unwrap();
            throttle.found("a".to_owned()).unwrap();
        }
        assert!(throttle.check("a", address(9)).is_err());
        // A poll that passed the check at the same time is refused, too.
        assert!(throttle.found("a".to_owned()).is_err());
        throttle.found("b".to_owned()).unwrap();
    }

    #[test]
    fn an_address_that_requests_unknown_feeds_is_refused_except_for_known_ones() {
        let throttle = PollThrottle::new(&SETTINGS);
        throttle.found("known".to_owned()).unwrap();
        for number in 0..UNKNOWN {
            throttle.check(&number.to_string(), address(1)).unwrap();
            throttle.missed(&number.to_string(), address(1));
        }
        assert!(throttle.check("another", address(1)).is_err());
        throttle.check("known", address(1)).unwrap();
        throttle.check("another", address(2)).unwrap();
        throttle.missed("known", address(2));
        assert!(throttle.check("known", address(1)).is_err());
    }

    #[test]
    fn without_a_limit_nothing_is_refused() {
        let throttle =
            PollThrottle::new(&ThrottleSettings { calendar_polls_per_minute: 0, ..SETTINGS });
        for _ in 0..2 * UNKNOWN {
            throttle.found("a".to_owned()).unwrap();
            throttle.missed("b", address(1));
        }
        throttle.check("a", address(1)).unwrap();
        throttle.check("b", address(1)).unwrap();
    }
}
