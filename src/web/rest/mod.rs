//! The REST API: one file per resource, thin handlers.

mod calendar;
mod charts;
mod employees;
mod health;
mod lists;
mod login;
mod members;
mod organizations;
mod paging;
mod teams;

use actix_web::web::Data;
use utoipa_actix_web::service_config::ServiceConfig;

use super::Shared;

/// What a handler works with.
type State = Data<Shared>;

/// Registers every route, and with it its part of the OpenAPI document.
pub(super) fn configure(config: &mut ServiceConfig<'_>) {
    organizations::configure(config);
    members::configure(config);
    login::configure(config);
    charts::configure(config);
    employees::configure(config);
    teams::configure(config);
    lists::configure(config);
    calendar::configure(config);
    health::configure(config);
}
