//! Moving and removing a tenant's collection: the steps of an operation that no transaction holds.

use bson::{Binary, Bson, doc, spec::BinarySubtype};
use futures::TryStreamExt;
use mongodb::results::CollectionType;

use crate::{
    domain::tenancy::Location,
    error::Result,
    store::{
        Store,
        driver::{
            StoreError,
            error::{COLLECTION_UUID_MISMATCH, NAMESPACE_EXISTS, NAMESPACE_NOT_FOUND},
        },
        schema,
    },
};

/// What became of a move.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Moved {
    /// The tenant's collection is at its new place, by this call or an earlier one.
    There,
    /// Another collection stands at the new place; the tenant's own is where it was.
    Occupied,
}

impl Store {
    /// The identity of the collection at `location`, which a rename does not change.
    ///
    /// # Errors
    /// The driver's.
    pub async fn collection_identity(&self, location: &Location) -> Result<Option<[u8; 16]>> {
        let mut found = self
            .client()
            .database(&location.database)
            .list_collections()
            .filter(doc! { "name": &location.collection })
            .await
            .map_err(StoreError::from)?;
        let Some(facts) = found.try_next().await.map_err(StoreError::from)? else {
            return Ok(None);
        };
        let uuid = facts.info.uuid.map(|uuid| uuid.bytes);
        Ok(uuid.and_then(|bytes| <[u8; 16]>::try_from(bytes.as_slice()).ok()))
    }

    /// Moves the tenant's collection within its database. Safe to repeat: it moves only the
    /// collection with that identity, never replaces another one, and finds a move that is done.
    /// mongod waits for the collection's open transactions for half a lease at most.
    ///
    /// # Errors
    /// The driver's.
    pub async fn move_collection(
        &self,
        collection: [u8; 16],
        from: &Location,
        to: &Location,
    ) -> Result<Moved> {
        let renamed = self
            .client()
            .database("admin")
            .run_command(doc! {
                "renameCollection": format!("{}.{}", from.database, from.collection),
                "to": format!("{}.{}", to.database, to.collection),
                "dropTarget": false,
                "collectionUUID": uuid(collection),
                "maxTimeMS": i64::try_from(self.lease_share().as_millis()).unwrap_or(i64::MAX),
                "writeConcern": { "w": "majority" },
            })
            .await
            .map_err(StoreError::from);
        let Err(error) = renamed else { return Ok(Moved::There) };
        // The catalogue of the primary is asked, not a majority read, which may lag behind an
        // earlier attempt of ours.
        match error.command_code() {
            Some(NAMESPACE_NOT_FOUND | COLLECTION_UUID_MISMATCH | NAMESPACE_EXISTS) => {
                let at_target = self.collection_identity(to).await?;
                if at_target == Some(collection) {
                    Ok(Moved::There)
                } else if at_target.is_some() {
                    Ok(Moved::Occupied)
                } else {
                    Err(error.into())
                }
            }
            _ => Err(error.into()),
        }
    }

    /// Drops the collection with that identity, and no other that has taken its name since.
    ///
    /// # Errors
    /// The driver's.
    pub async fn drop_collection(&self, location: &Location, collection: [u8; 16]) -> Result<()> {
        let dropped = self
            .client()
            .database(&location.database)
            .run_command(doc! {
                "drop": &location.collection,
                "collectionUUID": uuid(collection),
                "writeConcern": { "w": "majority" },
            })
            .await
            .map_err(StoreError::from);
        match dropped {
            Ok(_) => Ok(()),
            Err(error) => match error.command_code() {
                Some(NAMESPACE_NOT_FOUND | COLLECTION_UUID_MISMATCH) => Ok(()),
                _ => Err(error.into()),
            },
        }
    }

    /// Builds the secondary indexes that large charts want, on the collection with that identity
    /// and no other: an index that is asked for at a stale place would create a collection there.
    /// Safe to repeat.
    ///
    /// # Errors
    /// The driver's.
    pub async fn index_teams(&self, location: &Location, collection: [u8; 16]) -> Result<()> {
        self.client()
            .database(&location.database)
            .run_command(doc! {
                "createIndexes": &location.collection,
                "indexes": schema::team_indexes(),
                "collectionUUID": uuid(collection),
                "writeConcern": { "w": "majority" },
            })
            .await
            .map_err(StoreError::from)?;
        Ok(())
    }

    /// The names of all tenant collections, also of those that no organization knows.
    ///
    /// # Errors
    /// The driver's.
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

fn uuid(bytes: [u8; 16]) -> Bson {
    Binary { subtype: BinarySubtype::Uuid, bytes: bytes.to_vec() }.into()
}
