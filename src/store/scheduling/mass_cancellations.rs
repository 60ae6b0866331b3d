//! Durable records of cancellations that are too large for one transaction, and of deleted members
//! whose seats must be freed.

use std::time::Duration;

use bson::{Document, doc, oid::ObjectId};
use chrono::{DateTime, Utc};
use mongodb::{Collection, options::ReturnDocument};
use serde::Deserialize;

use crate::{
    domain::{AccountId, EventId, OperationId, OrgId, scheduling::OccurrenceId},
    error::Result,
    store::{
        Store,
        driver::{StoreError, Tx},
        schema,
        tenancy::operations::{is_before, recorded_at},
    },
};

/// A recorded cancellation of seats.
#[derive(Clone, Copy, Debug)]
pub struct MassCancellation {
    /// Its id.
    pub id: OperationId,
    /// The tenant.
    pub org_id: OrgId,
    /// The seats to free.
    pub of: CancelledSeats,
}

/// Which seats to free.
#[derive(Clone, Copy, Debug)]
pub enum CancelledSeats {
    /// All seats of an event's occurrences that start at that time or later.
    Event(EventId, DateTime<Utc>),
    /// All seats of one occurrence.
    Occurrence(OccurrenceId),
    /// All seats of a member, and its places on waiting lists.
    Member(AccountId),
}

#[derive(Deserialize)]
struct MassCancellationDoc {
    #[serde(rename = "_id")]
    id: ObjectId,
    org_id: ObjectId,
    #[serde(flatten)]
    of: CancelledDoc,
}

#[derive(Deserialize)]
#[serde(tag = "of", rename_all = "lowercase")]
enum CancelledDoc {
    Event { event: ObjectId, start: bson::DateTime },
    Occurrence { event: ObjectId, start: bson::DateTime },
    Member { member: ObjectId },
}

impl Store {
    fn mass_cancellations(&self) -> Collection<MassCancellationDoc> {
        self.master_collection(schema::MASS_CANCELLATIONS)
    }

    /// Records the cancellation, leased to the caller.
    pub async fn insert_mass_cancellation(
        &self,
        tx: &mut Tx,
        cancellation: &MassCancellation,
    ) -> Result<()> {
        let date = bson::DateTime::from_chrono;
        let mut set = match cancellation.of {
            CancelledSeats::Event(event, from) => {
                doc! { "of": "event", "event": event.object_id(), "start": date(from) }
            }
            CancelledSeats::Occurrence(id) => {
                let event = id.event.object_id();
                doc! { "of": "occurrence", "event": event, "start": date(id.start) }
            }
            CancelledSeats::Member(member) => doc! { "of": "member", "member": member.object_id() },
        };
        set.insert("org_id", cancellation.org_id.object_id());
        set.insert("lease_until", self.lease_expression());
        self.mass_cancellations()
            .update_one(doc! { "_id": cancellation.id.object_id() }, vec![doc! { "$set": set }])
            .upsert(true)
            .session(&mut tx.session)
            .await
            .map_err(StoreError::from)?;
        Ok(())
    }

    /// Takes over the cancellation whose lease expired first, except those in `driven`, which the
    /// caller already works on. If two processes work on the same one, they only waste time: each
    /// transaction cancels what remains.
    pub async fn claim_mass_cancellation(
        &self,
        driven: &[OperationId],
    ) -> Result<Option<MassCancellation>> {
        let driven: Vec<ObjectId> = driven.iter().map(|id| id.object_id()).collect();
        let claimed = self
            .mass_cancellations()
            .find_one_and_update(
                doc! {
                    "_id": { "$nin": driven },
                    "$expr": { "$lt": ["$lease_until", "$$NOW"] },
                },
                vec![doc! { "$set": { "lease_until": self.lease_expression() } }],
            )
            .sort(doc! { "lease_until": 1 })
            .return_document(ReturnDocument::After)
            .await
            .map_err(StoreError::from)?;
        Ok(claimed.map(MassCancellation::from))
    }

    /// Renews the lease.
    pub async fn renew_mass_cancellation(&self, id: OperationId) -> Result<()> {
        self.set_in_mass_cancellation(id, doc! { "lease_until": self.lease_expression() }).await
    }

    /// Records that a batch was done now.
    pub async fn record_progress(&self, id: OperationId) -> Result<()> {
        self.set_in_mass_cancellation(id, doc! { "progress_at": "$$NOW" }).await
    }

    async fn set_in_mass_cancellation(&self, id: OperationId, set: Document) -> Result<()> {
        let filter = doc! { "_id": id.object_id() };
        let updated =
            self.mass_cancellations().update_one(filter, vec![doc! { "$set": set }]).await;
        updated.map_err(StoreError::from)?;
        Ok(())
    }

    /// Whether `org` has a mass cancellation.
    pub async fn has_mass_cancellations(&self, org: OrgId) -> Result<bool> {
        let found = self.mass_cancellations().find_one(doc! { "org_id": org.object_id() }).await;
        Ok(found.map_err(StoreError::from)?.is_some())
    }

    /// How many have made no progress for more than `ago`.
    pub async fn stuck_mass_cancellations(&self, ago: Duration) -> Result<u64> {
        let last = doc! { "$ifNull": ["$progress_at", recorded_at()] };
        let count = self.mass_cancellations().count_documents(is_before(last, ago)).await;
        Ok(count.map_err(StoreError::from)?)
    }

    /// Deletes the record of a completed cancellation.
    pub async fn close_mass_cancellation(&self, id: OperationId) -> Result<()> {
        let filter: Document = doc! { "_id": id.object_id() };
        self.mass_cancellations().delete_one(filter).await.map_err(StoreError::from)?;
        Ok(())
    }
}

impl From<MassCancellationDoc> for MassCancellation {
    fn from(doc: MassCancellationDoc) -> Self {
        let of = match doc.of {
            CancelledDoc::Event { event, start } => {
                CancelledSeats::Event(event.into(), start.to_chrono())
            }
            CancelledDoc::Occurrence { event, start } => CancelledSeats::Occurrence(OccurrenceId {
                start: start.to_chrono(),
                event: event.into(),
            }),
            CancelledDoc::Member { member } => CancelledSeats::Member(member.into()),
        };
        Self { id: doc.id.into(), org_id: doc.org_id.into(), of }
    }
}
