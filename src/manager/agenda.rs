//! Events and the starts of their occurrences, kept in memory by event and version.
//!
//! A version never changes, so nothing here is ever wrong: which version is the latest is asked of
//! the database every time. That is one small read, whereas decoding and expanding a thousand rules
//! takes far longer.

use std::sync::Arc;

use chrono::{DateTime, Duration, Utc};
use moka::sync::Cache;

use super::directory::count;
use crate::domain::{Event, EventId};

/// The cache of events and of their occurrences, a quarter of a year at a time.
pub struct Agenda {
    events: Cache<(EventId, i64), Arc<Event>>,
    starts: Cache<Quarter, Arc<[DateTime<Utc>]>>,
}

/// An event, its version, and the number of a quarter since 1970.
type Quarter = (EventId, i64, i64);

const EVENTS: u64 = 50_000;
/// How many starts are kept, of 12 bytes each.
const STARTS: u64 = 4_000_000;
const CHUNK: Duration = Duration::days(92);

impl Default for Agenda {
    fn default() -> Self {
        let weight = |_: &_, starts: &Arc<[DateTime<Utc>]>| {
            u32::try_from(starts.len()).unwrap_or(u32::MAX).saturating_add(8)
        };
        Self {
            events: Cache::new(EVENTS),
            starts: Cache::builder().max_capacity(STARTS).weigher(weight).build(),
        }
    }
}

impl Agenda {
    /// That version of the event, if it is kept.
    pub(super) fn event(&self, id: EventId, version: i64) -> Option<Arc<Event>> {
        let found = self.events.get(&(id, version));
        count("event", if found.is_some() { "hit" } else { "miss" });
        found
    }

    /// Keeps the event.
    pub(super) fn keep(&self, event: Event) -> Arc<Event> {
        self.keep_shared(Arc::new(event))
    }

    /// Keeps the event.
    pub(super) fn keep_shared(&self, event: Arc<Event>) -> Arc<Event> {
        self.events.insert((event.id, event.version), Arc::clone(&event));
        event
    }

    /// The starts of the event's occurrences in `[from, to)`, in order.
    pub(super) fn starts(
        &self,
        event: &Event,
        from: DateTime<Utc>,
        to: DateTime<Utc>,
    ) -> Vec<DateTime<Utc>> {
        let rule = event.schedule.recurrence().and_then(|recurrence| recurrence.rule.as_ref());
        if rule.is_none() {
            return event.schedule.starts_between(from, to);
        }
        let number = |moment: DateTime<Utc>| moment.timestamp().div_euclid(CHUNK.num_seconds());
        let chunks = number(from)..=number(to - Duration::milliseconds(1));
        let inside = |start: &DateTime<Utc>| from <= *start && *start < to;
        chunks
            .flat_map(|chunk| {
                self.chunk(event, chunk).iter().copied().filter(inside).collect::<Vec<_>>()
            })
            .collect()
    }

    fn chunk(&self, event: &Event, chunk: i64) -> Arc<[DateTime<Utc>]> {
        self.starts.get_with((event.id, event.version, chunk), || {
            count("occurrences", "miss");
            let first = DateTime::from_timestamp(chunk * CHUNK.num_seconds(), 0);
            let first = first.unwrap_or(DateTime::UNIX_EPOCH);
            event.schedule.starts_between(first, first + CHUNK).into()
        })
    }
}
