//! The API against a real MongoDB: one binary, a database of its own for every test.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod calendar;
mod ceiling;
mod chart_faults;
mod chart_limits;
mod chart_races;
mod charts;
mod cluster;
mod command_line;
mod faults;
mod graphql_cluster;
mod graphql_inputs;
mod graphql_isolation;
mod graphql_limits;
mod graphql_pages;
mod input;
mod isolation;
mod lifecycle;
mod lists;
mod login;
mod members;
mod mixed_day;
mod organizations;
mod outage;
mod races;
mod registration_failover;
mod registration_faults;
mod registration_races;
mod registration_skew;
mod registration_storm;
mod scheduling;
mod security;
mod support;
mod tokens;
mod verify;
