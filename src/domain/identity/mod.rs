//! Accounts: who can log in, and with which role.

mod account;
mod actor;
mod email;
mod password;

pub use account::Account;
pub use actor::{Actor, Role};
pub use email::Email;
pub use password::{Password, PasswordDigest};
