//! Converts between UTC and the wall-clock time of a time zone.

use chrono::{DateTime, Duration, LocalResult, NaiveDateTime, TimeZone as _, Utc};
use chrono_tz::{GapInfo, Tz};

use crate::domain::Invalid;

/// A time zone of the IANA database.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct TimeZone(Tz);

impl TimeZone {
    /// More than the largest UTC offset and the largest clock change together.
    pub(super) const MARGIN: Duration = Duration::days(2);

    /// Parses the name of a zone, such as `Europe/Berlin`.
    ///
    /// # Errors
    /// [`Invalid`] if the database has no such name.
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

    /// Converts a wall-clock time to UTC. A time skipped by a clock change is moved forward by the
    /// length of the gap, and an ambiguous time is the first of the two (RFC 5545, 3.3.5).
    #[must_use]
    pub fn moment(self, local: NaiveDateTime) -> DateTime<Utc> {
        match self.0.from_local_datetime(&local) {
            LocalResult::Single(moment) | LocalResult::Ambiguous(moment, _) => {
                moment.with_timezone(&Utc)
            }
            LocalResult::None => {
                // The offset from before the gap moves the time forward by the length of the gap.
                let before = GapInfo::new(&local, &self.0).and_then(|gap| gap.begin);
                let offset = before.map_or_else(Duration::zero, |(_, offset)| {
                    use chrono::Offset as _;
                    Duration::seconds(offset.fix().local_minus_utc().into())
                });
                (local - offset).and_utc()
            }
        }
    }

    /// Converts a UTC time to the wall-clock time.
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
    fn a_skipped_time_is_moved_by_the_length_of_the_gap() {
        assert_eq!(moment("Europe/Berlin", "2026-03-29T02:30:00"), "2026-03-29T01:30:00+00:00");
        assert_eq!(
            moment("Australia/Lord_Howe", "2026-10-04T02:10:00"),
            "2026-10-03T15:40:00+00:00"
        );
        // Samoa skipped this whole day.
        assert_eq!(moment("Pacific/Apia", "2011-12-30T12:00:00"), "2011-12-30T22:00:00+00:00");
    }

    #[test]
    fn an_ambiguous_time_is_the_first_of_the_two() {
        assert_eq!(moment("America/New_York", "2026-11-01T01:30:00"), "2026-11-01T05:30:00+00:00");
    }

    #[test]
    fn unknown_zones_are_refused() {
        for name in ["", "Mars/Olympus", "+02:00", "Europe"] {
            assert!(TimeZone::parse(name).is_err(), "{name}");
        }
    }
}
