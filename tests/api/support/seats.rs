//! The stored seats of an organization, read directly from the database, and their rules.

use std::collections::{BTreeMap, BTreeSet};

use bson::{DateTime, Document, doc, oid::ObjectId};
use futures::TryStreamExt;
use mongodb::Collection;
use tenantry::domain::{Clock, SystemClock, scheduling::OccurrenceId};

use super::{Database, Org, eventually};

/// An occurrence: its event and start.
type Place = (ObjectId, DateTime);

/// All stored documents about seats.
#[derive(Debug, Default)]
pub struct Seats {
    /// Seats taken, capacity, end, and whether it is still scheduled.
    occurrences: BTreeMap<Place, (i64, i64, DateTime, bool)>,
    /// Whether the member holds a seat.
    registrations: BTreeMap<(Place, ObjectId), bool>,
    /// The same, as stored for the occurrence.
    attendees: BTreeMap<(Place, ObjectId), bool>,
    /// Start, end and event of each entry of a member's calendar.
    calendars: BTreeMap<ObjectId, Vec<(DateTime, DateTime, ObjectId)>>,
    waiting: BTreeMap<Place, Vec<ObjectId>>,
    accounts: BTreeSet<ObjectId>,
    seat_tasks: u64,
}

impl Database {
    /// The organization's current collection.
    pub async fn tenant_of(&self, org: &Org) -> Collection<Document> {
        let id = doc! { "_id": ObjectId::parse_str(&org.id).unwrap() };
        let found = self.master("organizations").await.find_one(id).await.unwrap().unwrap();
        let location = found.get_document("location").unwrap();
        self.tenant(location.get_str("collection").unwrap()).await
    }

    /// The organization's stored seats.
    pub async fn seats(&self, org: &Org) -> Seats {
        let mut seats = Seats::default();
        let mut documents = self.tenant_of(org).await.find(doc! {}).await.unwrap();
        while let Some(document) = documents.try_next().await.unwrap() {
            seats.take(&document);
        }
        let accounts = self.master("accounts").await.distinct("_id", doc! {}).await.unwrap();
        seats.accounts = accounts.iter().filter_map(bson::Bson::as_object_id).collect();
        seats.seat_tasks = self.seat_tasks().await;
        seats
    }

    /// Waits until no task is left.
    pub async fn no_tasks(&self) {
        eventually("the end of all tasks", || async {
            self.master("tasks").await.count_documents(doc! {}).await.unwrap() == 0
        })
        .await;
    }

    /// How many tasks change seats.
    pub async fn seat_tasks(&self) -> u64 {
        let filter = doc! { "exclusive": { "$exists": false } };
        self.master("tasks").await.count_documents(filter).await.unwrap()
    }
}

impl Seats {
    fn take(&mut self, document: &Document) {
        let key = document.get_document("_id").unwrap();
        let date = |name| *key.get_datetime(name).unwrap();
        let place = || (key.get_object_id("event").unwrap(), date("start"));
        let ends_at = || *document.get_datetime("ends_at").unwrap();
        let held = || document.get_str("status").unwrap() == "confirmed";
        match key.get_str("kind").unwrap() {
            "occurrence" => {
                let number = |name| document.get_i64(name).unwrap();
                let takes_place = document.get_str("status").unwrap() == "scheduled";
                let facts = (number("seats_taken"), number("capacity"), ends_at(), takes_place);
                self.occurrences.insert(place(), facts);
            }
            "registration" => {
                self.registrations.insert((place(), key.get_object_id("member").unwrap()), held());
            }
            "attendee" => {
                self.attendees.insert((place(), key.get_object_id("member").unwrap()), held());
            }
            "calendar" => {
                let busy = document.get_array("busy").unwrap().iter().map(|busy| {
                    let busy = busy.as_document().unwrap();
                    let date = |name| *busy.get_datetime(name).unwrap();
                    (date("start"), date("end"), busy.get_object_id("event").unwrap())
                });
                self.calendars.insert(key.get_object_id("member").unwrap(), busy.collect());
            }
            "waiting" => {
                let members = document.get_array("members").unwrap().iter();
                let members = members.map(|waiter| waiter.as_document().unwrap());
                let members = members.map(|waiter| waiter.get_object_id("member").unwrap());
                self.waiting.insert(place(), members.collect());
            }
            _ => {}
        }
    }

    /// The number of registrations at the occurrence, and its own count of taken seats.
    pub fn at(&self, occurrence: &str) -> (usize, i64) {
        let place = place_of(occurrence);
        let held = self.registrations.iter().filter(|((at, _), held)| *at == place && **held);
        (held.count(), self.occurrences.get(&place).map_or(0, |occurrence| occurrence.0))
    }

    /// Whether the member holds a seat at the occurrence.
    pub fn holds(&self, occurrence: &str, member: &str) -> bool {
        let member = ObjectId::parse_str(member).unwrap();
        self.registrations.get(&(place_of(occurrence), member)).copied().unwrap_or_default()
    }

    /// Whether the occurrence was not cancelled.
    pub fn takes_place(&self, occurrence: &str) -> bool {
        self.occurrences.get(&place_of(occurrence)).is_some_and(|occurrence| occurrence.3)
    }

    /// Occurrences with both free seats and waiting members.
    pub fn left_waiting(&self) -> Vec<(Place, &Vec<ObjectId>)> {
        let free = |place: &Place| self.occurrences[place].0 < self.occurrences[place].1;
        let waiting = self.waiting.iter().filter(|(place, who)| !who.is_empty() && free(place));
        waiting.map(|(place, who)| (*place, who)).collect()
    }

    /// The number of waiting lists.
    pub fn lists(&self) -> usize {
        self.waiting.len()
    }

    /// The number of seats that the member holds.
    pub fn of(&self, member: &str) -> usize {
        let member = ObjectId::parse_str(member).unwrap();
        self.registrations.iter().filter(|((_, who), held)| *who == member && **held).count()
    }

    /// Asserts that the documents are consistent.
    #[track_caller]
    pub fn assert_sound(&self) {
        let flaws = self.flaws();
        assert!(flaws.is_empty(), "{flaws:#?}");
    }

    /// The broken rules.
    pub fn flaws(&self) -> Vec<String> {
        let mut flaws = Vec::new();
        if self.registrations != self.attendees {
            flaws.push("registrations and attendees differ".to_owned());
        }
        if self.seat_tasks > 0 {
            flaws.push(format!("{} tasks are left", self.seat_tasks));
        }
        self.check_seats(&mut flaws);
        self.check_calendars(&mut flaws);
        for (place, members) in &self.waiting {
            let different: BTreeSet<_> = members.iter().collect();
            if different.len() < members.len() {
                flaws.push(format!("a member waits twice for {place:?}"));
            }
            for member in different {
                if self.registrations.get(&(*place, *member)) == Some(&true) {
                    flaws.push(format!("{member} waits for {place:?} and has a seat"));
                }
                if !self.accounts.contains(member) {
                    flaws.push(format!("{member} waits for {place:?}, but the account is deleted"));
                }
            }
        }
        flaws
    }

    fn check_seats(&self, flaws: &mut Vec<String>) {
        let mut held: BTreeMap<Place, i64> = BTreeMap::new();
        for ((place, _), _) in self.registrations.iter().filter(|(_, held)| **held) {
            *held.entry(*place).or_default() += 1;
        }
        for (place, (taken, capacity, _, takes_place)) in &self.occurrences {
            let seats = held.remove(place).unwrap_or_default();
            if *taken != seats {
                flaws.push(format!("{place:?} counts {taken} seats, but {seats} are held"));
            }
            if !(0..=*capacity).contains(taken) || seats > *capacity {
                flaws.push(format!("{place:?} has {capacity} seats, but {taken} are taken"));
            }
            if !takes_place && seats > 0 {
                flaws.push(format!("{place:?} was cancelled, but {seats} seats are held"));
            }
        }
        flaws.extend(
            held.keys().map(|place| format!("seats are held at {place:?}, which does not exist")),
        );
    }

    fn check_calendars(&self, flaws: &mut Vec<String>) {
        let now = DateTime::from_chrono(SystemClock.now());
        let mut ahead: BTreeMap<ObjectId, Vec<_>> = BTreeMap::new();
        for ((place, member), _) in self.registrations.iter().filter(|(_, held)| **held) {
            let Some((_, _, end, _)) = self.occurrences.get(place) else { continue };
            if *end > now {
                ahead.entry(*member).or_default().push((place.1, *end, place.0));
                if !self.accounts.contains(member) {
                    flaws.push(format!("{member} holds a seat, but the account is deleted"));
                }
            }
        }
        for (member, busy) in &self.calendars {
            let mut held = ahead.remove(member).unwrap_or_default();
            held.sort_unstable();
            let busy_ahead: Vec<_> = busy.iter().copied().filter(|busy| busy.1 > now).collect();
            if busy_ahead != held {
                flaws.push(format!("{member} is busy with {busy_ahead:?}, but holds {held:?}"));
            }
            if busy.windows(2).any(|pair| pair[0].1 > pair[1].0) {
                flaws.push(format!("{member} is in two places at once: {busy:?}"));
            }
        }
        flaws.extend(ahead.keys().map(|member| format!("{member} has no calendar")));
    }
}

fn place_of(occurrence: &str) -> Place {
    let id: OccurrenceId = occurrence.parse().unwrap();
    (id.event.object_id(), DateTime::from_chrono(id.start))
}
