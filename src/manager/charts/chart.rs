//! Org charts of a tenant.

use super::imports::is_large;
use crate::{
    domain::{
        ChartId, Label, TaskId,
        charts::{Chart, Edition},
    },
    error::{Error, Result},
    manager::{AdminContext, OrgContext, TenantManager},
    store::charts::SpareEdition,
};

pub(in crate::manager) const NO_CHART: Error = Error::NotFound("org chart");

impl TenantManager {
    /// Creates an empty chart.
    ///
    /// # Errors
    /// [`Error::Busy`] if other changes of the chart list do not end in time.
    pub async fn chart_create(&self, ctx: &AdminContext, name: Label) -> Result<Chart> {
        // Every new chart takes its number from the tenant document.
        let org = ctx.org_id();
        let _lock = self.charts.list_queue.wait(org, ctx.deadline()).await?;
        let now = self.clock.now();
        self.tenant_write(ctx, "chart.create", name, |mut tx, name| {
            Box::pin(async move {
                let id = tx.count("charts", 1).await?.into();
                let chart = Chart {
                    id,
                    edition: Edition::of(id, None),
                    name: name.clone(),
                    ceo: None,
                    employee_count: 0,
                    structure_version: 0,
                    created_at: now,
                    updated_at: now,
                };
                tx.insert_chart(&chart).await?;
                Ok(chart)
            })
        })
        .await
    }

    /// At most `limit` charts after `after`, ordered by id.
    pub async fn chart_list(
        &self,
        ctx: &OrgContext,
        after: Option<ChartId>,
        limit: u32,
    ) -> Result<Vec<Chart>> {
        let listed = self.tenant_read(ctx, "chart.list", (), move |mut reader, ()| {
            Box::pin(async move {
                let charts = reader.charts(after, limit).await?;
                let certain = !charts.is_empty() || reader.never_had_charts().await?;
                Ok(certain.then_some(charts))
            })
        });
        Ok(listed.await?.unwrap_or_default())
    }

    /// One chart.
    ///
    /// # Errors
    /// [`Error::NotFound`] if there is no such chart.
    pub async fn chart_get(&self, ctx: &OrgContext, id: ChartId) -> Result<Chart> {
        self.tenant_read(ctx, "chart.get", (), move |mut reader, ()| {
            Box::pin(async move { reader.chart(id).await })
        })
        .await?
        .ok_or(NO_CHART)
    }

    /// Renames a chart.
    ///
    /// # Errors
    /// [`Error::NotFound`] if there is no such chart; [`Error::Busy`] if other changes of it do not
    /// end in time.
    pub async fn chart_update(
        &self,
        ctx: &AdminContext,
        id: ChartId,
        name: Label,
    ) -> Result<Chart> {
        let _lock = self.lock_chart(ctx, id).await?;
        let now = self.clock.now();
        self.tenant_write(ctx, "chart.update", name, move |mut tx, name| {
            Box::pin(async move { tx.rename_chart(id, name, now).await?.ok_or(NO_CHART) })
        })
        .await
    }

    /// Deletes a chart and its employees.
    ///
    /// # Errors
    /// [`Error::NotFound`] if there is no such chart; [`Error::Busy`] if other changes of it do not
    /// end in time.
    pub async fn chart_delete(
        &self,
        ctx: &AdminContext,
        id: ChartId,
    ) -> Result<chrono::DateTime<chrono::Utc>> {
        let _lock = self.lock_chart(ctx, id).await?;
        let chart = self.chart_get(ctx, id).await?;
        let large = is_large(&chart);
        if large {
            self.allow_editions(ctx, chart.edition.is_first()).await?;
        }
        let (record, org_id) = (TaskId::generate(), ctx.org_id());
        let ctx = self.large_work(ctx);
        let context = (&self.store, self.rest());
        self.tenant_write(&ctx, "chart.delete", context, move |mut tx, (store, rest)| {
            Box::pin(async move {
                let chart = tx.reader().chart(id).await?.ok_or(NO_CHART)?;
                tx.remove_chart(id).await?;
                if !large {
                    return tx.remove_people(chart.edition).await;
                }
                let spare = SpareEdition { id: record, org_id, edition: chart.edition };
                store.start_removal(tx.transaction(), &spare, *rest).await
            })
        })
        .await?;
        Ok(self.clock.now())
    }
}
