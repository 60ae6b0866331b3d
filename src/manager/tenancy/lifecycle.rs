//! Rename and delete: recorded steps that another process can complete after a crash.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use chrono::{DateTime, Utc};
use futures::FutureExt;

use crate::{
    domain::{
        OrgId,
        tenancy::{OrgName, OrgStatus, Organization},
    },
    error::{Error, Result},
    failpoint,
    manager::{AdminContext, TenantManager, tasks::Lease},
    store::{
        driver::Change,
        tasks::{Task, TenantCollection, Work},
        tenant::RenameOutcome,
    },
};

/// What a new name changes.
pub(in crate::manager) enum Plan {
    /// The name stays.
    Keep,
    /// Only the spelling changes; the slug and the collection stay.
    Respell(OrgName),
    /// The collection is renamed.
    Move(OrgName, Box<Task>),
}

const STEP_PAUSE: Duration = Duration::from_millis(20);

impl TenantManager {
    /// Deletes the organization and all its data. The first step revokes all its tokens.
    ///
    /// # Errors
    /// [`Error::Forbidden`] if `name` is not the name of the admin's own organization, whether or
    /// not another one has it; [`Error::Busy`] if another change does not end in time.
    pub async fn organization_delete(
        self: &Arc<Self>,
        ctx: &AdminContext,
        name: &OrgName,
    ) -> Result<(Arc<Organization>, DateTime<Utc>)> {
        let deadline = ctx.deadline();
        loop {
            let org = self.idle_organization(ctx.org_id(), deadline).await?;
            // No rename is running, so there is one name. Comparing slugs is not enough: they are
            // truncated, so different names can share one.
            if !org.is_named(name) {
                return Err(Error::Forbidden);
            }
            // Without a collection there is nothing to drop; no collection has the default UUID.
            let collection =
                self.store.collection_identity(&org.location).await?.unwrap_or_default();
            let of = TenantCollection { location: org.location.clone(), uuid: collection };
            let task = Task::new(org.id, Work::Delete { of });
            let now = self.clock.now();
            let context = (&self.store, &org, &task);
            let recorded = self
                .store
                .transaction(deadline, "org.delete", context, |tx, (store, org, task)| {
                    Box::pin(async move {
                        if !store.start_delete(tx, org, now).await? {
                            return Ok(false);
                        }
                        ctx.keep_authority(store, tx).await?;
                        store.insert_task(tx, task).await?;
                        Ok(true)
                    })
                })
                .await?;
            if recorded {
                // From here on, no token of its accounts is valid.
                self.tenancy.cache.forget(Change::Organization(org.id)).await;
                self.task_finish(task, self.large_work(ctx).deadline()).await?;
                return Ok((org, now));
            }
        }
    }

    /// The organization, once no operation on it is running.
    pub(in crate::manager) async fn idle_organization(
        &self,
        id: OrgId,
        deadline: Instant,
    ) -> Result<Arc<Organization>> {
        loop {
            let org = self.tenancy.cache.organization_uncached(id).await?;
            match org {
                Some(org) if org.status == OrgStatus::Active => return Ok(org),
                Some(org) if org.status == OrgStatus::Renaming => {
                    pause_until(deadline, "the organization is being renamed").await?;
                }
                _ => return Err(Error::Unauthenticated),
            }
        }
    }

    /// What `name` changes; `None` if the collection is not where `org` says, because another
    /// process has renamed it.
    pub(in crate::manager) async fn plan_update(
        &self,
        org: &Organization,
        name: Option<&OrgName>,
    ) -> Result<Option<Plan>> {
        let Some(name) = name.filter(|name| name.as_str() != org.name) else {
            return Ok(Some(Plan::Keep));
        };
        if org.answers_to(name.slug()) {
            return Ok(Some(Plan::Respell(name.clone())));
        }
        let to = org.location.renamed_to(name.slug());
        // A delete drops the collection before it frees the slug. A collection that exists at the
        // new location thus has an owner, or is an orphan that `tenantry verify` reports. Never
        // replace it.
        if self.store.collection_identity(&to).await?.is_some() {
            return Err(Error::OrgNameTaken);
        }
        let Some(collection) = self.store.collection_identity(&org.location).await? else {
            return Ok(None);
        };
        let old_slug = org.slugs.first().cloned().ok_or(Error::NotFound("organization"))?;
        let of = TenantCollection { location: org.location.clone(), uuid: collection };
        let work = Work::Rename {
            of,
            old_slug,
            new_name: name.as_str().to_owned(),
            new_slug: name.slug().clone(),
            to,
        };
        Ok(Some(Plan::Move(name.clone(), Box::new(Task::new(org.id, work)))))
    }

    /// Renames the collection, then the organization; each step may already be done.
    pub(in crate::manager) async fn drive_rename(&self, task: &Task, lease: &Lease) -> Result<()> {
        let Work::Rename { of, old_slug, new_name, new_slug, to } = &task.work else {
            return Ok(());
        };
        failpoint!("rename.after_record");
        let renamed =
            lease.hold(|| self.store.move_collection(of.uuid, &of.location, to).boxed()).await?;
        failpoint!("rename.after_move");
        let (name, slug, location) = match renamed {
            RenameOutcome::Renamed => (Some(new_name.as_str()), new_slug, to),
            RenameOutcome::TargetTaken => (None, old_slug, &of.location),
        };
        let now = self.clock.now();
        let context = (&self.store, task, name, slug, location);
        self.store
            .transaction(
                self.deadline(),
                "org.rename",
                context,
                |tx, (store, task, name, slug, location)| {
                    Box::pin(async move {
                        if store.close_task(tx, task.id).await? {
                            store.end_rename(tx, task.org_id, *name, slug, location, now).await?;
                        }
                        Ok(())
                    })
                },
            )
            .await?;
        failpoint!("rename.after_close");
        self.tenancy.cache.forget(Change::Organization(task.org_id)).await;
        match renamed {
            RenameOutcome::Renamed => Ok(()),
            RenameOutcome::TargetTaken => Err(Error::OrgNameTaken),
        }
    }

    /// Drops the collection, then removes the organization; each step may already be done.
    pub(in crate::manager) async fn drive_delete(
        &self,
        task: &Task,
        of: &TenantCollection,
        lease: &Lease,
    ) -> Result<()> {
        failpoint!("delete.after_record");
        lease.hold(|| self.store.drop_collection(&of.location, of.uuid).boxed()).await?;
        failpoint!("delete.after_drop");
        let mut removed = 0;
        loop {
            let some = lease.hold(|| self.store.remove_some_accounts(task.org_id).boxed()).await?;
            if some == 0 {
                break;
            }
            removed += some;
            self.store.record_progress(task.id, removed).await?;
            failpoint!("delete.after_some_accounts");
        }
        self.store
            .transaction(self.deadline(), "org.remove", (&self.store, task), |tx, (store, task)| {
                Box::pin(async move {
                    if store.close_task(tx, task.id).await? {
                        store.remove_organization(tx, task.org_id).await?;
                    }
                    Ok(())
                })
            })
            .await?;
        failpoint!("delete.after_close");
        self.tenancy.cache.forget(Change::Organization(task.org_id)).await;
        Ok(())
    }
}

/// Pauses before the next look at a change of another process.
///
/// # Errors
/// [`Error::Busy`] if `deadline` has passed.
pub(in crate::manager) async fn pause_until(deadline: Instant, what: &'static str) -> Result<()> {
    if Instant::now() >= deadline {
        return Err(Error::Busy { what });
    }
    tokio::time::sleep(STEP_PAUSE).await;
    Ok(())
}
