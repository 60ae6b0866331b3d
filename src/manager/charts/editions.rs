//! Imports and removals of charts that are too large for one transaction.
//!
//! An import writes its people as a new edition, in batches that nobody sees; one small transaction
//! makes the chart show them. Editions that no chart shows are recorded until recovery has removed
//! them, so an import that dies leaves nothing.

use std::{sync::Arc, time::Duration};

use super::{
    chart::NO_CHART,
    imports::{ImportMode, check, employee, headcount, weight},
};
use crate::{
    domain::{
        TaskId,
        charts::{Chart, Edition, Employee, Placed},
    },
    error::{Error, Result},
    failpoint,
    manager::{AdminContext, OrgContext, TenantManager, tenancy::STALE},
    store::{charts::SpareEdition, driver::Change},
};

/// How many people one transaction writes or removes.
const BATCH: u32 = 1_000;
/// About how many bytes one transaction writes.
const BATCH_WEIGHT: usize = 1024 * 1024;
/// If other editions have been allowed for this long, every process knows.
const KNOWN_AFTER: Duration = Duration::from_mins(1);

/// An import whose edition is recorded.
struct Import {
    spare: SpareEdition,
    /// What its ids add to those of the list.
    offset: i64,
}

impl TenantManager {
    /// Imports the list as a new edition of the chart.
    pub(super) async fn import_edition(
        &self,
        ctx: &AdminContext,
        chart: &Chart,
        people: &[Placed],
        mode: ImportMode,
    ) -> Result<Chart> {
        self.allow_editions(ctx, chart.edition.is_first() && mode.replace).await?;
        let import = self.start_import(ctx, chart.edition, people.len(), mode).await?;
        failpoint!("import.after_record");
        let imported = self.write_and_show(ctx, &import, people, mode).await;
        if imported.is_err() {
            // If this fails too, the lease ends a little later.
            let _ = self.store.abandon_import(import.spare.id).await;
        }
        imported
    }

    /// Lets charts of the tenant show other editions than their first ones. If people are in the
    /// first edition of a chart that will not show it any more, `wait` for every process to look up
    /// which edition a chart shows; without that knowledge, it would still read the first one.
    pub(super) async fn allow_editions(&self, ctx: &AdminContext, wait: bool) -> Result<()> {
        let org = ctx.org_id();
        let known = self.store.allow_editions(org, KNOWN_AFTER).await?;
        self.tenancy.cache.forget(Change::Organization(org)).await;
        if wait && !known {
            tokio::time::sleep(STALE).await;
        }
        Ok(())
    }

    async fn start_import(
        &self,
        ctx: &AdminContext,
        old: Edition,
        people: usize,
        mode: ImportMode,
    ) -> Result<Import> {
        let now = self.clock.now();
        let (id, org_id) = (TaskId::generate(), ctx.org_id());
        let ids = if mode.renumber { i64::try_from(people).unwrap_or(i64::MAX) } else { 0 };
        let store = &self.store;
        let ctx = ctx.until(self.deadline());
        self.tenant_write(&ctx, "chart.import_start", store, move |mut tx, store| {
            Box::pin(async move {
                let offset = match ids {
                    0 => 0,
                    ids => {
                        let touched = tx.touch_chart(old.chart, 0, ids, now).await?;
                        touched.ok_or(NO_CHART)?.last_employee - ids
                    }
                };
                let count = tx.count("editions", 1).await?;
                let edition = Edition::imported(old.chart, count);
                let spare = SpareEdition { id, org_id, edition };
                store.start_import(tx.transaction(), &spare).await?;
                Ok(Import { spare, offset })
            })
        })
        .await
    }

    async fn write_and_show(
        &self,
        ctx: &AdminContext,
        import: &Import,
        people: &[Placed],
        mode: ImportMode,
    ) -> Result<Chart> {
        let mut rest = people;
        while !rest.is_empty() {
            let batch;
            (batch, rest) = rest.split_at(batch_length(rest));
            self.write_batch(ctx, import, batch).await?;
            failpoint!("import.after_batch");
        }
        let now = self.clock.now();
        let (edition, count) = (import.spare.edition, headcount(people, import.offset));
        let ctx = ctx.until(self.deadline());
        let context = (&self.store, import.spare.id, self.rest());
        let shown = self
            .tenant_write(&ctx, "chart.import_end", context, move |mut tx, (store, id, rest)| {
                Box::pin(async move {
                    let touched = tx.touch_chart(edition.chart, 0, 0, now).await?;
                    let old = touched.ok_or(NO_CHART)?.chart;
                    check(&old, mode)?;
                    store.end_import(tx.transaction(), *id, old.edition, *rest).await?;
                    let shown = tx.show_edition(edition, count).await?;
                    failpoint!("import.before_commit");
                    shown.ok_or(NO_CHART)
                })
            })
            .await?;
        failpoint!("import.after_commit");
        Ok(shown)
    }

    async fn write_batch(&self, ctx: &OrgContext, import: &Import, batch: &[Placed]) -> Result<()> {
        let now = self.clock.now();
        let edition = import.spare.edition;
        let employees: Vec<Employee> = batch
            .iter()
            .map(|placed| employee(placed, edition.chart, import.offset, now))
            .collect();
        let context = (&self.store, import.spare.id, employees);
        let ctx = ctx.until(self.deadline());
        self.tenant_write(&ctx, "chart.import_batch", context, move |mut tx, context| {
            Box::pin(async move {
                let (store, id, employees) = context;
                store.renew_spare_edition(tx.transaction(), *id, true).await?;
                tx.insert_employees(edition, employees).await
            })
        })
        .await
    }

    /// Takes over editions to remove, as many at a time as there are permits, and returns how many.
    pub(in crate::manager) async fn recover_editions(self: &Arc<Self>) -> u32 {
        let mut taken = 0;
        while let Ok(permit) = Arc::clone(&self.charts.removals).try_acquire_owned() {
            let spare = match self.store.claim_spare_edition().await {
                Ok(Some(spare)) => spare,
                Ok(None) => break,
                Err(error) => {
                    tracing::warn!(error = error.detail(), "old people could not be removed");
                    break;
                }
            };
            taken += 1;
            let manager = Arc::clone(self);
            self.tasks.spawn(async move {
                let _permit = permit;
                if let Err(error) = manager.remove_edition(spare).await {
                    tracing::warn!(
                        org.id = %spare.org_id,
                        error = error.detail().unwrap_or_else(|| error.to_string()),
                        "old people of a chart were not removed"
                    );
                }
            });
        }
        taken
    }

    async fn remove_edition(&self, spare: SpareEdition) -> Result<()> {
        loop {
            failpoint!("removal.before_batch");
            match self.remove_batch(spare).await {
                Ok(true) => {}
                Ok(false) => return Ok(()),
                // A deleted tenant has no people.
                Err(Error::NotFound(_)) => {
                    return self.store.close_spare_edition(None, spare.id).await;
                }
                Err(error) => return Err(error),
            }
            failpoint!("removal.after_batch");
        }
    }

    /// Removes some people of the edition, and closes the record with the last ones; whether there
    /// are more.
    async fn remove_batch(&self, spare: SpareEdition) -> Result<bool> {
        let ctx = self.task_context(spare.org_id);
        self.tenant_write(&ctx, "chart.remove_batch", &self.store, move |mut tx, store| {
            Box::pin(async move {
                if !store.renew_spare_edition(tx.transaction(), spare.id, false).await? {
                    return Ok(false);
                }
                let more = tx.remove_some(spare.edition, BATCH).await? == BATCH as usize;
                if !more {
                    store.close_spare_edition(Some(tx.transaction()), spare.id).await?;
                }
                Ok(more)
            })
        })
        .await
    }
}

/// How many people of a list, at least one, are one batch.
fn batch_length(people: &[Placed]) -> usize {
    let mut bytes = 0;
    let fits = people.iter().take(BATCH as usize).take_while(|placed| {
        bytes += weight(std::slice::from_ref(placed));
        bytes <= BATCH_WEIGHT
    });
    fits.count().max(1)
}
