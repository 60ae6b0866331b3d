//! A tenant's documents at one location, and the fence that guards every write.

mod collections;
pub(in crate::store) mod keys;
pub(in crate::store) mod many;

use std::time::Instant;

use bson::{Bson, Document, doc};
use futures::{TryStreamExt, future::BoxFuture};
use mongodb::{Collection, Database, action::Find};
use serde::de::DeserializeOwned;

use super::{
    Store,
    driver::{StoreError, Tx},
};
use crate::{
    domain::{OrgId, tenancy::Location},
    error::Result,
    failpoint,
};
pub use collections::RenameOutcome;
pub use keys::{Key, Kind};

/// A tenant's collection at one location. Every key it uses starts with the tenant's `org`.
#[derive(Clone)]
pub struct TenantStore {
    pub(in crate::store) org: OrgId,
    pub(in crate::store) database: Database,
    pub(in crate::store) collection: Collection<Document>,
    /// Whether a chart may show another edition than its first one.
    pub(in crate::store) has_editions: bool,
}

/// Reads a tenant's documents, with or without a transaction.
pub struct TenantReader<'t> {
    pub(in crate::store) store: &'t TenantStore,
    pub(in crate::store) tx: Option<&'t mut Tx>,
}

/// A transaction that has passed the fence, so its writes cannot go to a collection that a rename
/// or a delete has removed.
pub struct TenantTx<'t> {
    pub(in crate::store) store: &'t TenantStore,
    pub(in crate::store) tx: &'t mut Tx,
}

impl Store {
    /// The documents of `org` at `location`.
    #[must_use]
    pub fn tenant(&self, org: OrgId, location: &Location) -> TenantStore {
        self.tenant_with(org, location, true)
    }

    /// The documents of `org` at `location`, where charts may show other editions than their first
    /// ones only if `has_editions`.
    #[must_use]
    pub fn tenant_with(&self, org: OrgId, location: &Location, has_editions: bool) -> TenantStore {
        TenantStore {
            org,
            database: self.client().database(&location.database),
            collection: self.collection(&location.database, &location.collection),
            has_editions,
        }
    }

    /// Runs `body` in a transaction that first reads the tenant document, the fence.
    ///
    /// MongoDB creates a missing collection on the first insert, so a writer with a stale location
    /// would silently write to a new collection. Reading the fence takes the collection's lock for
    /// the whole transaction and fixes its snapshot: a rename either waits or makes this fail.
    ///
    /// # Errors
    /// [`StoreError::FenceMissing`] if the tenant is not at this location; nothing was written
    /// then.
    pub async fn fenced<C, T, F>(
        &self,
        deadline: Instant,
        tenant: &TenantStore,
        label: &'static str,
        context: C,
        body: F,
    ) -> Result<T>
    where
        C: Send,
        F: for<'t> FnMut(TenantTx<'t>, &'t mut C) -> BoxFuture<'t, Result<T>> + Send,
    {
        let context = (self, tenant.clone(), context, body);
        self.transaction(deadline, label, context, |tx, (store, tenant, context, body)| {
            Box::pin(async move {
                *tenant = store.again(tenant);
                if !tenant.fence_exists(tx).await? {
                    return Err(StoreError::FenceMissing.into());
                }
                body(TenantTx { store: tenant, tx }, context).await
            })
        })
        .await
    }

    /// The same documents through the client of the running transaction.
    fn again(&self, tenant: &TenantStore) -> TenantStore {
        let database = self.client().database(tenant.database.name());
        let collection = self.collection(tenant.database.name(), tenant.collection.name());
        TenantStore { database, collection, ..tenant.clone() }
    }
}

impl TenantStore {
    /// Whether the tenant document is at this location now.
    pub async fn fence_stands(&self) -> Result<bool> {
        Ok(self.reader().get(Key::tenant(self.org)).await?.is_some())
    }

    /// Reads without a transaction.
    #[must_use]
    pub const fn reader(&self) -> TenantReader<'_> {
        TenantReader { store: self, tx: None }
    }

    async fn fence_exists(&self, tx: &mut Tx) -> Result<bool> {
        failpoint!("fence.skip", return Ok(true));
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

    /// Inserts the tenant document, in the transaction that creates the collection.
    pub(in crate::store) async fn insert_fence(&self, tx: &mut Tx) -> Result<()> {
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
    pub async fn get(&mut self, key: Key) -> Result<Option<Document>> {
        let find = self.store.collection.find_one(key.into_filter());
        let found = match &mut self.tx {
            Some(tx) => find.session(&mut tx.session).await,
            None => find.await,
        };
        Ok(found.map_err(StoreError::from)?)
    }

    /// At most `limit` documents of one kind, ordered by key.
    pub async fn list(&mut self, kind: Kind, limit: u32) -> Result<Vec<Document>> {
        let range = keys::range(self.store.org, kind);
        let find = self.store.collection.find(range).limit(i64::from(limit)).batch_size(limit);
        self.collect(find).await
    }

    pub(in crate::store) async fn find<D>(&mut self, filter: Document, limit: u32) -> Result<Vec<D>>
    where
        D: DeserializeOwned + Send + Sync + Unpin,
    {
        self.find_only(filter, limit, Document::new()).await
    }

    /// At most `limit` documents (0: all), ordered by key, with the fields that `projection`
    /// selects.
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
        self.collect(find).await
    }

    async fn collect<D>(&mut self, find: Find<'_, D>) -> Result<Vec<D>>
    where
        D: DeserializeOwned + Send + Sync + Unpin,
    {
        let found = match &mut self.tx {
            Some(tx) => {
                let mut cursor = find.session(&mut tx.session).await.map_err(StoreError::from)?;
                cursor.stream(&mut tx.session).try_collect().await
            }
            None => find.await.map_err(StoreError::from)?.try_collect().await,
        };
        Ok(found.map_err(StoreError::from)?)
    }

    /// All documents of another collection that match, in the same snapshot if there is one.
    pub(in crate::store) async fn find_in<D>(
        &mut self,
        collection: &Collection<D>,
        filter: Document,
    ) -> Result<Vec<D>>
    where
        D: DeserializeOwned + Send + Sync + Unpin,
    {
        self.collect(collection.find(filter)).await
    }
}

#[cfg(debug_assertions)]
impl TenantTx<'_> {
    /// Aborts the transaction and starts another one, as if everything so far had been read outside
    /// of a transaction.
    pub async fn restart(&mut self) -> Result<()> {
        let session = &mut self.tx.session;
        session.abort_transaction().await.map_err(StoreError::from)?;
        session.start_transaction().await.map_err(StoreError::from)?;
        Ok(())
    }
}

impl<'t> TenantTx<'t> {
    /// Reads in this transaction's snapshot, giving up writes.
    #[must_use]
    pub fn into_reader(self) -> TenantReader<'t> {
        TenantReader { store: self.store, tx: Some(self.tx) }
    }

    /// Inserts a document under `key`.
    ///
    /// # Errors
    /// [`StoreError::Driver`], also if a document with that key exists.
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

    /// Inserts many documents with one call.
    ///
    /// # Errors
    /// [`StoreError::Driver`], also if a document with that key exists.
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

    /// Adds `by` to the number of events, increments the version of the tenant's events, and
    /// returns the new number.
    ///
    /// # Errors
    /// As [`TenantTx::count`].
    pub async fn count_events(&mut self, by: i64) -> Result<i64> {
        self.add("events", doc! { "events": by, "agenda": 1_i64 }).await
    }

    /// Adds `by` to a counter of the tenant document and returns its new value. Transactions that
    /// use a counter conflict, so it never returns a number twice.
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
