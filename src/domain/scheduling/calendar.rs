//! A member's calendar of busy times.

use chrono::{DateTime, Duration, Utc};

use super::OccurrenceId;

/// A time interval that a registration occupies.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Busy {
    /// The occurrence; its start is the interval's start.
    pub occurrence: OccurrenceId,
    /// When it ends.
    pub end: DateTime<Utc>,
}

/// How far the clocks of two servers may differ. Busy times are kept that long after their end,
/// because they may still conflict by another server's clock.
const SKEW: Duration = Duration::minutes(5);

/// A member's current and future busy times, sorted and without overlaps.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Calendar {
    busy: Vec<Busy>,
    closed: bool,
}

impl Calendar {
    /// The maximum number of busy times that have not ended.
    pub const MAX: usize = 1_000;

    /// Wraps a calendar that was read from the database.
    #[must_use]
    pub const fn from_stored(busy: Vec<Busy>, closed: bool) -> Self {
        Self { busy, closed }
    }

    /// Whether the member was removed; nothing is added to a closed calendar.
    #[must_use]
    pub const fn is_closed(&self) -> bool {
        self.closed
    }

    /// The busy times.
    #[must_use]
    pub fn busy(&self) -> &[Busy] {
        &self.busy
    }

    /// The occurrence that overlaps `wanted`. Times that only touch do not overlap.
    fn conflict(&self, wanted: &Busy) -> Option<OccurrenceId> {
        let before = self.busy.partition_point(|busy| busy.occurrence.start < wanted.end);
        let last = self.busy[..before].last()?;
        (last.end > wanted.occurrence.start).then_some(last.occurrence)
    }

    /// Adds a busy time unless it overlaps another, and drops those that ended five minutes ago or
    /// earlier, the allowed clock skew.
    ///
    /// # Errors
    /// The occurrence that overlaps.
    pub fn take(&mut self, wanted: Busy, now: DateTime<Utc>) -> Result<(), OccurrenceId> {
        if let Some(conflict) = self.conflict(&wanted) {
            return Err(conflict);
        }
        self.busy.retain(|busy| busy.end > now - SKEW);
        let at = self.busy.partition_point(|busy| busy.occurrence < wanted.occurrence);
        self.busy.insert(at, wanted);
        Ok(())
    }

    /// How many of the busy times have not ended.
    #[must_use]
    pub fn ahead(&self, now: DateTime<Utc>) -> usize {
        self.busy.iter().filter(|busy| busy.end > now).count()
    }

    /// Removes the busy time of an occurrence.
    pub fn free(&mut self, occurrence: OccurrenceId) {
        self.busy.retain(|busy| busy.occurrence != occurrence);
    }
}

#[cfg(test)]
mod tests {
    use bson::oid::ObjectId;

    use super::*;

    fn busy(from: i64, to: i64) -> Busy {
        let at = |minutes| DateTime::UNIX_EPOCH + Duration::minutes(minutes);
        let occurrence = OccurrenceId { start: at(from), event: ObjectId::new().into() };
        Busy { occurrence, end: at(to) }
    }

    #[test]
    fn ended_times_are_kept_for_a_server_whose_clock_is_behind() {
        let mut calendar = Calendar::default();
        let at = |minutes| DateTime::UNIX_EPOCH + Duration::minutes(minutes);
        let (over, running) = (busy(0, 55), busy(55, 90));
        assert!(calendar.take(over, at(-1)).is_ok() && calendar.take(running, at(50)).is_ok());
        // By the clock of this server, which is ahead, both have ended.
        assert!(calendar.take(busy(200, 210), at(92)).is_ok());
        assert_eq!(calendar.ahead(at(92)), 1);
        assert_eq!(calendar.take(busy(89, 100), at(88)), Err(running.occurrence));
        // After the allowed skew they are dropped.
        assert!(calendar.take(busy(210, 220), at(96)).is_ok());
        assert_eq!(calendar.busy().len(), 2);
    }
}
