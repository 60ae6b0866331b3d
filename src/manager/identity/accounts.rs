//! How admins manage the accounts of their organization.

use std::sync::Arc;

use chrono::{DateTime, Utc};

use crate::{
    auth::HashFor,
    domain::{
        AccountId, Label, OrgId,
        identity::{Account, Email, Password, Role},
    },
    error::{Error, Result},
    failpoint,
    manager::{AdminContext, TenantManager},
    store::{
        Store,
        driver::{Change, Tx},
        identity::AccountUpdate,
        tasks::{Task, Work},
    },
};

/// A new account.
pub struct MemberInput {
    /// Its e-mail address.
    pub email: Email,
    /// Its password.
    pub password: Password,
    /// The person's name.
    pub name: Option<Label>,
    /// Its role.
    pub role: Role,
}

/// Changes of an account; `None` keeps the current value.
#[derive(Default)]
pub struct MemberPatch {
    /// A new e-mail address.
    pub email: Option<Email>,
    /// A new password; it revokes the account's tokens.
    pub password: Option<Password>,
    /// A new name; `Some(None)` removes it.
    pub name: Option<Option<Label>>,
    /// A new role.
    pub role: Option<Role>,
    /// Whether to revoke its calendar feed.
    pub revoke_calendar: bool,
}

impl TenantManager {
    /// Adds an account to the organization.
    ///
    /// # Errors
    /// [`Error::EmailTaken`] if another account has that address; [`Error::Busy`] if the hashing
    /// queue is full.
    pub async fn member_create(&self, ctx: &AdminContext, input: MemberInput) -> Result<Account> {
        self.refuse_taken_email(&input.email, None).await?;
        let who = HashFor::Org(ctx.org_id());
        let password = self.identity.passwords.hash(who, input.password).await?;
        let now = self.clock.now();
        let account = Account {
            id: AccountId::generate(),
            org_id: ctx.org_id(),
            email: input.email,
            name: input.name,
            role: input.role,
            password,
            token_version: 1,
            created_at: now,
            updated_at: now,
        };
        self.account_add(ctx, &account).await?;
        Ok(account)
    }

    /// Adds an account whose password is already hashed.
    pub(crate) async fn account_add(&self, ctx: &AdminContext, account: &Account) -> Result<()> {
        let context = (&self.store, ctx, account);
        self.store
            .transaction(ctx.deadline(), "member.create", context, |tx, (store, ctx, account)| {
                Box::pin(async move {
                    open_accounts(store, tx, ctx).await?;
                    store.insert_account(tx, account).await
                })
            })
            .await
    }

    /// At most `limit` accounts of the organization after `after`, oldest first.
    pub async fn member_list(
        &self,
        ctx: &AdminContext,
        after: Option<AccountId>,
        limit: u32,
    ) -> Result<Vec<Account>> {
        self.store.accounts_of(ctx.org_id(), after, limit).await
    }

    /// One account of the organization.
    ///
    /// # Errors
    /// [`Error::NotFound`] if the organization has no such account.
    pub async fn member_get(&self, ctx: &AdminContext, id: AccountId) -> Result<Account> {
        self.store.account_of(ctx.org_id(), id).await?.ok_or(NO_MEMBER)
    }

    /// Changes an account of the organization.
    ///
    /// # Errors
    /// [`Error::NotFound`] if the organization has no such account; [`Error::EmailTaken`] if
    /// another account has the new address; [`Error::LastAdmin`] if no admin would remain.
    pub async fn member_update(
        &self,
        ctx: &AdminContext,
        id: AccountId,
        patch: MemberPatch,
    ) -> Result<Account> {
        self.member_get(ctx, id).await?;
        if let Some(email) = &patch.email {
            self.refuse_taken_email(email, Some(id)).await?;
        }
        let password = self.hash_for(ctx.org_id(), patch.password).await?;
        let update = AccountUpdate {
            email: patch.email,
            password,
            name: patch.name,
            role: patch.role,
            revoke_feed: patch.revoke_calendar,
        };
        let (org, now) = (ctx.org_id(), self.clock.now());
        let account = self
            .store
            .transaction(
                ctx.deadline(),
                "member.update",
                (&self.store, &update),
                |tx, (store, update)| {
                    Box::pin(async move {
                        open_accounts(store, tx, ctx).await?;
                        let account = store.update_account(tx, org, id, update, now).await?;
                        require_an_admin(store, tx, org).await?;
                        account.ok_or(NO_MEMBER)
                    })
                },
            )
            .await?;
        self.tenancy.cache.forget(Change::Account(id)).await;
        Ok(account)
    }

    /// Revokes an account's calendar feed, if it has one.
    ///
    /// # Errors
    /// [`Error::NotFound`] if the organization has no such account.
    pub async fn member_calendar_revoke(&self, ctx: &AdminContext, id: AccountId) -> Result<()> {
        let patch = MemberPatch { revoke_calendar: true, ..MemberPatch::default() };
        self.member_update(ctx, id, patch).await?;
        Ok(())
    }

    /// Deletes an account. Its tokens are revoked, and its upcoming seats go to the waiting lists.
    ///
    /// # Errors
    /// [`Error::NotFound`] if the organization has no such account; [`Error::LastAdmin`] if no
    /// admin would remain.
    pub async fn member_delete(
        self: &Arc<Self>,
        ctx: &AdminContext,
        id: AccountId,
    ) -> Result<DateTime<Utc>> {
        let org = ctx.org_id();
        let task = Task::new(org, Work::ReleaseMember(id));
        self.store
            .transaction(
                ctx.deadline(),
                "member.delete",
                (&self.store, &task),
                |tx, (store, task)| {
                    Box::pin(async move {
                        open_accounts(store, tx, ctx).await?;
                        if !store.remove_account(tx, org, id).await? {
                            return Err(NO_MEMBER);
                        }
                        store.insert_task(tx, task).await?;
                        require_an_admin(store, tx, org).await
                    })
                },
            )
            .await?;
        self.tenancy.cache.forget(Change::Account(id)).await;
        failpoint!("member_delete.after_commit");
        self.task_finish(task, self.large_work(ctx).deadline()).await?;
        Ok(self.clock.now())
    }

    /// Refuses an address that an account other than `own` has, before a password is hashed. The
    /// unique index decides: a free address may be taken a moment later.
    pub(in crate::manager) async fn refuse_taken_email(
        &self,
        email: &Email,
        own: Option<AccountId>,
    ) -> Result<()> {
        let holder = self.store.account_by_email(email).await?;
        if holder.is_some_and(|holder| Some(holder.id) != own) {
            return Err(Error::EmailTaken);
        }
        Ok(())
    }
}

const NO_MEMBER: Error = Error::NotFound("member");

/// Starts a change of accounts: serializes it with other such changes of the organization, and
/// checks that the caller is still an admin.
async fn open_accounts(store: &Store, tx: &mut Tx, ctx: &AdminContext) -> Result<()> {
    if !store.touch_accounts_of(tx, ctx.org_id()).await? {
        return Err(Error::Unauthenticated);
    }
    ctx.keep_authority(store, tx).await
}

/// Call it after the change, in the same transaction: its error undoes the change.
async fn require_an_admin(store: &Store, tx: &mut Tx, org: OrgId) -> Result<()> {
    if store.has_admin(tx, org).await? { Ok(()) } else { Err(Error::LastAdmin) }
}
