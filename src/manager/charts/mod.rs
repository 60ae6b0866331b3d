//! Org charts: charts, employees, teams and imports.

mod admission;
mod chart;
mod employees;
mod imports;
mod teams;

pub use admission::{ChartAdmission, Room};
pub use employees::{EmployeeInput, EmployeePatch, Removal};
pub use imports::ImportMode;
pub use teams::{Part, WholeChart};
