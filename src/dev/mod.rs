//! A MongoDB for development: a real `mongod`, shared by every process that names the same
//! directory.
//!
//! # How processes share it
//!
//! Locks on files in the directory, which the kernel releases however a process ends, say who is
//! there:
//!
//! - `start.lock`, exclusive: one process at a time looks for `mongod`, fetches it and starts it.
//! - `users.lock`, shared: held by every process that uses the database.
//! - `watch.lock`, exclusive: held by the watcher, a detached process that waits to get
//!   `users.lock` for itself alone, which it does when the last user has gone; then it stops
//!   `mongod`.
//!
//! A starter takes `start.lock`, then `users.lock`, then makes sure of a watcher, and only then
//! looks for `mongod`. Why no order of events leaves a `mongod` with a user and without a watcher,
//! or stops one in use:
//!
//! - A watcher stops `mongod` only while it holds `users.lock` alone, so never under a user; a
//!   starter waits at `users.lock` until the watcher is done, and then finds no `mongod` and starts
//!   one.
//! - A finishing watcher gives `watch.lock` back before `users.lock`. So a starter, who looks at
//!   `watch.lock` while it holds `users.lock`, sees it taken only by a watcher that still has to
//!   wait for that starter.
//! - A watcher waits for `watch.lock` instead of giving up. So a probe of that lock never turns one
//!   away, and of two watchers the second takes over when the first has ended; it then finds
//!   nothing to do, or new users.
//! - The starter goes on only when `watch.lock` is taken, before `mongod` runs: a kill at any later
//!   moment is seen.
//! - Which `mongod` is ours is read from the process list (its `--dbpath`), so a lost or stale
//!   record, as after a kill of everything, does no harm: the next starter attaches to it and a
//!   watcher follows.

mod binary;
mod data_dir;
mod download;
mod embedded;
mod error;
mod launch;
mod process;
mod watcher;

pub use embedded::{Embedded, EmbeddedOptions};
pub use error::EmbeddedError;
pub use watcher::{SUBCOMMAND, watch};
