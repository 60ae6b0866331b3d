//! Accounts in the master database.

mod accounts;
mod survey;

pub use accounts::AccountUpdate;
pub use survey::AccountTotals;
