//! Organizations.

mod organizations;

use utoipa_actix_web::service_config::ServiceConfig;

pub(super) fn configure(config: &mut ServiceConfig<'_>) {
    organizations::configure(config);
}
