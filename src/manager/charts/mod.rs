//! Org charts: charts, employees, teams and imports.

mod admission;
mod chart;
mod employees;
mod imports;
mod teams;

pub use admission::{Room, Rooms};
pub use employees::{Departure, EmployeeInput, EmployeePatch};
pub use imports::ImportMode;
pub use teams::{Part, WholeChart};
