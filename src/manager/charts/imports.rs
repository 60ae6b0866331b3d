//! Imports and statistics of whole charts.

use std::{sync::Arc, time::Instant};

use Attempt::{TooLarge, Written};

use super::{WholeChart, chart::NO_CHART};
use crate::{
    domain::{
        ChartId, OrgId,
        charts::{Chart, Employee, Placed, Refusal, Statistics},
    },
    error::Result,
    failpoint,
    manager::{AdminContext, TenantManager, tenancy::TenantCapacity},
    store::{Store, charts::Headcount},
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

/// The outcome of an import in one transaction.
enum Attempt {
    Written(Chart),
    /// One transaction might not hold it, so nothing was written.
    TooLarge(Chart),
}

/// A chart with more people is not replaced or deleted in one transaction.
const LARGE: i64 = 5_000;
/// Nor is a list of more bytes stored in one.
const LARGE_WEIGHT: usize = 4 * 1024 * 1024;

/// A tenant gets secondary indexes once a chart has this many people: below, a scan of the chart's
/// key range is as fast, and an index costs a file and slows every write.
const INDEX_FROM: i64 = 1_000;

impl TenantManager {
    /// Fills a chart from a list, all or nothing, and returns the new chart.
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
        let context = &people;
        let outcome = self
            .tenant_write(&self.large_work(ctx), "chart.import", context, move |mut tx, people| {
                Box::pin(async move {
                    let chart = tx.reader().chart(id).await?.ok_or(NO_CHART)?;
                    check(&chart, mode)?;
                    if mode.dry_run {
                        return Ok(Written(chart));
                    }
                    if is_large(&chart) || weight(people) > LARGE_WEIGHT {
                        return Ok(TooLarge(chart));
                    }
                    // Conflicts with every change since the chart was read.
                    let touched = tx.touch_chart(id, 0, 0, now).await?.ok_or(NO_CHART)?;
                    let offset = if mode.renumber { touched.last_employee } else { 0 };
                    let employees: Vec<Employee> =
                        people.iter().map(|placed| employee(placed, id, offset, now)).collect();
                    tx.remove_people(chart.edition).await?;
                    tx.insert_employees(chart.edition, &employees).await?;
                    let chart = tx.show_edition(chart.edition, headcount(people, offset)).await?;
                    failpoint!("chart.before_commit");
                    Ok(Written(chart.ok_or(NO_CHART)?))
                })
            })
            .await?;
        let imported = match outcome {
            Written(chart) => chart,
            TooLarge(chart) => self.import_edition(ctx, &chart, &people, mode).await?,
        };
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
        let deadline = self.deadline();
        let build = async move {
            if let Err(error) = index(&store, &capacity, org, deadline).await {
                let error = error.detail().unwrap_or_else(|| error.to_string());
                tracing::warn!(org.id = %org, error, "indexes could not be built");
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

async fn index(
    store: &Store,
    capacity: &TenantCapacity,
    org: OrgId,
    deadline: Instant,
) -> Result<()> {
    let Some(found) = store.organization(org).await? else { return Ok(()) };
    for location in found.locations() {
        if let Some(collection) = store.collection_identity(location).await?
            && !store.has_team_indexes(location).await?
        {
            capacity.admit_indexes(store, Store::TEAM_INDEXES, deadline).await?;
            store.index_teams(location, collection).await?;
        }
    }
    Ok(())
}

/// Whether the people of the chart may be too many for one transaction.
pub(super) const fn is_large(chart: &Chart) -> bool {
    chart.employee_count > LARGE
}

/// About how many bytes the people take in the database.
pub(super) fn weight(people: &[Placed]) -> usize {
    const ONE: usize = 256;
    const ANCESTOR: usize = 12;
    people.iter().map(|placed| ONE + ANCESTOR * placed.ancestors.len()).sum()
}

/// Checks that the list may be imported into the chart.
///
/// # Errors
/// [`Refusal::NotEmpty`].
pub(super) fn check(chart: &Chart, mode: ImportMode) -> Result<(), Refusal> {
    if chart.employee_count > 0 && !mode.replace { Err(Refusal::NotEmpty) } else { Ok(()) }
}

pub(super) fn headcount(people: &[Placed], offset: i64) -> Headcount {
    let ids = people.iter().map(|placed| placed.id.get() + offset);
    let ceo = people.iter().find(|placed| placed.ancestors.is_empty());
    Headcount {
        ceo: ceo.map(|ceo| (ceo.id.get() + offset).into()),
        people: i64::try_from(people.len()).unwrap_or(i64::MAX),
        last: ids.max().unwrap_or_default(),
    }
}

pub(super) fn employee(
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
