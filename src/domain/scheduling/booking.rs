//! The rules of registering, cancelling and waiting for a seat, over plain data.
//!
//! [`Seats`] holds the part of a tenant that a batch of requests needs, as read in one transaction.
//! Settling requests changes the seats, and the transaction writes what has changed.

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

/// The part of a tenant that a batch of requests needs.
#[derive(Clone, Debug)]
pub struct Seats {
    /// The time of the batch.
    pub now: DateTime<Utc>,
    /// The occurrences; the entry of a missing occurrence has no value.
    pub occurrences: HashMap<OccurrenceId, Entry<Occurrence>>,
    /// Their waiting lists.
    pub waiting: HashMap<OccurrenceId, Entry<Vec<Waiter>>>,
    /// The members' registrations for them.
    pub registrations: HashMap<RegistrationId, Entry<Registration>>,
    /// The members' calendars.
    pub calendars: HashMap<AccountId, Entry<Calendar>>,
    /// Occurrences with a free seat that may belong to a waiting member who has not been read.
    cut_short: HashSet<OccurrenceId>,
}

/// The maximum length of a waiting list.
const MAX_WAITING: usize = 1_000;

impl Seats {
    /// An empty batch at the time `now`.
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

    /// The registrations that must be read before the outcomes are final: for each free seat that
    /// may belong to an unread waiting member, the next unread ones of the list, at most `many`. If
    /// the result is not empty, discard the outcomes, read these, and settle again.
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

    /// Applies one request and returns its outcome.
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

    /// Gives at most `most` free seats to waiting members, first come, first served, and returns how
    /// many: each seat goes to the first member without a conflicting registration. Stops at the
    /// first member who has not been read.
    pub fn fill(&mut self, id: OccurrenceId, most: usize) -> usize {
        let Some(occurrence) = self.occurrence(id).cloned() else { return 0 };
        let waiting = self.waiting.get(&id).and_then(Entry::get).cloned().unwrap_or_default();
        if waiting.is_empty() || occurrence.left() < 1 || self.closed(&occurrence).is_some() {
            return 0;
        }
        let many = waiting.len();
        let mut still = Vec::with_capacity(waiting.len());
        let mut given = 0;
        let mut waiting = waiting.into_iter();
        for waiter in waiting.by_ref() {
            let registration = RegistrationId { member: waiter.member, occurrence: id };
            let free =
                given < most && self.occurrence(id).is_some_and(|occurrence| occurrence.left() > 0);
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
            } else {
                given += 1;
            }
        }
        still.extend(waiting);
        if still.len() < many {
            put(&mut self.waiting, id, still);
        }
        given
    }

    fn register(
        &mut self,
        id: RegistrationId,
        occurrence: &Occurrence,
    ) -> Result<Outcome, BookingRefusal> {
        if self.confirmed(id).is_some() {
            let text = "The member is already registered for this occurrence.";
            return Err(BookingRefusal {
                conflicts_with: Some(id),
                ..BookingRefusal::new(RefusalCode::AlreadyRegistered, text)
            });
        }
        if let Some(refusal) = self.closed(occurrence) {
            return Err(refusal);
        }
        // Waiting members come first.
        self.fill(id.occurrence, usize::MAX);
        if let Some(registration) = self.confirmed(id) {
            return Ok(Outcome::Registered(registration.clone()));
        }
        // If this member is on the list and `fill` found no seat for them, `seat` finds none
        // either.
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
        self.fill(id.occurrence, usize::MAX);
        Ok(Outcome::Cancelled(cancelled))
    }

    fn join(
        &mut self,
        id: RegistrationId,
        occurrence: &Occurrence,
    ) -> Result<Outcome, BookingRefusal> {
        if self.confirmed(id).is_some() {
            let text = "The member is already registered for this occurrence.";
            return Err(BookingRefusal::new(RefusalCode::AlreadyRegistered, text));
        }
        if let Some(refusal) = self.closed(occurrence) {
            return Err(refusal);
        }
        let mut waiting = self.waiting.get(&id.occurrence).and_then(Entry::get).cloned();
        let list = waiting.get_or_insert_default();
        if list.iter().any(|waiter| waiter.member == id.member) {
            let text = "The member is already on the waiting list.";
            return Err(BookingRefusal::new(RefusalCode::AlreadyWaiting, text));
        }
        if occurrence.left() > 0 {
            let text = "There are seats left: register instead.";
            return Err(BookingRefusal::new(RefusalCode::SeatsAvailable, text));
        }
        if list.len() >= MAX_WAITING {
            let text = format!("The waiting list is full: {MAX_WAITING} members are waiting.");
            return Err(BookingRefusal::new(RefusalCode::WaitingListFull, text));
        }
        let waiter = Waiter { member: id.member, since: self.now };
        list.push(waiter);
        let position = list.len();
        put(&mut self.waiting, id.occurrence, waiting.unwrap_or_default());
        // Write these, too, so that this transaction conflicts with another process that frees a
        // seat or removes the member at the same time and would miss the new entry in the list.
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

    /// Takes a seat if one is free and the member has no conflicting registration.
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
            let text = format!("The member already has {} future registrations.", Calendar::MAX);
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

    /// Gives a seat back without a request, because the occurrence does not take place or the
    /// member was removed.
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

    /// Why the occurrence accepts no registrations, whether a seat is free or not.
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
    BookingRefusal::new(RefusalCode::OccurrencePast, "This occurrence has already started.")
}

fn put<K: Eq + Hash, T>(entries: &mut HashMap<K, Entry<T>>, key: K, value: T) {
    entries.entry(key).or_insert_with(Entry::missing).set(value);
}

#[cfg(test)]
#[path = "booking_tests.rs"]
mod tests;
