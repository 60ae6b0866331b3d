//! Events: making, changing and deleting them, without breaking what was promised.

use std::sync::Arc;

use chrono::{DateTime, Duration, SecondsFormat, Utc};

use super::{
    BookingResult, EventInput, EventPatch, mass_cancellation, registrations::with_waiters,
};
use crate::{
    domain::{
        EventId, OperationId,
        scheduling::{
            BookingRefusal, Event, Occurrence, OccurrenceId, OccurrenceStatus, RefusalCode,
            Schedule, Seats,
        },
    },
    error::{Error, Result},
    failpoint,
    manager::{AdminScope, OrgScope, TenantManager},
    store::{
        scheduling::{CancelledSeats, MassCancellation},
        tenant::TenantTx,
    },
};

pub(in crate::manager) const NO_EVENT: Error = Error::NotFound("event");
/// The most events of a tenant: finding out what happens in a month looks at each.
const MAX_EVENTS: i64 = 10_000;
/// How many waiting lists, of 45 KB at most, are looked at together.
const LISTS_AT_ONCE: usize = 50;

impl TenantManager {
    /// Makes an event.
    ///
    /// # Errors
    /// [`Error::Validation`] when it would never happen; [`Error::LimitReached`]; the store's.
    pub async fn event_create(&self, scope: &AdminScope, input: EventInput) -> Result<Event> {
        let now = self.clock.now();
        let event = Event {
            id: EventId::generate(),
            title: input.title,
            description: input.description,
            schedule: input.schedule.onto(None)?,
            capacity: input.capacity,
            version: 1,
            deleted: false,
            created_at: now,
            updated_at: now,
        };
        self.tenant_write(scope, "event.create", &event, |mut tx, event| {
            Box::pin(async move {
                if tx.count_events(1).await? > MAX_EVENTS {
                    return Err(Error::LimitReached("events"));
                }
                tx.insert_event(event).await
            })
        })
        .await?;
        Ok(event)
    }

    /// One event.
    ///
    /// # Errors
    /// The store's.
    pub async fn event_get(&self, scope: &OrgScope, id: EventId) -> Result<Option<Event>> {
        self.tenant_read(scope, "event.get", (), move |mut reader, ()| {
            Box::pin(async move { reader.event(id).await })
        })
        .await
    }

    /// The events behind `after`, oldest first, at most `limit`.
    ///
    /// # Errors
    /// The store's.
    pub async fn event_list(
        &self,
        scope: &OrgScope,
        after: Option<EventId>,
        limit: u32,
    ) -> Result<Vec<Event>> {
        self.tenant_read(scope, "event.list", (), move |mut reader, ()| {
            Box::pin(async move { reader.events(after, limit).await })
        })
        .await
    }

    /// Changes an event, unless that would break what members were promised: a seat at a time. Seats
    /// that are added go to those who wait.
    ///
    /// # Errors
    /// [`Error::NotFound`]; [`Error::Validation`]; the store's.
    pub async fn event_update(
        &self,
        scope: &AdminScope,
        id: EventId,
        patch: EventPatch,
    ) -> Result<BookingResult<Event>> {
        let context = (&self.clock, patch);
        let _turn = self.seats_turn(scope).await?;
        let updated = self
            .tenant_write(scope, "event.update", context, move |mut tx, (clock, patch)| {
                Box::pin(async move { update_in(&mut tx, id, patch, clock.now()).await })
            })
            .await?;
        failpoint!("event_update.after_commit");
        Ok(updated)
    }

    /// Deletes an event, with the registrations that are ahead if `cancel` says so. What has taken
    /// place stays in the members' lists.
    ///
    /// # Errors
    /// [`Error::NotFound`]; the store's.
    pub async fn event_delete(
        self: &Arc<Self>,
        scope: &AdminScope,
        id: EventId,
        cancel: bool,
    ) -> Result<BookingResult<Event>> {
        let org_id = scope.org_id();
        let context = (&self.store, &self.clock);
        let turn = self.seats_turn(scope).await?;
        let deleted = self
            .tenant_write(scope, "event.delete", context, move |mut tx, (store, clock)| {
                Box::pin(async move {
                    let now = clock.now();
                    tx.claim_event_if_again(id, now).await?;
                    let event = tx.reader().event(id).await?.ok_or(NO_EVENT)?;
                    let ahead = tx.reader().occurrences_of(id, now + MOMENT).await?;
                    let held: i64 = ahead.iter().map(|occurrence| occurrence.taken).sum();
                    if held > 0 && !cancel {
                        return Ok(Err(has_registrations(&ahead)));
                    }
                    tx.retire_event(&event).await?;
                    tx.count_events(-1).await?;
                    tx.cancel_occurrences(id, now + MOMENT).await?;
                    tx.clear_waiting(id, now).await?;
                    let cancellation = MassCancellation {
                        id: OperationId::generate(),
                        org_id,
                        of: CancelledSeats::Event(id, now + MOMENT),
                    };
                    let left =
                        start_mass_cancellation(&mut tx, store, cancellation, held, now).await?;
                    failpoint!("event_delete.before_commit");
                    Ok(Ok((event, left)))
                })
            })
            .await?;
        drop(turn);
        failpoint!("event_delete.after_commit");
        match deleted {
            Err(refusal) => Ok(Err(refusal)),
            Ok((event, left)) => {
                self.finish_mass_cancellation(left).await?;
                Ok(Ok(event))
            }
        }
    }

    /// Calls one occurrence off, and its registrations with it: as it is then, with its event.
    ///
    /// # Errors
    /// [`Error::NotFound`]; [`Error::OccurrencePast`]; the store's.
    pub async fn occurrence_cancel(
        self: &Arc<Self>,
        scope: &AdminScope,
        id: OccurrenceId,
    ) -> Result<(Occurrence, Arc<Event>)> {
        let org_id = scope.org_id();
        let context = (&self.store, &self.clock);
        let turn = self.seats_turn(scope).await?;
        let (occurrence, event, left) = self
            .tenant_write(scope, "occurrence.cancel", context, move |mut tx, (store, clock)| {
                Box::pin(async move {
                    let now = clock.now();
                    tx.claim_if_again(std::iter::once(id)).await?;
                    let event = tx.reader().event(id.event).await?.ok_or(NO_OCCURRENCE)?;
                    let stored = tx.reader().occurrences_among(&[id]).await?;
                    let stored = stored.into_iter().flatten().next();
                    let there = stored.is_some();
                    let occurrence = match stored {
                        Some(occurrence) => occurrence,
                        None if event.schedule.starts_at(id.start) => {
                            Occurrence::untouched(&event, id.start)
                        }
                        None => return Err(NO_OCCURRENCE),
                    };
                    if id.start <= now {
                        return Err(Error::OccurrencePast);
                    }
                    let held = occurrence.taken;
                    let status = OccurrenceStatus::Cancelled;
                    let cancelled = Occurrence { status, ..occurrence };
                    tx.put_occurrence(&cancelled, there).await?;
                    tx.clear_waiting_of(&[id]).await?;
                    let cancellation = MassCancellation {
                        id: OperationId::generate(),
                        org_id,
                        of: CancelledSeats::Occurrence(id),
                    };
                    let left =
                        start_mass_cancellation(&mut tx, store, cancellation, held, now).await?;
                    failpoint!("occurrence_cancel.before_commit");
                    Ok((Occurrence { taken: 0, ..cancelled }, Arc::new(event), left))
                })
            })
            .await?;
        drop(turn);
        failpoint!("occurrence_cancel.after_commit");
        self.finish_mass_cancellation(left).await?;
        Ok((occurrence, event))
    }

    async fn finish_mass_cancellation(
        self: &Arc<Self>,
        left: Option<MassCancellation>,
    ) -> Result<()> {
        match left {
            Some(cancellation) => self.mass_cancellation_finish(cancellation).await,
            None => Ok(()),
        }
    }
}

const NO_OCCURRENCE: Error = Error::NotFound("occurrence");
/// What starts now has started.
const MOMENT: Duration = Duration::milliseconds(1);

async fn update_in(
    tx: &mut TenantTx<'_>,
    id: EventId,
    patch: &EventPatch,
    now: DateTime<Utc>,
) -> Result<BookingResult<Event>> {
    let longest = Duration::minutes(Schedule::MAX_MINUTES.into());
    tx.claim_event_if_again(id, now - longest).await?;
    let old = tx.reader().event(id).await?.ok_or(NO_EVENT)?;
    if patch.is_empty() {
        return Ok(Ok(old));
    }
    let event = Event {
        title: patch.title.clone().unwrap_or_else(|| old.title.clone()),
        description: patch.description.clone().unwrap_or_else(|| old.description.clone()),
        capacity: patch.capacity.unwrap_or(old.capacity),
        schedule: if patch.schedule.is_empty() {
            old.schedule.clone()
        } else {
            patch.schedule.onto(Some(&old.schedule))?
        },
        version: old.version + 1,
        updated_at: now,
        ..old
    };
    let mut kept = tx.reader().occurrences_of(id, now - longest).await?;
    kept.retain(|occurrence| occurrence.end > now);
    if let Some(refusal) = below_taken(&kept, event.capacity) {
        return Ok(Err(refusal));
    }
    let displaced: Vec<Occurrence> =
        kept.iter().filter_map(|occurrence| occurrence.under(&event.schedule)).collect();
    if displaced.iter().any(|occurrence| occurrence.taken > 0) {
        return Ok(Err(has_registrations(&displaced)));
    }
    tx.put_occurrences(&displaced).await?;
    let displaced: Vec<_> = displaced.iter().map(|occurrence| occurrence.id).collect();
    tx.clear_waiting_of(&displaced).await?;
    tx.update_event(&event, now).await?;
    tx.count_events(0).await?;
    failpoint!("event_update.before_fill");
    if event.capacity > old.capacity {
        let open = kept.iter().map(|occurrence| occurrence.id).filter(|id| id.start > now);
        fill(tx, &open.collect::<Vec<_>>(), now).await?;
    }
    failpoint!("event_update.before_commit");
    Ok(Ok(event))
}

/// Gives seats that have come free to those who wait.
async fn fill(tx: &mut TenantTx<'_>, ids: &[OccurrenceId], now: DateTime<Utc>) -> Result<()> {
    let starts_at = |event: &Event, start| event.schedule.starts_at(start);
    for some in ids.chunks(LISTS_AT_ONCE) {
        let some_of = some.iter().copied().collect();
        let seats = tx.reader().seats_of(some_of, &[], now, &starts_at).await?;
        let fill_all = |seats: &mut Seats| some.iter().for_each(|id| seats.fill(*id));
        let (seats, ()) = with_waiters(tx, seats, fill_all).await?;
        tx.write_seats(&seats).await?;
    }
    Ok(())
}

/// Gives back what one transaction can; the rest is recorded, and returned.
async fn start_mass_cancellation(
    tx: &mut TenantTx<'_>,
    store: &crate::store::Store,
    cancellation: MassCancellation,
    held: i64,
    now: DateTime<Utc>,
) -> Result<Option<MassCancellation>> {
    if held <= i64::from(mass_cancellation::BATCH) {
        mass_cancellation::cancel_batch_in(tx, &cancellation, now, mass_cancellation::BATCH)
            .await?;
        return Ok(None);
    }
    store.insert_mass_cancellation(tx.transaction(), &cancellation).await?;
    Ok(Some(cancellation))
}

fn below_taken(kept: &[Occurrence], capacity: i64) -> Option<BookingRefusal> {
    let fullest = kept.iter().max_by_key(|occurrence| occurrence.taken)?;
    let missing = fullest.taken - capacity;
    (missing > 0).then(|| {
        let start = fullest.id.start.to_rfc3339_opts(SecondsFormat::AutoSi, true);
        let taken = fullest.taken;
        BookingRefusal::new(
            RefusalCode::CapacityBelowTaken,
            format!(
                "The occurrence of {start} has {taken} seats taken: {missing} more than a capacity \
                 of {capacity}."
            ),
        )
    })
}

fn has_registrations(occurrences: &[Occurrence]) -> BookingRefusal {
    let held: Vec<i64> =
        occurrences.iter().map(|occurrence| occurrence.taken).filter(|taken| *taken > 0).collect();
    let (seats, times) = (held.iter().sum::<i64>(), held.len());
    BookingRefusal::new(
        RefusalCode::HasRegistrations,
        format!(
            "Registrations stand in the way: {seats} seat{} at {times} occurrence{} ahead.",
            if seats == 1 { "" } else { "s" },
            if times == 1 { "" } else { "s" },
        ),
    )
}
