//! Accounts in the master database.

use bson::{Document, doc, oid::ObjectId};
use futures::TryStreamExt;
use mongodb::{Collection, options::ReturnDocument};
use serde::{Deserialize, Serialize};

use crate::{
    domain::{
        AccountId, Label, OrgId,
        identity::{Account, Actor, Email, PasswordDigest, Role},
    },
    error::{Error, Result},
    store::{
        Store,
        driver::{StoreError, Tx},
        schema,
    },
};

/// Changes of an account; `None` keeps the current value.
#[derive(Clone, Debug, Default)]
pub struct AccountUpdate {
    /// A new e-mail address.
    pub email: Option<Email>,
    /// A new password; it revokes the account's tokens.
    pub password: Option<PasswordDigest>,
    /// A new name; `Some(None)` removes it.
    pub name: Option<Option<Label>>,
    /// A new role.
    pub role: Option<Role>,
    /// Whether to revoke its calendar feed.
    pub revoke_feed: bool,
}

#[derive(Serialize, Deserialize)]
struct AccountDoc {
    #[serde(rename = "_id")]
    id: ObjectId,
    org_id: ObjectId,
    email: String,
    name: Option<String>,
    role: String,
    password_hash: String,
    token_version: i64,
    created_at: bson::DateTime,
    updated_at: bson::DateTime,
}

/// How many accounts one command deletes.
const REMOVED_AT_ONCE: i64 = 1_000;

impl Store {
    fn accounts(&self) -> Collection<AccountDoc> {
        self.master_collection(schema::ACCOUNTS)
    }

    /// The account with that id, in any organization.
    pub async fn account(&self, id: AccountId) -> Result<Option<Account>> {
        self.find_account(doc! { "_id": id.object_id() }).await
    }

    /// The account of `org` with that id.
    pub async fn account_of(&self, org: OrgId, id: AccountId) -> Result<Option<Account>> {
        self.find_account(account_filter(org, id)).await
    }

    /// The account with that e-mail address.
    pub async fn account_by_email(&self, email: &Email) -> Result<Option<Account>> {
        self.find_account(doc! { "email": email.as_str() }).await
    }

    /// At most `limit` accounts of `org` after `after`, oldest first.
    pub async fn accounts_of(
        &self,
        org: OrgId,
        after: Option<AccountId>,
        limit: u32,
    ) -> Result<Vec<Account>> {
        let mut filter = doc! { "org_id": org.object_id() };
        if let Some(after) = after {
            filter.insert("_id", doc! { "$gt": after.object_id() });
        }
        let sort = doc! { "org_id": 1, "_id": 1 };
        let accounts = self.accounts();
        let find = accounts.find(filter).sort(sort).limit(i64::from(limit));
        let found: Vec<AccountDoc> =
            self.answer("account.list", async { find.await?.try_collect().await }).await?;
        Ok(found.into_iter().map(Account::try_from).collect::<Result<_, _>>()?)
    }

    /// The accounts of `org` among `ids`, in no particular order.
    pub async fn accounts_among(&self, org: OrgId, ids: &[AccountId]) -> Result<Vec<Account>> {
        let ids: Vec<ObjectId> = ids.iter().map(|id| id.object_id()).collect();
        let filter = doc! { "_id": { "$in": ids }, "org_id": org.object_id() };
        let accounts = self.accounts();
        let find = accounts.find(filter);
        let found: Vec<AccountDoc> =
            self.answer("account.among", async { find.await?.try_collect().await }).await?;
        Ok(found.into_iter().map(Account::try_from).collect::<Result<_, _>>()?)
    }

    /// Replaces the account's calendar feed, or revokes it if `hash` is `None`. Returns `false`
    /// without a change if the account's tokens were revoked meanwhile.
    pub async fn set_feed(&self, actor: &Actor, hash: Option<&str>) -> Result<bool> {
        let mut filter = account_filter(actor.org_id, actor.account_id);
        filter.insert("token_version", actor.token_version);
        let revoke = doc! { "$unset": { "feed_hash": "" } };
        let update = hash.map_or(revoke, |hash| doc! { "$set": { "feed_hash": hash } });
        let updated =
            self.answer("account.feed", self.accounts().update_one(filter, update)).await?;
        Ok(updated.matched_count == 1)
    }

    /// The account whose calendar feed has that hash.
    pub async fn account_by_feed(&self, hash: &str) -> Result<Option<Account>> {
        self.find_account(doc! { "feed_hash": hash }).await
    }

    /// Inserts the account.
    ///
    /// # Errors
    /// [`Error::EmailTaken`] if another account has that address.
    pub async fn insert_account(&self, tx: &mut Tx, account: &Account) -> Result<()> {
        self.accounts()
            .insert_one(AccountDoc::from(account))
            .session(&mut tx.session)
            .await
            .map_err(email_error)?;
        Ok(())
    }

    /// Changes an account of `org` and returns it; `None` if there is no such account.
    ///
    /// # Errors
    /// [`Error::EmailTaken`] if another account has that address.
    pub async fn update_account(
        &self,
        tx: &mut Tx,
        org: OrgId,
        id: AccountId,
        update: &AccountUpdate,
        now: chrono::DateTime<chrono::Utc>,
    ) -> Result<Option<Account>> {
        let updated = self
            .accounts()
            .find_one_and_update(account_filter(org, id), update.to_document(now))
            .return_document(ReturnDocument::After)
            .session(&mut tx.session)
            .await
            .map_err(email_error)?;
        Ok(updated.map(Account::try_from).transpose()?)
    }

    /// Deletes an account of `org`; `false` if there was none.
    pub async fn remove_account(&self, tx: &mut Tx, org: OrgId, id: AccountId) -> Result<bool> {
        let removed = self
            .accounts()
            .delete_one(account_filter(org, id))
            .session(&mut tx.session)
            .await
            .map_err(StoreError::from)?;
        Ok(removed.deleted_count == 1)
    }

    /// The account of `org`, read in the transaction.
    pub async fn account_in(
        &self,
        tx: &mut Tx,
        org: OrgId,
        id: AccountId,
    ) -> Result<Option<Account>> {
        let found =
            self.accounts().find_one(account_filter(org, id)).session(&mut tx.session).await;
        Ok(found.map_err(StoreError::from)?.map(Account::try_from).transpose()?)
    }

    /// Whether `org` has an admin, read in the transaction.
    pub async fn has_admin(&self, tx: &mut Tx, org: OrgId) -> Result<bool> {
        let filter = doc! { "org_id": org.object_id(), "role": Role::Admin.as_ref() };
        let admin = self.accounts().find_one(filter).session(&mut tx.session).await;
        Ok(admin.map_err(StoreError::from)?.is_some())
    }

    /// Deletes some accounts of `org` and returns how many.
    pub async fn remove_some_accounts(&self, org: OrgId) -> Result<u64> {
        let accounts = self.master_collection::<Document>(schema::ACCOUNTS);
        let filter = doc! { "org_id": org.object_id() };
        let find = accounts.find(filter).projection(doc! { "_id": 1 }).limit(REMOVED_AT_ONCE);
        let some = async { find.await?.try_collect().await };
        let some: Vec<Document> = self.answer("account.list", some).await?;
        if some.is_empty() {
            return Ok(0);
        }
        let ids: Vec<_> = some.iter().filter_map(|account| account.get("_id")).collect();
        let delete = accounts.delete_many(doc! { "_id": { "$in": ids } });
        Ok(self.answer("account.remove", delete).await?.deleted_count)
    }

    async fn find_account(&self, filter: Document) -> Result<Option<Account>> {
        let found = self.answer("account.find", self.accounts().find_one(filter)).await?;
        Ok(found.map(Account::try_from).transpose()?)
    }
}

impl AccountUpdate {
    fn to_document(&self, now: chrono::DateTime<chrono::Utc>) -> Document {
        let mut set = doc! { "updated_at": bson::DateTime::from_chrono(now) };
        if let Some(email) = &self.email {
            set.insert("email", email.as_str());
        }
        if let Some(password) = &self.password {
            set.insert("password_hash", password.expose());
        }
        if let Some(name) = &self.name {
            set.insert("name", name.as_ref().map(Label::as_str));
        }
        if let Some(role) = self.role {
            set.insert("role", role.as_ref());
        }
        let mut update = doc! { "$set": set };
        if self.revoke_feed {
            update.insert("$unset", doc! { "feed_hash": "" });
        }
        if self.password.is_some() {
            update.insert("$inc", doc! { "token_version": 1_i64 });
        }
        update
    }
}

fn account_filter(org: OrgId, id: AccountId) -> Document {
    doc! { "_id": id.object_id(), "org_id": org.object_id() }
}

fn email_error(error: mongodb::error::Error) -> Error {
    let error = StoreError::from(error);
    if error.is_duplicate(schema::EMAIL_INDEX) { Error::EmailTaken } else { error.into() }
}

impl From<&Account> for AccountDoc {
    fn from(account: &Account) -> Self {
        Self {
            id: account.id.object_id(),
            org_id: account.org_id.object_id(),
            email: account.email.as_str().to_owned(),
            name: account.name.as_ref().map(|name| name.as_str().to_owned()),
            role: account.role.as_ref().to_owned(),
            password_hash: account.password.expose().to_owned(),
            token_version: account.token_version,
            created_at: bson::DateTime::from_chrono(account.created_at),
            updated_at: bson::DateTime::from_chrono(account.updated_at),
        }
    }
}

impl TryFrom<AccountDoc> for Account {
    type Error = StoreError;

    fn try_from(doc: AccountDoc) -> Result<Self, StoreError> {
        // A role of a later release gets the fewest permissions.
        let role = doc.role.parse().unwrap_or(Role::Member);
        Ok(Self {
            id: doc.id.into(),
            org_id: doc.org_id.into(),
            email: Email::from_stored(doc.email),
            name: doc.name.map(Label::from_stored),
            role,
            password: PasswordDigest::new(doc.password_hash),
            token_version: doc.token_version,
            created_at: doc.created_at.to_chrono(),
            updated_at: doc.updated_at.to_chrono(),
        })
    }
}
