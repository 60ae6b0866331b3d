//! Occurrences: computed from the events' schedules and merged with the stored ones.

use std::{collections::HashMap, sync::Arc};

use chrono::{DateTime, Duration, Utc};

use super::{events::NO_EVENT, occurrence_cache::CachedEvent, occurrence_cache::Yielder};
use crate::{
    domain::{
        EventId,
        scheduling::{Event, Occurrence, OccurrenceId, Span},
    },
    error::{Error, Result},
    manager::{OrgContext, TenantManager},
};

/// Which occurrences to list.
#[derive(Clone, Copy, Debug)]
pub struct Window {
    /// Those that overlap this period.
    pub span: Span,
    /// Only those of this event.
    pub event: Option<EventId>,
    /// Only those after this one.
    pub after: Option<OccurrenceId>,
    /// The maximum number of occurrences.
    pub limit: u32,
}

impl TenantManager {
    /// The occurrences of a window, ordered by start, each with its event.
    ///
    /// # Errors
    /// [`crate::error::Error::NotFound`] if `window.event` does not exist.
    pub async fn occurrence_list(
        &self,
        ctx: &OrgContext,
        window: Window,
    ) -> Result<Vec<(Occurrence, Arc<Event>)>> {
        let events = match window.event {
            Some(id) => vec![self.event_get(ctx, id).await?.map(Arc::new).ok_or(NO_EVENT)?],
            None => self.events_in(ctx, window.span).await?,
        };
        let starts = self.starts_in(&events, window).await;
        let ids: Vec<OccurrenceId> = starts.iter().map(|(id, _)| *id).collect();
        let mut stored = self.stored_occurrences(ctx, ids).await?;
        let listed = starts.into_iter().map(|(id, event)| {
            let occurrence = stored.remove(&id);
            (occurrence.unwrap_or_else(|| Occurrence::untouched(&event, id.start)), event)
        });
        Ok(listed.collect())
    }

    /// One occurrence with its event.
    pub async fn occurrence_get(
        &self,
        ctx: &OrgContext,
        id: OccurrenceId,
    ) -> Result<Option<(Occurrence, Arc<Event>)>> {
        Ok(self.occurrences_among(ctx, vec![id]).await?.remove(&id))
    }

    /// The occurrences among `ids` that exist, including those of deleted events, each with its
    /// event.
    pub async fn occurrences_among(
        &self,
        ctx: &OrgContext,
        ids: Vec<OccurrenceId>,
    ) -> Result<HashMap<OccurrenceId, (Occurrence, Arc<Event>)>> {
        let events: Vec<EventId> = ids.iter().map(|id| id.event).collect();
        let events = self.events_among(ctx, events, false).await?;
        let stored = self.stored_occurrences(ctx, ids.clone()).await?;
        let (mut found, mut yielder) = (HashMap::with_capacity(ids.len()), Yielder::default());
        for id in ids {
            let Some(event) = events.get(&id.event) else { continue };
            let occurrence = match stored.get(&id) {
                Some(occurrence) => occurrence.clone(),
                None if !event.deleted
                    && self.scheduling.occurrence_cache.starts_at(event, id.start) =>
                {
                    Occurrence::untouched(event, id.start)
                }
                None => continue,
            };
            found.insert(id, (occurrence, Arc::clone(event)));
            yielder.yield_if_due().await;
        }
        Ok(found)
    }

    /// The events among `ids` that exist, including deleted ones, with their descriptions if
    /// `described`.
    pub async fn events_among(
        &self,
        ctx: &OrgContext,
        mut ids: Vec<EventId>,
        described: bool,
    ) -> Result<HashMap<EventId, Arc<Event>>> {
        ids.sort_unstable();
        ids.dedup();
        let found = self
            .tenant_read(ctx, "event.among", ids, move |mut reader, ids| {
                Box::pin(async move { reader.events_among(ids, described).await })
            })
            .await?;
        Ok(found.into_iter().flatten().map(|event| (event.id, Arc::new(event))).collect())
    }

    /// The events that may have an occurrence in `span`.
    async fn events_in(&self, ctx: &OrgContext, span: Span) -> Result<Vec<Arc<Event>>> {
        let org = ctx.org_id();
        let version = self
            .tenant_read(ctx, "agenda.version", (), |mut reader, ()| {
                Box::pin(async move { reader.events_version().await })
            })
            .await?;
        let cached = |version| self.scheduling.occurrence_cache.events(org, version);
        let events = match version.and_then(cached) {
            Some(events) => events,
            None => self.load_events(ctx, version).await?,
        };
        let reaching = events.iter().filter(|cached| cached.reaches(span));
        Ok(reaching.map(|cached| Arc::clone(&cached.event)).collect())
    }

    /// Reads all events of the tenant into the cache. However many requests need them, they are read
    /// once, and only a few tenants' at a time.
    async fn load_events(
        &self,
        ctx: &OrgContext,
        wanted: Option<i64>,
    ) -> Result<Arc<[CachedEvent]>> {
        let (org, scheduling) = (ctx.org_id(), &self.scheduling);
        let _turn = scheduling.loads_queue.wait(org, ctx.deadline()).await?;
        let loaded = wanted.and_then(|wanted| scheduling.occurrence_cache.since(org, wanted));
        if let Some(events) = loaded {
            return Ok(events);
        }
        let permit = scheduling.loads.acquire();
        let permit = tokio::time::timeout_at(ctx.deadline().into(), permit).await;
        let _permit =
            permit.map_err(|_| Error::Busy { what: "too many tenants' events are read" })?;
        // One snapshot, so that the version belongs to these events.
        let (version, stored) = self
            .tenant_write(ctx, "agenda.read", (), |mut tx, ()| {
                Box::pin(async move {
                    let version = tx.reader().events_version().await?.unwrap_or_default();
                    Ok((version, tx.reader().events_stored().await?))
                })
            })
            .await?;
        scheduling.occurrence_cache.renew(org, version, stored).await
    }

    /// The starts of a window, in order. It expands one day first, then twice as much, and so on,
    /// so the first page of a busy year costs the same as that of a busy day.
    async fn starts_in(
        &self,
        events: &[Arc<Event>],
        window: Window,
    ) -> Vec<(OccurrenceId, Arc<Event>)> {
        let limit = usize::try_from(window.limit).unwrap_or(usize::MAX);
        let longest = events.iter().map(|event| event.schedule.duration()).max();
        let first = window.span.from - longest.unwrap_or_else(Duration::zero);
        let mut from = window.after.map_or(first, |after| after.start.max(first));
        let (mut width, mut found) = (Duration::days(1), Vec::new());
        let mut yielder = Yielder::default();
        while from < window.span.to && found.len() < limit {
            let to = (from + width).min(window.span.to);
            let mut slice = Vec::new();
            for event in events {
                slice.extend(self.starts_of(event, window, from, to));
                // Expanding some rules for the first time takes a while.
                yielder.yield_if_due().await;
            }
            slice.sort_unstable_by_key(|(id, _)| *id);
            found.append(&mut slice);
            (from, width) = (to, width * 2);
        }
        found.truncate(limit);
        found
    }

    fn starts_of(
        &self,
        event: &Arc<Event>,
        window: Window,
        from: DateTime<Utc>,
        to: DateTime<Utc>,
    ) -> Vec<(OccurrenceId, Arc<Event>)> {
        let starts = self.scheduling.occurrence_cache.starts(event, from, to).into_iter();
        let ids = starts
            .filter(|start| *start + event.schedule.duration() > window.span.from)
            .map(|start| OccurrenceId { start, event: event.id })
            .filter(|id| window.after.is_none_or(|after| *id > after));
        ids.map(|id| (id, Arc::clone(event))).collect()
    }

    async fn stored_occurrences(
        &self,
        ctx: &OrgContext,
        ids: Vec<OccurrenceId>,
    ) -> Result<HashMap<OccurrenceId, Occurrence>> {
        if ids.is_empty() {
            return Ok(HashMap::new());
        }
        let found = self
            .tenant_read(ctx, "occurrence.among", ids, |mut reader, ids| {
                Box::pin(async move { reader.occurrences_among(ids).await })
            })
            .await?;
        Ok(found.into_iter().flatten().map(|occurrence| (occurrence.id, occurrence)).collect())
    }
}
