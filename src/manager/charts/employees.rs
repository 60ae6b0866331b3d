//! Employees of a chart: every change is one transaction that writes the chart first.

use chrono::{DateTime, Utc};
use tokio::sync::OwnedMutexGuard;

use super::chart::NO_CHART;
use crate::{
    domain::{
        ChartId, EmployeeId, Label,
        charts::{self, Chart, Edition, Employee, Reparent, Write},
    },
    error::{Error, Result},
    failpoint,
    manager::{AdminContext, TenantManager},
    store::{
        charts::{Team, TouchedChart},
        tenant::TenantTx,
    },
};

/// A new employee.
pub struct EmployeeInput {
    /// The person's name.
    pub name: Label,
    /// The person's title.
    pub title: Label,
    /// The person's manager; `None` for the CEO.
    pub manager: Option<EmployeeId>,
}

/// Changes of an employee; `None` keeps the current value.
pub struct EmployeePatch {
    /// A new name.
    pub name: Option<Label>,
    /// A new title.
    pub title: Option<Label>,
    /// A new manager; `Some(None)` for none, which only the CEO has.
    pub manager: Option<Option<EmployeeId>>,
}

/// Where a deleted person's reports went.
pub struct Removal {
    /// Their new manager.
    pub new_manager: EmployeeId,
    /// How many people have a new manager.
    pub reassigned: u64,
}

pub(in crate::manager) const NO_EMPLOYEE: Error = Error::NotFound("employee");

impl TenantManager {
    /// Adds an employee; the first one without a manager is the CEO.
    ///
    /// # Errors
    /// [`Error::NotFound`] if there is no such chart; [`Error::Validation`] if the manager is not
    /// in it; [`Error::Hierarchy`] if a rule of the chart forbids it.
    pub async fn employee_create(
        &self,
        ctx: &AdminContext,
        chart: ChartId,
        input: EmployeeInput,
    ) -> Result<Employee> {
        let _lock = self.lock_chart(ctx, chart).await?;
        let now = self.clock.now();
        let created = self.tenant_write(ctx, "employee.create", input, move |mut tx, input| {
            Box::pin(async move {
                let touched = touch(&mut tx, chart, 1, 1, now).await?;
                let edition = touched.chart.edition;
                let manager = match input.manager {
                    Some(manager) => Some(manager_in(&mut tx, edition, manager).await?),
                    None => None,
                };
                let ancestors = charts::hire(manager.as_ref(), touched.chart.ceo.is_some())?;
                let employee = Employee {
                    id: touched.last_employee.into(),
                    chart,
                    name: input.name.clone(),
                    title: input.title.clone(),
                    manager: input.manager,
                    ancestors,
                    created_at: now,
                    updated_at: now,
                };
                if employee.manager.is_none() {
                    tx.set_ceo(chart, employee.id).await?;
                }
                tx.insert_employees(edition, std::slice::from_ref(&employee)).await?;
                Ok((employee, touched.chart.employee_count))
            })
        });
        let (employee, people) = created.await?;
        self.index_if_large(ctx.org_id(), people);
        Ok(employee)
    }

    /// Changes an employee's name, title or manager. Changing the manager moves the whole team.
    ///
    /// # Errors
    /// [`Error::NotFound`] if there is no such employee; [`Error::Validation`] if the manager is
    /// not in the chart; [`Error::Hierarchy`] if a rule of the chart forbids it.
    pub async fn employee_update(
        &self,
        ctx: &AdminContext,
        chart: ChartId,
        id: EmployeeId,
        patch: EmployeePatch,
    ) -> Result<Employee> {
        let _lock = self.lock_chart(ctx, chart).await?;
        let now = self.clock.now();
        self.tenant_write(&self.large_work(ctx), "employee.update", patch, move |mut tx, patch| {
            Box::pin(async move {
                if patch.manager.is_some() {
                    touch(&mut tx, chart, 0, 0, now).await?;
                }
                let chart = tx.reader().chart(chart).await?.ok_or(NO_EMPLOYEE)?;
                let edition = chart.edition;
                let mut employee = employee_in(&mut tx, edition, id).await?;
                if let Some(manager) = patch.manager {
                    let writes = plan_move(&mut tx, edition, &employee, manager).await?;
                    if !writes.is_empty() {
                        limit(&mut tx, &chart, Team::From(id)).await?;
                    }
                    tx.apply(edition, &writes, now).await?;
                    failpoint!("chart.before_commit");
                    employee.manager = manager;
                }
                if let Some(name) = &patch.name {
                    employee.name = name.clone();
                }
                if let Some(title) = &patch.title {
                    employee.title = title.clone();
                }
                employee.updated_at = now;
                tx.update_employee(edition, &employee, now).await?;
                Ok(employee)
            })
        })
        .await
    }

    /// Deletes an employee. `reparent` decides whether only the direct reports, with their teams,
    /// or everyone below moves to the deleted employee's manager.
    ///
    /// # Errors
    /// [`Error::NotFound`] if there is no such employee; [`Error::Hierarchy`] for the CEO.
    pub async fn employee_delete(
        &self,
        ctx: &AdminContext,
        chart: ChartId,
        id: EmployeeId,
        reparent: Reparent,
    ) -> Result<Removal> {
        let _lock = self.lock_chart(ctx, chart).await?;
        let now = self.clock.now();
        self.tenant_write(&self.large_work(ctx), "employee.delete", (), move |mut tx, ()| {
            Box::pin(async move {
                // Find the employee before lowering the chart's count: the database refuses a
                // count below zero, and that refusal would be reported as an internal error.
                let edition = tx.reader().edition(chart).await?.ok_or(NO_CHART)?;
                let employee = employee_in(&mut tx, edition, id).await?;
                let touched = touch(&mut tx, chart, -1, 0, now).await?;
                limit(&mut tx, &touched.chart, Team::Below(id)).await?;
                let writes = charts::remove(&employee, reparent)?;
                let direct = match reparent {
                    Reparent::Direct => Some(tx.count_team(edition, Team::ReportsOf(id)).await?),
                    Reparent::All => None,
                };
                let changed = tx.apply(edition, &writes, now).await?;
                failpoint!("chart.before_commit");
                let reassigned = direct.or(changed.first().copied()).unwrap_or_default();
                let new_manager = employee.manager.ok_or(charts::Refusal::CeoProtected)?;
                Ok(Removal { new_manager, reassigned })
            })
        })
        .await
    }

    /// Makes an employee the CEO; the previous CEO reports to the new one, everyone else keeps
    /// their manager.
    ///
    /// # Errors
    /// [`Error::NotFound`] if there is no such employee; [`Error::Hierarchy`] if the chart would
    /// get too deep.
    pub async fn employee_promote(
        &self,
        ctx: &AdminContext,
        chart: ChartId,
        id: EmployeeId,
    ) -> Result<Employee> {
        let _lock = self.lock_chart(ctx, chart).await?;
        let now = self.clock.now();
        self.tenant_write(&self.large_work(ctx), "employee.promote", (), move |mut tx, ()| {
            Box::pin(async move {
                let touched = touch(&mut tx, chart, 0, 0, now).await?;
                let edition = touched.chart.edition;
                let employee = employee_in(&mut tx, edition, id).await?;
                let ceo = touched.chart.ceo.ok_or(NO_EMPLOYEE)?;
                if ceo == id {
                    return Ok(employee);
                }
                limit(&mut tx, &touched.chart, Team::All).await?;
                let deepest = tx.depth_of(edition, Team::All).await?;
                let writes = charts::promote(&employee, ceo, deepest)?;
                tx.apply(edition, &writes, now).await?;
                tx.set_ceo(chart, id).await?;
                failpoint!("chart.before_commit");
                Ok(Employee { manager: None, ancestors: Vec::new(), updated_at: now, ..employee })
            })
        })
        .await
    }
}

impl TenantManager {
    /// Waits until this process makes no other change of the chart.
    pub(in crate::manager) async fn lock_chart(
        &self,
        ctx: &AdminContext,
        chart: ChartId,
    ) -> Result<OwnedMutexGuard<()>> {
        self.charts.chart_queue.wait((ctx.org_id(), chart), ctx.deadline()).await
    }
}

async fn touch(
    tx: &mut TenantTx<'_>,
    chart: ChartId,
    people: i64,
    ids: i64,
    now: DateTime<Utc>,
) -> Result<TouchedChart> {
    tx.touch_chart(chart, people, ids, now).await?.ok_or(NO_CHART)
}

/// Refuses a change of so many people that one transaction may not hold it. Only large charts are
/// counted.
async fn limit(tx: &mut TenantTx<'_>, chart: &Chart, team: Team) -> Result<()> {
    let everyone = u64::try_from(chart.employee_count).unwrap_or_default();
    if charts::limit_change(everyone).is_err() {
        charts::limit_change(tx.count_team(chart.edition, team).await?)?;
    }
    Ok(())
}

async fn employee_in(tx: &mut TenantTx<'_>, edition: Edition, id: EmployeeId) -> Result<Employee> {
    tx.reader().employee(edition, id).await?.ok_or(NO_EMPLOYEE)
}

async fn manager_in(tx: &mut TenantTx<'_>, edition: Edition, id: EmployeeId) -> Result<Employee> {
    let manager = tx.reader().employee(edition, id).await?;
    manager.ok_or_else(|| Error::field("manager_id", "must be an employee of this org chart"))
}

async fn plan_move(
    tx: &mut TenantTx<'_>,
    edition: Edition,
    employee: &Employee,
    manager: Option<EmployeeId>,
) -> Result<Vec<Write>> {
    let manager = match manager {
        Some(manager) => Some(manager_in(tx, edition, manager).await?),
        None => None,
    };
    // Only a move to a deeper manager can make a chart deeper.
    let deeper = manager.as_ref().is_some_and(|m| m.ancestors.len() >= employee.ancestors.len());
    let deepest = if deeper {
        tx.depth_of(edition, Team::From(employee.id)).await?
    } else {
        employee.ancestors.len()
    };
    Ok(charts::move_to(employee, manager.as_ref(), deepest)?)
}
