//! Events, occurrences and registrations in a tenant's collection.

mod abridged;
mod documents;
mod seats;

use std::collections::HashMap;

use bson::{Bson, Document, RawDocumentBuf, doc};
use chrono::{DateTime, Utc};

pub use documents::StoredEvent;
use documents::{
    EventDoc, OccurrenceDoc, RegistrationDoc, WaitingDoc, date, event_fields, occurrence_fields,
};
pub use seats::StartsAt;

use super::{
    driver::StoreError,
    tenant::{Key, Kind, TenantReader, TenantTx, keys},
};
use crate::{
    domain::{
        AccountId, EventId,
        scheduling::{
            Event, Held, Occurrence, OccurrenceId, OccurrenceStatus, Registration, RegistrationId,
            RegistrationStatus, Schedule, Span, Waiter,
        },
    },
    error::Result,
};

/// The field that makes an event large.
const DESCRIPTION: &str = "description";

impl TenantReader<'_> {
    /// The event, unless it does not exist or was deleted.
    pub async fn event(&mut self, id: EventId) -> Result<Option<Event>> {
        self.one_event(Key::event(self.store.org, id)).await
    }

    /// At most `limit` events after `after`, ordered by id.
    pub async fn events(&mut self, after: Option<EventId>, limit: u32) -> Result<Vec<Event>> {
        let range = keys::events_after(self.store.org, after);
        let found: Vec<EventDoc> = self.find(range, limit).await?;
        Ok(found.into_iter().map(Event::try_from).collect::<Result<_, _>>()?)
    }

    /// All events without their descriptions, not decoded, because a cache may already contain most
    /// of them.
    pub async fn events_stored(&mut self) -> Result<Vec<StoredEvent>> {
        let range = keys::range(self.store.org, Kind::Event);
        let found: Vec<RawDocumentBuf> = self.find_only(range, 0, doc! { DESCRIPTION: 0 }).await?;
        Ok(found.into_iter().map(StoredEvent).collect())
    }

    /// The events among `ids`, including deleted ones, with their descriptions if `described`; `None`
    /// if the tenant is not at this location.
    pub async fn events_among(
        &mut self,
        ids: &[EventId],
        described: bool,
    ) -> Result<Option<Vec<Event>>> {
        let org = self.store.org;
        let keys = ids.iter().flat_map(|id| [Key::event(org, *id), Key::past_event(org, *id)]);
        let left_out = (!described).then_some(DESCRIPTION);
        let found = self.get_proven_without::<EventDoc>(keys.collect(), left_out).await?;
        let Some(found) = found else { return Ok(None) };
        Ok(Some(found.into_iter().map(Event::try_from).collect::<Result<_, _>>()?))
    }

    /// The version of the tenant's events, which every change of an event increments; `None` if the
    /// tenant is not at this location.
    pub async fn events_version(&mut self) -> Result<Option<i64>> {
        let Some(tenant) = self.get(Key::tenant(self.store.org)).await? else { return Ok(None) };
        match tenant.get("agenda") {
            // The tenant has never had an event.
            None => Ok(Some(0)),
            Some(Bson::Int64(version)) => Ok(Some(*version)),
            Some(other) => {
                let reason = format!("agenda is {other:?}");
                Err(StoreError::Decode { kind: "tenant", reason }.into())
            }
        }
    }

    /// The stored occurrences among `ids`; an occurrence without changes is not stored. `None` if
    /// the tenant is not at this location.
    pub async fn occurrences_among(
        &mut self,
        ids: &[OccurrenceId],
    ) -> Result<Option<Vec<Occurrence>>> {
        let keys = ids.iter().map(|id| Key::occurrence(self.store.org, *id)).collect();
        let found = self.get_proven::<OccurrenceDoc>(keys).await?;
        Ok(found.map(|found| found.into_iter().map(Occurrence::from).collect()))
    }

    /// The event's stored occurrences that start at `from` or later.
    pub async fn occurrences_of(
        &mut self,
        event: EventId,
        from: DateTime<Utc>,
    ) -> Result<Vec<Occurrence>> {
        let range = keys::of_event(self.store.org, Kind::Occurrence, event, from);
        let found: Vec<OccurrenceDoc> = self.find(range, 0).await?;
        Ok(found.into_iter().map(Occurrence::from).collect())
    }

    /// The waiting lists of `ids`; `None` if the tenant is not at this location.
    pub async fn waiting_among(
        &mut self,
        ids: &[OccurrenceId],
    ) -> Result<Option<HashMap<OccurrenceId, Vec<Waiter>>>> {
        let keys = ids.iter().map(|id| Key::waiting(self.store.org, *id)).collect();
        let found = self.get_proven::<WaitingDoc>(keys).await?;
        Ok(found.map(|found| found.into_iter().map(Into::into).collect()))
    }

    /// The occurrences whose waiting lists `member` is on.
    pub async fn waits_of(&mut self, member: AccountId) -> Result<Vec<OccurrenceId>> {
        let mut filter = keys::range(self.store.org, Kind::Waiting);
        filter.insert("members.member", member.object_id());
        let found: Vec<WaitingDoc> = self.find(filter, 0).await?;
        let ids = found.into_iter().map(<(OccurrenceId, Vec<Waiter>)>::from);
        Ok(ids.map(|(id, _)| id).collect())
    }

    /// The registrations among `ids`; `None` if the tenant is not at this location.
    pub async fn registrations_among(
        &mut self,
        ids: &[RegistrationId],
    ) -> Result<Option<Vec<Registration>>> {
        let keys = ids.iter().map(|id| Key::registration(self.store.org, *id)).collect();
        let found = self.get_proven::<RegistrationDoc>(keys).await?;
        Ok(found.map(|found| found.into_iter().map(Registration::from).collect()))
    }

    /// At most `limit` of a member's registrations for occurrences in `span`, ordered by start,
    /// after `after`.
    pub async fn registrations_of(
        &mut self,
        member: AccountId,
        span: Span,
        held: Held,
        after: Option<OccurrenceId>,
        limit: u32,
    ) -> Result<Vec<Registration>> {
        // No occurrence lasts longer, so one that started earlier does not overlap the span.
        let from = span.from.checked_sub_signed(longest()).unwrap_or(span.from);
        let mut filter = keys::registrations_between(self.store.org, member, from, span.to, after);
        filter.insert("ends_at", doc! { "$gt": date(span.from) });
        self.registrations(filter, held, limit).await
    }

    /// At most `limit` registrations for one occurrence, ordered by member id, after `after`.
    pub async fn attendees_of(
        &mut self,
        occurrence: OccurrenceId,
        held: Held,
        after: Option<AccountId>,
        limit: u32,
    ) -> Result<Vec<Registration>> {
        let filter = keys::attendees_after(self.store.org, occurrence, after);
        self.registrations(filter, held, limit).await
    }

    /// At most `limit` confirmed registrations for the event's occurrences that start at `from` or
    /// later.
    pub async fn attendees_from(
        &mut self,
        event: EventId,
        from: DateTime<Utc>,
        limit: u32,
    ) -> Result<Vec<Registration>> {
        let filter = keys::of_event(self.store.org, Kind::Attendee, event, from);
        self.registrations(filter, Held::Confirmed, limit).await
    }

    async fn registrations(
        &mut self,
        mut filter: Document,
        held: Held,
        limit: u32,
    ) -> Result<Vec<Registration>> {
        if held == Held::Confirmed {
            filter.insert("status", RegistrationStatus::Confirmed.as_ref());
        }
        let found: Vec<RegistrationDoc> = self.find(filter, limit).await?;
        Ok(found.into_iter().map(Registration::from).collect())
    }

    async fn one_event(&mut self, key: Key) -> Result<Option<Event>> {
        let found: Vec<EventDoc> = self.find(key.into_filter(), 1).await?;
        Ok(found.into_iter().next().map(Event::try_from).transpose()?)
    }
}

impl TenantTx<'_> {
    /// Inserts a new event.
    pub async fn insert_event(&mut self, event: &Event) -> Result<()> {
        let mut fields = event_fields(event);
        fields.insert("touched", 0_i64);
        self.insert(&Key::event(self.store.org, event.id), fields).await
    }

    /// Writes the event, and its capacity to each of its stored occurrences that are not over. A
    /// concurrent registration writes one of these documents too, so the two conflict.
    ///
    /// # Errors
    /// [`StoreError::Refused`] if the event does not exist.
    pub async fn update_event(&mut self, event: &Event, now: DateTime<Utc>) -> Result<()> {
        let org = self.store.org;
        let set = doc! { "$set": event_fields(event) };
        self.update_many(vec![(Key::event(org, event.id), set)]).await?;
        let mut range = keys::of_event(org, Kind::Occurrence, event.id, now - longest());
        range.insert("ends_at", doc! { "$gt": date(now) });
        let set = doc! { "$set": { "capacity": event.capacity, "version": event.version } };
        let update = self.store.collection.update_many(range, set);
        update.session(&mut self.tx.session).await.map_err(StoreError::from)?;
        Ok(())
    }

    /// Deletes the event but keeps it as a [`Kind::PastEvent`] for its past occurrences.
    ///
    /// # Errors
    /// [`StoreError::Refused`] if it does not exist.
    pub async fn retire_event(&mut self, event: &Event) -> Result<()> {
        let org = self.store.org;
        let filter = Key::event(org, event.id).into_filter();
        let removed = self.store.collection.delete_one(filter).session(&mut self.tx.session).await;
        if removed.map_err(StoreError::from)?.deleted_count != 1 {
            return Err(StoreError::Refused { code: 0 }.into());
        }
        self.insert(&Key::past_event(org, event.id), event_fields(event)).await
    }

    /// Cancels the event's stored occurrences that start at `from` or later.
    pub async fn cancel_occurrences(&mut self, event: EventId, from: DateTime<Utc>) -> Result<()> {
        let range = keys::of_event(self.store.org, Kind::Occurrence, event, from);
        let set = doc! { "$set": { "status": OccurrenceStatus::Cancelled.as_ref() } };
        let update = self.store.collection.update_many(range, set);
        update.session(&mut self.tx.session).await.map_err(StoreError::from)?;
        Ok(())
    }

    /// Deletes the waiting lists of the event's occurrences that start at `from` or later.
    pub async fn clear_waiting(&mut self, event: EventId, from: DateTime<Utc>) -> Result<()> {
        let range = keys::of_event(self.store.org, Kind::Waiting, event, from);
        let removed = self.store.collection.delete_many(range).session(&mut self.tx.session);
        removed.await.map_err(StoreError::from)?;
        Ok(())
    }

    /// Deletes the waiting lists of those occurrences.
    pub async fn clear_waiting_of(&mut self, ids: &[OccurrenceId]) -> Result<()> {
        let keys = ids.iter().map(|id| Key::waiting(self.store.org, *id));
        self.delete_existing(keys.collect()).await
    }

    /// Closes the calendar of a deleted member, and creates a closed one if there is none, so that
    /// no registration can follow.
    pub async fn close_calendar(&mut self, member: AccountId) -> Result<()> {
        let filter = Key::calendar(self.store.org, member).into_filter();
        let close = doc! { "$set": { "closed": true }, "$setOnInsert": { "busy": [] } };
        let closed = self.store.collection.update_one(filter, close).upsert(true);
        closed.session(&mut self.tx.session).await.map_err(StoreError::from)?;
        Ok(())
    }

    /// Updates stored occurrences.
    pub async fn put_occurrences(&mut self, occurrences: &[Occurrence]) -> Result<()> {
        let put = |occurrence: &Occurrence| {
            let key = Key::occurrence(self.store.org, occurrence.id);
            (key, doc! { "$set": occurrence_fields(occurrence) })
        };
        self.update_many(occurrences.iter().map(put).collect()).await
    }

    /// Writes an occurrence that may not be stored yet. The first write also writes the event, so
    /// it conflicts with a concurrent change of the event.
    pub async fn put_occurrence(&mut self, occurrence: &Occurrence, stored: bool) -> Result<()> {
        if stored {
            return self.put_occurrences(std::slice::from_ref(occurrence)).await;
        }
        let key = Key::occurrence(self.store.org, occurrence.id);
        let event = Key::event(self.store.org, occurrence.id.event);
        self.update_many(vec![seats::touched(event)]).await?;
        self.insert(&key, occurrence_fields(occurrence)).await
    }
}

/// The longest possible duration of an occurrence.
fn longest() -> chrono::Duration {
    chrono::Duration::minutes(Schedule::MAX_MINUTES.into())
}
