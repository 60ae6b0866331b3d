//! Tenantry: a multi-tenant organization platform over MongoDB.
//!
//! A request passes four rooms and no more: [`web`] parses it and knows HTTP, its guard turns a
//! token into a scope, [`manager`] does the work and knows the rules of tenancy, [`store`] talks to
//! the database. [`domain`] holds what is true without any of them, [`auth`] passwords and tokens.
//!
//! * [`domain`] imports none of the others.
//! * Only [`store`] imports the database driver, and [`web`] nothing of [`store`].
//! * Only [`web`] imports actix, async-graphql and utoipa (and [`startup`] actix, to run it);
//!   nothing below it knows a status code.
//! * Tenant documents are reached through a scope alone, and every key starts with its `org`.
//!
//! [`startup`] puts the rooms together by the settings of [`config`], [`cli`] is the command line,
//! [`dev`] the embedded database, [`telemetry`] logs and metrics, `trust` whose
//! files are believed. [`error`] is the one error of all
//! rooms, so it knows [`store::StoreError`] for the others. At a [fail point](mod@failpoint) a test
//! kills the process.

pub mod auth;
pub mod cli;
pub mod config;
pub mod dev;
pub mod domain;
pub mod error;
pub mod failpoint;
pub mod manager;
mod progress;
pub mod startup;
pub mod store;
pub mod telemetry;
mod trust;
pub mod upkeep;
pub mod web;
