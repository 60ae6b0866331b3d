//! One tenant's documents at one location, and the fence that every write passes.

mod collections;
pub(in crate::store) mod keys;
pub(in crate::store) mod many;

use bson::{Bson, Document, doc};
use futures::{TryStreamExt, future::BoxFuture};
use mongodb::{Collection, Database};
use serde::de::DeserializeOwned;

use super::{
    Store,
    driver::{StoreError, Tx},
};
use crate::{
    domain::{OrgId, tenancy::Location},
    error::Result,
};
pub use collections::Moved;
pub use keys::{Key, Kind};

/// A tenant's collection at one location. Every key it uses starts with its own `org`.
#[derive(Clone)]
pub struct TenantStore {
    pub(in crate::store) org: OrgId,
    pub(in crate::store) database: Database,
    pub(in crate::store) collection: Collection<Document>,
}

/// Reads a tenant's documents, by themselves or in the snapshot of a transaction.
pub struct TenantReader<'t> {
    pub(in crate::store) store: &'t TenantStore,
    pub(in crate::store) tx: Option<&'t mut Tx>,
}

/// A transaction that has passed the fence: what is written through it cannot land in a collection
/// that a rename or a delete has taken away.
pub struct TenantTx<'t> {
    pub(in crate::store) store: &'t TenantStore,
    pub(in crate::store) tx: &'t mut Tx,
}

impl Store {
    /// The documents of `org` at `location`.
    #[must_use]
    pub fn tenant(&self, org: OrgId, location: &Location) -> TenantStore {
        TenantStore {
            org,
            database: self.client().database(&location.database),
            collection: self.collection(&location.database, &location.collection),
        }
    }

    /// Runs `body` in a transaction that first reads the tenant document at `location`.
    ///
    /// MongoDB makes a missing collection on the first insert, so a writer with a stale location
    /// would silently write beside the tenant. Reading the fence takes the collection's lock for
    /// the whole transaction and fixes its snapshot: a rename either waits or makes this fail.
    ///
    /// # Errors
    /// [`StoreError::FenceMissing`] when the tenant is not there; nothing was written then.
    pub async fn fenced<C, T, F>(
        &self,
        tenant: &TenantStore,
        label: &'static str,
        context: C,
        body: F,
    ) -> Result<T>
    where
        C: Send,
        F: for<'t> FnMut(TenantTx<'t>, &'t mut C) -> BoxFuture<'t, Result<T>> + Send,
    {
        self.transaction(label, (tenant, context, body), |tx, (tenant, context, body)| {
            Box::pin(async move {
                if !tenant.fence_in(tx).await? {
                    return Err(StoreError::FenceMissing.into());
                }
                body(TenantTx { store: tenant, tx }, context).await
            })
        })
        .await
    }
}

impl TenantStore {
    /// Whether the tenant document is at this location now.
    ///
    /// # Errors
    /// The driver's.
    pub async fn fence_stands(&self) -> Result<bool> {
        Ok(self.reader().get(Key::tenant(self.org)).await?.is_some())
    }

    /// Reads as things are at this moment, without a transaction.
    #[must_use]
    pub const fn reader(&self) -> TenantReader<'_> {
        TenantReader { store: self, tx: None }
    }

    async fn fence_in(&self, tx: &mut Tx) -> Result<bool> {
        let filter = Key::tenant(self.org).into_filter();
        let found = self
            .collection
            .find_one(filter)
            .projection(doc! { "_id": 1 })
            .session(&mut tx.session)
            .await
            .map_err(StoreError::from)?;
        Ok(found.is_some())
    }

    /// Writes the tenant document itself, in the transaction that makes its collection.
    pub(in crate::store) async fn found(&self, tx: &mut Tx) -> Result<()> {
        let fence = doc! { "_id": Key::tenant(self.org).to_bson(), "charts": 0_i64 };
        self.collection
            .insert_one(fence)
            .session(&mut tx.session)
            .await
            .map_err(StoreError::from)?;
        Ok(())
    }
}

impl TenantReader<'_> {
    /// The document with that key, if there is one.
    ///
    /// # Errors
    /// The driver's.
    pub async fn get(&mut self, key: Key) -> Result<Option<Document>> {
        let find = self.store.collection.find_one(key.into_filter());
        let found = match &mut self.tx {
            Some(tx) => find.session(&mut tx.session).await,
            None => find.await,
        };
        Ok(found.map_err(StoreError::from)?)
    }

    /// The documents of one kind in the order of their keys, at most `limit`.
    ///
    /// # Errors
    /// The driver's.
    pub async fn list(&mut self, kind: Kind, limit: u32) -> Result<Vec<Document>> {
        let range = keys::range(self.store.org, kind);
        let find = self.store.collection.find(range).limit(i64::from(limit)).batch_size(limit);
        let listed = match &mut self.tx {
            Some(tx) => {
                let mut cursor = find.session(&mut tx.session).await.map_err(StoreError::from)?;
                cursor.stream(&mut tx.session).try_collect().await
            }
            None => find.await.map_err(StoreError::from)?.try_collect().await,
        };
        Ok(listed.map_err(StoreError::from)?)
    }

    pub(in crate::store) async fn find<D>(&mut self, filter: Document, limit: u32) -> Result<Vec<D>>
    where
        D: DeserializeOwned + Send + Sync + Unpin,
    {
        self.find_only(filter, limit, Document::new()).await
    }

    /// The documents in the order of their keys, at most `limit` (0: all), with the fields that
    /// `projection` leaves.
    pub(in crate::store) async fn find_only<D>(
        &mut self,
        filter: Document,
        limit: u32,
        projection: Document,
    ) -> Result<Vec<D>>
    where
        D: DeserializeOwned + Send + Sync + Unpin,
    {
        let collection = self.store.collection.clone_with_type::<D>();
        let mut find = collection
            .find(filter)
            .projection(projection)
            .sort(doc! { "_id": 1 })
            .limit(i64::from(limit));
        if limit > 0 {
            find = find.batch_size(limit);
        }
        let found = match &mut self.tx {
            Some(tx) => {
                let mut cursor = find.session(&mut tx.session).await.map_err(StoreError::from)?;
                cursor.stream(&mut tx.session).try_collect().await
            }
            None => find.await.map_err(StoreError::from)?.try_collect().await,
        };
        Ok(found.map_err(StoreError::from)?)
    }

    /// How many documents of one kind there are.
    ///
    /// # Errors
    /// The driver's.
    pub async fn count(&mut self, kind: Kind) -> Result<u64> {
        let range = keys::range(self.store.org, kind);
        let count = self.store.collection.count_documents(range);
        let counted = match &mut self.tx {
            Some(tx) => count.session(&mut tx.session).await,
            None => count.await,
        };
        Ok(counted.map_err(StoreError::from)?)
    }
}

impl<'t> TenantTx<'t> {
    /// Only reads, in this transaction's snapshot, for as long as it lasts.
    #[must_use]
    pub fn into_reader(self) -> TenantReader<'t> {
        TenantReader { store: self.store, tx: Some(self.tx) }
    }

    /// Inserts a document under `key`.
    ///
    /// # Errors
    /// The driver's, also for a key that is there already.
    pub async fn insert(&mut self, key: &Key, mut fields: Document) -> Result<()> {
        fields.insert("_id", key.to_bson());
        let session = &mut self.tx.session;
        self.store
            .collection
            .insert_one(fields)
            .session(session)
            .await
            .map_err(StoreError::from)?;
        Ok(())
    }

    /// Inserts many documents at once.
    ///
    /// # Errors
    /// The driver's, also for a key that is there already.
    pub async fn insert_many(&mut self, documents: Vec<(Key, Document)>) -> Result<()> {
        let documents = documents.into_iter().map(|(key, mut fields)| {
            fields.insert("_id", key.to_bson());
            fields
        });
        let session = &mut self.tx.session;
        self.store
            .collection
            .insert_many(documents)
            .session(session)
            .await
            .map_err(StoreError::from)?;
        Ok(())
    }

    /// Reads in this transaction's snapshot.
    #[must_use]
    pub fn reader(&mut self) -> TenantReader<'_> {
        TenantReader { store: self.store, tx: Some(self.tx) }
    }

    /// Adds `by` to the number of events and returns it. Their version changes with it, from then
    /// on.
    ///
    /// # Errors
    /// As [`TenantTx::count`].
    pub async fn count_events(&mut self, by: i64) -> Result<i64> {
        self.add("events", doc! { "events": by, "agenda": 1_i64 }).await
    }

    /// Adds `by` to a counter of the tenant document and returns its new value. Transactions that
    /// count are serialized by it, so a counter never hands out a number twice.
    ///
    /// # Errors
    /// The driver's; a write conflict is retried by the transaction.
    pub async fn count(&mut self, counter: &str, by: i64) -> Result<i64> {
        self.add(counter, doc! { counter: by }).await
    }

    async fn add(&mut self, counter: &str, by: Document) -> Result<i64> {
        let updated = self
            .store
            .collection
            .find_one_and_update(Key::tenant(self.store.org).into_filter(), doc! { "$inc": by })
            .return_document(mongodb::options::ReturnDocument::After)
            .session(&mut self.tx.session)
            .await
            .map_err(StoreError::from)?
            .ok_or(StoreError::FenceMissing)?;
        match updated.get(counter) {
            Some(Bson::Int64(value)) => Ok(*value),
            other => Err(StoreError::Decode {
                kind: "tenant",
                reason: format!("{counter} is {other:?}"),
            }
            .into()),
        }
    }
}
