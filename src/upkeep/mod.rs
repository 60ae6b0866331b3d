//! Operators' commands on top of the manager: checks of the stored data, and sample data.

mod demo;
mod seed;
mod tenant_checks;
mod verify;

use std::time::{Duration, Instant};

pub use demo::{DemoOrg, seed_demo};
pub use seed::{ChartSeed, Seeded, seed_org_charts};
pub use verify::{Finding, Report, verify};

/// The deadline of work that no client waits for.
fn no_hurry() -> Instant {
    Instant::now() + Duration::from_hours(24)
}
