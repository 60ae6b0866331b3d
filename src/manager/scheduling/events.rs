//! Creates, changes and deletes events without taking away seats that members have.

use std::sync::Arc;

use chrono::{DateTime, Duration, SecondsFormat, Utc};

use super::{BookingResult, EventInput, EventPatch, mass_changes, registrations::with_waiters};
use crate::{
    domain::{
        EventId, OrgId,
        scheduling::{
            BookingRefusal, Event, Occurrence, OccurrenceId, OccurrenceStatus, RefusalCode,
            Schedule, Seats,
        },
    },
    error::{Error, Result},
    failpoint,
    manager::{AdminContext, OrgContext, TenantManager},
    store::{
        tasks::{Task, Work},
        tenant::TenantTx,
    },
};

pub(in crate::manager) const NO_EVENT: Error = Error::NotFound("event");
/// The maximum number of events of a tenant, because listing a month's occurrences checks each.
const MAX_EVENTS: i64 = 10_000;
/// How many waiting lists, of at most 45 KB each, are read together.
const LISTS_AT_ONCE: usize = 50;

impl TenantManager {
    /// Creates an event.
    ///
    /// # Errors
    /// [`Error::Validation`] if it would never take place; [`Error::LimitReached`] if the tenant
    /// has the maximum number of events.
    pub async fn event_create(&self, ctx: &AdminContext, input: EventInput) -> Result<Event> {
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
        self.tenant_write(ctx, "event.create", &event, |mut tx, event| {
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

    /// One event, unless it was deleted.
    pub async fn event_get(&self, ctx: &OrgContext, id: EventId) -> Result<Option<Event>> {
        self.tenant_read(ctx, "event.get", (), move |mut reader, ()| {
            Box::pin(async move { reader.event(id).await })
        })
        .await
    }

    /// At most `limit` events after `after`, oldest first.
    pub async fn event_list(
        &self,
        ctx: &OrgContext,
        after: Option<EventId>,
        limit: u32,
    ) -> Result<Vec<Event>> {
        self.tenant_read(ctx, "event.list", (), move |mut reader, ()| {
            Box::pin(async move { reader.events(after, limit).await })
        })
        .await
    }

    /// Changes an event, unless that would take away a registered seat or move it to another time.
    /// Added seats go to the waiting list.
    ///
    /// # Errors
    /// [`Error::NotFound`] if there is no such event; [`Error::Validation`] if the new schedule is
    /// invalid.
    pub async fn event_update(
        self: &Arc<Self>,
        ctx: &AdminContext,
        id: EventId,
        patch: EventPatch,
    ) -> Result<BookingResult<Event>> {
        let context = (&self.store, &self.clock, patch);
        let org = ctx.org_id();
        let lock = self.lock_seats(ctx).await?;
        let updated = self
            .tenant_write(ctx, "event.update", context, move |mut tx, (store, clock, patch)| {
                Box::pin(async move {
                    let (updated, more) = update_in(&mut tx, id, patch, clock.now()).await?;
                    let task = more.then(|| Task::new(org, Work::PromoteWaiting(id)));
                    if let Some(task) = &task {
                        store.insert_task(tx.transaction(), task).await?;
                    }
                    failpoint!("event_update.before_commit");
                    Ok((updated, task))
                })
            })
            .await?;
        drop(lock);
        failpoint!("event_update.after_commit");
        let (updated, task) = updated;
        if let Some(task) = task {
            // Members get their seats one batch after the other, and nobody overtakes them.
            self.run_task(task, None);
        }
        Ok(updated)
    }

    /// Deletes an event; `cancel` also cancels its upcoming registrations, which otherwise prevent
    /// the deletion. Past occurrences stay in the members' lists.
    ///
    /// # Errors
    /// [`Error::NotFound`] if there is no such event.
    pub async fn event_delete(
        self: &Arc<Self>,
        ctx: &AdminContext,
        id: EventId,
        cancel: bool,
    ) -> Result<BookingResult<Event>> {
        let org = ctx.org_id();
        let context = (&self.store, &self.clock);
        let lock = self.lock_seats(ctx).await?;
        let deleted = self
            .tenant_write(ctx, "event.delete", context, move |mut tx, (store, clock)| {
                Box::pin(async move {
                    let now = clock.now();
                    tx.claim_event_on_retry(id, now).await?;
                    let event = tx.reader().event(id).await?.ok_or(NO_EVENT)?;
                    let ahead = tx.reader().occurrences_of(id, now + ONE_MILLISECOND).await?;
                    let held: i64 = ahead.iter().map(|occurrence| occurrence.taken).sum();
                    if held > 0 && !cancel {
                        return Ok(Err(has_registrations(&ahead)));
                    }
                    tx.retire_event(&event).await?;
                    tx.count_events(-1).await?;
                    tx.cancel_occurrences(id, now + ONE_MILLISECOND).await?;
                    tx.clear_waiting(id, now).await?;
                    let from = OccurrenceId { start: now + ONE_MILLISECOND, event: id };
                    let remaining =
                        start_cancelling(&mut tx, store, (org, Work::CancelEvent(from)), held, now)
                            .await?;
                    failpoint!("event_delete.before_commit");
                    Ok(Ok((event, remaining)))
                })
            })
            .await?;
        drop(lock);
        failpoint!("event_delete.after_commit");
        match deleted {
            Err(refusal) => Ok(Err(refusal)),
            Ok((event, remaining)) => {
                self.finish_cancelling(ctx, remaining).await?;
                Ok(Ok(event))
            }
        }
    }

    /// Cancels one occurrence and its registrations; returns the cancelled occurrence and its
    /// event.
    ///
    /// # Errors
    /// [`Error::NotFound`] if there is no such occurrence; [`Error::OccurrencePast`] if it has
    /// started.
    pub async fn occurrence_cancel(
        self: &Arc<Self>,
        ctx: &AdminContext,
        id: OccurrenceId,
    ) -> Result<(Occurrence, Arc<Event>)> {
        let org = ctx.org_id();
        let context = (&self.store, &self.clock);
        let lock = self.lock_seats(ctx).await?;
        let (occurrence, event, remaining) = self
            .tenant_write(ctx, "occurrence.cancel", context, move |mut tx, (store, clock)| {
                Box::pin(async move {
                    let now = clock.now();
                    tx.claim_on_retry(std::iter::once(id)).await?;
                    let event = tx.reader().event(id.event).await?.ok_or(NO_OCCURRENCE)?;
                    let stored = tx.reader().occurrences_among(&[id]).await?;
                    let stored = stored.into_iter().flatten().next();
                    let exists = stored.is_some();
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
                    tx.put_occurrence(&cancelled, exists).await?;
                    tx.clear_waiting_of(&[id]).await?;
                    let remaining = start_cancelling(
                        &mut tx,
                        store,
                        (org, Work::CancelOccurrence(id)),
                        held,
                        now,
                    )
                    .await?;
                    failpoint!("occurrence_cancel.before_commit");
                    Ok((Occurrence { taken: 0, ..cancelled }, Arc::new(event), remaining))
                })
            })
            .await?;
        drop(lock);
        failpoint!("occurrence_cancel.after_commit");
        self.finish_cancelling(ctx, remaining).await?;
        Ok((occurrence, event))
    }

    async fn finish_cancelling(
        self: &Arc<Self>,
        ctx: &OrgContext,
        remaining: Option<Task>,
    ) -> Result<()> {
        match remaining {
            Some(task) => self.task_finish(task, self.large_work(ctx).deadline()).await,
            None => Ok(()),
        }
    }
}

const NO_OCCURRENCE: Error = Error::NotFound("occurrence");
/// Added to now, it leaves out an occurrence that starts at this millisecond: it has started.
const ONE_MILLISECOND: Duration = Duration::milliseconds(1);

/// Changes the event, and says whether there may be more free seats to give away than it gave.
async fn update_in(
    tx: &mut TenantTx<'_>,
    id: EventId,
    patch: &EventPatch,
    now: DateTime<Utc>,
) -> Result<(BookingResult<Event>, bool)> {
    let longest = Duration::minutes(Schedule::MAX_MINUTES.into());
    tx.claim_event_on_retry(id, now - longest).await?;
    let old = tx.reader().event(id).await?.ok_or(NO_EVENT)?;
    if patch.is_empty() {
        return Ok((Ok(old), false));
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
    let mut unfinished = tx.reader().occurrences_of(id, now - longest).await?;
    unfinished.retain(|occurrence| occurrence.end > now);
    if let Some(refusal) = below_taken(&unfinished, event.capacity) {
        return Ok((Err(refusal), false));
    }
    let displaced: Vec<Occurrence> =
        unfinished.iter().filter_map(|occurrence| occurrence.under(&event.schedule)).collect();
    if displaced.iter().any(|occurrence| occurrence.taken > 0) {
        return Ok((Err(has_registrations(&displaced)), false));
    }
    tx.put_occurrences(&displaced).await?;
    let displaced: Vec<_> = displaced.iter().map(|occurrence| occurrence.id).collect();
    tx.clear_waiting_of(&displaced).await?;
    tx.update_event(&event, now).await?;
    tx.count_events(0).await?;
    failpoint!("event_update.before_fill");
    let mut more = false;
    if event.capacity > old.capacity
        && let Some(next) = promote_some(tx, id, now, now).await?
    {
        more = unfinished.iter().any(|occurrence| occurrence.id.start > next);
    }
    Ok((Ok(event), more))
}

/// Gives free seats of an event's next occurrences after `after` to their waiting lists, as many as
/// one transaction should. Returns where to go on; `None` once there are no more occurrences.
pub(super) async fn promote_some(
    tx: &mut TenantTx<'_>,
    event: EventId,
    after: DateTime<Utc>,
    now: DateTime<Utc>,
) -> Result<Option<DateTime<Utc>>> {
    let from = after.max(now) + ONE_MILLISECOND;
    let open = tx.reader().occurrences_of(event, from).await?.into_iter();
    let open = open.filter(|occurrence| occurrence.left() > 0).map(|occurrence| occurrence.id);
    let open: Vec<OccurrenceId> = open.take(LISTS_AT_ONCE).collect();
    let Some(last) = open.last() else { return Ok(None) };
    let starts_at = |event: &Event, start| event.schedule.starts_at(start);
    let some = open.iter().copied().collect();
    let seats = tx.reader().seats_of(some, &[], now, &starts_at).await?;
    let fill = |seats: &mut Seats| {
        open.iter().fold(mass_changes::BATCH as usize, |most, id| most - seats.fill(*id, most))
    };
    let (seats, left) = with_waiters(tx, seats, fill).await?;
    tx.write_seats(&seats).await?;
    failpoint!("promotion.before_commit");
    Ok(Some(if left > 0 { last.start } else { after }))
}

/// Cancels the seats in this transaction if one batch is enough; otherwise records a task for it
/// and returns it.
async fn start_cancelling(
    tx: &mut TenantTx<'_>,
    store: &crate::store::Store,
    (org, work): (OrgId, Work),
    held: i64,
    now: DateTime<Utc>,
) -> Result<Option<Task>> {
    if held <= i64::from(mass_changes::BATCH) {
        mass_changes::cancel_batch_in(tx, &work, now, mass_changes::BATCH).await?;
        return Ok(None);
    }
    let task = Task::new(org, work);
    store.insert_task(tx.transaction(), &task).await?;
    Ok(Some(task))
}

fn below_taken(occurrences: &[Occurrence], capacity: i64) -> Option<BookingRefusal> {
    let fullest = occurrences.iter().max_by_key(|occurrence| occurrence.taken)?;
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
