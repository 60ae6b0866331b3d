//! Queries over all accounts for `tenantry verify`.

use bson::{Document, doc, oid::ObjectId};
use futures::TryStreamExt;
use serde::Deserialize;

use crate::{
    domain::{AccountId, OrgId, identity::Role},
    error::Result,
    store::{Store, driver::StoreError, schema},
};

/// Totals of one organization's accounts.
#[derive(Clone, Copy, Debug)]
pub struct AccountTotals {
    /// The organization that the accounts refer to; it may not exist.
    pub org_id: OrgId,
    /// How many of them are admins.
    pub admins: i64,
    /// One of them.
    pub example: AccountId,
}

#[derive(Deserialize)]
struct AccountGroup {
    #[serde(rename = "_id")]
    id: ObjectId,
    admins: i64,
    example: ObjectId,
}

impl Store {
    /// Whether the organization has an admin.
    pub async fn organization_has_admin(&self, org: OrgId) -> Result<bool> {
        let filter = doc! { "org_id": org.object_id(), "role": Role::Admin.as_ref() };
        let accounts = self.master_collection::<Document>(schema::ACCOUNTS);
        Ok(self.answer("account.admin", accounts.find_one(filter)).await?.is_some())
    }

    /// The totals of all accounts by organization.
    pub async fn accounts_by_organization(&self) -> Result<Vec<AccountTotals>> {
        let is_admin = doc! { "$cond": [{ "$eq": ["$role", Role::Admin.as_ref()] }, 1_i64, 0_i64] };
        let groups: Vec<AccountGroup> = self
            .master_collection::<Document>(schema::ACCOUNTS)
            .aggregate([doc! { "$group": {
                "_id": "$org_id",
                "admins": { "$sum": is_admin },
                "example": { "$first": "$_id" },
            } }])
            .with_type::<AccountGroup>()
            .await
            .map_err(StoreError::from)?
            .try_collect()
            .await
            .map_err(StoreError::from)?;
        Ok(groups
            .into_iter()
            .map(|group| AccountTotals {
                org_id: group.id.into(),
                admins: group.admins,
                example: group.example.into(),
            })
            .collect())
    }
}
