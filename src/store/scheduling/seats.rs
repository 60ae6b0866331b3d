//! Reads and writes the documents that a batch of registrations needs.

use std::collections::{HashMap, HashSet, hash_map::Entry as Slot};

use bson::{Document, RawDocument, RawDocumentBuf};
use chrono::{DateTime, Utc};

use super::documents::{
    CalendarDoc, EventDoc, OccurrenceDoc, RegistrationDoc, StoredEvent, WaitingDoc,
    calendar_fields, occurrence_fields, registration_fields, waiting_fields,
};
use crate::{
    domain::{
        EventId,
        scheduling::{
            Calendar, Entry, Event, Invariants, Occurrence, OccurrenceId, Registration,
            RegistrationId, Seats,
        },
    },
    error::Result,
    failpoint,
    store::{
        driver::StoreError,
        tenant::{
            Key, Kind, TenantReader, TenantTx, keys,
            many::{decode, kind_of},
        },
    },
};

/// Whether an occurrence of an event starts at a given time.
pub type StartsAt<'a> = &'a (dyn Fn(&Event, DateTime<Utc>) -> bool + Sync);

impl TenantReader<'_> {
    /// The seats of existing registrations.
    pub async fn seats(&mut self, ids: &[RegistrationId], now: DateTime<Utc>) -> Result<Seats> {
        let occurrences = ids.iter().map(|id| id.occurrence).collect();
        let starts_at = |event: &Event, start| event.schedule.starts_at(start);
        self.seats_of(occurrences, ids, now, &starts_at).await
    }

    /// The seats of `occurrences` and `ids` in this transaction's snapshot. `starts_at` decides
    /// which of the occurrences that are not stored exist.
    pub async fn seats_of(
        &mut self,
        occurrences: HashSet<OccurrenceId>,
        ids: &[RegistrationId],
        now: DateTime<Utc>,
        starts_at: StartsAt<'_>,
    ) -> Result<Seats> {
        let org = self.store.org;
        let events: HashSet<EventId> = occurrences.iter().map(|id| id.event).collect();
        let mut keys: Vec<Key> = events.iter().map(|id| Key::event(org, *id)).collect();
        for id in &occurrences {
            keys.extend([Key::occurrence(org, *id), Key::waiting(org, *id)]);
        }
        let (mut stored, mut seats) = (HashMap::new(), Seats::new(now));
        for document in self.get_many::<RawDocumentBuf>(keys_of_members(org, ids, keys)).await? {
            if kind_of(&document) == Kind::Event.as_ref() {
                let event = StoredEvent(document);
                stored.insert(event.identity()?.0, event);
            } else {
                read_into(&mut seats, &document)?;
            }
        }
        // A stored occurrence is complete; the others are derived from their event.
        let mut events: HashMap<EventId, Event> = HashMap::new();
        for id in occurrences {
            if seats.occurrences.contains_key(&id) {
                continue;
            }
            let event = match (events.entry(id.event), stored.get(&id.event)) {
                (Slot::Occupied(known), _) => Some(&*known.into_mut()),
                (Slot::Vacant(new), Some(event)) => Some(&*new.insert(event.decode()?)),
                (Slot::Vacant(_), None) => None,
            };
            let entry = match event.filter(|event| starts_at(event, id.start)) {
                Some(event) => Entry::implied(Occurrence::untouched(event, id.start)),
                None => Entry::missing(),
            };
            seats.occurrences.insert(id, entry);
        }
        mark_missing(&mut seats, ids);
        Ok(seats)
    }

    /// All data that the invariants of seats are checked on.
    pub async fn invariants(&mut self) -> Result<Invariants> {
        let org = self.store.org;
        let mut invariants = Invariants::default();
        let tenant = self.get(Key::tenant(org)).await?.unwrap_or_default();
        invariants.counted_events = tenant.get_i64("events").unwrap_or_default();
        let events: Vec<EventDoc> = self.find(keys::range(org, Kind::Event), 0).await?;
        for event in events {
            let event = Event::try_from(event)?;
            invariants.events.insert(event.id, event);
        }
        let found: Vec<OccurrenceDoc> = self.find(keys::range(org, Kind::Occurrence), 0).await?;
        let found = found.into_iter().map(Occurrence::from);
        invariants.occurrences = found.map(|found| (found.id, found)).collect();
        for (kind, all) in [
            (Kind::Registration, &mut invariants.registrations),
            (Kind::Attendee, &mut invariants.attendees),
        ] {
            let found: Vec<RegistrationDoc> = self.find(keys::range(org, kind), 0).await?;
            let found = found.into_iter().map(Registration::from);
            *all = found.map(|found| (found.id, found)).collect();
        }
        let found: Vec<CalendarDoc> = self.find(keys::range(org, Kind::Calendar), 0).await?;
        invariants.calendars = found.into_iter().map(Into::into).collect();
        let found: Vec<WaitingDoc> = self.find(keys::range(org, Kind::Waiting), 0).await?;
        invariants.waiting = found.into_iter().map(Into::into).collect();
        Ok(invariants)
    }

    /// Adds the registrations and calendars of more members.
    pub async fn extend_seats(&mut self, seats: &mut Seats, ids: &[RegistrationId]) -> Result<()> {
        let known = |id: &RegistrationId| {
            seats.calendars.contains_key(&id.member) && seats.registrations.contains_key(id)
        };
        let more: Vec<RegistrationId> = ids.iter().filter(|id| !known(id)).copied().collect();
        let keys = keys_of_members(self.store.org, &more, Vec::new());
        for document in self.get_many::<RawDocumentBuf>(keys).await? {
            read_into(seats, &document)?;
        }
        mark_missing(seats, &more);
        Ok(())
    }
}

impl TenantTx<'_> {
    /// Writes what has changed.
    ///
    /// # Errors
    /// [`StoreError::Refused`] if the validator refuses a document.
    pub async fn write_seats(&mut self, seats: &Seats) -> Result<()> {
        let org = self.store.org;
        let mut writes = Writes::default();
        for (id, entry) in &seats.occurrences {
            if let Some((occurrence, new)) = entry.change() {
                writes.put(Key::occurrence(org, *id), occurrence_fields(occurrence), new);
                if new {
                    writes.touched.insert(id.event);
                }
            }
        }
        for (id, entry) in &seats.waiting {
            if let Some((waiting, new)) = entry.change() {
                writes.put(Key::waiting(org, *id), waiting_fields(waiting), new);
            }
        }
        for (id, entry) in &seats.registrations {
            if let Some((registration, new)) = entry.change() {
                let fields = registration_fields(registration);
                writes.put(Key::registration(org, *id), fields.clone(), new);
                writes.put(Key::attendee(org, *id), fields, new);
            }
        }
        for (member, entry) in &seats.calendars {
            if let Some((calendar, new)) = entry.change() {
                writes.put(Key::calendar(org, *member), calendar_fields(calendar), new);
            }
        }
        if !writes.inserts.is_empty() {
            self.insert_many(writes.inserts).await?;
        }
        let touches = writes.touched.into_iter().map(|event| touched(Key::event(org, event)));
        let updates = writes.updates.into_iter().chain(touches).collect();
        self.update_many(updates).await
    }

    /// In a retry after a conflict, writes the stored occurrences before anything is read. On a
    /// busy server, batches follow each other without a pause: a transaction that writes only after
    /// all its reads would conflict with one of them every time.
    ///
    /// # Errors
    /// [`StoreError::Driver`] with a write conflict if another transaction has written one of them.
    pub async fn claim_on_retry(
        &mut self,
        occurrences: impl Iterator<Item = OccurrenceId>,
    ) -> Result<()> {
        if self.is_retry() {
            let occurrences: HashSet<OccurrenceId> = occurrences.collect();
            let key = |id| touched(Key::occurrence(self.store.org, id));
            let claimed = occurrences.into_iter().map(key).collect();
            self.update_existing(claimed).await?;
        }
        Ok(())
    }

    /// As [`TenantTx::claim_on_retry`], for the event and all of its occurrences that start at
    /// `from` or later.
    ///
    /// # Errors
    /// [`StoreError::Driver`] with a write conflict if another transaction has written one of them.
    pub async fn claim_event_on_retry(&mut self, id: EventId, from: DateTime<Utc>) -> Result<()> {
        if self.is_retry() {
            let org = self.store.org;
            self.update_existing(vec![touched(Key::event(org, id))]).await?;
            let range = keys::of_event(org, Kind::Occurrence, id, from);
            let update = self.store.collection.update_many(range, touch());
            update.session(&mut self.tx.session).await.map_err(StoreError::from)?;
        }
        Ok(())
    }
}

pub(in crate::store) fn touched(key: Key) -> (Key, Document) {
    (key, touch())
}

/// An update that conflicts with other writes of the document; MongoDB skips one that changes
/// nothing.
fn touch() -> Document {
    failpoint!("registration.skip_touch", return bson::doc! { "$unset": { "untouched": "" } });
    bson::doc! { "$inc": { "touched": 1_i64 } }
}

#[derive(Default)]
struct Writes {
    inserts: Vec<(Key, Document)>,
    updates: Vec<(Key, Document)>,
    /// Events with an occurrence that is written for the first time. A concurrent change of the
    /// event cannot see the new document, so it must conflict on the event.
    touched: HashSet<EventId>,
}

impl Writes {
    fn put(&mut self, key: Key, fields: Document, new: bool) {
        if new {
            self.inserts.push((key, fields));
        } else {
            let (key, mut update) = touched(key);
            update.insert("$set", fields);
            self.updates.push((key, update));
        }
    }
}

fn keys_of_members(
    org: crate::domain::OrgId,
    ids: &[RegistrationId],
    mut keys: Vec<Key>,
) -> Vec<Key> {
    keys.extend(
        ids.iter().collect::<HashSet<_>>().into_iter().map(|id| Key::registration(org, *id)),
    );
    let members: HashSet<_> = ids.iter().map(|id| id.member).collect();
    keys.extend(members.into_iter().map(|member| Key::calendar(org, member)));
    keys
}

/// Marks documents that were requested but not found as missing.
fn mark_missing(seats: &mut Seats, ids: &[RegistrationId]) {
    for id in ids {
        seats.registrations.entry(*id).or_insert_with(Entry::missing);
        seats.calendars.entry(id.member).or_insert_with(Entry::missing);
    }
}

fn read_into(seats: &mut Seats, document: &RawDocument) -> Result<()> {
    match kind_of(document) {
        "occurrence" => {
            let occurrence = Occurrence::from(decode::<OccurrenceDoc>("occurrence", document)?);
            seats.occurrences.insert(occurrence.id, Entry::stored(occurrence));
        }
        "waiting" => {
            let (id, waiting) = decode::<WaitingDoc>("waiting list", document)?.into();
            seats.waiting.insert(id, Entry::stored(waiting));
        }
        "registration" => {
            let found = Registration::from(decode::<RegistrationDoc>("registration", document)?);
            seats.registrations.insert(found.id, Entry::stored(found));
        }
        "calendar" => {
            let (member, calendar): (_, Calendar) =
                decode::<CalendarDoc>("calendar", document)?.into();
            seats.calendars.insert(member, Entry::stored(calendar));
        }
        _ => {}
    }
    Ok(())
}
