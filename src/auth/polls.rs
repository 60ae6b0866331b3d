//! Limits on polls of calendar feeds, which come without a token.

use std::{net::IpAddr, time::Duration};

use moka::sync::Cache;

use super::throttle::{MINUTE, ThrottleSettings, Windows, network};
use crate::error::Result;

/// Refuses polls before they cost anything, once there were too many.
///
/// An address that asks for feeds that there are not is refused after a while. Feeds that were
/// there lately are answered even so: behind one address there may be the calendar programs of
/// many.
pub struct PollThrottle {
    polls: Windows<String>,
    unknown: Windows<IpAddr>,
    known: Cache<String, ()>,
}

/// Looks for unknown feeds from one address in a minute.
const UNKNOWN: u32 = 600;
const KNOWN: u64 = 100_000;
const KNOWN_FOR: Duration = Duration::from_hours(24);

impl PollThrottle {
    /// A throttle that has seen nothing.
    #[must_use]
    pub fn new(settings: &ThrottleSettings) -> Self {
        let polls = settings.calendar_polls_per_minute;
        Self {
            polls: Windows::new(polls, MINUTE),
            unknown: Windows::new(if polls == 0 { 0 } else { UNKNOWN }, MINUTE),
            known: Cache::builder().max_capacity(KNOWN).time_to_idle(KNOWN_FOR).build(),
        }
    }

    /// Whether the feed with that hash may be looked for.
    ///
    /// # Errors
    /// [`Error::Throttled`](crate::error::Error::Throttled).
    pub fn check(&self, feed: &str, address: IpAddr) -> Result<()> {
        if self.known.contains_key(feed) {
            return self.polls.check(&feed.to_owned());
        }
        self.unknown.check(&network(address))
    }

    /// The feed is there: this is a poll of it.
    ///
    /// # Errors
    /// [`Error::Throttled`](crate::error::Error::Throttled).
    pub fn found(&self, feed: String) -> Result<()> {
        self.known.insert(feed.clone(), ());
        self.polls.take(feed)
    }

    /// There is no such feed, or not any more.
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
    fn a_feed_is_polled_so_often_from_wherever_it_is_and_others_go_on() {
        let throttle = PollThrottle::new(&SETTINGS);
        for last in 0..3 {
            throttle.check("a", address(last)).unwrap();
            throttle.found("a".to_owned()).unwrap();
        }
        assert!(throttle.check("a", address(9)).is_err());
        // Those who came at the same time are refused, too.
        assert!(throttle.found("a".to_owned()).is_err());
        throttle.found("b".to_owned()).unwrap();
    }

    #[test]
    fn whoever_looks_for_feeds_that_there_are_not_is_refused_and_known_feeds_are_not() {
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
