//! Durable records of running renames and deletes, with a lease by the database's clock.

use std::time::{Duration, Instant};

use bson::{Binary, Document, doc, oid::ObjectId, spec::BinarySubtype};
use mongodb::{Collection, options::ReturnDocument};
use serde::{Deserialize, Serialize};
use strum::IntoStaticStr;

use super::organizations::LocationDoc;
use crate::{
    domain::{
        OperationId, OrgId,
        tenancy::{Location, Slug},
    },
    error::{Error, Result},
    store::{
        Store,
        driver::{StoreError, Tx},
        schema,
    },
};

/// A multi-step change of an organization, which has at most one at a time.
#[derive(Clone, Debug)]
pub struct Operation {
    /// Its id.
    pub id: OperationId,
    /// The organization.
    pub org_id: OrgId,
    /// What it does.
    pub kind: OperationKind,
    /// Where the tenant's collection was when the operation started.
    pub from: Location,
    /// The UUID of that collection, so that a late step cannot change another collection that has
    /// taken its name since.
    pub collection: [u8; 16],
    /// Until when this process may work on it, by this process's clock.
    pub held_until: Instant,
}

/// What an operation does.
#[derive(Clone, Debug, IntoStaticStr)]
#[strum(serialize_all = "lowercase")]
pub enum OperationKind {
    /// Renames the organization and its collection.
    Rename {
        /// The slug of the old name.
        old_slug: Slug,
        /// The new name.
        new_name: String,
        /// The slug of the new name.
        new_slug: Slug,
        /// The new location.
        to: Location,
    },
    /// Deletes the tenant.
    Delete,
}

#[derive(Serialize, Deserialize)]
struct OperationDoc {
    #[serde(rename = "_id")]
    id: ObjectId,
    org_id: ObjectId,
    from: LocationDoc,
    collection: Binary,
    #[serde(flatten)]
    kind: KindDoc,
}

#[derive(Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
enum KindDoc {
    Rename { old_slug: String, new_name: String, new_slug: String, to: LocationDoc },
    Delete,
}

impl Store {
    fn operations(&self) -> Collection<OperationDoc> {
        self.master_collection(schema::OPERATIONS)
    }

    /// Records the operation, leased to the caller.
    ///
    /// # Errors
    /// [`Error::Busy`] if the organization already has one.
    pub async fn insert_operation(&self, tx: &mut Tx, operation: &Operation) -> Result<()> {
        let doc = bson::serialize_to_document(&OperationDoc::from(operation))
            .map_err(|e| StoreError::undecodable("operation", e.to_string()))?;
        // A pipeline update would read a name such as "$x" as a field path.
        let mut set: Document = doc
            .into_iter()
            .filter(|(field, _)| field != "_id")
            .map(|(field, value)| (field, doc! { "$literal": value }.into()))
            .collect();
        set.insert("lease_until", self.lease_expression());
        self.operations()
            .update_one(doc! { "_id": operation.id.object_id() }, vec![doc! { "$set": set }])
            .upsert(true)
            .session(&mut tx.session)
            .await
            .map_err(|e| {
                let error = StoreError::from(e);
                if error.is_duplicate(schema::OPERATION_INDEX) { BUSY } else { error.into() }
            })?;
        Ok(())
    }

    /// When a lease taken now ends for its holder: after half of it. Commands that the holder has
    /// sent by then run for at most the other half, so they end before another process may start.
    #[must_use]
    pub fn lease_from_now(&self) -> Instant {
        Instant::now() + self.lease_share()
    }

    pub(in crate::store) fn lease_share(&self) -> Duration {
        self.limits.lease / 2
    }

    /// Takes over one operation whose lease has expired.
    pub async fn claim_operation(&self) -> Result<Option<Operation>> {
        let held_until = self.lease_from_now();
        let claimed = self
            .operations()
            .find_one_and_update(
                doc! { "$expr": { "$lt": ["$lease_until", "$$NOW"] } },
                vec![doc! { "$set": { "lease_until": self.lease_expression() } }],
            )
            .return_document(ReturnDocument::After)
            .await
            .map_err(StoreError::from)?;
        claimed.map(|doc| doc.into_operation(held_until)).transpose().map_err(Error::from)
    }

    /// Closes the operation; `false` if another process has already closed it.
    pub async fn close_operation(&self, tx: &mut Tx, id: OperationId) -> Result<bool> {
        let closed = self
            .operations()
            .delete_one(doc! { "_id": id.object_id() })
            .session(&mut tx.session)
            .await
            .map_err(StoreError::from)?;
        Ok(closed.deleted_count == 1)
    }

    /// How many operations are still open although the first lease on them ended more than `ago`
    /// ago.
    pub async fn stuck_operations(&self, ago: Duration) -> Result<u64> {
        let stuck = is_before(recorded_at(), self.limits.lease + ago);
        Ok(self.operations().count_documents(stuck).await.map_err(StoreError::from)?)
    }

    /// The end of a lease that starts now, by the database's clock, because the clocks of two
    /// servers may differ.
    pub(in crate::store) fn lease_expression(&self) -> Document {
        doc! { "$add": ["$$NOW", millis(self.limits.lease)] }
    }
}

const BUSY: Error = Error::Busy { what: "another change of the organization is running" };

/// When a record was created, taken from its id.
pub(in crate::store) fn recorded_at() -> Document {
    doc! { "$toDate": "$_id" }
}

/// A filter for documents whose time `at` is more than `ago` ago, by the database's clock.
pub(in crate::store) fn is_before(at: Document, ago: Duration) -> Document {
    let then = doc! { "$subtract": ["$$NOW", millis(ago)] };
    doc! { "$expr": { "$lt": [at, then] } }
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

impl From<&Operation> for OperationDoc {
    fn from(operation: &Operation) -> Self {
        let kind = match &operation.kind {
            OperationKind::Rename { old_slug, new_name, new_slug, to } => KindDoc::Rename {
                old_slug: old_slug.as_str().to_owned(),
                new_name: new_name.clone(),
                new_slug: new_slug.as_str().to_owned(),
                to: to.into(),
            },
            OperationKind::Delete => KindDoc::Delete,
        };
        Self {
            id: operation.id.object_id(),
            org_id: operation.org_id.object_id(),
            from: (&operation.from).into(),
            collection: Binary {
                subtype: BinarySubtype::Uuid,
                bytes: operation.collection.to_vec(),
            },
            kind,
        }
    }
}

impl OperationDoc {
    fn into_operation(self, held_until: Instant) -> Result<Operation, StoreError> {
        let kind = match self.kind {
            KindDoc::Rename { old_slug, new_name, new_slug, to } => OperationKind::Rename {
                old_slug: Slug::from_stored(old_slug),
                new_name,
                new_slug: Slug::from_stored(new_slug),
                to: to.into(),
            },
            KindDoc::Delete => OperationKind::Delete,
        };
        let collection = <[u8; 16]>::try_from(self.collection.bytes.as_slice())
            .map_err(|_| StoreError::undecodable("operation", "its collection is not a UUID"))?;
        Ok(Operation {
            id: self.id.into(),
            org_id: self.org_id.into(),
            kind,
            from: self.from.into(),
            collection,
            held_until,
        })
    }
}
