//! The events of tenants and the starts of their occurrences, kept in memory with their version.
//!
//! What a version stands for never changes, so nothing here is ever wrong: which version is the
//! latest is asked of the database every time. That is one document, whereas reading, decoding and
//! expanding a thousand events takes far longer.

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

/// The cache of events, and of their occurrences a quarter of a year at a time.
pub(super) struct OccurrenceCache {
    events: Cache<OrgId, Kept>,
    starts: Cache<Quarter, Arc<[DateTime<Utc>]>>,
}

/// The events of a tenant, of which only the latest version that was read is of use.
#[derive(Clone)]
struct Kept {
    version: i64,
    events: Arc<[CachedEvent]>,
}

/// An event, and the time in which it takes place at all.
#[derive(Clone)]
pub(in crate::manager) struct CachedEvent {
    pub(in crate::manager) event: Arc<Event>,
    first: DateTime<Utc>,
    last_end: Option<DateTime<Utc>>,
}

/// Lets others have the thread now and then during long work that waits for nothing.
pub(in crate::manager) struct Yielder(Instant);

/// An event, its version, and the number of a quarter since 1970.
type Quarter = (EventId, i64, i64);

/// How many bytes of events are kept: 256 MiB.
const EVENT_BYTES: u64 = 256 << 20;
/// How many starts are kept, of 12 bytes each.
const STARTS: u64 = 4_000_000;
const CHUNK: Duration = Duration::days(92);
/// How long others wait for the thread.
const LONG: StdDuration = StdDuration::from_millis(2);

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
        let events = Cache::builder().max_capacity(bytes).weigher(|_, kept: &Kept| {
            weight(kept.events.iter().map(CachedEvent::bytes).sum::<usize>() + 100)
        });
        let starts = Cache::builder()
            .max_capacity(STARTS)
            .weigher(|_, starts: &Arc<[_]>| weight(starts.len() + 8));
        Self { events: events.build(), starts: starts.build() }
    }

    /// The events of that version of the tenant's occurrence cache, if they are kept.
    pub(in crate::manager) fn events(
        &self,
        org: OrgId,
        version: i64,
    ) -> Option<Arc<[CachedEvent]>> {
        let found = self.events.get(&org).filter(|kept| kept.version == version);
        count("agenda", if found.is_some() { "hit" } else { "miss" });
        found.map(|kept| kept.events)
    }

    /// Keeps the events of that version instead of those of an older one, of which only what has
    /// changed since is decoded.
    pub(in crate::manager) async fn renew(
        &self,
        org: OrgId,
        version: i64,
        stored: Vec<StoredEvent>,
    ) -> Result<Arc<[CachedEvent]>> {
        let older = self.events.get(&org).map(|kept| kept.events);
        let known = older.iter().flat_map(|planned| planned.iter());
        let known: HashMap<_, _> =
            known.map(|planned| ((planned.event.id, planned.event.version), planned)).collect();
        let (mut planned, mut yielder) = (Vec::with_capacity(stored.len()), Yielder::default());
        for event in stored {
            planned.push(match known.get(&event.identity()?) {
                Some(same) => CachedEvent::clone(same),
                None => CachedEvent::of(event.decode()?),
            });
            yielder.take().await;
        }
        Ok(self.keep(org, version, planned.into()))
    }

    fn keep(&self, org: OrgId, version: i64, planned: Arc<[CachedEvent]>) -> Arc<[CachedEvent]> {
        let new = Kept { version, events: Arc::clone(&planned) };
        // Whoever read before a change may come here after somebody who read behind it.
        self.events.entry(org).and_upsert_with(|kept| match kept.map(Entry::into_value) {
            Some(newer) if newer.version > version => newer,
            _ => new,
        });
        planned
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

    /// Whether an occurrence of the event starts at that moment. Somebody who makes moments up has
    /// a part of the rule expanded once.
    pub(in crate::manager) fn starts_at(&self, event: &Event, moment: DateTime<Utc>) -> bool {
        let next = moment.checked_add_signed(Duration::milliseconds(1));
        next.is_some_and(|next| self.starts(event, moment, next).contains(&moment))
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

impl CachedEvent {
    fn of(event: Event) -> Self {
        let (first, last) = event.schedule.bounds();
        let last_end = last.map(|last| last + event.schedule.duration());
        Self { event: Arc::new(event), first, last_end }
    }

    /// About how much memory it takes.
    fn bytes(&self) -> usize {
        /// The struct, its texts of a few words, and what the allocator adds.
        const PLAIN: usize = 1_000;
        let event = &*self.event;
        let description = event.description.as_ref().map_or(0, String::len);
        let recurrence = event.schedule.recurrence().map_or(0, |recurrence| {
            // The excluded ones are kept as moments, too.
            let dates = 2 * recurrence.excluded.len() + recurrence.additional.len();
            let rule = recurrence.rule.as_ref().map_or(0, |rule| rule.as_str().len());
            size_of::<DateTime<Utc>>() * dates + 4 * rule
        });
        PLAIN + description + recurrence
    }

    /// Whether it may take place in `span`.
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
    /// Waits until it is this work's turn again, if it has gone on for long.
    pub(in crate::manager) async fn take(&mut self) {
        if self.0.elapsed() > LONG {
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

    fn held(occurrence_cache: &OccurrenceCache) -> u64 {
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
    async fn one_version_of_a_tenants_events_is_kept_and_it_is_the_newest() {
        let (occurrence_cache, org) = (OccurrenceCache::default(), OrgId::generate());
        renewed(&occurrence_cache, org, 1, &[event(0, 0)]).await;
        assert!(
            occurrence_cache.events(org, 1).is_some() && occurrence_cache.events(org, 2).is_none()
        );
        renewed(&occurrence_cache, org, 2, &[event(0, 0), event(0, 0)]).await;
        assert!(occurrence_cache.events(org, 1).is_none());
        let size = held(&occurrence_cache);
        // Somebody who has read earlier comes late, and gets what was read.
        assert_eq!(renewed(&occurrence_cache, org, 1, &[event(0, 0)]).await, 1);
        assert_eq!(occurrence_cache.events(org, 2).map(|kept| kept.len()), Some(2));
        assert_eq!(held(&occurrence_cache), size);
    }

    #[tokio::test]
    async fn events_are_weighed_by_what_they_hold() {
        let (occurrence_cache, org) = (OccurrenceCache::of_bytes(100_000), OrgId::generate());
        renewed(&occurrence_cache, org, 1, &[event(10_000, 1_000)]).await;
        assert!((22_000..30_000).contains(&held(&occurrence_cache)));
        for _ in 0..20 {
            renewed(&occurrence_cache, OrgId::generate(), 1, &[event(10_000, 1_000)]).await;
        }
        assert!(held(&occurrence_cache) <= 100_000);
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
        assert_eq!(after.iter().map(|kept| kept.event.capacity).collect::<Vec<_>>(), [50, 1, 1]);
        assert!(Arc::ptr_eq(&before[1].event, &after[1].event));
    }

    #[test]
    fn made_up_moments_have_a_part_of_a_rule_expanded_once() {
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
