//! Reads and writes many documents of a tenant by key, with few commands.

use bson::{Bson, Document, RawDocument, RawDocumentBuf, doc};
use futures::TryStreamExt;
use mongodb::action::Aggregate;
use serde::{Deserialize, de::DeserializeOwned};

use super::{Key, Kind, TenantReader, TenantStore, TenantTx};
use crate::{error::Result, store::driver::StoreError};

/// The reply to a command with many writes.
#[derive(Deserialize)]
struct WriteReply {
    n: i64,
    #[serde(default, rename = "writeErrors")]
    errors: Vec<WriteError>,
}

#[derive(Deserialize)]
struct WriteError {
    code: i32,
}

/// How many keys one command contains: at 200 bytes each at most, they stay far below MongoDB's
/// limit of 16 MiB per command.
const KEYS_AT_ONCE: usize = 10_000;
/// How many updates one command contains: 250 calendars of 57 KB each are 14 MB.
const UPDATES_AT_ONCE: usize = 250;

impl TenantReader<'_> {
    /// The documents with those keys, in any order, with as few commands as possible. `$lookup`
    /// finds each by its key, whereas MongoDB 6.0 scans for `$in` over whole clustered keys.
    pub(in crate::store) async fn get_many<D>(&mut self, keys: Vec<Key>) -> Result<Vec<D>>
    where
        D: DeserializeOwned + Send + Sync + Unpin,
    {
        self.get_many_without(keys, None).await
    }

    /// As [`TenantReader::get_many`], each without the field `left_out`.
    async fn get_many_without<D>(
        &mut self,
        keys: Vec<Key>,
        left_out: Option<&str>,
    ) -> Result<Vec<D>>
    where
        D: DeserializeOwned + Send + Sync + Unpin,
    {
        let store = self.store;
        let mut found = Vec::new();
        for some in keys.chunks(KEYS_AT_ONCE) {
            let mut stages = store.look_up(some);
            stages.extend(left_out.map(|field| doc! { "$unset": field }));
            found.append(&mut self.all_of(store.database.aggregate(stages)).await?);
        }
        Ok(found)
    }

    /// All results of an aggregation.
    pub(in crate::store) async fn all_of<D>(&mut self, call: Aggregate<'_>) -> Result<Vec<D>>
    where
        D: DeserializeOwned + Send + Sync + Unpin,
    {
        const ALL_AT_ONCE: u32 = 1_000_000;
        let call = call.batch_size(ALL_AT_ONCE).with_type::<D>();
        let found = match &mut self.tx {
            Some(tx) => {
                let mut cursor = call.session(&mut tx.session).await.map_err(StoreError::from)?;
                cursor.stream(&mut tx.session).try_collect().await
            }
            None => call.await.map_err(StoreError::from)?.try_collect().await,
        };
        Ok(found.map_err(StoreError::from)?)
    }

    /// As [`TenantReader::get_many`], together with the tenant document, which proves that missing
    /// documents do not exist; `None` if the tenant is not at this location.
    pub(in crate::store) async fn get_proven<D: DeserializeOwned>(
        &mut self,
        keys: Vec<Key>,
    ) -> Result<Option<Vec<D>>> {
        self.get_proven_without(keys, None).await
    }

    /// As [`TenantReader::get_proven`], each without the field `left_out`.
    pub(in crate::store) async fn get_proven_without<D: DeserializeOwned>(
        &mut self,
        mut keys: Vec<Key>,
        left_out: Option<&str>,
    ) -> Result<Option<Vec<D>>> {
        keys.push(Key::tenant(self.store.org));
        let found: Vec<RawDocumentBuf> = self.get_many_without(keys, left_out).await?;
        let (mut has_tenant, mut documents) = (false, Vec::with_capacity(found.len()));
        for document in found {
            if kind_of(&document) == Kind::Tenant.as_ref() {
                has_tenant = true;
            } else {
                documents.push(decode("document", &document)?);
            }
        }
        Ok(has_tenant.then_some(documents))
    }
}

impl TenantStore {
    /// The pipeline stages that find the documents with those keys.
    pub(in crate::store) fn look_up(&self, keys: &[Key]) -> Vec<Document> {
        let wanted = keys.iter().map(|key| doc! { "k": { "$literal": key.to_bson() } });
        let wanted = doc! { "$documents": wanted.map(Bson::from).collect::<Vec<_>>() };
        [wanted].into_iter().chain(self.found_by("k")).collect()
    }

    /// The pipeline stages that replace each document by the one whose key is in `field`.
    pub(in crate::store) fn found_by(&self, field: &str) -> [Document; 3] {
        [
            doc! { "$lookup": {
                "from": self.collection.name(),
                "localField": field,
                "foreignField": "_id",
                "as": "found",
            } },
            doc! { "$unwind": "$found" },
            doc! { "$replaceRoot": { "newRoot": "$found" } },
        ]
    }
}

/// The kind in a document's key.
pub(in crate::store) fn kind_of(document: &RawDocument) -> &str {
    document.get_document("_id").and_then(|key| key.get_str("kind")).unwrap_or_default()
}

/// Decodes a document; `kind` names it in the error.
pub(in crate::store) fn decode<D: DeserializeOwned>(
    kind: &'static str,
    document: &RawDocument,
) -> Result<D, StoreError> {
    bson::deserialize_from_slice(document.as_bytes())
        .map_err(|e| StoreError::Decode { kind, reason: e.to_string() })
}

impl TenantTx<'_> {
    /// The transaction, for writes outside of the tenant's collection.
    #[must_use]
    pub const fn transaction(&mut self) -> &mut super::Tx {
        self.tx
    }

    /// Whether this is a retry after a conflict.
    #[must_use]
    pub const fn is_retry(&self) -> bool {
        self.tx.is_retry
    }

    /// Updates many documents by key, with as few commands as possible.
    ///
    /// # Errors
    /// [`StoreError::Refused`] if one of them does not exist.
    pub(in crate::store) async fn update_many(
        &mut self,
        updates: Vec<(Key, Document)>,
    ) -> Result<()> {
        let expected = i64::try_from(updates.len()).unwrap_or(i64::MAX);
        if self.update_existing(updates).await? == expected {
            Ok(())
        } else {
            Err(StoreError::Refused { code: 0 }.into())
        }
    }

    /// Updates those documents that exist and returns how many.
    ///
    /// # Errors
    /// [`StoreError::Refused`] if the validator refuses one.
    pub(in crate::store) async fn update_existing(
        &mut self,
        updates: Vec<(Key, Document)>,
    ) -> Result<i64> {
        let mut statements = updates
            .into_iter()
            .map(|(key, update)| Bson::from(doc! { "q": key.into_filter(), "u": update }))
            .peekable();
        let mut found = 0;
        while statements.peek().is_some() {
            found += self.update_some(statements.by_ref().take(UPDATES_AT_ONCE).collect()).await?;
        }
        Ok(found)
    }

    /// Deletes those documents that exist, with as few commands as possible.
    pub(in crate::store) async fn delete_existing(&mut self, keys: Vec<Key>) -> Result<()> {
        for some in keys.chunks(KEYS_AT_ONCE) {
            let delete = |key: &Key| doc! { "q": key.clone().into_filter(), "limit": 1 };
            let command = doc! {
                "delete": self.store.collection.name(),
                "deletes": some.iter().map(delete).collect::<Vec<_>>(),
            };
            self.run_many(command).await?;
        }
        Ok(())
    }

    async fn update_some(&mut self, statements: Vec<Bson>) -> Result<i64> {
        let command = doc! { "update": self.store.collection.name(), "updates": statements };
        self.run_many(command).await
    }

    /// Runs a command with many statements and returns how many documents they matched.
    async fn run_many(&mut self, command: Document) -> Result<i64> {
        let answer = self.store.database.run_command(command).session(&mut self.tx.session).await;
        let answer: WriteReply = bson::deserialize_from_document(answer.map_err(StoreError::from)?)
            .map_err(|e| StoreError::Decode { kind: "write", reason: e.to_string() })?;
        match answer.errors.first() {
            Some(error) => Err(StoreError::Refused { code: error.code }.into()),
            None => Ok(answer.n),
        }
    }
}
