//! Org charts: who reports to whom, and the rules that keep a hierarchy valid.

mod chart;
mod employee_list;
mod hierarchy;
mod statistics;

pub use chart::{Chart, Edition, Employee};
pub use employee_list::{EmployeeLine, LineError, LineErrors, ManagedBy, Placed, place};
pub use hierarchy::{
    MAX_DEPTH, Refusal, Reparent, Write, hire, limit_change, move_to, promote, remove,
};
pub use statistics::{Statistics, flaws};
