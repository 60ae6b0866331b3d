//! Organizations in the master database.

use std::time::Duration;

use bson::{Document, doc, oid::ObjectId};
use futures::{Stream, TryStreamExt};
use mongodb::Collection;
use serde::{Deserialize, Serialize};

use crate::{
    domain::{
        OrgId,
        tenancy::{Location, OrgName, OrgStatus, Organization, Slug},
    },
    error::{Error, Result},
    failpoint,
    store::{
        Store,
        driver::{StoreError, Tx, error::NAMESPACE_EXISTS},
        schema,
        tasks::is_before,
    },
};

#[derive(Serialize, Deserialize)]
pub(in crate::store) struct LocationDoc {
    cluster: String,
    database: String,
    collection: String,
}

#[derive(Serialize, Deserialize)]
struct OrganizationDoc {
    #[serde(rename = "_id")]
    id: ObjectId,
    name: String,
    slugs: Vec<String>,
    location: LocationDoc,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    moving_to: Option<LocationDoc>,
    /// Since when its charts may show other editions of people than their first ones.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    editions_since: Option<bson::DateTime>,
    status: String,
    created_at: bson::DateTime,
    updated_at: bson::DateTime,
    version: i64,
    /// Every change of the organization's accounts increments it, so that concurrent ones conflict.
    accounts_version: i64,
}

impl Store {
    fn organizations(&self) -> Collection<OrganizationDoc> {
        self.master_collection(schema::ORGANIZATIONS)
    }

    /// How many organizations there are, including those that are being deleted.
    pub async fn organization_count(&self) -> Result<u64> {
        self.answer("org.count", self.organizations().estimated_document_count()).await
    }

    /// The location of a new organization with that slug.
    #[must_use]
    pub fn location_for(&self, slug: &Slug) -> Location {
        Location {
            cluster: Self::CLUSTER.to_owned(),
            database: self.tenants.clone(),
            collection: Location::collection_for(slug),
        }
    }

    /// The organization with that id.
    pub async fn organization(&self, id: OrgId) -> Result<Option<Organization>> {
        self.find_organization(doc! { "_id": id.object_id() }).await
    }

    /// The organization that has that slug, or is being renamed to it.
    pub async fn organization_by_slug(&self, slug: &Slug) -> Result<Option<Organization>> {
        self.find_organization(doc! { "slugs": slug.as_str() }).await
    }

    /// All organizations, oldest first.
    pub async fn all_organizations(&self) -> Result<impl Stream<Item = Result<Organization>>> {
        let cursor = self
            .organizations()
            .find(doc! {})
            .sort(doc! { "_id": 1 })
            .await
            .map_err(StoreError::from)?;
        Ok(cursor
            .map_err(|e| Error::from(StoreError::from(e)))
            .and_then(async |found| Ok(Organization::try_from(found)?)))
    }

    /// Inserts the organization and creates its collection and its tenant document, all in the
    /// caller's transaction.
    ///
    /// # Errors
    /// [`Error::OrgNameTaken`] if another organization has the slug or the collection exists.
    pub async fn create_organization(&self, tx: &mut Tx, org: &Organization) -> Result<()> {
        self.organizations()
            .insert_one(OrganizationDoc::from(org))
            .session(&mut tx.session)
            .await
            .map_err(slug_error)?;
        failpoint!("create.after_organization");
        failpoint!("create.skip_collection", return Ok(()));
        self.client()
            .database(&org.location.database)
            .create_collection(&org.location.collection)
            .with_options(schema::tenant_collection())
            .session(&mut tx.session)
            .await
            .map_err(|e| match StoreError::from(e) {
                // Never replace an orphaned collection; `tenantry verify` reports it.
                e if e.command_code() == Some(NAMESPACE_EXISTS) => Error::OrgNameTaken,
                e => e.into(),
            })?;
        failpoint!("create.after_collection");
        self.tenant(org.id, &org.location).insert_fence(tx).await
    }

    /// Reserves `name` and its location for the organization and marks it as renaming; `false` if
    /// the organization has changed meanwhile.
    ///
    /// # Errors
    /// [`Error::OrgNameTaken`] if another organization has the slug.
    pub async fn start_rename(
        &self,
        tx: &mut Tx,
        org: &Organization,
        name: &OrgName,
        to: &Location,
        now: chrono::DateTime<chrono::Utc>,
    ) -> Result<bool> {
        let set = doc! {
            "status": OrgStatus::Renaming.as_ref(),
            "moving_to": location_bson(to)?,
            "updated_at": bson::DateTime::from_chrono(now),
        };
        let update = doc! {
            "$set": set,
            "$addToSet": { "slugs": name.slug().as_str() },
            "$inc": { "version": 1_i64 },
        };
        self.update_active(tx, org, update).await
    }

    /// Changes a name whose slug, and so whose location, stays; `false` if the organization has
    /// changed meanwhile.
    pub async fn respell(
        &self,
        tx: &mut Tx,
        org: &Organization,
        name: &OrgName,
        now: chrono::DateTime<chrono::Utc>,
    ) -> Result<bool> {
        let set = doc! { "name": name.as_str(), "updated_at": bson::DateTime::from_chrono(now) };
        self.update_active(tx, org, doc! { "$set": set, "$inc": { "version": 1_i64 } }).await
    }

    /// Marks the organization as deleting; `false` if it has changed meanwhile.
    pub async fn start_delete(
        &self,
        tx: &mut Tx,
        org: &Organization,
        now: chrono::DateTime<chrono::Utc>,
    ) -> Result<bool> {
        let set = doc! {
            "status": OrgStatus::Deleting.as_ref(),
            "updated_at": bson::DateTime::from_chrono(now),
        };
        self.update_active(tx, org, doc! { "$set": set, "$inc": { "version": 1_i64 } }).await
    }

    /// Ends a rename at `location`, under `name`, or under the old name if it is `None`.
    pub async fn end_rename(
        &self,
        tx: &mut Tx,
        id: OrgId,
        name: Option<&str>,
        slug: &Slug,
        location: &Location,
        now: chrono::DateTime<chrono::Utc>,
    ) -> Result<()> {
        let mut set = doc! {
            "slugs": [slug.as_str()],
            "location": location_bson(location)?,
            "status": OrgStatus::Active.as_ref(),
            "updated_at": bson::DateTime::from_chrono(now),
        };
        if let Some(name) = name {
            set.insert("name", name);
        }
        let update =
            doc! { "$set": set, "$unset": { "moving_to": "" }, "$inc": { "version": 1_i64 } };
        self.organizations()
            .update_one(doc! { "_id": id.object_id() }, update)
            .session(&mut tx.session)
            .await
            .map_err(StoreError::from)?;
        Ok(())
    }

    /// Lets charts of the organization show other editions than their first ones; `true` if that
    /// has been so for more than `ago`.
    pub async fn allow_editions(&self, id: OrgId, ago: Duration) -> Result<bool> {
        let organizations = self.organizations();
        let since = doc! { "$ifNull": ["$editions_since", "$$NOW"] };
        let allow = organizations.update_one(
            doc! { "_id": id.object_id() },
            vec![doc! { "$set": { "editions_since": since } }],
        );
        self.answer("org.allow_editions", allow).await?;
        let mut long_ago = is_before("$editions_since", ago);
        long_ago.insert("_id", id.object_id());
        Ok(self.answer("org.editions", organizations.find_one(long_ago)).await?.is_some())
    }

    /// Deletes the organization's record.
    pub async fn remove_organization(&self, tx: &mut Tx, id: OrgId) -> Result<()> {
        self.organizations()
            .delete_one(doc! { "_id": id.object_id() })
            .session(&mut tx.session)
            .await
            .map_err(StoreError::from)?;
        Ok(())
    }

    /// Starts a change of the organization's accounts. Two such changes, or one and a delete,
    /// conflict here; snapshot isolation alone would let both commit. `false` if the organization
    /// is deleted or being deleted.
    pub async fn touch_accounts_of(&self, tx: &mut Tx, id: OrgId) -> Result<bool> {
        failpoint!("accounts.skip_touch", return Ok(true));
        let filter =
            doc! { "_id": id.object_id(), "status": { "$ne": OrgStatus::Deleting.as_ref() } };
        let touched = self
            .organizations()
            .update_one(filter, doc! { "$inc": { "accounts_version": 1_i64 } })
            .session(&mut tx.session)
            .await
            .map_err(StoreError::from)?;
        Ok(touched.matched_count == 1)
    }

    async fn update_active(
        &self,
        tx: &mut Tx,
        org: &Organization,
        update: Document,
    ) -> Result<bool> {
        let filter = doc! {
            "_id": org.id.object_id(),
            "status": OrgStatus::Active.as_ref(),
            "version": org.version,
        };
        let updated = self
            .organizations()
            .update_one(filter, update)
            .session(&mut tx.session)
            .await
            .map_err(slug_error)?;
        Ok(updated.matched_count == 1)
    }

    async fn find_organization(&self, filter: Document) -> Result<Option<Organization>> {
        let found = self.answer("org.find", self.organizations().find_one(filter)).await?;
        Ok(found.map(Organization::try_from).transpose()?)
    }
}

fn slug_error(error: mongodb::error::Error) -> Error {
    let error = StoreError::from(error);
    if error.is_duplicate(schema::SLUG_INDEX) { Error::OrgNameTaken } else { error.into() }
}

fn location_bson(location: &Location) -> Result<Document> {
    let doc = LocationDoc::from(location);
    Ok(bson::serialize_to_document(&doc)
        .map_err(|e| StoreError::undecodable("location", e.to_string()))?)
}

impl From<&Location> for LocationDoc {
    fn from(location: &Location) -> Self {
        Self {
            cluster: location.cluster.clone(),
            database: location.database.clone(),
            collection: location.collection.clone(),
        }
    }
}

impl From<LocationDoc> for Location {
    fn from(doc: LocationDoc) -> Self {
        Self { cluster: doc.cluster, database: doc.database, collection: doc.collection }
    }
}

impl From<&Organization> for OrganizationDoc {
    fn from(org: &Organization) -> Self {
        Self {
            id: org.id.object_id(),
            name: org.name.clone(),
            slugs: org.slugs.iter().map(|slug| slug.as_str().to_owned()).collect(),
            location: (&org.location).into(),
            moving_to: org.moving_to.as_ref().map(LocationDoc::from),
            editions_since: None,
            status: org.status.as_ref().to_owned(),
            created_at: bson::DateTime::from_chrono(org.created_at),
            updated_at: bson::DateTime::from_chrono(org.updated_at),
            version: org.version,
            accounts_version: 1,
        }
    }
}

impl TryFrom<OrganizationDoc> for Organization {
    type Error = StoreError;

    fn try_from(doc: OrganizationDoc) -> Result<Self, StoreError> {
        let status = doc.status.parse().unwrap_or(OrgStatus::Unknown);
        Ok(Self {
            id: doc.id.into(),
            name: doc.name,
            slugs: doc.slugs.into_iter().map(Slug::from_stored).collect(),
            location: doc.location.into(),
            moving_to: doc.moving_to.map(Location::from),
            has_editions: doc.editions_since.is_some(),
            status,
            created_at: doc.created_at.to_chrono(),
            updated_at: doc.updated_at.to_chrono(),
            version: doc.version,
        })
    }
}
