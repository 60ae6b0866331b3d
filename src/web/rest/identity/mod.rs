//! Members and logins.

mod login;
mod members;

pub(in crate::web::rest) use members::with_password;

use utoipa_actix_web::service_config::ServiceConfig;

pub(super) fn configure(config: &mut ServiceConfig<'_>) {
    members::configure(config);
    login::configure(config);
}
