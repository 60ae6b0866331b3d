//! Reading the people of a chart: each answer is one bounded read, and a second look in a snapshot
//! where it may be empty for the wrong reason.

use std::collections::HashMap;

use super::{Room, chart::NO_CHART, employees::NO_EMPLOYEE};
use crate::{
    domain::{
        ChartId, EmployeeId,
        charts::{Chart, Employee},
    },
    error::Result,
    manager::{OrgScope, TenantManager, tenancy::Found},
    store::{
        charts::{Above, Team},
        tenant::TenantReader,
    },
};

/// A part of a list.
#[derive(Clone, Copy, Debug)]
pub struct Part {
    /// Behind whom it starts.
    pub after: Option<EmployeeId>,
    /// How many people at most.
    pub limit: u32,
}

/// A chart with everybody in it.
#[derive(Debug)]
pub struct WholeChart {
    /// The chart.
    pub chart: Chart,
    /// Everybody, in the order of their ids, without their `ancestors`.
    pub people: Vec<Employee>,
    /// What it takes up until it is dropped.
    pub room: Room,
}

/// A list of a chart or a person that exists; an empty one wants the same second look as a missing
/// one, since both may be read at a place that the tenant has just left. `Nobody` is an empty one
/// that one document shows by itself, which only the right place has.
enum Listed<T> {
    Missing,
    There(Vec<T>),
    Nobody,
}

impl<T> Found for Listed<T> {
    fn is_nothing(&self) -> bool {
        match self {
            Self::Missing => true,
            Self::There(items) => items.is_empty(),
            Self::Nobody => false,
        }
    }
}

impl TenantManager {
    /// One person.
    ///
    /// # Errors
    /// [`crate::error::Error::NotFound`]; the store's.
    pub async fn employee_get(
        &self,
        scope: &OrgScope,
        chart: ChartId,
        id: EmployeeId,
    ) -> Result<Employee> {
        self.tenant_read(scope, "employee.get", (), move |mut reader, ()| {
            Box::pin(async move { reader.employee(chart, id).await })
        })
        .await?
        .ok_or(NO_EMPLOYEE)
    }

    /// The people of a chart, in the order of their ids.
    ///
    /// # Errors
    /// [`crate::error::Error::NotFound`]; the store's.
    pub async fn employee_list(
        &self,
        scope: &OrgScope,
        chart: ChartId,
        part: Part,
    ) -> Result<Vec<Employee>> {
        self.team(scope, "employee.list", chart, Team::All, part).await
    }

    /// Who reports to a person, in the order of their ids.
    ///
    /// # Errors
    /// [`crate::error::Error::NotFound`]; the store's.
    pub async fn direct_reports(
        &self,
        scope: &OrgScope,
        chart: ChartId,
        id: EmployeeId,
        part: Part,
    ) -> Result<Vec<Employee>> {
        self.team(scope, "employee.reports", chart, Team::ReportsOf(id), part).await
    }

    /// A person and everybody below, in the order of their ids, each with its distance.
    ///
    /// # Errors
    /// [`crate::error::Error::NotFound`]; the store's.
    pub async fn subtree(
        &self,
        scope: &OrgScope,
        chart: ChartId,
        id: EmployeeId,
        part: Part,
    ) -> Result<Vec<(usize, Employee)>> {
        let people = self.team(scope, "employee.subtree", chart, Team::From(id), part).await?;
        Ok(people.into_iter().map(|person| (distance(&person, id), person)).collect())
    }

    async fn team(
        &self,
        scope: &OrgScope,
        label: &'static str,
        chart: ChartId,
        team: Team,
        part: Part,
    ) -> Result<Vec<Employee>> {
        let listed = self
            .tenant_read(scope, label, (), move |mut reader, ()| {
                Box::pin(async move { list(&mut reader, chart, team, part).await })
            })
            .await?;
        match (listed, team) {
            (Listed::There(people), _) => Ok(people),
            (Listed::Nobody, _) => Ok(Vec::new()),
            (Listed::Missing, Team::All) => Err(NO_CHART),
            (Listed::Missing, _) => Err(NO_EMPLOYEE),
        }
    }

    /// The managers above a person, nearest first, up to the CEO.
    ///
    /// # Errors
    /// [`crate::error::Error::NotFound`]; the store's.
    pub async fn manager_chain(
        &self,
        scope: &OrgScope,
        chart: ChartId,
        id: EmployeeId,
        part: Part,
    ) -> Result<Vec<Employee>> {
        self.tenant_read(scope, "employee.chain", (), move |mut reader, ()| {
            Box::pin(async move { chain(&mut reader, chart, id, part).await })
        })
        .await?
        .ok_or(NO_EMPLOYEE)
    }

    /// A chart with everybody in it, without their `ancestors`.
    ///
    /// # Errors
    /// [`crate::error::Error::NotFound`]; [`crate::error::Error::Busy`] for a large one while there
    /// are too many of those; the store's.
    pub async fn chart_whole(&self, scope: &OrgScope, id: ChartId) -> Result<WholeChart> {
        self.tenant_read(scope, "chart.whole", (self, None), move |mut reader, (this, room)| {
            Box::pin(async move {
                let Some(chart) = reader.chart(id).await? else { return Ok(None) };
                if room.is_none() {
                    let people = usize::try_from(chart.employee_count).unwrap_or_default();
                    *room = Some(this.admit_chart(people).await?);
                }
                let people = reader.employees_flat(id, Team::All, None, 0).await?;
                // Three reads outside of a transaction, of which a long one is not even of one
                // moment; a change in between shows in the version, and the second look reads
                // everything in one snapshot.
                let after = reader.chart(id).await?;
                let whole = after.is_some_and(|a| a.structure_version == chart.structure_version);
                let whole = whole.then(|| room.take()).flatten();
                Ok(whole.map(|room| WholeChart { chart, people, room }))
            })
        })
        .await?
        .ok_or(NO_CHART)
    }
}

async fn list(
    reader: &mut TenantReader<'_>,
    chart: ChartId,
    team: Team,
    part: Part,
) -> Result<Listed<Employee>> {
    let people = match team {
        // Distances are told by who stands above.
        Team::From(_) | Team::Below(_) => {
            reader.employees(chart, team, part.after, part.limit).await?
        }
        Team::ReportsOf(id) if part.after.is_none() => {
            return first_reports(reader, chart, id, part.limit).await;
        }
        Team::All | Team::ReportsOf(_) | Team::WithReports(_) => {
            reader.employees_flat(chart, team, part.after, part.limit).await?
        }
    };
    if !people.is_empty() {
        return Ok(Listed::There(people));
    }
    let there = match team {
        Team::All => match reader.chart(chart).await? {
            Some(chart) if chart.employee_count == 0 => return Ok(Listed::Nobody),
            found => found.is_some(),
        },
        Team::ReportsOf(id) | Team::WithReports(id) | Team::Below(id) | Team::From(id) => {
            reader.employee(chart, id).await?.is_some()
        }
    };
    Ok(if there { Listed::There(people) } else { Listed::Missing })
}

/// The first of those who report to somebody, read together with that person. Six of seven people
/// have no reports, and it is the person who proves it.
async fn first_reports(
    reader: &mut TenantReader<'_>,
    chart: ChartId,
    id: EmployeeId,
    limit: u32,
) -> Result<Listed<Employee>> {
    let team = Team::WithReports(id);
    let mut people = reader.employees_flat(chart, team, None, limit.saturating_add(1)).await?;
    let own = people.iter().position(|person| person.id == id);
    if let Some(own) = own {
        people.remove(own);
    }
    people.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
    Ok(match own {
        Some(_) if people.is_empty() => Listed::Nobody,
        None if people.is_empty() => Listed::Missing,
        _ => Listed::There(people),
    })
}

/// How far a person is below `top`.
fn distance(person: &Employee, top: EmployeeId) -> usize {
    let from_top = person.ancestors.iter().position(|above| *above == top);
    from_top.map_or(0, |position| person.ancestors.len() - position)
}

/// `None` also when a change shows that was made while it was read: in a snapshot there is none.
async fn chain(
    reader: &mut TenantReader<'_>,
    chart: ChartId,
    id: EmployeeId,
    part: Part,
) -> Result<Option<Vec<Employee>>> {
    let above = Above { after: part.after, limit: part.limit };
    let found = reader.employee_with(chart, id, above).await?;
    let Some((person, managers)) = found else { return Ok(None) };
    let limit = usize::try_from(part.limit).unwrap_or(usize::MAX);
    let nearest_first = || person.ancestors.iter().rev().copied();
    let behind = match part.after {
        Some(after) => nearest_first().take_while(|above| *above != after).count() + 1,
        None => 0,
    };
    let mut managers: HashMap<EmployeeId, Employee> =
        managers.into_iter().map(|manager| (manager.id, manager)).collect();
    let next = nearest_first().skip(behind + 1).map(Some).chain([None]);
    let links = nearest_first().skip(behind).take(limit).zip(next);
    let fitting = links.map(|(above, next)| {
        let manager = managers.remove(&above);
        manager.filter(|manager| manager.manager == next)
    });
    Ok(fitting.collect())
}
