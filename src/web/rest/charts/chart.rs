//! `/orgcharts`: the charts of the caller's organization.

use actix_web::{HttpResponse, delete, get, http::header, post, put, web::Path};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_actix_web::service_config::ServiceConfig;
use validator::Validate;

use crate::{
    domain::{ChartId, EmployeeId, Label, charts::Chart},
    error::{Error, FieldErrors, Result},
    manager::{AdminContext, OrgContext},
    web::{
        http::{
            input::{Input, Valid, ValidQuery},
            problem::{BusyErrors, InputErrors, Problem, QueryErrors, TokenErrors},
        },
        rest::{
            State,
            paging::{PageOf, PageQuery},
        },
    },
};

/// A chart's name.
#[derive(Deserialize, ToSchema, Validate)]
#[serde(deny_unknown_fields)]
struct ChartRequest {
    /// 1 to 128 characters.
    #[schema(example = "Engineering", min_length = 1, max_length = 128)]
    name: String,
}

/// An org chart.
#[derive(Serialize, ToSchema)]
struct ChartResponse {
    /// Its id within the organization.
    #[schema(example = 1)]
    id: i64,
    /// Its name.
    #[schema(example = "Engineering")]
    name: String,
    /// The number of people in it.
    #[schema(example = 42)]
    employee_count: i64,
    /// The employee at the top; `null` if the chart is empty.
    #[schema(example = 1, required = true)]
    ceo_id: Option<i64>,
    /// When it was created.
    #[schema(example = "2026-01-31T09:30:00.123Z")]
    created_at: DateTime<Utc>,
    /// When its name or its people last changed.
    #[schema(example = "2026-01-31T09:30:00.123Z")]
    updated_at: DateTime<Utc>,
}

/// A deleted chart.
#[derive(Serialize, ToSchema)]
struct ChartDeletedResponse {
    /// Its id.
    #[schema(example = 1)]
    id: i64,
    /// When it was deleted.
    #[schema(example = "2026-01-31T09:30:00.123Z")]
    deleted_at: DateTime<Utc>,
}

pub(super) fn configure(config: &mut ServiceConfig<'_>) {
    config.service(create).service(list).service(get).service(update).service(delete);
}

/// Create an empty org chart.
#[utoipa::path(
    tag = "org charts",
    request_body = ChartRequest,
    security(("bearer" = [])),
    responses(
        (status = 201, description = "Created", body = ChartResponse,
            headers(("Location" = String, description = "The path of the new resource"))),
        InputErrors, TokenErrors, BusyErrors,
    )
)]
#[post("/orgcharts")]
async fn create(
    ctx: AdminContext,
    state: State,
    body: Valid<ChartRequest>,
) -> Result<HttpResponse> {
    let chart = state.manager.chart_create(&ctx, body.0).await?;
    Ok(HttpResponse::Created()
        .insert_header((header::LOCATION, format!("/orgcharts/{}", chart.id)))
        .json(ChartResponse::from(chart)))
}

/// List the org charts.
#[utoipa::path(
    tag = "org charts",
    params(PageQuery),
    security(("bearer" = [])),
    responses(
        (status = 200, description = "A page of charts", body = [ChartResponse],
            headers(("Link" = String, description = "`rel=\"next\"`: the next page, if there is one"))),
        QueryErrors, TokenErrors, BusyErrors,
    )
)]
#[get("/orgcharts")]
async fn list(
    ctx: OrgContext,
    state: State,
    query: ValidQuery<PageOf<ChartId>>,
) -> Result<HttpResponse> {
    let page = query.0;
    let charts = state.manager.chart_list(&ctx, page.after, page.probe_limit()).await?;
    let items: Vec<(ChartId, ChartResponse)> =
        charts.into_iter().map(|chart| (chart.id, chart.into())).collect();
    Ok(page.answer("/orgcharts", &items))
}

/// Get one org chart.
#[utoipa::path(
    tag = "org charts",
    params(("org_id" = i64, Path, description = "The chart", example = 1)),
    security(("bearer" = [])),
    responses(
        (status = 200, description = "The chart", body = ChartResponse),
        (status = 404, description = "No such chart in this organization", body = Problem, content_type = "application/problem+json"),
        TokenErrors, BusyErrors,
    )
)]
#[get("/orgcharts/{org_id}")]
async fn get(ctx: OrgContext, state: State, id: Path<String>) -> Result<HttpResponse> {
    let chart = state.manager.chart_get(&ctx, chart_id(&id)?).await?;
    Ok(HttpResponse::Ok().json(ChartResponse::from(chart)))
}

/// Rename an org chart.
#[utoipa::path(
    tag = "org charts",
    params(("org_id" = i64, Path, description = "The chart", example = 1)),
    request_body = ChartRequest,
    security(("bearer" = [])),
    responses(
        (status = 200, description = "The changed chart", body = ChartResponse),
        (status = 404, description = "No such chart in this organization", body = Problem, content_type = "application/problem+json"),
        InputErrors, TokenErrors, BusyErrors,
    )
)]
#[put("/orgcharts/{org_id}")]
async fn update(
    ctx: AdminContext,
    state: State,
    id: Path<String>,
    body: Valid<ChartRequest>,
) -> Result<HttpResponse> {
    let chart = state.manager.chart_update(&ctx, chart_id(&id)?, body.0).await?;
    Ok(HttpResponse::Ok().json(ChartResponse::from(chart)))
}

/// Delete an org chart and everyone in it.
#[utoipa::path(
    tag = "org charts",
    params(("org_id" = i64, Path, description = "The chart", example = 1)),
    security(("bearer" = [])),
    responses(
        (status = 200, description = "Deleted", body = ChartDeletedResponse),
        (status = 404, description = "No such chart in this organization", body = Problem, content_type = "application/problem+json"),
        TokenErrors, BusyErrors,
    )
)]
#[delete("/orgcharts/{org_id}")]
async fn delete(ctx: AdminContext, state: State, id: Path<String>) -> Result<HttpResponse> {
    let id = chart_id(&id)?;
    let deleted_at = state.manager.chart_delete(&ctx, id).await?;
    Ok(HttpResponse::Ok().json(ChartDeletedResponse { id: id.get(), deleted_at }))
}

/// Treats a malformed id like an unknown one.
pub(in crate::web::rest) fn chart_id(raw: &str) -> Result<ChartId> {
    raw.parse().map_err(|_| Error::NotFound("org chart"))
}

impl Input for ChartRequest {
    type Meaning = Label;

    fn parse(self, errors: &mut FieldErrors) -> Option<Label> {
        errors.check("name", Label::parse(&self.name))
    }
}

impl From<Chart> for ChartResponse {
    fn from(chart: Chart) -> Self {
        Self {
            id: chart.id.get(),
            name: chart.name.into(),
            employee_count: chart.employee_count,
            ceo_id: chart.ceo.map(EmployeeId::get),
            created_at: chart.created_at,
            updated_at: chart.updated_at,
        }
    }
}
