//! Organizations: sign-up, lookup, update.

use std::{net::IpAddr, sync::Arc};

use super::lifecycle::{self, Plan};
use crate::{
    auth::HashFor,
    domain::{
        AccountId, OrgId,
        identity::{Account, Email, Password, PasswordDigest, Role},
        tenancy::{OrgName, OrgStatus, Organization},
    },
    error::{Error, Result},
    failpoint,
    manager::{AdminContext, OrgContext, TenantManager},
    store::{
        Store,
        driver::{Change, Tx},
        identity::AccountUpdate,
        tasks::Task,
    },
};

/// The input of a sign-up.
pub struct SignUp {
    /// Its name.
    pub name: OrgName,
    /// The first admin's e-mail address.
    pub email: Email,
    /// The first admin's password.
    pub password: Password,
    /// The client's address.
    pub address: IpAddr,
}

/// Changes of an organization and of the acting admin; `None` keeps the current value.
pub struct OrgPatch {
    /// The organization's new name.
    pub name: Option<OrgName>,
    /// The acting admin's new e-mail address.
    pub email: Option<Email>,
    /// The acting admin's new password.
    pub password: Option<Password>,
    /// Whether to revoke the acting admin's calendar feed.
    pub revoke_calendar: bool,
}

/// What a caller may see of an organization.
pub struct OrgView {
    /// The organization.
    pub organization: Arc<Organization>,
    /// The viewing admin; `None` for other callers, who may not see the tenant's location either.
    pub admin: Option<(AccountId, Email)>,
}

impl TenantManager {
    /// Signs up an organization: creates its record, its first admin, its collection and its tenant
    /// document in one transaction.
    ///
    /// # Errors
    /// [`Error::OrgNameTaken`] or [`Error::EmailTaken`] if another organization or account has it;
    /// [`Error::Throttled`] after too many sign-ups; [`Error::Full`] if the organization limit is
    /// reached; [`Error::Busy`] if the hashing queue is full.
    pub async fn organization_create(&self, input: SignUp) -> Result<OrgView> {
        self.tenancy.sign_ups.sign_up(input.address)?;
        self.tenancy.capacity.check(&self.store, self.deadline()).await?;
        self.refuse_taken_email(&input.email, None).await?;
        self.refuse_taken_name(&input.name, None).await?;
        let digest =
            self.identity.passwords.hash(HashFor::SignUp(input.address), input.password).await?;
        self.organization_found(input.name, input.email, digest).await
    }

    /// The rest of a sign-up, after the password is hashed.
    pub(crate) async fn organization_found(
        &self,
        name: OrgName,
        email: Email,
        digest: PasswordDigest,
    ) -> Result<OrgView> {
        self.tenancy.capacity.admit(&self.store, self.deadline()).await?;
        let now = self.clock.now();
        let org = Organization {
            has_editions: false,
            id: OrgId::generate(),
            name: name.as_str().to_owned(),
            slugs: vec![name.slug().clone()],
            location: self.store.location_for(name.slug()),
            moving_to: None,
            status: OrgStatus::Active,
            created_at: now,
            updated_at: now,
            version: 1,
        };
        let admin = Account {
            id: AccountId::generate(),
            org_id: org.id,
            email,
            name: None,
            role: Role::Admin,
            password: digest,
            token_version: 1,
            created_at: now,
            updated_at: now,
        };
        failpoint!("create.before");
        self.store
            .creating_transaction(
                self.deadline(),
                "org.create",
                (&self.store, &org, &admin),
                |tx, (store, org, admin)| {
                    Box::pin(async move {
                        store.insert_account(tx, admin).await?;
                        failpoint!("create.after_account");
                        store.create_organization(tx, org).await?;
                        failpoint!("create.before_commit");
                        Ok(())
                    })
                },
            )
            .await?;
        failpoint!("create.after_commit");
        tracing::info!(org.id = %org.id, "organization created");
        Ok(OrgView { organization: Arc::new(org), admin: Some((admin.id, admin.email)) })
    }

    /// The organization of that name, as `viewer` may see it.
    ///
    /// # Errors
    /// [`Error::NotFound`] if there is no such organization, or it is being deleted.
    pub async fn organization_get(
        &self,
        viewer: Option<&OrgContext>,
        name: &OrgName,
    ) -> Result<OrgView> {
        let organization = self
            .tenancy
            .cache
            .organization_by_slug(name.slug())
            .await?
            .filter(|org| org.is_usable())
            .ok_or(Error::NotFound("organization"))?;
        let own_admin =
            viewer.filter(|ctx| ctx.org_id() == organization.id).and_then(|ctx| ctx.admin().ok());
        let admin = match own_admin {
            Some(ctx) => Some(self.admin_of(&ctx).await?),
            None => None,
        };
        Ok(OrgView { organization, admin })
    }

    /// Changes the organization's name and the acting admin's credentials, all or nothing. A name
    /// with another slug renames the tenant's collection, which takes equally long for any size.
    ///
    /// # Errors
    /// [`Error::OrgNameTaken`] or [`Error::EmailTaken`] if another organization or account has it;
    /// [`Error::Busy`] if another change of the organization does not end in time.
    pub async fn organization_update(
        self: &Arc<Self>,
        ctx: &AdminContext,
        patch: OrgPatch,
    ) -> Result<OrgView> {
        if let Some(name) = &patch.name {
            self.refuse_taken_name(name, Some(ctx.org_id())).await?;
        }
        if let Some(email) = &patch.email {
            self.refuse_taken_email(email, Some(ctx.account_id())).await?;
        }
        let password = self.hash_for(ctx.org_id(), patch.password).await?;
        let credentials = Credentials::of(patch.email, password, patch.revoke_calendar);
        let deadline = ctx.deadline();
        loop {
            let org = self.idle_organization(ctx.org_id(), deadline).await?;
            let Some(plan) = self.plan_update(&org, patch.name.as_ref()).await? else {
                lifecycle::pause_until(deadline, "the organization has just been renamed").await?;
                continue;
            };
            if self.record_update(ctx, &org, &plan, credentials.as_ref()).await? {
                self.tenancy.cache.forget(Change::Organization(org.id)).await;
                self.tenancy.cache.forget(Change::Account(ctx.account_id())).await;
                if let Plan::Move(_, task) = plan {
                    self.task_finish(*task, self.large_work(ctx).deadline()).await?;
                }
                break;
            }
        }
        let organization = self
            .tenancy
            .cache
            .organization_uncached(ctx.org_id())
            .await?
            .ok_or(Error::NotFound("organization"))?;
        Ok(OrgView { organization, admin: Some(self.admin_of(ctx).await?) })
    }

    /// Records the first step of a change; `false` if the organization has changed meanwhile.
    async fn record_update(
        &self,
        ctx: &AdminContext,
        org: &Organization,
        plan: &Plan,
        credentials: Option<&Credentials>,
    ) -> Result<bool> {
        let now = self.clock.now();
        failpoint!("rename.before");
        let context = (&self.store, ctx, org, plan, credentials);
        self.store
            .transaction(
                ctx.deadline(),
                "org.update",
                context,
                |tx, (store, ctx, org, plan, credentials)| {
                    Box::pin(async move {
                        // A concurrent change of accounts writes the organization or the account, as
                        // this one does, so the two conflict and one runs after the other.
                        ctx.keep_authority(store, tx).await?;
                        if let Some(Credentials(update)) = credentials {
                            store
                                .update_account(tx, org.id, ctx.account_id(), update, now)
                                .await?
                                .ok_or(Error::Unauthenticated)?;
                        }
                        match plan {
                            Plan::Keep => Ok(true),
                            Plan::Respell(name) => store.respell(tx, org, name, now).await,
                            Plan::Move(name, task) => {
                                start_move(store, tx, org, name, task, now).await
                            }
                        }
                    })
                },
            )
            .await
    }

    async fn admin_of(&self, ctx: &AdminContext) -> Result<(AccountId, Email)> {
        let found = self.tenancy.cache.authority(ctx.account_id()).await?;
        let own = found.filter(|authority| authority.org_id == ctx.org_id());
        let own = own.ok_or(Error::Unauthenticated)?;
        Ok((ctx.account_id(), own.email.clone()))
    }

    /// Refuses a name that an organization other than `own` has or is taking, before a password is
    /// hashed. The unique index decides.
    pub(in crate::manager) async fn refuse_taken_name(
        &self,
        name: &OrgName,
        own: Option<OrgId>,
    ) -> Result<()> {
        let holder = self.store.organization_by_slug(name.slug()).await?;
        if holder.is_some_and(|holder| Some(holder.id) != own) {
            return Err(Error::OrgNameTaken);
        }
        Ok(())
    }
}

async fn start_move(
    store: &Store,
    tx: &mut Tx,
    org: &Organization,
    name: &OrgName,
    task: &Task,
    now: chrono::DateTime<chrono::Utc>,
) -> Result<bool> {
    let to = org.location.renamed_to(name.slug());
    if !store.start_rename(tx, org, name, &to, now).await? {
        return Ok(false);
    }
    store.insert_task(tx, task).await?;
    Ok(true)
}

struct Credentials(AccountUpdate);

impl Credentials {
    fn of(
        email: Option<Email>,
        password: Option<PasswordDigest>,
        revoke_feed: bool,
    ) -> Option<Self> {
        (email.is_some() || password.is_some() || revoke_feed).then(|| {
            Self(AccountUpdate { email, password, revoke_feed, ..AccountUpdate::default() })
        })
    }
}
