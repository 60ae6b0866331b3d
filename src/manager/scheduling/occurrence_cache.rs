//! The cache of tenants' events and of the starts of their occurrences, by version.
//!
//! The events of a version never change, so an entry is never wrong: every read asks the database
//! for the latest version. That is one document; reading, decoding and expanding a thousand events
//! takes far longer.

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration as StdDuration, Instant},
};

use chrono::{DateTime, Duration, Utc};
use moka::{Entry, sync::Cache};

use crate::{
    domain::{
        EventId, OrgId,
        scheduling::{Event, Span},
    },
    error::Result,
    manager::tenancy::count,
    store::scheduling::StoredEvent,
};

/// The cache of events by tenant, and of their starts by quarter of a year.
pub(super) struct OccurrenceCache {
    events: Cache<OrgId, CachedEvents>,
    starts: Cache<Quarter, Arc<[DateTime<Utc>]>>,
}

/// The events of a tenant in the latest version that was read.
#[derive(Clone)]
struct CachedEvents {
    version: i64,
    events: Arc<[CachedEvent]>,
}

/// An event and the period between its first start and its last end.
#[derive(Clone)]
pub(in crate::manager) struct CachedEvent {
    pub(in crate::manager) event: Arc<Event>,
    first: DateTime<Utc>,
    last_end: Option<DateTime<Utc>>,
}

/// Yields to other tasks from time to time during a long computation.
pub(in crate::manager) struct Yielder(Instant);

/// An event, its version, and the number of the quarter since 1970.
type Quarter = (EventId, i64, i64);

/// The total bytes of cached events: 256 MiB.
const EVENT_BYTES: u64 = 256 << 20;
/// The maximum number of cached starts, of 12 bytes each.
const STARTS: u64 = 4_000_000;
const QUARTER: Duration = Duration::days(92);
/// The longest time between two yields.
const YIELD_AFTER: StdDuration = StdDuration::from_millis(2);

impl Default for OccurrenceCache {
    fn default() -> Self {
        Self::of_bytes(EVENT_BYTES)
    }
}

impl OccurrenceCache {
    fn of_bytes(bytes: u64) -> Self {
        fn weight(weight: usize) -> u32 {
            u32::try_from(weight).unwrap_or(u32::MAX)
        }
        let events = Cache::builder().max_capacity(bytes).weigher(|_, cached: &CachedEvents| {
            weight(cached.events.iter().map(CachedEvent::bytes).sum::<usize>() + 100)
        });
        let starts = Cache::builder()
            .max_capacity(STARTS)
            .weigher(|_, starts: &Arc<[_]>| weight(starts.len() + 8));
        Self { events: events.build(), starts: starts.build() }
    }

    /// The tenant's events in that version, if they are cached.
    pub(in crate::manager) fn events(
        &self,
        org: OrgId,
        version: i64,
    ) -> Option<Arc<[CachedEvent]>> {
        let found = self.events.get(&org).filter(|cached| cached.version == version);
        count("agenda", if found.is_some() { "hit" } else { "miss" });
        found.map(|cached| cached.events)
    }

    /// The tenant's events, if they are cached in that version or a later one.
    pub(in crate::manager) fn since(&self, org: OrgId, version: i64) -> Option<Arc<[CachedEvent]>> {
        let found = self.events.get(&org).filter(|cached| cached.version >= version);
        found.map(|cached| cached.events)
    }

    /// Caches the events of that version in place of an older one. Decodes only the events that
    /// have changed since.
    pub(in crate::manager) async fn renew(
        &self,
        org: OrgId,
        version: i64,
        stored: Vec<StoredEvent>,
    ) -> Result<Arc<[CachedEvent]>> {
        let older = self.events.get(&org).map(|cached| cached.events);
        let known = older.iter().flat_map(|events| events.iter());
        let known: HashMap<_, _> =
            known.map(|cached| ((cached.event.id, cached.event.version), cached)).collect();
        let (mut events, mut yielder) = (Vec::with_capacity(stored.len()), Yielder::default());
        for event in stored {
            events.push(match known.get(&event.identity()?) {
                Some(same) => CachedEvent::clone(same),
                None => CachedEvent::of(event.decode()?),
            });
            yielder.yield_if_due().await;
        }
        Ok(self.insert(org, version, events.into()))
    }

    fn insert(&self, org: OrgId, version: i64, events: Arc<[CachedEvent]>) -> Arc<[CachedEvent]> {
        let new = CachedEvents { version, events: Arc::clone(&events) };
        // A task that read before a change may get here after one that read after it.
        self.events.entry(org).and_upsert_with(|cached| match cached.map(Entry::into_value) {
            Some(newer) if newer.version > version => newer,
            _ => new,
        });
        events
    }

    /// The starts of the event's occurrences in `[from, to)`, in order.
    pub(in crate::manager) fn starts(
        &self,
        event: &Event,
        from: DateTime<Utc>,
        to: DateTime<Utc>,
    ) -> Vec<DateTime<Utc>> {
        let rule = event.schedule.recurrence().and_then(|recurrence| recurrence.rule.as_ref());
        if rule.is_none() {
            return event.schedule.starts_between(from, to);
        }
        let number = |moment: DateTime<Utc>| moment.timestamp().div_euclid(QUARTER.num_seconds());
        let quarters = number(from)..=number(to - Duration::milliseconds(1));
        let mut starts = Vec::new();
        for quarter in quarters {
            let quarter = self.quarter(event, quarter);
            let first = quarter.partition_point(|start| *start < from);
            let end = quarter.partition_point(|start| *start < to);
            starts.extend_from_slice(&quarter[first..end.max(first)]);
        }
        starts
    }

    /// Whether an occurrence of the event starts at that moment. Requests for moments that do not
    /// exist cost at most one expansion per quarter.
    pub(in crate::manager) fn starts_at(&self, event: &Event, moment: DateTime<Utc>) -> bool {
        let next = moment.checked_add_signed(Duration::milliseconds(1));
        next.is_some_and(|next| self.starts(event, moment, next).contains(&moment))
    }

    fn quarter(&self, event: &Event, quarter: i64) -> Arc<[DateTime<Utc>]> {
        self.starts.get_with((event.id, event.version, quarter), || {
            count("occurrences", "miss");
            let first = DateTime::from_timestamp(quarter * QUARTER.num_seconds(), 0);
            let first = first.unwrap_or(DateTime::UNIX_EPOCH);
            event.schedule.starts_between(first, first + QUARTER).into()
        })
    }
}

impl CachedEvent {
    fn of(event: Event) -> Self {
        let (first, last) = event.schedule.bounds();
        let last_end = last.map(|last| last + event.schedule.duration());
        Self { event: Arc::new(event), first, last_end }
    }

    /// Its approximate size in memory.
    fn bytes(&self) -> usize {
        /// The struct, its short texts, and the allocator's overhead.
        const PLAIN: usize = 1_000;
        let event = &*self.event;
        let description = event.description.as_ref().map_or(0, String::len);
        let recurrence = event.schedule.recurrence().map_or(0, |recurrence| {
            // The excluded dates are also stored as moments.
            let dates = 2 * recurrence.excluded.len() + recurrence.additional.len();
            let rule = recurrence.rule.as_ref().map_or(0, |rule| rule.as_str().len());
            size_of::<DateTime<Utc>>() * dates + 4 * rule
        });
        PLAIN + description + recurrence
    }

    /// Whether it may have an occurrence in `span`.
    pub(in crate::manager) fn reaches(&self, span: Span) -> bool {
        self.first < span.to && self.last_end.is_none_or(|end| end > span.from)
    }
}

impl Default for Yielder {
    fn default() -> Self {
        Self(Instant::now())
    }
}

impl Yielder {
    /// Yields if the computation has run for [`YIELD_AFTER`] since the last yield.
    pub(in crate::manager) async fn yield_if_due(&mut self) {
        if self.0.elapsed() > YIELD_AFTER {
            tokio::task::yield_now().await;
            *self = Self::default();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{
        Label,
        scheduling::{Recurrence, Rule, Schedule, TimeZone},
    };

    fn event(description: usize, dates: usize) -> Event {
        let start = DateTime::UNIX_EPOCH.naive_utc();
        let additional = (0..i64::try_from(dates).unwrap()).map(|day| start + Duration::days(day));
        let recurrence = Recurrence { additional: additional.collect(), ..Recurrence::default() };
        let zone = TimeZone::parse("UTC").unwrap();
        Event {
            id: EventId::generate(),
            title: Label::parse("Yoga").unwrap(),
            description: Some("x".repeat(description)),
            schedule: Schedule::new(start, zone, 60, Some(recurrence)),
            capacity: 1,
            version: 1,
            deleted: false,
            created_at: DateTime::UNIX_EPOCH,
            updated_at: DateTime::UNIX_EPOCH,
        }
    }

    fn cached_bytes(occurrence_cache: &OccurrenceCache) -> u64 {
        occurrence_cache.events.run_pending_tasks();
        occurrence_cache.events.weighted_size()
    }

    async fn renewed(
        occurrence_cache: &OccurrenceCache,
        org: OrgId,
        version: i64,
        events: &[Event],
    ) -> usize {
        let stored = events.iter().map(|event| StoredEvent::of(org, event)).collect();
        occurrence_cache.renew(org, version, stored).await.unwrap().len()
    }

    #[tokio::test]
    async fn only_the_newest_version_of_a_tenants_events_is_cached() {
        let (occurrence_cache, org) = (OccurrenceCache::default(), OrgId::generate());
        renewed(&occurrence_cache, org, 1, &[event(0, 0)]).await;
        assert!(
            occurrence_cache.events(org, 1).is_some() && occurrence_cache.events(org, 2).is_none()
        );
        renewed(&occurrence_cache, org, 2, &[event(0, 0), event(0, 0)]).await;
        assert!(occurrence_cache.events(org, 1).is_none());
        let size = cached_bytes(&occurrence_cache);
        // A late task gets the older version that it has read, but does not cache it.
        assert_eq!(renewed(&occurrence_cache, org, 1, &[event(0, 0)]).await, 1);
        assert_eq!(occurrence_cache.events(org, 2).map(|events| events.len()), Some(2));
        assert_eq!(cached_bytes(&occurrence_cache), size);
    }

    #[tokio::test]
    async fn events_are_weighed_by_their_size() {
        let (occurrence_cache, org) = (OccurrenceCache::of_bytes(100_000), OrgId::generate());
        renewed(&occurrence_cache, org, 1, &[event(10_000, 1_000)]).await;
        assert!((22_000..30_000).contains(&cached_bytes(&occurrence_cache)));
        for _ in 0..20 {
            renewed(&occurrence_cache, OrgId::generate(), 1, &[event(10_000, 1_000)]).await;
        }
        assert!(cached_bytes(&occurrence_cache) <= 100_000);
    }

    #[tokio::test]
    async fn only_events_that_have_changed_are_decoded_again() {
        let (occurrence_cache, org) = (OccurrenceCache::default(), OrgId::generate());
        let (mut one, two) = (event(10, 2), event(10, 2));
        renewed(&occurrence_cache, org, 1, &[one.clone(), two.clone()]).await;
        let before = occurrence_cache.events(org, 1).unwrap();
        (one.version, one.capacity) = (2, 50);
        renewed(&occurrence_cache, org, 2, &[one, two, event(0, 0)]).await;
        let after = occurrence_cache.events(org, 2).unwrap();
        assert_eq!(
            after.iter().map(|cached| cached.event.capacity).collect::<Vec<_>>(),
            [50, 1, 1]
        );
        assert!(Arc::ptr_eq(&before[1].event, &after[1].event));
    }

    #[test]
    fn nonexistent_starts_expand_each_quarter_of_a_rule_once() {
        let (occurrence_cache, mut long) = (OccurrenceCache::default(), event(0, 0));
        let (start, zone) = (long.schedule.local_start(), long.schedule.zone());
        let rule = Rule::parse("FREQ=WEEKLY;COUNT=5000", start, zone).unwrap();
        let recurrence = Recurrence { rule: Some(rule), ..Recurrence::default() };
        long.schedule = Schedule::new(start, zone, 60, Some(recurrence));
        let at = |weeks, hours| start.and_utc() + Duration::weeks(weeks) + Duration::hours(hours);
        for hours in 0..500 {
            assert_eq!(occurrence_cache.starts_at(&long, at(4_000, hours)), hours % (7 * 24) == 0);
        }
        assert!(
            occurrence_cache.starts_at(&long, at(4_999, 0))
                && !occurrence_cache.starts_at(&long, at(5_000, 0))
        );
        assert!(!occurrence_cache.starts_at(&long, DateTime::<Utc>::MAX_UTC));
        occurrence_cache.starts.run_pending_tasks();
        assert!(
            occurrence_cache.starts.entry_count() < 6
                && occurrence_cache.starts.weighted_size() < 6 * 30
        );
    }
}
