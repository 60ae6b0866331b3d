//! Reading the employees of a chart: each answer is one bounded read. An empty answer may come from
//! a stale location, so it is read again in a snapshot unless a document proves it.

use std::collections::HashMap;

use super::{ChartPermit, ChartWork, chart::NO_CHART, employees::NO_EMPLOYEE};
use crate::{
    domain::{
        ChartId, EmployeeId,
        charts::{Chart, Edition, Employee},
    },
    error::Result,
    manager::{OrgContext, TenantManager, tenancy::MayBeEmpty},
    store::{
        charts::{ChainPage, Team},
        tenant::TenantReader,
    },
};

/// Which page of a list of employees.
#[derive(Clone, Copy, Debug)]
pub struct EmployeePage {
    /// The last employee of the previous page.
    pub after: Option<EmployeeId>,
    /// The maximum number of employees.
    pub limit: u32,
}

/// A chart with all employees.
#[derive(Debug)]
pub struct WholeChart {
    /// The chart.
    pub chart: Chart,
    /// All employees, ordered by id, without their `ancestors`.
    pub people: Vec<Employee>,
    /// Counts against the limit on large charts until it is dropped.
    pub permit: ChartPermit,
}

/// The result of listing employees.
enum Listed<T> {
    /// The chart or employee does not exist here.
    Missing,
    /// The list. An empty one is checked again like a missing one: both may come from a location
    /// that the tenant has just left.
    People(Vec<T>),
    /// A list that is certainly empty: one document shows it, and only the current location has it.
    Empty,
}

impl<T> MayBeEmpty for Listed<T> {
    fn is_empty_answer(&self) -> bool {
        match self {
            Self::Missing => true,
            Self::People(items) => items.is_empty(),
            Self::Empty => false,
        }
    }
}

impl TenantManager {
    /// One employee.
    ///
    /// # Errors
    /// [`crate::error::Error::NotFound`] if there is no such employee.
    pub async fn employee_get(
        &self,
        ctx: &OrgContext,
        chart: ChartId,
        id: EmployeeId,
    ) -> Result<Employee> {
        self.tenant_read(ctx, "employee.get", (), move |mut reader, ()| {
            Box::pin(async move {
                let Some(edition) = reader.edition(chart).await? else { return Ok(None) };
                reader.employee(edition, id).await
            })
        })
        .await?
        .ok_or(NO_EMPLOYEE)
    }

    /// A page of a chart's employees, ordered by id.
    ///
    /// # Errors
    /// [`crate::error::Error::NotFound`] if there is no such chart.
    pub async fn employee_list(
        &self,
        ctx: &OrgContext,
        chart: ChartId,
        page: EmployeePage,
    ) -> Result<Vec<Employee>> {
        self.team(ctx, "employee.list", chart, Team::All, page).await
    }

    /// A page of an employee's direct reports, ordered by id.
    ///
    /// # Errors
    /// [`crate::error::Error::NotFound`] if there is no such employee.
    pub async fn direct_reports(
        &self,
        ctx: &OrgContext,
        chart: ChartId,
        id: EmployeeId,
        page: EmployeePage,
    ) -> Result<Vec<Employee>> {
        self.team(ctx, "employee.reports", chart, Team::ReportsOf(id), page).await
    }

    /// A page of an employee and everyone below, ordered by id, each with the number of levels
    /// below that employee.
    ///
    /// # Errors
    /// [`crate::error::Error::NotFound`] if there is no such employee.
    pub async fn subtree(
        &self,
        ctx: &OrgContext,
        chart: ChartId,
        id: EmployeeId,
        page: EmployeePage,
    ) -> Result<Vec<(usize, Employee)>> {
        let people = self.team(ctx, "employee.subtree", chart, Team::From(id), page).await?;
        Ok(people.into_iter().map(|person| (distance(&person, id), person)).collect())
    }

    async fn team(
        &self,
        ctx: &OrgContext,
        label: &'static str,
        chart: ChartId,
        team: Team,
        page: EmployeePage,
    ) -> Result<Vec<Employee>> {
        let listed = self
            .tenant_read(ctx, label, (), move |mut reader, ()| {
                Box::pin(async move {
                    match reader.edition(chart).await? {
                        Some(edition) => list(&mut reader, edition, team, page).await,
                        None => Ok(Listed::Missing),
                    }
                })
            })
            .await?;
        match (listed, team) {
            (Listed::People(people), _) => Ok(people),
            (Listed::Empty, _) => Ok(Vec::new()),
            (Listed::Missing, Team::All) => Err(NO_CHART),
            (Listed::Missing, _) => Err(NO_EMPLOYEE),
        }
    }

    /// A page of the managers above an employee, nearest first, up to the CEO.
    ///
    /// # Errors
    /// [`crate::error::Error::NotFound`] if there is no such employee.
    pub async fn manager_chain(
        &self,
        ctx: &OrgContext,
        chart: ChartId,
        id: EmployeeId,
        page: EmployeePage,
    ) -> Result<Vec<Employee>> {
        self.tenant_read(ctx, "employee.chain", (), move |mut reader, ()| {
            Box::pin(async move {
                let Some(edition) = reader.edition(chart).await? else { return Ok(None) };
                chain(&mut reader, edition, id, page).await
            })
        })
        .await?
        .ok_or(NO_EMPLOYEE)
    }

    /// A chart with all employees, without their `ancestors`.
    ///
    /// # Errors
    /// [`crate::error::Error::NotFound`] if there is no such chart; [`crate::error::Error::Busy`]
    /// if it is large and too many large charts are being processed.
    pub async fn chart_whole(&self, ctx: &OrgContext, id: ChartId) -> Result<WholeChart> {
        let large = self.large_work(ctx);
        let context = (self, ctx, None);
        self.tenant_read(&large, "chart.whole", context, move |mut reader, (this, ctx, permit)| {
            Box::pin(async move {
                let Some(chart) = reader.chart(id).await? else { return Ok(None) };
                if permit.is_none() {
                    let people = usize::try_from(chart.employee_count).unwrap_or_default();
                    *permit = Some(this.admit_chart(ctx, ChartWork::Read, people).await?);
                }
                let people = reader.employees_flat(chart.edition, Team::All, None, 0).await?;
                // These are three reads outside of a transaction, and a long one does not even see
                // one state of the data. The version shows a change in between; then the second
                // attempt reads everything in one snapshot.
                let after = reader.chart(id).await?;
                let whole = after.is_some_and(|a| a.structure_version == chart.structure_version);
                let whole = whole.then(|| permit.take()).flatten();
                Ok(whole.map(|permit| WholeChart { chart, people, permit }))
            })
        })
        .await?
        .ok_or(NO_CHART)
    }
}

async fn list(
    reader: &mut TenantReader<'_>,
    edition: Edition,
    team: Team,
    page: EmployeePage,
) -> Result<Listed<Employee>> {
    let people = match team {
        // The caller computes distances from `ancestors`.
        Team::From(_) | Team::Below(_) => {
            reader.employees(edition, team, page.after, page.limit).await?
        }
        Team::ReportsOf(id) if page.after.is_none() => {
            return first_reports(reader, edition, id, page.limit).await;
        }
        Team::All | Team::ReportsOf(_) | Team::WithReports(_) => {
            reader.employees_flat(edition, team, page.after, page.limit).await?
        }
    };
    if !people.is_empty() {
        return Ok(Listed::People(people));
    }
    let exists = match team {
        Team::All => match reader.chart(edition.chart).await? {
            Some(chart) if chart.employee_count == 0 => return Ok(Listed::Empty),
            found => found.is_some(),
        },
        Team::ReportsOf(id) | Team::WithReports(id) | Team::Below(id) | Team::From(id) => {
            reader.employee(edition, id).await?.is_some()
        }
    };
    Ok(if exists { Listed::People(people) } else { Listed::Missing })
}

/// The first page of an employee's reports, read together with the employee. Six of seven employees
/// have no reports, and then the employee's own document proves that the list is empty.
async fn first_reports(
    reader: &mut TenantReader<'_>,
    edition: Edition,
    id: EmployeeId,
    limit: u32,
) -> Result<Listed<Employee>> {
    let team = Team::WithReports(id);
    let mut people = reader.employees_flat(edition, team, None, limit.saturating_add(1)).await?;
    let own = people.iter().position(|person| person.id == id);
    if let Some(own) = own {
        people.remove(own);
    }
    people.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
    Ok(match own {
        Some(_) if people.is_empty() => Listed::Empty,
        None if people.is_empty() => Listed::Missing,
        _ => Listed::People(people),
    })
}

/// How many levels a person is below `top`.
fn distance(person: &Employee, top: EmployeeId) -> usize {
    let from_top = person.ancestors.iter().position(|above| *above == top);
    from_top.map_or(0, |position| person.ancestors.len() - position)
}

/// `None` if there is no such employee, and also if a change during the read is detected, which
/// cannot happen in a snapshot.
async fn chain(
    reader: &mut TenantReader<'_>,
    edition: Edition,
    id: EmployeeId,
    page: EmployeePage,
) -> Result<Option<Vec<Employee>>> {
    let managers = ChainPage { after: page.after, limit: page.limit };
    let found = reader.employee_with(edition, id, managers).await?;
    let Some((person, managers)) = found else { return Ok(None) };
    let limit = usize::try_from(page.limit).unwrap_or(usize::MAX);
    let nearest_first = || person.ancestors.iter().rev().copied();
    let skipped = match page.after {
        Some(after) => nearest_first().take_while(|above| *above != after).count() + 1,
        None => 0,
    };
    let mut managers: HashMap<EmployeeId, Employee> =
        managers.into_iter().map(|manager| (manager.id, manager)).collect();
    let next = nearest_first().skip(skipped + 1).map(Some).chain([None]);
    let links = nearest_first().skip(skipped).take(limit).zip(next);
    let consistent = links.map(|(above, next)| {
        let manager = managers.remove(&above);
        manager.filter(|manager| manager.manager == next)
    });
    Ok(consistent.collect())
}
