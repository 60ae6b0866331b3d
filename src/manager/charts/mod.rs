//! Org charts: charts, employees, teams and imports.

mod admission;
mod chart;
mod employees;
mod imports;
mod teams;

pub use admission::Room;
pub use employees::{EmployeeInput, EmployeePatch, Removal};
pub use imports::ImportMode;
pub use teams::{Part, WholeChart};

use moka::sync::Cache;

use self::admission::ChartAdmission;
use super::keyed_queue::KeyedQueue;
use crate::domain::{ChartId, OrgId};

/// What the work on charts needs.
pub(super) struct Charts {
    /// Changes of one chart and its people.
    chart_queue: KeyedQueue<(OrgId, ChartId)>,
    /// Changes of which charts a tenant has.
    list_queue: KeyedQueue<OrgId>,
    admission: ChartAdmission,
    /// Tenants whose secondary indexes this process has asked for.
    indexed: Cache<OrgId, ()>,
}

const INDEXED: u64 = 100_000;

impl Default for Charts {
    fn default() -> Self {
        Self {
            chart_queue: KeyedQueue::default(),
            list_queue: KeyedQueue::default(),
            admission: ChartAdmission::default(),
            indexed: Cache::new(INDEXED),
        }
    }
}
