//! Tests booking against a naive model that stores only seats and waiting lists.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use bson::oid::ObjectId;
use chrono::{DateTime, Duration, Utc};
use proptest::prelude::*;

use super::*;
use crate::domain::EventId;

const MEMBERS: u8 = 5;
/// The last occurrence does not exist.
const OCCURRENCES: u8 = 6;

/// The stored documents, as in the database.
#[derive(Default)]
struct Stored {
    occurrences: HashMap<OccurrenceId, Occurrence>,
    waiting: HashMap<OccurrenceId, Vec<Waiter>>,
    registrations: HashMap<RegistrationId, Registration>,
    calendars: HashMap<AccountId, Calendar>,
}

/// The same state without redundancy.
#[derive(Default)]
struct Model {
    seats: BTreeSet<(u8, u8)>,
    waiting: BTreeMap<u8, Vec<u8>>,
}

#[derive(Clone, Debug)]
enum Step {
    Batch(Vec<(u8, u8, Ask)>),
    Pass(i64),
}

fn time(minutes: i64) -> DateTime<Utc> {
    DateTime::UNIX_EPOCH + Duration::days(20_000) + Duration::minutes(minutes)
}

fn member(number: u8) -> AccountId {
    ObjectId::from_bytes([number; 12]).into()
}

/// Start and end in minutes, and the number of seats. The first ones overlap in a chain; the third
/// only touches the second.
fn plan(number: u8) -> (i64, i64, i64) {
    [(60, 120, 1), (90, 150, 2), (150, 210, 1), (140, 300, 3), (60, 120, 1), (0, 1, 1)]
        [usize::from(number)]
}

fn occurrence(number: u8) -> Occurrence {
    let (start, end, capacity) = plan(number);
    let event: EventId = ObjectId::from_bytes([100 + number; 12]).into();
    let cancelled = number == 4;
    Occurrence {
        id: OccurrenceId { start: time(start), event },
        end: time(end),
        capacity,
        taken: 0,
        status: if cancelled { OccurrenceStatus::Cancelled } else { OccurrenceStatus::Scheduled },
    }
}

fn registration(who: u8, what: u8) -> RegistrationId {
    RegistrationId { member: member(who), occurrence: occurrence(what).id }
}

fn every_registration() -> impl Iterator<Item = RegistrationId> {
    (0..MEMBERS).flat_map(|who| (0..OCCURRENCES).map(move |what| registration(who, what)))
}

impl Stored {
    fn seats(&self, now: DateTime<Utc>) -> Seats {
        let mut seats = Seats::new(now);
        for number in 0..OCCURRENCES {
            let id = occurrence(number).id;
            let stored = self.occurrences.get(&id).cloned().map(Entry::stored);
            let exists = number + 1 < OCCURRENCES;
            let new = if exists { Entry::implied(occurrence(number)) } else { Entry::missing() };
            seats.occurrences.insert(id, stored.unwrap_or(new));
            seats.waiting.insert(id, entry(self.waiting.get(&id)));
        }
        for id in every_registration() {
            seats.registrations.insert(id, entry(self.registrations.get(&id)));
            seats.calendars.insert(id.member, entry(self.calendars.get(&id.member)));
        }
        seats
    }

    /// Settles with only the requesting members read at first, then reads the others that are
    /// needed, `many` of each list at a time.
    fn settle(
        &self,
        now: DateTime<Utc>,
        requests: &[Request],
        many: usize,
    ) -> (Seats, Vec<Outcome>) {
        let (whole, mut known) = (self.seats(now), self.seats(now));
        let requested = |id: &RegistrationId| requests.iter().any(|request| request.id == *id);
        let requests_any =
            |who: &AccountId| requests.iter().any(|request| request.id.member == *who);
        known.registrations.retain(|id, _| requested(id));
        known.calendars.retain(|member, _| requests_any(member));
        loop {
            let mut seats = known.clone();
            let outcomes = requests.iter().map(|request| seats.settle(*request)).collect();
            let unread = seats.unread(many);
            if unread.is_empty() {
                return (seats, outcomes);
            }
            for id in unread {
                known.registrations.insert(id, whole.registrations[&id].clone());
                let calendar = whole.calendars[&id.member].clone();
                known.calendars.entry(id.member).or_insert(calendar);
            }
        }
    }

    /// Writes only what has changed.
    fn write(&mut self, seats: &Seats) {
        write(&mut self.occurrences, &seats.occurrences);
        write(&mut self.waiting, &seats.waiting);
        write(&mut self.registrations, &seats.registrations);
        write(&mut self.calendars, &seats.calendars);
    }
}

fn entry<T: Clone>(stored: Option<&T>) -> Entry<T> {
    stored.cloned().map_or_else(Entry::missing, Entry::stored)
}

fn write<K: Copy + Eq + Hash, T: Clone>(
    stored: &mut HashMap<K, T>,
    entries: &HashMap<K, Entry<T>>,
) {
    for (key, entry) in entries {
        if let Some((value, insert)) = entry.change() {
            assert_eq!(
                insert,
                !stored.contains_key(key),
                "must insert exactly if the document is not stored"
            );
            stored.insert(*key, value.clone());
        }
    }
}

impl Model {
    fn conflict(&self, who: u8, what: u8) -> Option<u8> {
        let (start, end, _) = plan(what);
        let overlaps = |other: &u8| plan(*other).0 < end && start < plan(*other).1;
        self.held(who).find(overlaps)
    }

    fn held(&self, who: u8) -> impl Iterator<Item = u8> {
        self.seats.iter().filter(move |(w, _)| *w == who).map(|(_, what)| *what)
    }

    fn free(&self, what: u8) -> bool {
        let taken = self.seats.iter().filter(|(_, w)| *w == what).count();
        i64::try_from(taken).unwrap() < plan(what).2
    }

    fn waits(&self, who: u8, what: u8) -> bool {
        self.waiting.get(&what).is_some_and(|list| list.contains(&who))
    }

    fn closed(what: u8, now: DateTime<Utc>) -> Option<RefusalCode> {
        match occurrence(what) {
            Occurrence { status: OccurrenceStatus::Cancelled, .. } => {
                Some(RefusalCode::OccurrenceCancelled)
            }
            Occurrence { id, .. } if id.start <= now => Some(RefusalCode::OccurrencePast),
            _ => None,
        }
    }

    fn sit(&mut self, who: u8, what: u8) {
        self.seats.insert((who, what));
        self.waiting.entry(what).or_default().retain(|waiter| *waiter != who);
    }

    /// Gives a seat to the first member who can take one, until no one can.
    fn fill(&mut self, what: u8, now: DateTime<Utc>) {
        while Self::closed(what, now).is_none() && self.free(what) {
            let waiting = self.waiting.get(&what).cloned().unwrap_or_default();
            let Some(who) = waiting.into_iter().find(|who| self.conflict(*who, what).is_none())
            else {
                return;
            };
            self.sit(who, what);
        }
    }

    /// Applies a request; returns the refusal code if it is refused.
    fn settle(&mut self, who: u8, what: u8, ask: Ask, now: DateTime<Utc>) -> Option<RefusalCode> {
        let (sits, waits) = (self.seats.contains(&(who, what)), self.waits(who, what));
        match ask {
            Ask::Register | Ask::Join if sits => Some(RefusalCode::AlreadyRegistered),
            Ask::Register | Ask::Join if Self::closed(what, now).is_some() => {
                Self::closed(what, now)
            }
            Ask::Register => {
                self.fill(what, now);
                if self.seats.contains(&(who, what)) {
                    return None;
                }
                if self.conflict(who, what).is_some() {
                    return Some(RefusalCode::TimeConflict);
                }
                if !self.free(what) {
                    return Some(RefusalCode::EventFull);
                }
                self.sit(who, what);
                None
            }
            Ask::Cancel if !sits => Some(RefusalCode::NotRegistered),
            Ask::Cancel if occurrence(what).id.start <= now => Some(RefusalCode::OccurrencePast),
            Ask::Cancel => {
                self.seats.remove(&(who, what));
                self.fill(what, now);
                None
            }
            Ask::Join if waits => Some(RefusalCode::AlreadyWaiting),
            Ask::Join if self.free(what) => Some(RefusalCode::SeatsAvailable),
            Ask::Join => {
                self.waiting.entry(what).or_default().push(who);
                None
            }
            Ask::Leave if !waits => Some(RefusalCode::NotWaiting),
            Ask::Leave => {
                self.waiting.entry(what).or_default().retain(|waiter| *waiter != who);
                None
            }
        }
    }
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let ask = prop_oneof![
        5 => Just(Ask::Register),
        3 => Just(Ask::Cancel),
        4 => Just(Ask::Join),
        1 => Just(Ask::Leave),
    ];
    let request = (0..MEMBERS, 0..OCCURRENCES, ask);
    let step = prop_oneof![
        12 => prop::collection::vec(request, 1..5).prop_map(Step::Batch),
        1 => (1_i64..40).prop_map(Step::Pass),
    ];
    prop::collection::vec(step, 1..40)
}

/// Checks the invariants of the stored documents, and compares them with the model.
fn check(stored: &Stored, model: &Model, now: DateTime<Utc>) {
    let confirmed: BTreeSet<RegistrationId> = (stored.registrations.values())
        .filter(|registration| registration.status == RegistrationStatus::Confirmed)
        .map(|registration| registration.id)
        .collect();
    let expected = model.seats.iter().map(|(who, what)| registration(*who, *what)).collect();
    assert_eq!(confirmed, expected);
    for number in 0..OCCURRENCES {
        let implied = occurrence(number);
        let found = stored.occurrences.get(&implied.id).unwrap_or(&implied);
        let seated = confirmed.iter().filter(|id| id.occurrence == implied.id).count();
        assert_eq!(found.taken, i64::try_from(seated).unwrap());
        assert!((0..=found.capacity).contains(&found.taken));
        let list = stored.waiting.get(&implied.id).map_or(&[][..], Vec::as_slice);
        let waiting: Vec<AccountId> = list.iter().map(|waiter| waiter.member).collect();
        let expected = model.waiting.get(&number).map_or(&[][..], Vec::as_slice);
        assert_eq!(waiting, expected.iter().map(|who| member(*who)).collect::<Vec<_>>());
        for who in waiting {
            assert!(!confirmed.contains(&RegistrationId { member: who, occurrence: implied.id }));
        }
    }
    for who in (0..MEMBERS).map(member) {
        let busy = stored.calendars.get(&who).map_or(&[][..], Calendar::busy);
        assert!(busy.windows(2).all(|pair| pair[0].end <= pair[1].occurrence.start));
        let ahead: BTreeSet<OccurrenceId> =
            busy.iter().filter(|busy| busy.end > now).map(|busy| busy.occurrence).collect();
        let held = confirmed.iter().filter(|id| id.member == who);
        let held = held.filter(|id| stored.registrations[id].end > now).map(|id| id.occurrence);
        assert_eq!(ahead, held.collect());
    }
}

/// Compares the outcome of a request with the model's.
fn compare(outcome: &Outcome, refusal: Option<RefusalCode>, who: u8, what: u8, model: &Model) {
    let id = registration(who, what);
    match outcome {
        Outcome::Refused(refused) => {
            assert_eq!(Some(refused.code), refusal, "{refused:?}");
            match (refused.code, refused.conflicts_with) {
                (RefusalCode::TimeConflict, Some(with)) => {
                    let held = |(who, what): &(u8, u8)| registration(*who, *what) == with;
                    assert!(with.member == id.member && model.seats.iter().any(held));
                }
                (RefusalCode::TimeConflict, None) => {
                    panic!("a time conflict must name the other registration")
                }
                (_, with) => assert!(with.is_none_or(|with| with == id)),
            }
        }
        Outcome::Registered(done) | Outcome::Cancelled(done) => {
            assert_eq!((done.id, refusal), (id, None));
        }
        Outcome::Waiting(place, waiter) => {
            assert_eq!((waiter.member, refusal), (id.member, None));
            assert_eq!(model.waiting[&what].get(place - 1), Some(&who));
        }
        Outcome::Left => assert_eq!(refusal, None),
        Outcome::Unknown | Outcome::Gone => panic!("the member and the occurrence exist"),
    }
}

proptest! {
    #[test]
    fn booking_matches_a_naive_model(steps in steps(), many in 1_usize..4) {
        let (mut stored, mut model, mut now) = (Stored::default(), Model::default(), time(0));
        for step in steps {
            let requests = match step {
                Step::Pass(minutes) => {
                    now += Duration::minutes(minutes);
                    continue;
                }
                Step::Batch(requests) => requests,
            };
            let request = |(who, what, ask): &(u8, u8, Ask)| {
                Request { id: registration(*who, *what), ask: *ask }
            };
            let (seats, outcomes) =
                stored.settle(now, &requests.iter().map(request).collect::<Vec<_>>(), many);
            for ((who, what, ask), outcome) in requests.into_iter().zip(outcomes) {
                if what + 1 == OCCURRENCES {
                    prop_assert_eq!(outcome, Outcome::Unknown);
                    continue;
                }
                let refusal = model.settle(who, what, ask, now);
                compare(&outcome, refusal, who, what, &model);
                if let Outcome::Cancelled(_) = outcome {
                    let waits = model.waiting.get(&what).cloned().unwrap_or_default();
                    let could_sit = |who: &u8| model.conflict(*who, what).is_none();
                    prop_assert!(!model.free(what) || !waits.iter().any(could_sit));
                }
            }
            stored.write(&seats);
            check(&stored, &model, now);
        }
    }
}

#[test]
fn waiting_lists_and_calendars_are_limited() {
    let (full, now) = (occurrence(0), time(0));
    let mut stored = Stored::default();
    let others = (0..1_000_u16).map(|number| {
        let mut bytes = [200; 12];
        bytes[..2].copy_from_slice(&number.to_be_bytes());
        AccountId::from(ObjectId::from_bytes(bytes))
    });
    let list = others.map(|member| Waiter { member, since: now }).collect();
    stored.waiting.insert(full.id, list);
    stored.occurrences.insert(full.id, Occurrence { taken: 1, ..full.clone() });
    let busy = (0..1_000).map(|number| {
        let start = time(10_000 + number);
        let id = OccurrenceId { start, ..occurrence(1).id };
        Busy { occurrence: id, end: start + Duration::minutes(1) }
    });
    stored.calendars.insert(member(1), Calendar::from_stored(busy.collect(), false));
    let mut seats = stored.seats(now);
    let mut refusal =
        |who, what, ask| match seats.settle(Request { id: registration(who, what), ask }) {
            Outcome::Refused(refusal) => Some(refusal.code),
            _ => None,
        };
    assert_eq!(refusal(0, 0, Ask::Join), Some(RefusalCode::WaitingListFull));
    assert_eq!(refusal(1, 1, Ask::Register), Some(RefusalCode::TooManyRegistrations));
    assert_eq!(refusal(0, 1, Ask::Register), None);
}
