//! When a member is busy.

use chrono::{DateTime, Duration, Utc};

use super::OccurrenceId;

/// A time that a registration takes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Busy {
    /// With what; its start is the interval's.
    pub occurrence: OccurrenceId,
    /// When it ends.
    pub end: DateTime<Utc>,
}

/// How far the clock of one server may be ahead of another's: what is over by one of them still
/// stands in the way of what the other takes to be in time.
const SKEW: Duration = Duration::minutes(5);

/// A member's busy times ahead, in order, none overlapping another.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Calendar {
    busy: Vec<Busy>,
    closed: bool,
}

impl Calendar {
    /// The most busy times ahead.
    pub const MAX: usize = 1_000;

    /// A calendar as it was stored.
    #[must_use]
    pub const fn from_stored(busy: Vec<Busy>, closed: bool) -> Self {
        Self { busy, closed }
    }

    /// Whether the member has gone: nothing is put in any more.
    #[must_use]
    pub const fn is_closed(&self) -> bool {
        self.closed
    }

    /// The busy times.
    #[must_use]
    pub fn busy(&self) -> &[Busy] {
        &self.busy
    }

    /// What overlaps with `wanted`. Times that only touch do not overlap.
    fn conflict(&self, wanted: &Busy) -> Option<OccurrenceId> {
        let before = self.busy.partition_point(|busy| busy.occurrence.start < wanted.end);
        let last = self.busy[..before].last()?;
        (last.end > wanted.occurrence.start).then_some(last.occurrence)
    }

    /// Puts a time in, unless something overlaps with it; what is over for some minutes is dropped.
    ///
    /// # Errors
    /// What overlaps.
    pub fn take(&mut self, wanted: Busy, now: DateTime<Utc>) -> Result<(), OccurrenceId> {
        if let Some(conflict) = self.conflict(&wanted) {
            return Err(conflict);
        }
        self.busy.retain(|busy| busy.end > now - SKEW);
        let at = self.busy.partition_point(|busy| busy.occurrence < wanted.occurrence);
        self.busy.insert(at, wanted);
        Ok(())
    }

    /// How many of the times are not over.
    #[must_use]
    pub fn ahead(&self, now: DateTime<Utc>) -> usize {
        self.busy.iter().filter(|busy| busy.end > now).count()
    }

    /// Takes a time out.
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
    fn what_is_over_is_kept_for_a_server_whose_clock_is_behind() {
        let mut calendar = Calendar::default();
        let at = |minutes| DateTime::UNIX_EPOCH + Duration::minutes(minutes);
        let (over, running) = (busy(0, 55), busy(55, 90));
        assert!(calendar.take(over, at(-1)).is_ok() && calendar.take(running, at(50)).is_ok());
        // This one is ahead: by its clock both are over.
        assert!(calendar.take(busy(200, 210), at(92)).is_ok());
        assert_eq!(calendar.ahead(at(92)), 1);
        assert_eq!(calendar.take(busy(89, 100), at(88)), Err(running.occurrence));
        // And nothing stands in the way for long.
        assert!(calendar.take(busy(210, 220), at(96)).is_ok());
        assert_eq!(calendar.busy().len(), 2);
    }
}
