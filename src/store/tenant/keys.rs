//! The one place that builds keys and key ranges of tenant documents.
//!
//! Every `_id` is an embedded document that starts with `org` and `kind`. BSON compares embedded
//! documents field by field, in order, so the order of the fields is part of the stored format.

use bson::{Bson, Document, doc};

use chrono::{DateTime, Utc};

use strum::AsRefStr;

use crate::domain::{
    AccountId, ChartId, EmployeeId, EventId, OrgId,
    charts::Edition,
    scheduling::{OccurrenceId, RegistrationId},
};

/// The kinds of documents that a tenant's collection holds.
#[derive(Clone, Copy, Debug, Eq, PartialEq, AsRefStr)]
#[strum(serialize_all = "snake_case")]
pub enum Kind {
    /// The fence: the one document that exists from the tenant's creation to its deletion.
    Tenant,
    /// An org chart.
    Chart,
    /// An employee in an org chart.
    Employee,
    /// An event.
    Event,
    /// A deleted event, which its past occurrences still refer to.
    PastEvent,
    /// An occurrence of an event, written when a member registers or an admin cancels it.
    Occurrence,
    /// The waiting list of an occurrence.
    Waiting,
    /// A registration for an occurrence, by member.
    Registration,
    /// The same registration, by occurrence.
    Attendee,
    /// The times at which a member is busy.
    Calendar,
    /// What tests write through the fence; the product never reads it.
    #[cfg(feature = "test-support")]
    Probe,
}

/// The `_id` of one tenant document.
#[derive(Clone, Debug, PartialEq)]
pub struct Key(Document);

impl Key {
    /// `{org, kind: "tenant"}`.
    #[must_use]
    pub fn tenant(org: OrgId) -> Self {
        Self(prefix(org, Kind::Tenant))
    }

    /// `{org, kind: "chart", chart}`.
    #[must_use]
    pub fn chart(org: OrgId, chart: ChartId) -> Self {
        let mut key = prefix(org, Kind::Chart);
        key.insert("chart", chart.get());
        Self(key)
    }

    /// `{org, kind: "employee", chart, employee}`, where `chart` is the number of the edition.
    #[must_use]
    pub fn employee(org: OrgId, edition: Edition, employee: EmployeeId) -> Self {
        let mut key = employees(org, edition);
        key.insert("employee", employee.get());
        Self(key)
    }

    /// `{org, kind: "event", event}`.
    #[must_use]
    pub fn event(org: OrgId, event: EventId) -> Self {
        Self(with_event(prefix(org, Kind::Event), event))
    }

    /// `{org, kind: "past_event", event}`.
    #[must_use]
    pub fn past_event(org: OrgId, event: EventId) -> Self {
        Self(with_event(prefix(org, Kind::PastEvent), event))
    }

    /// `{org, kind: "occurrence", event, start}`.
    #[must_use]
    pub fn occurrence(org: OrgId, id: OccurrenceId) -> Self {
        Self(with_occurrence(prefix(org, Kind::Occurrence), id))
    }

    /// `{org, kind: "waiting", event, start}`.
    #[must_use]
    pub fn waiting(org: OrgId, id: OccurrenceId) -> Self {
        Self(with_occurrence(prefix(org, Kind::Waiting), id))
    }

    /// `{org, kind: "registration", member, start, event}`: sorted by start within a member.
    #[must_use]
    pub fn registration(org: OrgId, id: RegistrationId) -> Self {
        let mut key = prefix(org, Kind::Registration);
        key.insert("member", id.member.object_id());
        key.insert("start", date(id.occurrence.start));
        Self(with_event(key, id.occurrence.event))
    }

    /// `{org, kind: "attendee", event, start, member}`.
    #[must_use]
    pub fn attendee(org: OrgId, id: RegistrationId) -> Self {
        let mut key = with_occurrence(prefix(org, Kind::Attendee), id.occurrence);
        key.insert("member", id.member.object_id());
        Self(key)
    }

    /// `{org, kind: "calendar", member}`.
    #[must_use]
    pub fn calendar(org: OrgId, member: AccountId) -> Self {
        let mut key = prefix(org, Kind::Calendar);
        key.insert("member", member.object_id());
        Self(key)
    }

    /// `{org, kind: "probe", probe}`.
    #[cfg(feature = "test-support")]
    #[must_use]
    pub fn probe(org: OrgId, number: i64) -> Self {
        let mut key = prefix(org, Kind::Probe);
        key.insert("probe", number);
        Self(key)
    }

    pub(in crate::store) fn into_filter(self) -> Document {
        doc! { "_id": self.0 }
    }

    pub(in crate::store) fn to_bson(&self) -> Bson {
        Bson::Document(self.0.clone())
    }
}

/// An aggregation expression for the key of the employee whose id is the expression `employee`.
#[must_use]
pub(in crate::store) fn employee_expression(
    org: OrgId,
    edition: Edition,
    employee: &str,
) -> Document {
    doc! {
        "org": { "$literal": org.object_id() },
        "kind": { "$literal": Kind::Employee.as_ref() },
        "chart": { "$literal": edition.number() },
        "employee": employee,
    }
}

/// All documents of one kind: a range that is one bounded scan of the clustered index.
#[must_use]
pub(in crate::store) fn range(org: OrgId, kind: Kind) -> Document {
    let from = prefix(org, kind);
    doc! { "_id": { "$gte": from.clone(), "$lt": end(from) } }
}

/// The charts with ids after `after`.
#[must_use]
pub(in crate::store) fn charts_after(org: OrgId, after: ChartId) -> Document {
    let to = end(prefix(org, Kind::Chart));
    doc! { "_id": { "$gt": Key::chart(org, after).0, "$lt": to } }
}

/// The employees of one edition, or those with ids after `after`.
#[must_use]
pub(in crate::store) fn employees_after(
    org: OrgId,
    edition: Edition,
    after: Option<EmployeeId>,
) -> Document {
    let to = end(employees(org, edition));
    if let Some(after) = after {
        doc! { "_id": { "$gt": Key::employee(org, edition, after).0, "$lt": to } }
    } else {
        doc! { "_id": { "$gte": employees(org, edition), "$lt": to } }
    }
}

/// All events, or those with ids after `after`.
#[must_use]
pub(in crate::store) fn events_after(org: OrgId, after: Option<EventId>) -> Document {
    match after {
        Some(after) => between(Key::event(org, after).0, true, prefix(org, Kind::Event)),
        None => range(org, Kind::Event),
    }
}

/// The documents of an event's occurrences that start at `from` or later: `kind` is
/// [`Kind::Occurrence`], [`Kind::Waiting`] or [`Kind::Attendee`].
#[must_use]
pub(in crate::store) fn of_event(
    org: OrgId,
    kind: Kind,
    event: EventId,
    from: DateTime<Utc>,
) -> Document {
    let to = with_event(prefix(org, kind), event);
    let from = with_occurrence(prefix(org, kind), OccurrenceId { start: from, event });
    between(from, false, to)
}

/// The attendees of one occurrence after `after`.
#[must_use]
pub(in crate::store) fn attendees_after(
    org: OrgId,
    occurrence: OccurrenceId,
    after: Option<AccountId>,
) -> Document {
    let all = with_occurrence(prefix(org, Kind::Attendee), occurrence);
    match after {
        Some(member) => {
            let after = Key::attendee(org, RegistrationId { member, occurrence });
            between(after.0, true, all)
        }
        None => between(all.clone(), false, all),
    }
}

/// A member's registrations for occurrences that start in `[from, to)`, after `after`.
#[must_use]
pub(in crate::store) fn registrations_between(
    org: OrgId,
    member: AccountId,
    from: DateTime<Utc>,
    to: DateTime<Utc>,
    after: Option<OccurrenceId>,
) -> Document {
    let at = |start| {
        let mut key = prefix(org, Kind::Registration);
        key.insert("member", member.object_id());
        key.insert("start", date(start));
        key
    };
    let after = after.filter(|after| after.start >= from);
    let (operator, from) = match after {
        Some(occurrence) => {
            ("$gt", Key::registration(org, RegistrationId { member, occurrence }).0)
        }
        None => ("$gte", at(from)),
    };
    doc! { "_id": { operator: from, "$lt": at(to) } }
}

/// The keys after `from`, or from `from` on unless `exclusive`, that start with `within`.
fn between(from: Document, exclusive: bool, within: Document) -> Document {
    let operator = if exclusive { "$gt" } else { "$gte" };
    doc! { "_id": { operator: from, "$lt": end(within) } }
}

fn with_event(mut key: Document, event: EventId) -> Document {
    key.insert("event", event.object_id());
    key
}

fn with_occurrence(key: Document, id: OccurrenceId) -> Document {
    let mut key = with_event(key, id.event);
    key.insert("start", date(id.start));
    key
}

fn date(moment: DateTime<Utc>) -> bson::DateTime {
    bson::DateTime::from_chrono(moment)
}

fn employees(org: OrgId, edition: Edition) -> Document {
    let mut key = prefix(org, Kind::Employee);
    key.insert("chart", edition.number());
    key
}

/// The upper bound of all keys that start with `key`: one more field, with `MaxKey`, which sorts
/// after every value.
fn end(mut key: Document) -> Document {
    key.insert("~", Bson::MaxKey);
    key
}

fn prefix(org: OrgId, kind: Kind) -> Document {
    doc! { "org": org.object_id(), "kind": kind.as_ref() }
}
