//! Accounts and logins.

mod accounts;
mod availability;
mod login;

pub use accounts::{MemberInput, MemberPatch};
pub use login::{Login, LoginKind, Session};
