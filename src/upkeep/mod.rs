//! Commands that work on the platform from outside of a request: checks, and data to look at.

mod demo;
mod seed;
mod tenant_checks;
mod verify;

pub use demo::DemoOrg;
pub use seed::{ChartSeed, Seeded};
pub use verify::{Finding, Report};
