//! Rename and delete: recorded steps that a restart carries to their end.

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
    manager::{AdminScope, TenantManager},
    store::{
        driver::Change,
        tenancy::{Operation, OperationKind},
        tenant::Moved,
    },
};

/// What a new name asks for.
pub(in crate::manager) enum Plan {
    /// The name stays.
    Keep,
    /// The name changes, its slug and so its collection do not.
    Respell(OrgName),
    /// The collection moves.
    Move(OrgName, Box<Operation>),
}

const STEP_PAUSE: Duration = Duration::from_millis(20);

impl TenantManager {
    /// Deletes the organization with everything that it holds. From the first step on, every token
    /// of it is refused.
    ///
    /// # Errors
    /// [`Error::Forbidden`] when `name` does not name the admin's own organization, whether there
    /// is another of that name or not; [`Error::Busy`] when another change does not end in time;
    /// the store's.
    pub async fn organization_delete(
        self: &Arc<Self>,
        scope: &AdminScope,
        name: &OrgName,
    ) -> Result<(Arc<Organization>, DateTime<Utc>)> {
        let deadline = Instant::now() + self.tenancy.patience;
        loop {
            let org = self.organization_at_rest(scope.org_id(), deadline).await?;
            // No rename is under way, so there is one name; and a slug is cut, so others share it.
            if !org.is_named(name) {
                return Err(Error::Forbidden);
            }
            // Without a collection there is nothing to drop, and no collection has this identity.
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
                        scope.keep_authority(store, tx).await?;
                        store.revoke_tokens_of(tx, org.id).await?;
                        store.insert_operation(tx, operation).await?;
                        Ok(true)
                    })
                })
                .await?;
            if recorded {
                // The tokens of all its accounts are dead from here on.
                self.tenancy.cache.forget(Change::Everything).await;
                self.drive_in_background(operation).await?;
                return Ok((org, now));
            }
        }
    }

    /// The organization once no operation of it is under way.
    pub(in crate::manager) async fn organization_at_rest(
        &self,
        id: OrgId,
        deadline: Instant,
    ) -> Result<Arc<Organization>> {
        loop {
            let org = self.tenancy.cache.organization_afresh(id).await?;
            match org {
                Some(org) if org.status == OrgStatus::Active => return Ok(org),
                Some(org) if org.status == OrgStatus::Renaming => {
                    pause_until(deadline, "the organization is being renamed").await?;
                }
                _ => return Err(Error::Unauthenticated),
            }
        }
    }

    /// What `name` asks for; `None` when the collection is not where `org` says, since another
    /// process has moved it meanwhile.
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
        // A collection is gone before its slug is free, so whatever stands there has an owner, or
        // is a stray that `tenantry verify` names; it is never replaced.
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

    /// Drives a recorded operation to its end, also when the client who asked for it goes away.
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

    /// Carries an operation to its end; every step may have been done before.
    pub(in crate::manager) async fn drive(&self, operation: &Operation) -> Result<()> {
        let outcome = match &operation.kind {
            OperationKind::Rename { .. } => self.drive_rename(operation).await,
            OperationKind::Delete => self.drive_delete(operation).await,
        };
        let kind: &'static str = (&operation.kind).into();
        let word = if outcome.is_ok() { "ok" } else { "error" };
        metrics::counter!("tenantry_operations_total", "kind" => kind, "outcome" => word)
            .increment(1);
        tracing::info!(org.id = %operation.org_id, kind, outcome = word, "operation ended");
        outcome
    }

    async fn drive_rename(&self, operation: &Operation) -> Result<()> {
        let OperationKind::Rename { old_slug, new_name, new_slug, to } = &operation.kind else {
            return Ok(());
        };
        failpoint!("rename.after_record");
        let moved = self
            .while_held(operation, || {
                self.store.move_collection(operation.collection, &operation.from, to).boxed()
            })
            .await?;
        failpoint!("rename.after_move");
        let (name, slug, place) = match moved {
            Moved::There => (Some(new_name.as_str()), new_slug, to),
            Moved::Occupied => (None, old_slug, &operation.from),
        };
        let now = self.clock.now();
        let context = (&self.store, operation, name, slug, place);
        self.store
            .transaction("org.rename", context, |tx, (store, operation, name, slug, place)| {
                Box::pin(async move {
                    if store.close_operation(tx, operation.id).await? {
                        store.end_rename(tx, operation.org_id, *name, slug, place, now).await?;
                    }
                    Ok(())
                })
            })
            .await?;
        failpoint!("rename.after_close");
        self.tenancy.cache.forget(Change::Organization(operation.org_id)).await;
        match moved {
            Moved::There => Ok(()),
            Moved::Occupied => Err(Error::OrgNameTaken),
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

    /// Tries a step until it is done or the lease nears its end; from then on it is somebody
    /// else's, and a late step of ours could undo theirs.
    async fn while_held<'s, T>(
        &self,
        operation: &Operation,
        step: impl Fn() -> BoxFuture<'s, Result<T>>,
    ) -> Result<T> {
        let trying = async {
            loop {
                match step().await {
                    Err(Error::Database(error)) if error.is_unavailable() => {
                        tracing::warn!(error = %error, "a step of an operation is tried again");
                        tokio::time::sleep(STEP_PAUSE).await;
                    }
                    settled => return settled,
                }
            }
        };
        let outcome = tokio::time::timeout_at(operation.held_until.into(), trying).await;
        outcome.unwrap_or(Err(Error::Busy { what: "the operation was not done within its lease" }))
    }
}

/// Waits a moment for what somebody else is doing, unless it has taken too long already.
pub(in crate::manager) async fn pause_until(deadline: Instant, what: &'static str) -> Result<()> {
    if Instant::now() >= deadline {
        return Err(Error::Busy { what });
    }
    tokio::time::sleep(STEP_PAUSE).await;
    Ok(())
}
