//! Org charts and the people in them.

use chrono::{DateTime, Utc};

use crate::domain::{ChartId, EmployeeId, Label};

/// An org chart.
#[derive(Clone, Debug)]
pub struct Chart {
    /// Its identity within the tenant.
    pub id: ChartId,
    /// Its name.
    pub name: Label,
    /// Who stands at the top; `None` while nobody is in it.
    pub ceo: Option<EmployeeId>,
    /// How many people are in it.
    pub employee_count: i64,
    /// How many times its structure has changed.
    pub structure_version: i64,
    /// When it was made.
    pub created_at: DateTime<Utc>,
    /// When its name or its people last changed.
    pub updated_at: DateTime<Utc>,
}

/// A person in an org chart.
#[derive(Clone, Debug)]
pub struct Employee {
    /// Its identity within the chart.
    pub id: EmployeeId,
    /// The chart.
    pub chart: ChartId,
    /// The person's name.
    pub name: Label,
    /// The person's title.
    pub title: Label,
    /// Whom the person reports to; `None` for the CEO alone.
    pub manager: Option<EmployeeId>,
    /// Everybody above, from the CEO down to the manager.
    pub ancestors: Vec<EmployeeId>,
    /// When the person came in.
    pub created_at: DateTime<Utc>,
    /// When the person last changed.
    pub updated_at: DateTime<Utc>,
}
