//! Org charts and the people in them.

use chrono::{DateTime, Utc};

use crate::domain::{ChartId, EmployeeId, Label};

/// A stored set of people of a chart. An import that is too large for one transaction writes a new
/// edition, which nobody sees until the chart is switched to it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Edition {
    /// The chart.
    pub chart: ChartId,
    number: i64,
}

impl Edition {
    /// The edition under `number`, or the first one of `chart` if there is none.
    #[must_use]
    pub const fn of(chart: ChartId, number: Option<i64>) -> Self {
        let number = match number {
            Some(number) => number,
            None => chart.get(),
        };
        Self { chart, number }
    }

    /// The edition made by the tenant's import number `count`. Its number is negative, because the
    /// first edition of each chart has the chart's id as its number.
    #[must_use]
    pub const fn imported(chart: ChartId, count: i64) -> Self {
        Self { chart, number: -count }
    }

    /// The number, unique within the tenant.
    #[must_use]
    pub const fn number(self) -> i64 {
        self.number
    }

    /// Whether it is the one that the chart was created with.
    #[must_use]
    pub const fn is_first(self) -> bool {
        self.number == self.chart.get()
    }
}

/// An org chart.
#[derive(Clone, Debug)]
pub struct Chart {
    /// The id, unique within the tenant.
    pub id: ChartId,
    /// The people that it shows.
    pub edition: Edition,
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
