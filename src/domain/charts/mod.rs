//! Org charts: who reports to whom, and the rules that keep a hierarchy valid.

mod chart;
mod employee_list;
mod hierarchy;
mod statistics;

pub use chart::{Chart, Employee};
pub use employee_list::{LineError, LineErrors, ManagedBy, Placed, RosterLine, place};
pub use hierarchy::{MAX_DEPTH, Refusal, Reparent, Write, hire, move_to, promote, remove};
pub use statistics::{Figures, flaws};
