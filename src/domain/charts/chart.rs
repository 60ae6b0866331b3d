//! Org charts and the people in them.

use chrono::{DateTime, Utc};

use crate::domain::{ChartId, EmployeeId, Label};

/// An org chart.
#[derive(Clone, Debug)]
pub struct Chart {
    /// The id, unique within the tenant.
    pub id: ChartId,
    /// Its name.
    pub name: Label,
    /// The CEO; `None` while the chart is empty.
    pub ceo: Option<EmployeeId>,
    /// How many people the chart has.
    pub employee_count: i64,
    /// How many times its structure has changed.
    pub structure_version: i64,
    /// When it was created.
    pub created_at: DateTime<Utc>,
    /// When its name or its people last changed.
    pub updated_at: DateTime<Utc>,
}

/// A person in an org chart.
#[derive(Clone, Debug)]
pub struct Employee {
    /// The id, unique within the chart.
    pub id: EmployeeId,
    /// The chart.
    pub chart: ChartId,
    /// The person's name.
    pub name: Label,
    /// The person's title.
    pub title: Label,
    /// The person's manager; `None` only for the CEO.
    pub manager: Option<EmployeeId>,
    /// Every manager above the person, from the CEO down to the direct manager.
    pub ancestors: Vec<EmployeeId>,
    /// When the person was added.
    pub created_at: DateTime<Utc>,
    /// When the person last changed.
    pub updated_at: DateTime<Utc>,
}
