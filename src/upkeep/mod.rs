//! Commands of operators, built on the manager: checks of what is stored, and sample data.

mod demo;
mod seed;
mod tenant_checks;
mod verify;

pub use demo::{DemoOrg, seed_demo};
pub use seed::{ChartSeed, Seeded, seed_org_charts};
pub use verify::{Finding, Report, verify};
