//! The people of a chart: every change is one transaction that starts with the chart.

use chrono::{DateTime, Utc};
use tokio::sync::OwnedMutexGuard;

use super::chart::NO_CHART;
use crate::{
    domain::{
        ChartId, EmployeeId, Label,
        charts::{self, Employee, Reparent, Write},
    },
    error::{Error, Result},
    failpoint,
    manager::{AdminScope, TenantManager},
    store::{
        charts::{Team, TouchedChart},
        tenant::TenantTx,
    },
};

/// Somebody who comes in.
pub struct EmployeeInput {
    /// The person's name.
    pub name: Label,
    /// The person's title.
    pub title: Label,
    /// Whom the person reports to; nobody for the CEO.
    pub manager: Option<EmployeeId>,
}

/// What is to change of a person; `None` leaves it as it is.
pub struct EmployeePatch {
    /// A new name.
    pub name: Option<Label>,
    /// A new title.
    pub title: Option<Label>,
    /// Another manager; `Some(None)` for none, which only the CEO has.
    pub manager: Option<Option<EmployeeId>>,
}

/// What became of a person's team.
pub struct Removal {
    /// Whom they report to now.
    pub new_manager: EmployeeId,
    /// How many people have another manager than before.
    pub reassigned: u64,
}

pub(in crate::manager) const NO_EMPLOYEE: Error = Error::NotFound("employee");

impl TenantManager {
    /// Adds a person; the first one without a manager is the CEO.
    ///
    /// # Errors
    /// [`Error::NotFound`] for the chart, [`Error::Validation`] for a manager who is not in it,
    /// [`Error::Hierarchy`]; the store's.
    pub async fn employee_create(
        &self,
        scope: &AdminScope,
        chart: ChartId,
        input: EmployeeInput,
    ) -> Result<Employee> {
        let _turn = self.turn(scope, chart).await?;
        let now = self.clock.now();
        let created = self.tenant_write(scope, "employee.create", input, move |mut tx, input| {
            Box::pin(async move {
                let touched = touch(&mut tx, chart, 1, 1, now).await?;
                let manager = match input.manager {
                    Some(manager) => Some(manager_in(&mut tx, chart, manager).await?),
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
                tx.insert_employees(std::slice::from_ref(&employee)).await?;
                Ok((employee, touched.chart.employee_count))
            })
        });
        let (employee, people) = created.await?;
        self.index_if_large(scope.org_id(), people);
        Ok(employee)
    }

    /// Changes a person's name, title or manager. Whoever moves takes the whole team along.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::Validation`] for a manager who is not in the chart,
    /// [`Error::Hierarchy`]; the store's.
    pub async fn employee_update(
        &self,
        scope: &AdminScope,
        chart: ChartId,
        id: EmployeeId,
        patch: EmployeePatch,
    ) -> Result<Employee> {
        let _turn = self.turn(scope, chart).await?;
        let now = self.clock.now();
        self.tenant_write(scope, "employee.update", patch, move |mut tx, patch| {
            Box::pin(async move {
                if patch.manager.is_some() {
                    touch(&mut tx, chart, 0, 0, now).await?;
                }
                let mut employee = employee_in(&mut tx, chart, id).await?;
                if let Some(manager) = patch.manager {
                    let writes = plan_move(&mut tx, &employee, manager).await?;
                    tx.apply(chart, &writes, now).await?;
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
                tx.update_employee(&employee, now).await?;
                Ok(employee)
            })
        })
        .await
    }

    /// Takes a person out; the reports go to the person's manager, with their teams or one by one.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::Hierarchy`] for the CEO; the store's.
    pub async fn employee_delete(
        &self,
        scope: &AdminScope,
        chart: ChartId,
        id: EmployeeId,
        reparent: Reparent,
    ) -> Result<Removal> {
        let _turn = self.turn(scope, chart).await?;
        let now = self.clock.now();
        self.tenant_write(scope, "employee.delete", (), move |mut tx, ()| {
            Box::pin(async move {
                // The person is found before the chart counts one less: a count below zero is
                // refused by the database, which would be a fault of ours.
                let Some(employee) = tx.reader().employee(chart, id).await? else {
                    return Err(nobody_in(&mut tx, chart).await?);
                };
                touch(&mut tx, chart, -1, 0, now).await?;
                let writes = charts::remove(&employee, reparent)?;
                let direct = match reparent {
                    Reparent::Direct => Some(tx.count_reports(chart, id).await?),
                    Reparent::All => None,
                };
                let changed = tx.apply(chart, &writes, now).await?;
                failpoint!("chart.before_commit");
                let reassigned = direct.or(changed.first().copied()).unwrap_or_default();
                let new_manager = employee.manager.ok_or(charts::Refusal::CeoProtected)?;
                Ok(Removal { new_manager, reassigned })
            })
        })
        .await
    }

    /// Makes a person the CEO; the previous one reports to the new one, all others stay.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::Hierarchy`] past the greatest depth; the store's.
    pub async fn employee_promote(
        &self,
        scope: &AdminScope,
        chart: ChartId,
        id: EmployeeId,
    ) -> Result<Employee> {
        let _turn = self.turn(scope, chart).await?;
        let now = self.clock.now();
        self.tenant_write(scope, "employee.promote", (), move |mut tx, ()| {
            Box::pin(async move {
                let touched = touch(&mut tx, chart, 0, 0, now).await?;
                let employee = employee_in(&mut tx, chart, id).await?;
                let ceo = touched.chart.ceo.ok_or(NO_EMPLOYEE)?;
                if ceo == id {
                    return Ok(employee);
                }
                let deepest = tx.depth_of(chart, Team::All).await?;
                let writes = charts::promote(&employee, ceo, deepest)?;
                tx.apply(chart, &writes, now).await?;
                tx.set_ceo(chart, id).await?;
                failpoint!("chart.before_commit");
                Ok(Employee { manager: None, ancestors: Vec::new(), updated_at: now, ..employee })
            })
        })
        .await
    }
}

impl TenantManager {
    /// Waits until no other change of the chart is under way in this process.
    pub(in crate::manager) async fn turn(
        &self,
        scope: &AdminScope,
        chart: ChartId,
    ) -> Result<OwnedMutexGuard<()>> {
        self.charts.chart_queue.wait((scope.org_id(), chart), self.tenancy.patience).await
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

async fn employee_in(tx: &mut TenantTx<'_>, chart: ChartId, id: EmployeeId) -> Result<Employee> {
    tx.reader().employee(chart, id).await?.ok_or(NO_EMPLOYEE)
}

/// What is missing when the chart has no such person: the person, or the chart as well.
async fn nobody_in(tx: &mut TenantTx<'_>, chart: ChartId) -> Result<Error> {
    let there = tx.reader().chart(chart).await?;
    Ok(if there.is_some() { NO_EMPLOYEE } else { NO_CHART })
}

async fn manager_in(tx: &mut TenantTx<'_>, chart: ChartId, id: EmployeeId) -> Result<Employee> {
    let manager = tx.reader().employee(chart, id).await?;
    manager.ok_or_else(|| Error::field("manager_id", "is nobody in this org chart"))
}

async fn plan_move(
    tx: &mut TenantTx<'_>,
    employee: &Employee,
    manager: Option<EmployeeId>,
) -> Result<Vec<Write>> {
    let manager = match manager {
        Some(manager) => Some(manager_in(tx, employee.chart, manager).await?),
        None => None,
    };
    // Only a move downwards can make a chart deeper.
    let deeper = manager.as_ref().is_some_and(|m| m.ancestors.len() >= employee.ancestors.len());
    let deepest = if deeper {
        tx.depth_of(employee.chart, Team::From(employee.id)).await?
    } else {
        employee.ancestors.len()
    };
    Ok(charts::move_to(employee, manager.as_ref(), deepest)?)
}
