//! Liveness, readiness and metrics.

use actix_web::{HttpResponse, get, http::header::ContentType};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_actix_web::service_config::ServiceConfig;

use super::State;
use crate::{error::Result, telemetry, web::http::problem::BusyErrors};

/// The health of the server.
#[derive(Serialize, ToSchema)]
struct Health {
    /// Always `ok`; otherwise the answer is a problem.
    #[schema(example = "ok")]
    status: &'static str,
}

pub(super) fn configure(config: &mut ServiceConfig<'_>) {
    config.service(live).service(ready).service(metrics);
}

/// Check whether the process is running.
#[utoipa::path(tag = "operations", responses((status = 200, description = "It is running", body = Health)))]
#[get("/health/live")]
async fn live() -> HttpResponse {
    HttpResponse::Ok().json(Health { status: "ok" })
}

/// Check whether the database is reachable, so that requests can be answered.
#[utoipa::path(
    tag = "operations",
    responses((status = 200, description = "It is reachable", body = Health), BusyErrors)
)]
#[get("/health/ready")]
async fn ready(state: State) -> Result<HttpResponse> {
    state.manager.check_health().await?;
    Ok(HttpResponse::Ok().json(Health { status: "ok" }))
}

/// Get the metrics of this process in the Prometheus text format.
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
