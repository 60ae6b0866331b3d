//! Org charts: charts, employees, teams, lists and pictures.

mod chart;
mod csv;
mod employees;
mod lists;
mod picture;
mod teams;
mod tree;

use utoipa_actix_web::service_config::ServiceConfig;

pub(super) fn configure(config: &mut ServiceConfig<'_>) {
    chart::configure(config);
    employees::configure(config);
    teams::configure(config);
    lists::configure(config);
}
