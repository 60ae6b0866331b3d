//! Accounts in the master database.

mod accounts;
mod totals;

pub use accounts::AccountUpdate;
pub use totals::AccountTotals;
