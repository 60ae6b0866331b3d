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
use tokio::sync::Semaphore;

use super::keyed_queue::KeyedQueue;
use crate::{
    auth::{PollThrottle, ThrottleSettings},
    domain::OrgId,
};

/// How many tenants' events are read at once: ten thousand events are a few megabytes.
const LOADS_AT_ONCE: usize = 4;

/// State of the scheduling module.
pub(super) struct Scheduling {
    /// Serializes changes of a tenant's events and seats.
    seats_queue: KeyedQueue<OrgId>,
    /// Serializes reads of all events of a tenant.
    loads_queue: KeyedQueue<OrgId>,
    /// Limits how many tenants' events are read at once.
    loads: Semaphore,
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
            loads_queue: KeyedQueue::default(),
            loads: Semaphore::new(LOADS_AT_ONCE),
            feeds_queue: KeyedQueue::default(),
            group_commit: GroupCommit::default(),
            occurrence_cache: OccurrenceCache::default(),
            feeds: Feeds::default(),
            polls: PollThrottle::new(throttle),
        }
    }
}
