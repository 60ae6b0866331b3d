//! Operators' commands on top of the manager: checks of the stored data, and sample data.

mod demo;
mod seed;
mod tenant_checks;
mod verify;

pub use demo::{DemoOrg, seed_demo};
pub use seed::{ChartSeed, Seeded, seed_org_charts};
pub use verify::{Finding, Report, verify};
