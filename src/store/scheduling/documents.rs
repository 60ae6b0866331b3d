//! The stored form of events, occurrences and registrations.

use bson::{Bson, Document, RawDocumentBuf, doc, oid::ObjectId};
use chrono::{DateTime, NaiveDateTime, Utc};
use serde::Deserialize;

use crate::{
    domain::{
        EventId, Label,
        scheduling::{
            Busy, Calendar, Event, Occurrence, OccurrenceId, OccurrenceStatus, Recurrence,
            Registration, RegistrationId, RegistrationStatus, Rule, Schedule, TimeZone, Waiter,
        },
    },
    store::{
        driver::StoreError,
        tenant::{Kind, many::decode},
    },
};

/// An event as it was read, not decoded yet.
pub struct StoredEvent(pub(in crate::store) RawDocumentBuf);

const LOCAL: &str = "%Y-%m-%dT%H:%M:%S";

#[derive(Deserialize)]
pub(in crate::store) struct EventDoc {
    #[serde(rename = "_id")]
    key: EventKey,
    title: String,
    description: Option<String>,
    local_start: String,
    zone: String,
    minutes: u32,
    capacity: i64,
    rule: Option<String>,
    excluded: Vec<String>,
    additional: Vec<String>,
    counted_to: Option<String>,
    version: i64,
    created_at: bson::DateTime,
    updated_at: bson::DateTime,
}

#[derive(Deserialize)]
struct EventKey {
    kind: String,
    event: ObjectId,
}

#[derive(Deserialize)]
pub(in crate::store) struct OccurrenceDoc {
    #[serde(rename = "_id")]
    key: OccurrenceKey,
    ends_at: bson::DateTime,
    capacity: i64,
    seats_taken: i64,
    status: OccurrenceStatus,
}

#[derive(Deserialize)]
struct OccurrenceKey {
    event: ObjectId,
    start: bson::DateTime,
}

/// A registration, by member or by occurrence: both keys have the same fields in another order.
#[derive(Deserialize)]
pub(in crate::store) struct RegistrationDoc {
    #[serde(rename = "_id")]
    key: RegistrationKey,
    ends_at: bson::DateTime,
    status: RegistrationStatus,
    created_at: bson::DateTime,
    cancelled_at: Option<bson::DateTime>,
}

#[derive(Deserialize)]
struct RegistrationKey {
    member: ObjectId,
    event: ObjectId,
    start: bson::DateTime,
}

#[derive(Deserialize)]
pub(in crate::store) struct WaitingDoc {
    #[serde(rename = "_id")]
    key: OccurrenceKey,
    members: Vec<WaiterDoc>,
}

#[derive(Deserialize)]
struct WaiterDoc {
    member: ObjectId,
    since: bson::DateTime,
}

#[derive(Deserialize)]
pub(in crate::store) struct CalendarDoc {
    #[serde(rename = "_id")]
    key: CalendarKey,
    busy: Vec<BusyDoc>,
    #[serde(default)]
    closed: bool,
}

#[derive(Deserialize)]
struct CalendarKey {
    member: ObjectId,
}

#[derive(Deserialize)]
struct BusyDoc {
    start: bson::DateTime,
    end: bson::DateTime,
    event: ObjectId,
}

impl StoredEvent {
    /// The event's id and version.
    pub fn identity(&self) -> Result<(EventId, i64), StoreError> {
        let id = self.0.get_document("_id").and_then(|key| key.get_object_id("event"));
        let identity = id.and_then(|id| Ok((id.into(), self.0.get_i64("version")?)));
        identity.map_err(|e| StoreError::Decode { kind: "event", reason: e.to_string() })
    }

    /// The event.
    pub fn decode(&self) -> Result<Event, StoreError> {
        decode::<EventDoc>("event", &self.0)?.try_into()
    }

    /// The document that would be stored.
    #[cfg(test)]
    pub(crate) fn of(org: crate::domain::OrgId, event: &Event) -> Self {
        let mut document = event_fields(event);
        document.insert("_id", crate::store::tenant::Key::event(org, event.id).to_bson());
        Self(RawDocumentBuf::try_from(&document).unwrap())
    }
}

impl TryFrom<EventDoc> for Event {
    type Error = StoreError;

    fn try_from(doc: EventDoc) -> Result<Self, StoreError> {
        let wrong = |reason: String| StoreError::Decode { kind: "event", reason };
        let zone = TimeZone::parse(&doc.zone).map_err(|e| wrong(e.to_string()))?;
        let local = |text: &String| {
            NaiveDateTime::parse_from_str(text, LOCAL).map_err(|e| wrong(e.to_string()))
        };
        let start = local(&doc.local_start)?;
        let counted_to = doc.counted_to.as_ref().map(local).transpose()?;
        let rule = doc.rule.map(|rule| Rule::from_stored(&rule, start, zone, counted_to));
        let rule = rule.transpose();
        let recurrence = Recurrence {
            rule: rule.map_err(|e| wrong(e.to_string()))?,
            excluded: doc.excluded.iter().map(local).collect::<Result<_, _>>()?,
            additional: doc.additional.iter().map(local).collect::<Result<_, _>>()?,
        };
        let recurrence = (recurrence != Recurrence::default()).then_some(recurrence);
        Ok(Self {
            id: doc.key.event.into(),
            title: Label::from_stored(doc.title),
            description: doc.description,
            schedule: Schedule::new(start, zone, doc.minutes, recurrence),
            capacity: doc.capacity,
            version: doc.version,
            deleted: doc.key.kind == Kind::PastEvent.as_ref(),
            created_at: doc.created_at.to_chrono(),
            updated_at: doc.updated_at.to_chrono(),
        })
    }
}

pub(in crate::store) fn event_fields(event: &Event) -> Document {
    let schedule = &event.schedule;
    let recurrence = schedule.recurrence().cloned().unwrap_or_default();
    let local = |time: &NaiveDateTime| time.format(LOCAL).to_string();
    doc! {
        "title": event.title.as_str(),
        "description": event.description.clone(),
        "local_start": local(&schedule.local_start()),
        "zone": schedule.zone().name(),
        "minutes": i64::from(schedule.minutes()),
        "capacity": event.capacity,
        "rule": recurrence.rule.as_ref().map(Rule::as_str),
        "excluded": recurrence.excluded.iter().map(local).collect::<Vec<_>>(),
        "additional": recurrence.additional.iter().map(local).collect::<Vec<_>>(),
        "counted_to": recurrence.rule.as_ref().and_then(Rule::counted_to).as_ref().map(local),
        "version": event.version,
        "created_at": date(event.created_at),
        "updated_at": date(event.updated_at),
    }
}

impl From<OccurrenceKey> for OccurrenceId {
    fn from(key: OccurrenceKey) -> Self {
        Self { start: key.start.to_chrono(), event: key.event.into() }
    }
}

impl From<OccurrenceDoc> for Occurrence {
    fn from(doc: OccurrenceDoc) -> Self {
        Self {
            id: doc.key.into(),
            end: doc.ends_at.to_chrono(),
            capacity: doc.capacity,
            taken: doc.seats_taken,
            status: doc.status,
        }
    }
}

pub(in crate::store) fn occurrence_fields(occurrence: &Occurrence) -> Document {
    doc! {
        "ends_at": date(occurrence.end),
        "capacity": occurrence.capacity,
        "seats_taken": occurrence.taken,
        "status": occurrence.status.as_ref(),
    }
}

impl From<RegistrationDoc> for Registration {
    fn from(doc: RegistrationDoc) -> Self {
        let (start, event) = (doc.key.start.to_chrono(), doc.key.event.into());
        let occurrence = OccurrenceId { start, event };
        Self {
            id: RegistrationId { member: doc.key.member.into(), occurrence },
            end: doc.ends_at.to_chrono(),
            status: doc.status,
            created_at: doc.created_at.to_chrono(),
            cancelled_at: doc.cancelled_at.map(bson::DateTime::to_chrono),
        }
    }
}

pub(in crate::store) fn registration_fields(registration: &Registration) -> Document {
    doc! {
        "ends_at": date(registration.end),
        "status": registration.status.as_ref(),
        "created_at": date(registration.created_at),
        "cancelled_at": registration.cancelled_at.map(date),
    }
}

impl From<WaitingDoc> for (OccurrenceId, Vec<Waiter>) {
    fn from(doc: WaitingDoc) -> Self {
        let waiter = |w: WaiterDoc| Waiter { member: w.member.into(), since: w.since.to_chrono() };
        (doc.key.into(), doc.members.into_iter().map(waiter).collect())
    }
}

pub(in crate::store) fn waiting_fields(waiting: &[Waiter]) -> Document {
    let member = |w: &Waiter| -> Bson {
        doc! { "member": w.member.object_id(), "since": date(w.since) }.into()
    };
    doc! { "members": waiting.iter().map(member).collect::<Vec<_>>() }
}

impl From<CalendarDoc> for (crate::domain::AccountId, Calendar) {
    fn from(doc: CalendarDoc) -> Self {
        let busy = |b: BusyDoc| Busy {
            occurrence: OccurrenceId { start: b.start.to_chrono(), event: b.event.into() },
            end: b.end.to_chrono(),
        };
        let calendar = Calendar::from_stored(doc.busy.into_iter().map(busy).collect(), doc.closed);
        (doc.key.member.into(), calendar)
    }
}

pub(in crate::store) fn calendar_fields(calendar: &Calendar) -> Document {
    let busy = |b: &Busy| -> Bson {
        let (start, event) = (date(b.occurrence.start), b.occurrence.event.object_id());
        doc! { "start": start, "end": date(b.end), "event": event }.into()
    };
    doc! { "busy": calendar.busy().iter().map(busy).collect::<Vec<_>>() }
}

pub(in crate::store) fn date(moment: DateTime<Utc>) -> bson::DateTime {
    bson::DateTime::from_chrono(moment)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::OrgId;

    #[test]
    fn a_stored_event_decodes_to_the_same_event() {
        let zone = TimeZone::parse("Europe/Berlin").unwrap();
        let start: NaiveDateTime = "2026-01-07T09:00:00".parse().unwrap();
        for text in ["", "FREQ=WEEKLY;BYDAY=MO,WE", "FREQ=WEEKLY;UNTIL=20270101T000000Z", COUNTED] {
            let rule = Rule::parse(text, start, zone).ok();
            let dates = vec!["2026-01-14T09:00:00".parse().unwrap()];
            let recurrence = Recurrence { rule, excluded: dates.clone(), additional: dates };
            let event = Event {
                id: EventId::generate(),
                title: Label::parse("Yoga").unwrap(),
                description: Some("On the roof".to_owned()),
                schedule: Schedule::new(start, zone, 60, Some(recurrence)),
                capacity: 3,
                version: 7,
                deleted: false,
                created_at: DateTime::UNIX_EPOCH,
                updated_at: DateTime::UNIX_EPOCH,
            };
            let stored = StoredEvent::of(OrgId::generate(), &event);
            assert_eq!(stored.identity().unwrap(), (event.id, 7));
            assert_eq!(format!("{:?}", stored.decode().unwrap()), format!("{event:?}"));
        }
    }

    const COUNTED: &str = "FREQ=DAILY;BYMONTH=2;BYMONTHDAY=29;COUNT=20";

    #[test]
    fn a_document_that_is_not_an_event_does_not_decode() {
        let stored = StoredEvent(RawDocumentBuf::try_from(&doc! { "title": "Yoga" }).unwrap());
        assert!(stored.identity().is_err() && stored.decode().is_err());
    }
}
