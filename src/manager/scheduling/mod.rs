//! Events, occurrences, registrations and calendar feeds.

mod event_input;
mod events;
mod feeds;
mod group_commit;
mod mass_cancellation;
mod occurrence_cache;
mod occurrences;
mod registrations;

pub use event_input::{EventInput, EventPatch, RecurrenceInput, ScheduleInput};
pub use feeds::{Feed, FeedItem, Feeds, Poll};
pub use group_commit::GroupCommit;
pub use mass_cancellation::MassCancellations;
pub use occurrence_cache::OccurrenceCache;
pub use occurrences::Window;
pub use registrations::BookingResult;
