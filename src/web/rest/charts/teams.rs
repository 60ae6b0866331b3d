//! Who reports to whom: reports, chains, subtrees, the tree.

use actix_web::{HttpResponse, get, http::header::ContentType, web::Path};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_actix_web::service_config::ServiceConfig;

use super::{
    chart::chart_id,
    employees::{EmployeeResponse, ids, keyed},
    tree,
};
use crate::{
    domain::{EmployeeId, charts::Employee},
    error::Result,
    manager::{OrgContext, charts::EmployeePage},
    web::{
        http::{
            input::ValidQuery,
            problem::{BusyErrors, Problem, QueryErrors, TokenErrors},
        },
        rest::{
            State, aside,
            paging::{PageOf, PageQuery},
        },
    },
};

/// A person and the number of levels below the requested one.
#[derive(Serialize, ToSchema)]
struct SubtreeResponse {
    #[serde(flatten)]
    employee: EmployeeResponse,
    /// 0 for the requested person, 1 for direct reports, and so on.
    #[schema(example = 1)]
    depth: usize,
}

/// A person with all reports, recursively.
#[derive(Serialize, ToSchema)]
struct TreeResponse {
    #[serde(flatten)]
    employee: EmployeeResponse,
    /// The direct reports, ordered by id.
    #[schema(no_recursion)]
    reports: Vec<TreeResponse>,
}

pub(super) fn configure(config: &mut ServiceConfig<'_>) {
    config.service(direct_reports).service(manager_chain).service(subtree).service(whole);
}

/// List the direct reports of an employee.
#[utoipa::path(
    tag = "teams",
    params(
        ("org_id" = i64, Path, description = "The chart", example = 1),
        ("id" = i64, Path, description = "The employee", example = 2),
        PageQuery,
    ),
    security(("bearer" = [])),
    responses(
        (status = 200, description = "A page of employees, ordered by id", body = [EmployeeResponse],
            headers(("Link" = String, description = "`rel=\"next\"`: the next page, if there is one"))),
        (status = 404, description = "No such employee in this chart", body = Problem, content_type = "application/problem+json"),
        QueryErrors, TokenErrors, BusyErrors,
    )
)]
#[get("/orgcharts/{org_id}/employees/{id}/direct_reports")]
async fn direct_reports(
    ctx: OrgContext,
    state: State,
    path: Path<(String, String)>,
    query: ValidQuery<PageOf<EmployeeId>>,
) -> Result<HttpResponse> {
    let ((chart, id), page) = (ids(&path)?, query.0);
    let window = EmployeePage { after: page.after, limit: page.probe_limit() };
    let people = state.manager.direct_reports(&ctx, chart, id, window).await?;
    let path = format!("/orgcharts/{chart}/employees/{id}/direct_reports");
    Ok(page.answer(&path, &keyed(people)))
}

/// List the managers above an employee, nearest first, up to the CEO.
#[utoipa::path(
    tag = "teams",
    params(
        ("org_id" = i64, Path, description = "The chart", example = 1),
        ("id" = i64, Path, description = "The employee", example = 2),
        PageQuery,
    ),
    security(("bearer" = [])),
    responses(
        (status = 200, description = "A page of employees", body = [EmployeeResponse],
            headers(("Link" = String, description = "`rel=\"next\"`: the next page, if there is one"))),
        (status = 404, description = "No such employee in this chart", body = Problem, content_type = "application/problem+json"),
        QueryErrors, TokenErrors, BusyErrors,
    )
)]
#[get("/orgcharts/{org_id}/employees/{id}/manager_chain")]
async fn manager_chain(
    ctx: OrgContext,
    state: State,
    path: Path<(String, String)>,
    query: ValidQuery<PageOf<EmployeeId>>,
) -> Result<HttpResponse> {
    let ((chart, id), page) = (ids(&path)?, query.0);
    let window = EmployeePage { after: page.after, limit: page.probe_limit() };
    let people = state.manager.manager_chain(&ctx, chart, id, window).await?;
    let path = format!("/orgcharts/{chart}/employees/{id}/manager_chain");
    Ok(page.answer(&path, &keyed(people)))
}

/// List an employee and everyone below, each with the number of levels below.
#[utoipa::path(
    tag = "teams",
    params(
        ("org_id" = i64, Path, description = "The chart", example = 1),
        ("id" = i64, Path, description = "The employee", example = 2),
        PageQuery,
    ),
    security(("bearer" = [])),
    responses(
        (status = 200, description = "A page of employees, ordered by id", body = [SubtreeResponse],
            headers(("Link" = String, description = "`rel=\"next\"`: the next page, if there is one"))),
        (status = 404, description = "No such employee in this chart", body = Problem, content_type = "application/problem+json"),
        QueryErrors, TokenErrors, BusyErrors,
    )
)]
#[get("/orgcharts/{org_id}/employees/{id}/subtree")]
async fn subtree(
    ctx: OrgContext,
    state: State,
    path: Path<(String, String)>,
    query: ValidQuery<PageOf<EmployeeId>>,
) -> Result<HttpResponse> {
    let ((chart, id), page) = (ids(&path)?, query.0);
    let window = EmployeePage { after: page.after, limit: page.probe_limit() };
    let people = state.manager.subtree(&ctx, chart, id, window).await?;
    let items: Vec<(EmployeeId, SubtreeResponse)> = people
        .into_iter()
        .map(|(depth, person)| (person.id, SubtreeResponse { employee: person.into(), depth }))
        .collect();
    Ok(page.answer(&format!("/orgcharts/{chart}/employees/{id}/subtree"), &items))
}

/// Get the whole chart as a tree.
///
/// The tree is `null` if the chart is empty.
#[utoipa::path(
    tag = "teams",
    params(("org_id" = i64, Path, description = "The chart", example = 1)),
    security(("bearer" = [])),
    responses(
        (status = 200, description = "The CEO with all reports, recursively", body = Option<TreeResponse>),
        (status = 404, description = "No such chart in this organization", body = Problem, content_type = "application/problem+json"),
        TokenErrors, BusyErrors,
    )
)]
#[get("/orgcharts/{org_id}/tree")]
async fn whole(ctx: OrgContext, state: State, chart: Path<String>) -> Result<HttpResponse> {
    let whole = state.manager.chart_whole(&ctx, chart_id(&chart)?).await?;
    let nested = aside(whole.people.len(), whole, |whole| {
        let keyed = |person: Employee| (person.manager, (person.id, person.into()));
        tree::nested::<EmployeeResponse>(whole.people.into_iter().map(keyed))
    });
    Ok(HttpResponse::Ok().content_type(ContentType::json()).body(nested.await?))
}
