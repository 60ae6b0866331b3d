//! The one place that builds keys and key ranges of tenant documents.
//!
//! Every `_id` is an embedded document that starts with `org` and `kind`. BSON compares embedded
//! documents field by field, in order, so the order here is a contract with what is stored.

use bson::{Bson, Document, doc};

use crate::domain::OrgId;

/// The kinds of documents that a tenant's collection holds.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Kind {
    /// The one document that exists from the tenant's creation to its deletion: the fence.
    Tenant,
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
    let mut to = from.clone();
    // A key of this kind has one more field, and no value sorts behind MaxKey.
    to.insert("~", Bson::MaxKey);
    doc! { "_id": { "$gte": from, "$lt": to } }
}

fn prefix(org: OrgId, kind: Kind) -> Document {
    doc! { "org": org.object_id(), "kind": kind.as_str() }
}
