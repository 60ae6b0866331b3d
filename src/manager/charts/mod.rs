//! Org charts: charts, employees, teams and imports.

mod admission;
mod chart;
mod editions;
mod employees;
mod imports;
mod teams;

pub use admission::{ChartPermit, ChartWork};
pub use employees::{EmployeeInput, EmployeePatch, Removal};
pub use imports::ImportMode;
pub use teams::{EmployeePage, WholeChart};

use std::sync::Arc;

use moka::sync::Cache;
use tokio::sync::Semaphore;

use self::admission::ChartAdmission;
use super::keyed_queue::KeyedQueue;
use crate::domain::{ChartId, OrgId};

/// State of the charts module.
pub(super) struct Charts {
    /// Serializes changes of one chart and its employees.
    chart_queue: KeyedQueue<(OrgId, ChartId)>,
    /// Serializes changes of a tenant's list of charts.
    list_queue: KeyedQueue<OrgId>,
    admission: ChartAdmission,
    /// Limits how many editions this process removes at once.
    removals: Arc<Semaphore>,
    /// Tenants whose secondary indexes this process has requested.
    indexed: Cache<OrgId, ()>,
}

const INDEXED: u64 = 100_000;
const REMOVALS: usize = 2;

impl Default for Charts {
    fn default() -> Self {
        Self {
            chart_queue: KeyedQueue::default(),
            list_queue: KeyedQueue::default(),
            admission: ChartAdmission::default(),
            removals: Arc::new(Semaphore::new(REMOVALS)),
            indexed: Cache::new(INDEXED),
        }
    }
}
