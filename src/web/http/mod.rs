//! Connections, and everything around a handler.

pub(super) mod address;
pub(super) mod admission;
pub(super) mod answers;
pub(super) mod body;
pub(super) mod connection;
mod fields;
pub(super) mod guard;
pub(super) mod input;
pub(super) mod malformed;
pub(super) mod problem;
pub(super) mod request;
pub(super) mod security_headers;
pub(super) mod server;
pub(super) mod stream;

pub use admission::Bodies;
pub use answers::Answers;
pub use server::serve;
