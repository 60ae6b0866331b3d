//! The one place that builds keys and key ranges of tenant documents.
//!
//! Every `_id` is an embedded document that starts with `org` and `kind`. BSON compares embedded
//! documents field by field, in order, so the order here is a contract with what is stored.

use bson::{Bson, Document, doc};

use crate::domain::{ChartId, EmployeeId, OrgId};

/// The kinds of documents that a tenant's collection holds.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Kind {
    /// The one document that exists from the tenant's creation to its deletion: the fence.
    Tenant,
    /// An org chart.
    Chart,
    /// A person in an org chart.
    Employee,
    /// What load tests and race tests write through the fence; nothing reads it but they.
    Probe,
}

/// The `_id` of one tenant document.
#[derive(Clone, Debug, PartialEq)]
pub struct Key(Document);

impl Kind {
    /// The word in the key.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Tenant => "tenant",
            Self::Chart => "chart",
            Self::Employee => "employee",
            Self::Probe => "probe",
        }
    }
}

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

    /// `{org, kind: "employee", chart, employee}`.
    #[must_use]
    pub fn employee(org: OrgId, chart: ChartId, employee: EmployeeId) -> Self {
        let mut key = employees(org, chart);
        key.insert("employee", employee.get());
        Self(key)
    }

    /// `{org, kind: "probe", probe}`.
    #[must_use]
    pub fn probe(org: OrgId, number: i64) -> Self {
        let mut key = prefix(org, Kind::Probe);
        key.insert("probe", number);
        Self(key)
    }

    pub(super) fn into_filter(self) -> Document {
        doc! { "_id": self.0 }
    }

    pub(super) fn to_bson(&self) -> Bson {
        Bson::Document(self.0.clone())
    }
}

/// All documents of one kind: a range that the clustered index serves as one bounded scan.
#[must_use]
pub(super) fn range(org: OrgId, kind: Kind) -> Document {
    let from = prefix(org, kind);
    doc! { "_id": { "$gte": from.clone(), "$lt": end(from) } }
}

/// The charts whose ids are behind `after`.
#[must_use]
pub(super) fn charts_after(org: OrgId, after: ChartId) -> Document {
    let to = end(prefix(org, Kind::Chart));
    doc! { "_id": { "$gt": Key::chart(org, after).0, "$lt": to } }
}

/// The people of one chart, or those whose ids are behind `after`.
#[must_use]
pub(super) fn employees_after(org: OrgId, chart: ChartId, after: Option<EmployeeId>) -> Document {
    let to = end(employees(org, chart));
    if let Some(after) = after {
        doc! { "_id": { "$gt": Key::employee(org, chart, after).0, "$lt": to } }
    } else {
        doc! { "_id": { "$gte": employees(org, chart), "$lt": to } }
    }
}

fn employees(org: OrgId, chart: ChartId) -> Document {
    let mut key = prefix(org, Kind::Employee);
    key.insert("chart", chart.get());
    key
}

/// The end of all keys that start with `key`: they have one more field, and no value sorts behind
/// `MaxKey`.
fn end(mut key: Document) -> Document {
    key.insert("~", Bson::MaxKey);
    key
}

fn prefix(org: OrgId, kind: Kind) -> Document {
    doc! { "org": org.object_id(), "kind": kind.as_str() }
}
