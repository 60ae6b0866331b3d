//! Tenantry: a multi-tenant organization platform over MongoDB.
//!
//! A request passes three layers. [`web`] speaks HTTP: REST under `web/rest`, GraphQL under
//! `web/graphql`, and what surrounds every request under `web/http`. [`manager`] applies the rules
//! of tenancy in one [`manager::TenantManager`]. [`store`] reads and writes the database.
//! All of them use the types and pure rules of [`domain`]; [`auth`] hashes passwords, issues tokens
//! and limits attempts. `domain`, `manager`, `store` and `web/rest` have the same four modules:
//! `tenancy`, `identity`, `charts` and `scheduling`. [`upkeep`] uses the manager outside of requests
//! to verify the stored data and to seed new data.
//!
//! * [`domain`] imports no other layer.
//! * Only [`store`] imports the database driver, and [`web`] imports nothing of [`store`].
//! * Only [`web`] imports actix, async-graphql and utoipa ([`startup`] imports actix to run the
//!   server); no layer below it knows a status code.
//! * Tenant documents are reached only through a context, and every key starts with its `org`.
//!
//! [`config`] reads the settings, and [`startup`] builds the application from them. [`cli`] is the
//! command line, [`dev`] the embedded database, [`telemetry`] logs and metrics, and `trust` checks
//! who can change a file. [`error`] is the error type of all layers. At a
//! [fail point](mod@failpoint), a test kills the process or turns a protection off.

pub mod auth;
pub mod cli;
pub mod config;
pub mod dev;
pub mod domain;
pub mod error;
pub mod failpoint;
pub mod manager;
mod progress;
mod shape;
pub mod startup;
pub mod store;
mod supervise;
pub mod telemetry;
mod trust;
pub mod upkeep;
pub mod web;
