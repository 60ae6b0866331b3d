//! Liveness, readiness and metrics.

use actix_web::{HttpResponse, get, http::header::ContentType};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_actix_web::service_config::ServiceConfig;

use super::State;
use crate::{error::Result, telemetry, web::http::problem::BusyErrors};

/// How the server is.
#[derive(Serialize, ToSchema)]
struct Health {
    /// `ok`, or there is no such answer.
    #[schema(example = "ok")]
    status: &'static str,
}

pub(super) fn configure(config: &mut ServiceConfig<'_>) {
    config.service(live).service(ready).service(metrics);
}

/// Whether the process runs.
#[utoipa::path(tag = "operations", responses((status = 200, description = "It does", body = Health)))]
#[get("/health/live")]
async fn live() -> HttpResponse {
    HttpResponse::Ok().json(Health { status: "ok" })
}

/// Whether requests can be answered: the database is in reach.
#[utoipa::path(
    tag = "operations",
    responses((status = 200, description = "They can", body = Health), BusyErrors)
)]
#[get("/health/ready")]
async fn ready(state: State) -> Result<HttpResponse> {
    state.manager.check_health().await?;
    Ok(HttpResponse::Ok().json(Health { status: "ok" }))
}

/// The metrics of this process, in the text format of Prometheus.
#[utoipa::path(
    tag = "operations",
    responses((status = 200, description = "Metrics", body = String, content_type = "text/plain"))
)]
#[get("/metrics")]
async fn metrics(state: State) -> HttpResponse {
    HttpResponse::Ok()
        .content_type(ContentType::plaintext())
        .body(telemetry::render(&state.metrics))
}
