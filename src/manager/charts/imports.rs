//! Imports and statistics of whole charts.

use std::sync::Arc;

use super::{WholeChart, chart::NO_CHART};
use crate::{
    domain::{
        ChartId, OrgId,
        charts::{Chart, Employee, Placed, Refusal, Statistics},
    },
    error::Result,
    failpoint,
    manager::{AdminContext, TenantManager, tenancy::TenantCapacity},
    store::Store,
};

/// Options of an import.
#[derive(Clone, Copy, Debug, Default)]
pub struct ImportMode {
    /// Replaces the chart's employees; otherwise the chart must be empty.
    pub replace: bool,
    /// Checks the import without writing.
    pub dry_run: bool,
    /// Treats the list's numbers as positions: the ids continue after the chart's highest one.
    pub renumber: bool,
}

/// A tenant gets secondary indexes once a chart has this many people: below, a scan of the chart's
/// key range is as fast, and an index costs a file and slows every write.
const INDEX_FROM: i64 = 1_000;

impl TenantManager {
    /// Fills a chart from a list in one transaction, whatever its size, and returns the new chart.
    ///
    /// # Errors
    /// [`crate::error::Error::NotFound`] if there is no such chart; [`Refusal::NotEmpty`] if it has
    /// employees and `mode.replace` is not set.
    pub async fn chart_import(
        &self,
        ctx: &AdminContext,
        id: ChartId,
        people: Vec<Placed>,
        mode: ImportMode,
    ) -> Result<Chart> {
        let _lock = self.lock_chart(ctx, id).await?;
        let now = self.clock.now();
        let imported = self
            .tenant_write(&self.large_work(ctx), "chart.import", people, move |mut tx, people| {
                Box::pin(async move {
                    let chart = tx.reader().chart(id).await?.ok_or(NO_CHART)?;
                    if chart.employee_count > 0 && !mode.replace {
                        return Err(Refusal::NotEmpty.into());
                    }
                    if mode.dry_run {
                        return Ok(chart);
                    }
                    // Conflicts with every change since the chart was read.
                    let touched = tx.touch_chart(id, 0, 0, now).await?.ok_or(NO_CHART)?;
                    let offset = if mode.renumber { touched.last_employee } else { 0 };
                    let employees: Vec<Employee> =
                        people.iter().map(|placed| employee(placed, id, offset, now)).collect();
                    let chart = tx.replace_people(id, &employees).await?.ok_or(NO_CHART)?;
                    failpoint!("chart.before_commit");
                    Ok(chart)
                })
            })
            .await?;
        self.index_if_large(ctx.org_id(), imported.employee_count);
        Ok(imported)
    }

    /// Builds the tenant's secondary indexes in the background once one of its charts is large.
    /// Each process tries once per tenant; building an index again that exists costs almost
    /// nothing.
    pub(in crate::manager) fn index_if_large(&self, org: OrgId, people: i64) {
        if people < INDEX_FROM || self.charts.indexed.contains_key(&org) {
            return;
        }
        self.charts.indexed.insert(org, ());
        let (store, indexed) = (self.store.clone(), self.charts.indexed.clone());
        let capacity = Arc::clone(&self.tenancy.capacity);
        let build = async move {
            if let Err(error) = index(&store, &capacity, org).await {
                tracing::warn!(org.id = %org, error = error.detail().unwrap_or_else(|| error.to_string()), "indexes could not be built");
                indexed.invalidate(&org);
            }
        };
        self.tasks.spawn(build);
    }
}

impl WholeChart {
    /// The chart's statistics, and the people who have the widest span.
    #[must_use]
    pub fn statistics(self) -> (Statistics, Vec<Employee>) {
        let statistics = Statistics::of(&self.people);
        let widest = self
            .people
            .into_iter()
            .filter(|person| statistics.widest.binary_search(&person.id).is_ok())
            .collect();
        (statistics, widest)
    }
}

async fn index(store: &Store, capacity: &TenantCapacity, org: OrgId) -> Result<()> {
    let Some(found) = store.organization(org).await? else { return Ok(()) };
    for location in found.locations() {
        if let Some(collection) = store.collection_identity(location).await?
            && !store.has_team_indexes(location).await?
        {
            capacity.admit_indexes(store, Store::TEAM_INDEXES).await?;
            store.index_teams(location, collection).await?;
        }
    }
    Ok(())
}

fn employee(
    placed: &Placed,
    chart: ChartId,
    offset: i64,
    now: chrono::DateTime<chrono::Utc>,
) -> Employee {
    let ancestors: Vec<_> = placed.ancestors.iter().map(|id| (id.get() + offset).into()).collect();
    Employee {
        id: (placed.id.get() + offset).into(),
        chart,
        name: placed.name.clone(),
        title: placed.title.clone(),
        manager: ancestors.last().copied(),
        ancestors,
        created_at: now,
        updated_at: now,
    }
}
