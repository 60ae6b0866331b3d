//! Org charts of a tenant.

use crate::{
    domain::{ChartId, Label, charts::Chart},
    error::{Error, Result},
    manager::{AdminScope, OrgScope, TenantManager},
};

pub(in crate::manager) const NO_CHART: Error = Error::NotFound("org chart");

impl TenantManager {
    /// Makes a chart without people.
    ///
    /// # Errors
    /// [`Error::Busy`] when its turn does not come in time; the store's.
    pub async fn chart_create(&self, scope: &AdminScope, name: Label) -> Result<Chart> {
        // Every new chart takes its number from the tenant document.
        let org = scope.org_id();
        let _turn = self.charts.list_queue.wait(org, self.tenancy.patience).await?;
        let now = self.clock.now();
        self.tenant_write(scope, "chart.create", name, |mut tx, name| {
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

    /// The charts behind `after`, at most `limit`.
    ///
    /// # Errors
    /// The store's.
    pub async fn chart_list(
        &self,
        scope: &OrgScope,
        after: Option<ChartId>,
        limit: u32,
    ) -> Result<Vec<Chart>> {
        let listed = self.tenant_read(scope, "chart.list", (), move |mut reader, ()| {
            Box::pin(async move {
                let charts = reader.charts(after, limit).await?;
                let believed = !charts.is_empty() || reader.never_had_charts().await?;
                Ok(believed.then_some(charts))
            })
        });
        Ok(listed.await?.unwrap_or_default())
    }

    /// One chart.
    ///
    /// # Errors
    /// [`Error::NotFound`]; the store's.
    pub async fn chart_get(&self, scope: &OrgScope, id: ChartId) -> Result<Chart> {
        self.tenant_read(scope, "chart.get", (), move |mut reader, ()| {
            Box::pin(async move { reader.chart(id).await })
        })
        .await?
        .ok_or(NO_CHART)
    }

    /// Gives a chart another name.
    ///
    /// # Errors
    /// [`Error::NotFound`]; [`Error::Busy`] when its turn does not come in time; the store's.
    pub async fn chart_update(
        &self,
        scope: &AdminScope,
        id: ChartId,
        name: Label,
    ) -> Result<Chart> {
        let _turn = self.turn(scope, id).await?;
        let now = self.clock.now();
        self.tenant_write(scope, "chart.update", name, move |mut tx, name| {
            Box::pin(async move { tx.rename_chart(id, name, now).await?.ok_or(NO_CHART) })
        })
        .await
    }

    /// Removes a chart with everybody in it.
    ///
    /// # Errors
    /// [`Error::NotFound`]; [`Error::Busy`] when its turn does not come in time; the store's.
    pub async fn chart_delete(
        &self,
        scope: &AdminScope,
        id: ChartId,
    ) -> Result<chrono::DateTime<chrono::Utc>> {
        let _turn = self.turn(scope, id).await?;
        self.tenant_write(scope, "chart.delete", (), move |mut tx, ()| {
            Box::pin(async move { if tx.remove_chart(id).await? { Ok(()) } else { Err(NO_CHART) } })
        })
        .await?;
        Ok(self.clock.now())
    }
}
