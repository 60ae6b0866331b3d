//! HTTP: routes, and what lies around every handler.

mod address;
mod guard;
mod json;
mod openapi;
mod page;
mod problem;
mod request;
mod rest;

use std::sync::Arc;

use actix_cors::Cors;
use actix_web::{
    App, HttpResponse,
    body::MessageBody,
    dev::{ServiceFactory, ServiceRequest, ServiceResponse},
    middleware::from_fn,
    web,
};
use utoipa_actix_web::AppExt;

pub use openapi::document;

use crate::{config::ServerSettings, error::Error, manager::TenantManager};

/// What every worker thread shares.
pub struct Shared {
    /// The centre.
    pub manager: Arc<TenantManager>,
    /// The HTTP side's settings.
    pub server: ServerSettings,
    /// Renders the metrics of this process.
    pub metrics: metrics_exporter_prometheus::PrometheusHandle,
}

/// The application of one worker thread.
pub fn app(
    shared: &web::Data<Shared>,
) -> App<
    impl ServiceFactory<
        ServiceRequest,
        Config = (),
        Response = ServiceResponse<impl MessageBody + use<>>,
        Error = actix_web::Error,
        InitError = (),
    > + use<>,
> {
    let (app, document) = App::new()
        .app_data(shared.clone())
        .app_data(web::PayloadConfig::new(shared.server.body_limit_bytes))
        .app_data(web::QueryConfig::default().error_handler(|e, _| json::query_refusal(&e).into()))
        .into_utoipa_app()
        .openapi(openapi::base())
        .configure(rest::configure)
        .split_for_parts();
    app.configure(|config| openapi::configure(config, document))
        .default_service(web::to(|| async {
            Err::<HttpResponse, Error>(Error::NotFound("page or resource"))
        }))
        .wrap(from_fn(guard::authenticate))
        .wrap(cors(&shared.server.cors_origins))
        .wrap(from_fn(request::around))
}

fn cors(origins: &[String]) -> Cors {
    let cors = Cors::default()
        .allowed_methods(["GET", "POST", "PUT", "PATCH", "DELETE"])
        .allowed_headers(["authorization", "content-type", request::REQUEST_ID])
        .expose_headers(["link", "location", "retry-after", request::REQUEST_ID])
        .max_age(3600);
    if origins.iter().any(|origin| origin == "*") {
        return cors.allow_any_origin();
    }
    origins.iter().fold(cors, |cors, origin| cors.allowed_origin(origin))
}
