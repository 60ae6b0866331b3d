//! The change stream of the master database: changes by any process.

use std::time::Duration;

use bson::{Document, doc, oid::ObjectId};
use mongodb::change_stream::{
    ChangeStream,
    event::{ChangeStreamEvent, OperationType},
};

use super::StoreError;
use crate::{
    domain::{AccountId, OrgId},
    error::Result,
    store::{Store, schema},
};

/// A change that invalidates caches.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Change {
    /// That organization was changed or deleted.
    Organization(OrgId),
    /// That account was changed or deleted.
    Account(AccountId),
    /// A change of unknown extent: forget everything.
    Everything,
}

/// An open stream of changes.
pub struct Changes {
    stream: ChangeStream<ChangeStreamEvent<Document>>,
}

impl Store {
    /// Opens the stream; it starts now. Without changes, [`Changes::next`] returns after
    /// `heartbeat`.
    pub async fn changes(&self, heartbeat: Duration) -> Result<Changes> {
        // An allow list: a collection that is added to the master database flushes no cache.
        let cached = doc! { "$in": [schema::ORGANIZATIONS, schema::ACCOUNTS] };
        let relevant = doc! { "$match": { "$or": [
            {
                "operationType": { "$in": ["update", "replace", "delete", "drop", "rename"] },
                "ns.coll": cached,
            },
            { "operationType": { "$in": ["dropDatabase", "invalidate"] } },
        ] } };
        let slim = doc! { "$project": {
            "operationType": 1, "ns": 1, "documentKey": 1, "to": 1,
        } };
        let stream = self
            .client()
            .database(&self.master)
            .watch()
            .pipeline([relevant, slim])
            .max_await_time(heartbeat)
            .await
            .map_err(StoreError::from)?;
        Ok(Changes { stream })
    }
}

impl Changes {
    /// The next change, or `None` if there was none within the heartbeat.
    ///
    /// # Errors
    /// [`StoreError::StreamClosed`] if the database has ended the stream; after any error the
    /// stream must be opened again.
    pub async fn next(&mut self) -> Result<Option<Change>> {
        let event = self.stream.next_if_any().await.map_err(StoreError::from)?;
        if event.is_none() && !self.stream.is_alive() {
            return Err(StoreError::StreamClosed.into());
        }
        Ok(event.map(|event| Change::of(&event)))
    }
}

impl Change {
    fn of(event: &ChangeStreamEvent<Document>) -> Self {
        let document = matches!(
            event.operation_type,
            OperationType::Update | OperationType::Replace | OperationType::Delete
        );
        let id: Option<ObjectId> =
            event.document_key.as_ref().and_then(|key| key.get_object_id("_id").ok());
        let collection = event.ns.as_ref().and_then(|ns| ns.coll.as_deref());
        match (document, collection, id) {
            (true, Some(schema::ORGANIZATIONS), Some(id)) => Self::Organization(id.into()),
            (true, Some(schema::ACCOUNTS), Some(id)) => Self::Account(id.into()),
            _ => Self::Everything,
        }
    }
}
