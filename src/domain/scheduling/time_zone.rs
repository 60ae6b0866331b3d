//! Wall-clock time in a place, and what it is in UTC.

use chrono::{DateTime, Duration, LocalResult, NaiveDateTime, TimeZone as _, Utc};
use chrono_tz::{GapInfo, Tz};

use crate::domain::Invalid;

/// A time zone of the IANA database.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct TimeZone(Tz);

impl TimeZone {
    /// More than any clock ever differed from UTC and jumped over, taken together.
    pub(super) const MARGIN: Duration = Duration::days(2);

    /// The zone of that name, such as `Europe/Berlin`.
    ///
    /// # Errors
    /// [`Invalid`] when the database has no such name.
    pub fn parse(raw: &str) -> Result<Self, Invalid> {
        let zone = raw.trim().parse::<Tz>();
        zone.map(Self)
            .map_err(|_| Invalid("must be a time zone of the IANA database, such as Europe/Berlin"))
    }

    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.0.name()
    }

    /// The moment at which clocks there show `local`. A time that clocks jump over is moved forward
    /// by the length of the jump, and of a time that they show twice it is the first (RFC 5545,
    /// 3.3.5).
    #[must_use]
    pub fn moment(self, local: NaiveDateTime) -> DateTime<Utc> {
        match self.0.from_local_datetime(&local) {
            LocalResult::Single(moment) | LocalResult::Ambiguous(moment, _) => {
                moment.with_timezone(&Utc)
            }
            LocalResult::None => {
                // Read with the offset of before the jump, it comes out as much later as that was.
                let before = GapInfo::new(&local, &self.0).and_then(|gap| gap.begin);
                let offset = before.map_or_else(Duration::zero, |(_, offset)| {
                    use chrono::Offset as _;
                    Duration::seconds(offset.fix().local_minus_utc().into())
                });
                (local - offset).and_utc()
            }
        }
    }

    /// What clocks there show at `moment`.
    #[must_use]
    pub fn local(self, moment: DateTime<Utc>) -> NaiveDateTime {
        moment.with_timezone(&self.0).naive_local()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn moment(zone: &str, local: &str) -> String {
        let zone = TimeZone::parse(zone).unwrap();
        zone.moment(local.parse().unwrap()).to_rfc3339()
    }

    #[test]
    fn a_time_that_is_jumped_over_is_moved_by_the_jump() {
        assert_eq!(moment("Europe/Berlin", "2026-03-29T02:30:00"), "2026-03-29T01:30:00+00:00");
        assert_eq!(
            moment("Australia/Lord_Howe", "2026-10-04T02:10:00"),
            "2026-10-03T15:40:00+00:00"
        );
        // Samoa left this whole day out.
        assert_eq!(moment("Pacific/Apia", "2011-12-30T12:00:00"), "2011-12-30T22:00:00+00:00");
    }

    #[test]
    fn of_a_time_that_comes_twice_it_is_the_first() {
        assert_eq!(moment("America/New_York", "2026-11-01T01:30:00"), "2026-11-01T05:30:00+00:00");
    }

    #[test]
    fn unknown_zones_are_refused() {
        for name in ["", "Mars/Olympus", "+02:00", "Europe"] {
            assert!(TimeZone::parse(name).is_err(), "{name}");
        }
    }
}
