//! The invariants of events, seats and calendars, checked independently of the booking rules.

use std::collections::{HashMap, HashSet};

use chrono::{DateTime, Utc};

use super::{
    Calendar, Event, Occurrence, OccurrenceId, OccurrenceStatus, Registration, RegistrationId,
    RegistrationStatus, Waiter,
};
use crate::domain::{AccountId, EventId};

/// All documents of a tenant that concern seats.
#[derive(Debug, Default)]
pub struct Invariants {
    /// The events that are not deleted.
    pub events: HashMap<EventId, Event>,
    /// The tenant's stored event count.
    pub counted_events: i64,
    /// The stored occurrences.
    pub occurrences: HashMap<OccurrenceId, Occurrence>,
    /// The registrations by member.
    pub registrations: HashMap<RegistrationId, Registration>,
    /// The same by occurrence.
    pub attendees: HashMap<RegistrationId, Registration>,
    /// The calendars.
    pub calendars: HashMap<AccountId, Calendar>,
    /// The waiting lists.
    pub waiting: HashMap<OccurrenceId, Vec<Waiter>>,
}

impl Invariants {
    /// The members who hold seats at occurrences that have not ended.
    #[must_use]
    pub fn holders(&self, now: DateTime<Utc>) -> HashSet<AccountId> {
        let held = self.registrations.values().filter(|r| is_ahead(r, now));
        held.map(|r| r.id.member).collect()
    }

    /// Every violated invariant, as sentences without a subject.
    #[must_use]
    pub fn flaws(&self, now: DateTime<Utc>) -> Vec<String> {
        let mut flaws = Vec::new();
        let events = i64::try_from(self.events.len()).unwrap_or(i64::MAX);
        if events != self.counted_events {
            flaws.push(format!("counts {} events and has {events}", self.counted_events));
        }
        if self.registrations != self.attendees {
            flaws.push("has registrations that differ by member and by occurrence".to_owned());
        }
        self.check_seats(now, &mut flaws);
        self.check_calendars(now, &mut flaws);
        for (id, waiting) in &self.waiting {
            let members: HashSet<_> = waiting.iter().map(|waiter| waiter.member).collect();
            if members.len() != waiting.len() {
                flaws.push(format!("has a member twice on the waiting list of {id}"));
            }
            let seated = |member: &AccountId| {
                let id = RegistrationId { member: *member, occurrence: *id };
                self.registrations.get(&id).is_some_and(is_confirmed)
            };
            if members.iter().any(seated) {
                flaws.push(format!("has a waiting member who already holds a seat at {id}"));
            }
        }
        flaws
    }

    fn check_seats(&self, now: DateTime<Utc>, flaws: &mut Vec<String>) {
        let mut held: HashMap<OccurrenceId, i64> = HashMap::new();
        for registration in self.registrations.values().filter(|r| is_confirmed(r)) {
            *held.entry(registration.id.occurrence).or_default() += 1;
        }
        for (id, occurrence) in &self.occurrences {
            let seats = held.remove(id).unwrap_or_default();
            if occurrence.taken != seats {
                let taken = occurrence.taken;
                flaws.push(format!("counts {taken} seats taken at {id}, where {seats} are held"));
            }
            if occurrence.taken > occurrence.capacity {
                flaws.push(format!("has more seats taken at {id} than there are"));
            }
            let promised =
                seats > 0 && id.start > now && occurrence.status == OccurrenceStatus::Scheduled;
            let takes_place = self.events.get(&id.event).is_some_and(|event| {
                event.schedule.starts_at(id.start)
                    && occurrence.end == id.start + event.schedule.duration()
            });
            if promised && !takes_place {
                flaws.push(format!("has seats held at {id}, which does not take place"));
            }
        }
        flaws.extend(held.keys().map(|id| format!("has seats held at {id}, which is not stored")));
    }

    fn check_calendars(&self, now: DateTime<Utc>, flaws: &mut Vec<String>) {
        let mut ahead: HashMap<AccountId, Vec<OccurrenceId>> = HashMap::new();
        for registration in self.registrations.values().filter(|r| is_ahead(r, now)) {
            ahead.entry(registration.id.member).or_default().push(registration.id.occurrence);
        }
        for (member, calendar) in &self.calendars {
            let mut held = ahead.remove(member).unwrap_or_default();
            held.sort_unstable();
            let busy = calendar.busy().iter().filter(|busy| busy.end > now);
            if !busy.map(|busy| busy.occurrence).eq(held) {
                flaws.push(format!("has a calendar of {member} that differs from the seats"));
            }
            let overlaps =
                calendar.busy().windows(2).any(|pair| pair[0].end > pair[1].occurrence.start);
            if overlaps {
                flaws.push(format!("has {member} in two places at once"));
            }
        }
        flaws.extend(ahead.keys().map(|member| format!("has no calendar of {member}")));
    }
}

fn is_confirmed(registration: &Registration) -> bool {
    registration.status == RegistrationStatus::Confirmed
}

fn is_ahead(registration: &Registration, now: DateTime<Utc>) -> bool {
    is_confirmed(registration) && registration.end > now
}
