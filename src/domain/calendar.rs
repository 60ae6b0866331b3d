//! When a member is busy.

use chrono::{DateTime, Utc};

use super::OccurrenceId;

/// A time that a registration takes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Busy {
    /// With what; its start is the interval's.
    pub occurrence: OccurrenceId,
    /// When it ends.
    pub end: DateTime<Utc>,
}

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

    /// Puts a time in, unless something overlaps with it; what is over by `now` is dropped.
    ///
    /// # Errors
    /// What overlaps.
    pub fn take(&mut self, wanted: Busy, now: DateTime<Utc>) -> Result<(), OccurrenceId> {
        if let Some(conflict) = self.conflict(&wanted) {
            return Err(conflict);
        }
        self.busy.retain(|busy| busy.end > now);
        let at = self.busy.partition_point(|busy| busy.occurrence < wanted.occurrence);
        self.busy.insert(at, wanted);
        Ok(())
    }

    /// Takes a time out.
    pub fn free(&mut self, occurrence: OccurrenceId) {
        self.busy.retain(|busy| busy.occurrence != occurrence);
    }
}
