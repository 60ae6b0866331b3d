//! The embedded MongoDB for development: a real `mongod`, shared by all processes that use the same
//! directory.
//!
//! # How processes share it
//!
//! Locks on files in the directory show which processes are present. The kernel releases them
//! however a process ends:
//!
//! - `start.lock`, exclusive: one process at a time looks for `mongod`, downloads it and starts it.
//! - `users.lock`, shared: held by every process that uses the database.
//! - `watch.lock`, exclusive: held by the watcher, a detached process that waits for an exclusive
//!   `users.lock`. It gets that lock when the last user has left, and then stops `mongod`.
//!
//! A starting process takes `start.lock`, then `users.lock`, then ensures that a watcher runs, and
//! only then looks for `mongod`. No order of events leaves a `mongod` with a user but without a
//! watcher, or stops a `mongod` in use:
//!
//! - A watcher stops `mongod` only while it holds `users.lock` exclusively, so never while it is in
//!   use. A starting process waits for `users.lock` until the watcher has finished, then finds no
//!   `mongod` and starts one.
//! - A finishing watcher releases `watch.lock` before `users.lock`. A starting process checks
//!   `watch.lock` while it holds `users.lock`, so if the lock is taken, its watcher still has to
//!   wait for this process.
//! - A watcher waits for `watch.lock` instead of exiting, so a probe of that lock never stops a
//!   watcher. Of two watchers, the second takes over when the first has ended, and then finds
//!   nothing to do, or new users.
//! - A starting process continues only when `watch.lock` is taken, before `mongod` runs, so the
//!   watcher notices a kill at any later time.
//! - The process list shows which `mongod` is ours (by its `--dbpath`), so a lost or stale record,
//!   for example after all processes were killed, does no harm: the next starting process attaches
//!   to that `mongod` and starts a watcher.
//!
//! # How it is started again
//!
//! Every user looks for the end of `mongod`, and starts it again as a starting process does: under
//! `start.lock` and with a watcher, so of several users one starts it and the others attach. The
//! task that does so holds `users.lock`. If it is dropped at any point, the watcher gets the lock
//! afterwards and stops what it has started; so a stop never races with a restart.
//!
//! # Who can use it
//!
//! `mongod` runs with a key file that only the owner of the directory can read. The key is both the
//! key of the replica set, with which `settle` sets up the database, and the password of the user
//! of the servers.

mod binary;
mod data_dir;
mod download;
mod embedded;
mod error;
mod key;
mod launch;
mod process;
mod restart;
mod settle;
mod watcher;

pub use embedded::{Embedded, EmbeddedOptions};
pub use error::EmbeddedError;
pub use watcher::{SUBCOMMAND, watch};
