//! Events, occurrences, registrations and calendar feeds.

mod event_input;
mod events;
mod feeds;
mod group_commit;
mod mass_changes;
mod occurrence_cache;
mod occurrences;
mod registrations;

pub use event_input::{EventInput, EventPatch, RecurrenceInput, ScheduleInput};
pub use feeds::{Feed, FeedItem, Poll};
pub use occurrences::Window;
pub use registrations::BookingResult;

use self::{feeds::Feeds, group_commit::GroupCommit, occurrence_cache::OccurrenceCache};
use super::keyed_queue::KeyedQueue;
use crate::{
    auth::{PollThrottle, ThrottleSettings},
    domain::OrgId,
};

/// State of the scheduling module.
pub(super) struct Scheduling {
    /// Serializes changes of a tenant's events and seats.
    seats_queue: KeyedQueue<OrgId>,
    /// Serializes reads of a tenant's calendar feeds.
    feeds_queue: KeyedQueue<OrgId>,
    group_commit: GroupCommit,
    occurrence_cache: OccurrenceCache,
    feeds: Feeds,
    polls: PollThrottle,
}

impl Scheduling {
    pub(super) fn new(throttle: &ThrottleSettings) -> Self {
        Self {
            seats_queue: KeyedQueue::default(),
            feeds_queue: KeyedQueue::default(),
            group_commit: GroupCommit::default(),
            occurrence_cache: OccurrenceCache::default(),
            feeds: Feeds::default(),
            polls: PollThrottle::new(throttle),
        }
    }
}
