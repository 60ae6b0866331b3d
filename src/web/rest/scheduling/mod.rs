//! Calendar feeds; the rest of scheduling is GraphQL.

mod calendar;

use utoipa_actix_web::service_config::ServiceConfig;

pub(super) fn configure(config: &mut ServiceConfig<'_>) {
    calendar::configure(config);
}
