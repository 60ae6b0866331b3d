//! Org charts of a tenant.

use crate::{
    domain::{ChartId, Label, charts::Chart},
    error::{Error, Result},
    manager::{AdminContext, OrgContext, TenantManager},
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
                let chart = Chart {
                    id: tx.count("charts", 1).await?.into(),
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
        self.tenant_write(&self.large_work(ctx), "chart.delete", (), move |mut tx, ()| {
            Box::pin(async move { if tx.remove_chart(id).await? { Ok(()) } else { Err(NO_CHART) } })
        })
        .await?;
        Ok(self.clock.now())
    }
}
