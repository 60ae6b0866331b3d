//! Who gets a seat: the rules of registering, cancelling and waiting, over plain data.
//!
//! [`Seats`] is the part of a tenant that a batch of requests is about, as one transaction has read
//! it. Settling changes the seats; what has changed is what the transaction writes.

mod entry;
mod request;

use std::{
    collections::{HashMap, HashSet},
    hash::Hash,
};

use chrono::{DateTime, Utc};

pub use self::{
    entry::Entry,
    request::{Ask, BookingRefusal, Outcome, Request},
};
use super::{
    Busy, Calendar, Occurrence, OccurrenceId, OccurrenceStatus, RefusalCode, Registration,
    RegistrationId, RegistrationStatus, Waiter,
};
use crate::domain::AccountId;

/// The part of a tenant that a batch of requests is about.
#[derive(Clone, Debug)]
pub struct Seats {
    /// The moment of the batch.
    pub now: DateTime<Utc>,
    /// The occurrences; one that does not exist has no value.
    pub occurrences: HashMap<OccurrenceId, Entry<Occurrence>>,
    /// Who waits for them.
    pub waiting: HashMap<OccurrenceId, Entry<Vec<Waiter>>>,
    /// The members' registrations for them.
    pub registrations: HashMap<RegistrationId, Entry<Registration>>,
    /// The members' calendars.
    pub calendars: HashMap<AccountId, Entry<Calendar>>,
    /// Where a free seat may belong to somebody who waits and was not read.
    cut_short: HashSet<OccurrenceId>,
}

/// The most that may wait for one occurrence.
const MAX_WAITING: usize = 1_000;

impl Seats {
    /// No seats yet, as of that moment.
    #[must_use]
    pub fn new(now: DateTime<Utc>) -> Self {
        Self {
            now,
            occurrences: HashMap::new(),
            waiting: HashMap::new(),
            registrations: HashMap::new(),
            calendars: HashMap::new(),
            cut_short: HashSet::new(),
        }
    }

    /// Who has to be read before it is known how this is settled: wherever a free seat may belong to
    /// somebody who waits and has not been read, the next ones of the list, at most `many`. While
    /// there are any, what was settled does not count.
    #[must_use]
    pub fn unread(&self, many: usize) -> Vec<RegistrationId> {
        let waiters = |occurrence: &OccurrenceId| {
            let waiting = self.waiting.get(occurrence).and_then(Entry::get);
            let occurrence = *occurrence;
            let ids = waiting.into_iter().flatten();
            let ids = ids.map(move |waiter| RegistrationId { member: waiter.member, occurrence });
            ids.filter(|id| !self.knows(*id)).take(many)
        };
        self.cut_short.iter().flat_map(waiters).collect()
    }

    /// Answers one request and does what it asks for.
    pub fn settle(&mut self, request: Request) -> Outcome {
        let id = request.id;
        let Some(occurrence) = self.occurrence(id.occurrence).cloned() else {
            return Outcome::Unknown;
        };
        if matches!(request.ask, Ask::Register | Ask::Join) && self.gone(id.member) {
            return Outcome::Gone;
        }
        let settled = match request.ask {
            Ask::Register => self.register(id, &occurrence),
            Ask::Cancel => self.cancel(id, &occurrence),
            Ask::Join => self.join(id, &occurrence),
            Ask::Leave => self.leave(id),
        };
        settled.unwrap_or_else(Outcome::Refused)
    }

    /// Gives free seats to those who wait, first come, first served: a seat goes to the first for
    /// whom it overlaps with nothing. It ends at who was not read.
    pub fn fill(&mut self, id: OccurrenceId) {
        let Some(occurrence) = self.occurrence(id).cloned() else { return };
        let waiting = self.waiting.get(&id).and_then(Entry::get).cloned().unwrap_or_default();
        if waiting.is_empty() || occurrence.left() < 1 || self.closed(&occurrence).is_some() {
            return;
        }
        let many = waiting.len();
        let mut still = Vec::with_capacity(waiting.len());
        let mut waiting = waiting.into_iter();
        for waiter in waiting.by_ref() {
            let registration = RegistrationId { member: waiter.member, occurrence: id };
            let free = self.occurrence(id).is_some_and(|occurrence| occurrence.left() > 0);
            let known = self.knows(registration);
            if free && !known {
                self.cut_short.insert(id);
            }
            if !free || !known {
                still.push(waiter);
                break;
            }
            if self.gone(waiter.member) || self.seat(registration, &occurrence).is_err() {
                still.push(waiter);
            }
        }
        still.extend(waiting);
        if still.len() < many {
            put(&mut self.waiting, id, still);
        }
    }

    fn register(
        &mut self,
        id: RegistrationId,
        occurrence: &Occurrence,
    ) -> Result<Outcome, BookingRefusal> {
        if self.confirmed(id).is_some() {
            let text = "The member is registered for this occurrence already.";
            return Err(BookingRefusal {
                conflicts_with: Some(id),
                ..BookingRefusal::new(RefusalCode::AlreadyRegistered, text)
            });
        }
        if let Some(refusal) = self.closed(occurrence) {
            return Err(refusal);
        }
        // Who waits was here before.
        self.fill(id.occurrence);
        if let Some(registration) = self.confirmed(id) {
            return Ok(Outcome::Registered(registration.clone()));
        }
        // Somebody on the list for whom that found no seat finds none here either.
        Ok(Outcome::Registered(self.seat(id, occurrence)?))
    }

    fn cancel(
        &mut self,
        id: RegistrationId,
        occurrence: &Occurrence,
    ) -> Result<Outcome, BookingRefusal> {
        let Some(held) = self.confirmed(id).cloned() else {
            let text = "The member is not registered for this occurrence.";
            return Err(BookingRefusal::new(RefusalCode::NotRegistered, text));
        };
        if occurrence.id.start <= self.now {
            return Err(past());
        }
        let cancelled = self.give_back(&held);
        self.fill(id.occurrence);
        Ok(Outcome::Cancelled(cancelled))
    }

    fn join(
        &mut self,
        id: RegistrationId,
        occurrence: &Occurrence,
    ) -> Result<Outcome, BookingRefusal> {
        if self.confirmed(id).is_some() {
            let text = "The member is registered for this occurrence already.";
            return Err(BookingRefusal::new(RefusalCode::AlreadyRegistered, text));
        }
        if let Some(refusal) = self.closed(occurrence) {
            return Err(refusal);
        }
        let mut waiting = self.waiting.get(&id.occurrence).and_then(Entry::get).cloned();
        let list = waiting.get_or_insert_default();
        if list.iter().any(|waiter| waiter.member == id.member) {
            let text = "The member is on the waiting list already.";
            return Err(BookingRefusal::new(RefusalCode::AlreadyWaiting, text));
        }
        if occurrence.left() > 0 {
            let text = "There are seats left: register instead.";
            return Err(BookingRefusal::new(RefusalCode::SeatsAvailable, text));
        }
        if list.len() >= MAX_WAITING {
            let text = format!("The waiting list is full: {MAX_WAITING} wait already.");
            return Err(BookingRefusal::new(RefusalCode::WaitingListFull, text));
        }
        let waiter = Waiter { member: id.member, since: self.now };
        list.push(waiter);
        let position = list.len();
        put(&mut self.waiting, id.occurrence, waiting.unwrap_or_default());
        // These are written, too, so that a seat that another process frees at this moment cannot
        // miss the new one in the list, and neither can the removal of the member.
        put(&mut self.occurrences, id.occurrence, occurrence.clone());
        let calendar = self.calendar(id.member);
        put(&mut self.calendars, id.member, calendar);
        Ok(Outcome::Waiting(position, waiter))
    }

    fn leave(&mut self, id: RegistrationId) -> Result<Outcome, BookingRefusal> {
        if self.drop_waiter(id) {
            Ok(Outcome::Left)
        } else {
            let text = "The member is not on the waiting list.";
            Err(BookingRefusal::new(RefusalCode::NotWaiting, text))
        }
    }

    /// Takes a seat, if there is one and the member is free.
    fn seat(
        &mut self,
        id: RegistrationId,
        occurrence: &Occurrence,
    ) -> Result<Registration, BookingRefusal> {
        let mut calendar = self.calendar(id.member);
        let busy = Busy { occurrence: id.occurrence, end: occurrence.end };
        if let Err(conflict) = calendar.take(busy, self.now) {
            let text = "The member is registered for something else at that time.";
            let with = RegistrationId { member: id.member, occurrence: conflict };
            return Err(BookingRefusal {
                conflicts_with: Some(with),
                ..BookingRefusal::new(RefusalCode::TimeConflict, text)
            });
        }
        if calendar.ahead(self.now) > Calendar::MAX {
            let text = format!("The member has {} registrations ahead already.", Calendar::MAX);
            return Err(BookingRefusal::new(RefusalCode::TooManyRegistrations, text));
        }
        if self.occurrence(id.occurrence).is_none_or(|occurrence| occurrence.left() < 1) {
            let text = "Every seat of this occurrence is taken.";
            return Err(BookingRefusal::new(RefusalCode::EventFull, text));
        }
        let registration = Registration {
            id,
            end: occurrence.end,
            status: RegistrationStatus::Confirmed,
            created_at: self.now,
            cancelled_at: None,
        };
        put(&mut self.calendars, id.member, calendar);
        put(&mut self.registrations, id, registration.clone());
        self.count(id.occurrence, 1);
        Ok(registration)
    }

    /// Gives a seat back without being asked: the occurrence does not take place, or the member has
    /// gone.
    pub fn release(&mut self, id: RegistrationId) {
        if let Some(held) = self.confirmed(id).cloned() {
            self.give_back(&held);
        }
    }

    fn give_back(&mut self, held: &Registration) -> Registration {
        let id = held.id;
        let cancelled = Registration {
            status: RegistrationStatus::Cancelled,
            cancelled_at: Some(self.now),
            ..held.clone()
        };
        put(&mut self.registrations, id, cancelled.clone());
        let mut calendar = self.calendar(id.member);
        calendar.free(id.occurrence);
        put(&mut self.calendars, id.member, calendar);
        self.count(id.occurrence, -1);
        cancelled
    }

    /// Whether the member's registration and calendar were read.
    fn knows(&self, id: RegistrationId) -> bool {
        self.registrations.contains_key(&id) && self.calendars.contains_key(&id.member)
    }

    /// Why nobody can take a seat any more, whether one is free or not.
    fn closed(&self, occurrence: &Occurrence) -> Option<BookingRefusal> {
        if occurrence.status != OccurrenceStatus::Scheduled {
            let text = "This occurrence was cancelled.";
            return Some(BookingRefusal::new(RefusalCode::OccurrenceCancelled, text));
        }
        (occurrence.id.start <= self.now).then(past)
    }

    fn occurrence(&self, id: OccurrenceId) -> Option<&Occurrence> {
        self.occurrences.get(&id).and_then(Entry::get)
    }

    fn calendar(&self, member: AccountId) -> Calendar {
        self.calendars.get(&member).and_then(Entry::get).cloned().unwrap_or_default()
    }

    /// Whether the member was removed.
    fn gone(&self, member: AccountId) -> bool {
        self.calendars.get(&member).and_then(Entry::get).is_some_and(Calendar::is_closed)
    }

    fn confirmed(&self, id: RegistrationId) -> Option<&Registration> {
        let found = self.registrations.get(&id).and_then(Entry::get);
        found.filter(|found| found.status == RegistrationStatus::Confirmed)
    }

    fn count(&mut self, id: OccurrenceId, by: i64) {
        if let Some(occurrence) = self.occurrence(id).cloned() {
            let taken = occurrence.taken + by;
            put(&mut self.occurrences, id, Occurrence { taken, ..occurrence });
        }
    }

    fn drop_waiter(&mut self, id: RegistrationId) -> bool {
        let Some(list) = self.waiting.get(&id.occurrence).and_then(Entry::get) else {
            return false;
        };
        let mut still = list.clone();
        still.retain(|waiter| waiter.member != id.member);
        let waited = still.len() < list.len();
        if waited {
            put(&mut self.waiting, id.occurrence, still);
        }
        waited
    }
}

fn past() -> BookingRefusal {
    BookingRefusal::new(RefusalCode::OccurrencePast, "This occurrence has started already.")
}

fn put<K: Eq + Hash, T>(entries: &mut HashMap<K, Entry<T>>, key: K, value: T) {
    entries.entry(key).or_insert_with(Entry::missing).set(value);
}

#[cfg(test)]
#[path = "booking_tests.rs"]
mod tests;
