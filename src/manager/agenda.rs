//! The events of tenants and the starts of their occurrences, kept in memory by version.
//!
//! What a version stands for never changes, so nothing here is ever wrong: which version is the
//! latest is asked of the database every time. That is one document, whereas reading, decoding and
//! expanding a thousand events takes far longer.

use std::sync::Arc;

use chrono::{DateTime, Duration, Utc};
use moka::sync::Cache;

use super::directory::count;
use crate::{
    domain::{Event, EventId, OrgId},
    store::Span,
};

/// The cache of events, and of their occurrences a quarter of a year at a time.
pub struct Agenda {
    events: Cache<(OrgId, i64), Arc<[Planned]>>,
    starts: Cache<Quarter, Arc<[DateTime<Utc>]>>,
}

/// An event, and when it takes place at all.
pub(super) struct Planned {
    pub(super) event: Arc<Event>,
    first: DateTime<Utc>,
    last_end: Option<DateTime<Utc>>,
}

/// An event, its version, and the number of a quarter since 1970.
type Quarter = (EventId, i64, i64);

/// How many events are kept.
const EVENTS: u64 = 200_000;
/// How many starts are kept, of 12 bytes each.
const STARTS: u64 = 4_000_000;
const CHUNK: Duration = Duration::days(92);

impl Default for Agenda {
    fn default() -> Self {
        fn weight<K, T>(_: &K, items: &Arc<[T]>) -> u32 {
            u32::try_from(items.len()).unwrap_or(u32::MAX).saturating_add(8)
        }
        Self {
            events: Cache::builder().max_capacity(EVENTS).weigher(weight).build(),
            starts: Cache::builder().max_capacity(STARTS).weigher(weight).build(),
        }
    }
}

impl Agenda {
    /// The events of that version of the tenant's agenda, if they are kept.
    pub(super) fn events(&self, org: OrgId, version: i64) -> Option<Arc<[Planned]>> {
        let found = self.events.get(&(org, version));
        count("agenda", if found.is_some() { "hit" } else { "miss" });
        found
    }

    /// Keeps the events of that version.
    pub(super) fn keep(&self, org: OrgId, version: i64, events: Vec<Event>) -> Arc<[Planned]> {
        let planned: Arc<[Planned]> = events.into_iter().filter_map(Planned::of).collect();
        self.events.insert((org, version), Arc::clone(&planned));
        planned
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
        let mut starts = Vec::new();
        for chunk in chunks {
            let chunk = self.chunk(event, chunk);
            let first = chunk.partition_point(|start| *start < from);
            let behind = chunk.partition_point(|start| *start < to);
            starts.extend_from_slice(&chunk[first..behind.max(first)]);
        }
        starts
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

impl Planned {
    fn of(event: Event) -> Option<Self> {
        let (first, last) = event.schedule.span()?;
        let last_end = last.map(|last| last + event.schedule.duration());
        Some(Self { event: Arc::new(event), first, last_end })
    }

    /// Whether it may take place in `span`.
    pub(super) fn reaches(&self, span: Span) -> bool {
        self.first < span.to && self.last_end.is_none_or(|end| end > span.from)
    }
}
