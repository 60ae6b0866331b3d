//! Rename and delete: recorded steps that another process can complete after a crash.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use chrono::{DateTime, Utc};
use futures::{FutureExt, future::BoxFuture};

use crate::{
    domain::{
        OperationId, OrgId,
        tenancy::{OrgName, OrgStatus, Organization},
    },
    error::{Error, Result},
    failpoint,
    manager::{AdminContext, TenantManager},
    store::{
        driver::Change,
        tenancy::{Operation, OperationKind},
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
    Move(OrgName, Box<Operation>),
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
        let deadline = Instant::now() + self.tenancy.patience;
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
            let operation = self.new_operation(&org, collection, OperationKind::Delete);
            let now = self.clock.now();
            let context = (&self.store, &org, &operation);
            let recorded = self
                .store
                .transaction("org.delete", context, |tx, (store, org, operation)| {
                    Box::pin(async move {
                        if !store.start_delete(tx, org, now).await? {
                            return Ok(false);
                        }
                        ctx.keep_authority(store, tx).await?;
                        store.revoke_tokens_of(tx, org.id).await?;
                        store.insert_operation(tx, operation).await?;
                        Ok(true)
                    })
                })
                .await?;
            if recorded {
                // From here on, the tokens of all its accounts are revoked.
                self.tenancy.cache.forget(Change::Everything).await;
                self.drive_in_background(operation).await?;
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
        let kind = OperationKind::Rename {
            old_slug,
            new_name: name.as_str().to_owned(),
            new_slug: name.slug().clone(),
            to,
        };
        let operation = self.new_operation(org, collection, kind);
        Ok(Some(Plan::Move(name.clone(), Box::new(operation))))
    }

    fn new_operation(
        &self,
        org: &Organization,
        collection: [u8; 16],
        kind: OperationKind,
    ) -> Operation {
        Operation {
            id: OperationId::generate(),
            org_id: org.id,
            kind,
            from: org.location.clone(),
            collection,
            held_until: self.store.lease_from_now(),
        }
    }

    /// Completes a recorded operation, even if its client disconnects.
    pub(in crate::manager) async fn drive_in_background(
        self: &Arc<Self>,
        operation: Operation,
    ) -> Result<()> {
        let manager = Arc::clone(self);
        let span = tracing::Span::current();
        let work =
            tracing::Instrument::instrument(async move { manager.drive(&operation).await }, span);
        let task = self.tasks.spawn(work);
        task.await.map_err(|_| Error::Internal("an operation's task has died".into()))?
    }

    /// Completes an operation; each of its steps may already be done.
    pub(in crate::manager) async fn drive(&self, operation: &Operation) -> Result<()> {
        let outcome = match &operation.kind {
            OperationKind::Rename { .. } => self.drive_rename(operation).await,
            OperationKind::Delete => self.drive_delete(operation).await,
        };
        let kind: &'static str = (&operation.kind).into();
        let result = if outcome.is_ok() { "ok" } else { "error" };
        metrics::counter!("tenantry_operations_total", "kind" => kind, "outcome" => result)
            .increment(1);
        tracing::info!(org.id = %operation.org_id, kind, outcome = result, "operation ended");
        outcome
    }

    async fn drive_rename(&self, operation: &Operation) -> Result<()> {
        let OperationKind::Rename { old_slug, new_name, new_slug, to } = &operation.kind else {
            return Ok(());
        };
        failpoint!("rename.after_record");
        let renamed = self
            .while_held(operation, || {
                self.store.move_collection(operation.collection, &operation.from, to).boxed()
            })
            .await?;
        failpoint!("rename.after_move");
        let (name, slug, location) = match renamed {
            RenameOutcome::Renamed => (Some(new_name.as_str()), new_slug, to),
            RenameOutcome::TargetTaken => (None, old_slug, &operation.from),
        };
        let now = self.clock.now();
        let context = (&self.store, operation, name, slug, location);
        self.store
            .transaction("org.rename", context, |tx, (store, operation, name, slug, location)| {
                Box::pin(async move {
                    if store.close_operation(tx, operation.id).await? {
                        store.end_rename(tx, operation.org_id, *name, slug, location, now).await?;
                    }
                    Ok(())
                })
            })
            .await?;
        failpoint!("rename.after_close");
        self.tenancy.cache.forget(Change::Organization(operation.org_id)).await;
        match renamed {
            RenameOutcome::Renamed => Ok(()),
            RenameOutcome::TargetTaken => Err(Error::OrgNameTaken),
        }
    }

    async fn drive_delete(&self, operation: &Operation) -> Result<()> {
        failpoint!("delete.after_record");
        self.while_held(operation, || {
            self.store.drop_collection(&operation.from, operation.collection).boxed()
        })
        .await?;
        failpoint!("delete.after_drop");
        self.store
            .transaction("org.remove", (&self.store, operation), |tx, (store, operation)| {
                Box::pin(async move {
                    if store.close_operation(tx, operation.id).await? {
                        store.remove_accounts_of(tx, operation.org_id).await?;
                        store.remove_organization(tx, operation.org_id).await?;
                    }
                    Ok(())
                })
            })
            .await?;
        failpoint!("delete.after_close");
        self.tenancy.cache.forget(Change::Organization(operation.org_id)).await;
        Ok(())
    }

    /// Retries a step until it succeeds or this process's share of the lease ends. After that
    /// another process may take over, and a late step of this one could undo its work.
    async fn while_held<'s, T>(
        &self,
        operation: &Operation,
        step: impl Fn() -> BoxFuture<'s, Result<T>>,
    ) -> Result<T> {
        let trying = async {
            loop {
                match step().await {
                    Err(Error::Database(error)) if error.is_unavailable() => {
                        tracing::warn!(error = %error, "retrying a step of an operation");
                        tokio::time::sleep(STEP_PAUSE).await;
                    }
                    settled => return settled,
                }
            }
        };
        let outcome = tokio::time::timeout_at(operation.held_until.into(), trying).await;
        outcome.unwrap_or(Err(Error::Busy { what: "the operation did not end within its lease" }))
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
