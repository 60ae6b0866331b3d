//! Renaming and dropping a tenant's collection: steps that cannot be part of a transaction.

use std::time::{Duration, Instant};

use bson::{Binary, Bson, Document, doc, spec::BinarySubtype};
use futures::TryStreamExt;
use mongodb::results::CollectionType;

use crate::{
    domain::tenancy::Location,
    error::{Error, Result},
    store::{
        Store,
        driver::{
            StoreError,
            error::{COLLECTION_UUID_MISMATCH, NAMESPACE_EXISTS, NAMESPACE_NOT_FOUND},
        },
        schema,
    },
};

/// The outcome of renaming a collection.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum RenameOutcome {
    /// The collection has its new name, by this call or an earlier one.
    Renamed,
    /// Another collection has the new name; the tenant's collection keeps its old one.
    TargetTaken,
}

/// The time limit of an index build, which reads all of the collection.
const INDEX_WITHIN: Duration = Duration::from_mins(10);

impl Store {
    /// The UUID of the collection at `location`, which a rename does not change; `None` if there is
    /// no such collection.
    pub async fn collection_identity(&self, location: &Location) -> Result<Option<[u8; 16]>> {
        let database = self.client().database(&location.database);
        let list = database.list_collections().filter(doc! { "name": &location.collection });
        let found = self.answer("collection.find", async { list.await?.try_next().await }).await?;
        let Some(facts) = found else { return Ok(None) };
        let uuid = facts.info.uuid.map(|uuid| uuid.bytes);
        Ok(uuid.and_then(|bytes| <[u8; 16]>::try_from(bytes.as_slice()).ok()))
    }

    /// Renames the tenant's collection. Safe to repeat: it renames only the collection with that
    /// UUID, never replaces another one, and recognizes a rename that is already done. mongod waits
    /// at most half a lease for the collection's open transactions.
    pub async fn move_collection(
        &self,
        collection: [u8; 16],
        from: &Location,
        to: &Location,
    ) -> Result<RenameOutcome> {
        let rename = doc! {
            "renameCollection": format!("{}.{}", from.database, from.collection),
            "to": format!("{}.{}", to.database, to.collection),
            "dropTarget": false,
            "collectionUUID": uuid(collection),
            "maxTimeMS": i64::try_from(self.lease_share().as_millis()).unwrap_or(i64::MAX),
            "writeConcern": { "w": "majority" },
        };
        let renamed = self.command("collection.rename", "admin", rename, self.step_limit()).await;
        let Err(error) = renamed else { return Ok(RenameOutcome::Renamed) };
        // This reads the primary's catalog; a majority read may miss an earlier attempt of this
        // process.
        match code_of(&error) {
            Some(NAMESPACE_NOT_FOUND | COLLECTION_UUID_MISMATCH | NAMESPACE_EXISTS) => {
                let at_target = self.collection_identity(to).await?;
                if at_target == Some(collection) {
                    Ok(RenameOutcome::Renamed)
                } else if at_target.is_some() {
                    Ok(RenameOutcome::TargetTaken)
                } else {
                    Err(error)
                }
            }
            _ => Err(error),
        }
    }

    /// Drops the collection with that UUID, and no other one that has taken its name since. Safe to
    /// repeat.
    pub async fn drop_collection(&self, location: &Location, collection: [u8; 16]) -> Result<()> {
        let drop = doc! {
            "drop": &location.collection,
            "collectionUUID": uuid(collection),
            "writeConcern": { "w": "majority" },
        };
        let limit = self.step_limit();
        match self.command("collection.drop", &location.database, drop, limit).await {
            Ok(()) => Ok(()),
            Err(error) => match code_of(&error) {
                Some(NAMESPACE_NOT_FOUND | COLLECTION_UUID_MISMATCH) => Ok(()),
                _ => Err(error),
            },
        }
    }

    /// How many files the secondary indexes for large charts are.
    pub const TEAM_INDEXES: u64 = schema::TEAM_INDEXES as u64;

    /// Whether the tenant has all secondary indexes for large charts.
    pub async fn has_team_indexes(&self, location: &Location) -> Result<bool> {
        let collection: mongodb::Collection<Document> =
            self.collection(&location.database, &location.collection);
        let names = self.answer("index.list", collection.list_index_names()).await?;
        let wanted = schema::team_indexes();
        let mut wanted = wanted.iter().filter_map(|index| index.get_str("name").ok());
        Ok(wanted.all(|name| names.iter().any(|found| found == name)))
    }

    /// Builds the secondary indexes for large charts. Safe to repeat. It checks the collection's
    /// UUID, because an index build at a stale location would create a collection there.
    pub async fn index_teams(&self, location: &Location, collection: [u8; 16]) -> Result<()> {
        let build = doc! {
            "createIndexes": &location.collection,
            "indexes": schema::team_indexes(),
            "collectionUUID": uuid(collection),
            "writeConcern": { "w": "majority" },
        };
        self.command("index.build", &location.database, build, INDEX_WITHIN).await
    }

    /// Runs a command that may take longer than others, up to `limit`.
    async fn command(
        &self,
        call: &'static str,
        database: &str,
        command: Document,
        limit: Duration,
    ) -> Result<()> {
        let database = self.client().database(database);
        let answer = async { Ok(database.run_command(command).await.map_err(StoreError::from)?) };
        self.answer_until(Instant::now() + limit, call, answer).await.map(drop)
    }

    /// The time limit of one attempt at a step of a task. Without it, a silent connection would hold
    /// up the task for ever, because its lease is renewed through others.
    fn step_limit(&self) -> Duration {
        self.limits.lease.max(self.limits.answer)
    }

    /// The names of all tenant collections, including those that belong to no organization.
    pub async fn tenant_collections(&self) -> Result<Vec<String>> {
        let found: Vec<_> = self
            .client()
            .database(&self.tenants)
            .list_collections()
            .await
            .map_err(StoreError::from)?
            .try_collect()
            .await
            .map_err(StoreError::from)?;
        Ok(found
            .into_iter()
            .filter(|c| matches!(c.collection_type, CollectionType::Collection))
            .map(|c| c.name)
            .filter(|name| name.starts_with(Location::COLLECTION_PREFIX))
            .collect())
    }
}

fn code_of(error: &Error) -> Option<i32> {
    StoreError::of(error).and_then(StoreError::command_code)
}

fn uuid(bytes: [u8; 16]) -> Bson {
    Binary { subtype: BinarySubtype::Uuid, bytes: bytes.to_vec() }.into()
}
