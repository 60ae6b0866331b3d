//! `/orgcharts/{org_id}/employees`: the people of a chart.

use actix_web::{HttpResponse, delete, get, http::header, post, put, web::Path};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_with::rust::double_option;
use utoipa::{IntoParams, ToSchema};
use utoipa_actix_web::service_config::ServiceConfig;
use validator::{Validate, ValidationError};

use super::chart::chart_id;
use crate::{
    domain::{
        ChartId, EmployeeId, Invalid, Label,
        charts::{Employee, Reparent},
    },
    error::{Error, FieldErrors, Result},
    manager::{
        AdminContext, OrgContext,
        charts::{EmployeeInput, EmployeePage, EmployeePatch},
    },
    shape::rule,
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

/// A new employee.
#[derive(Deserialize, ToSchema, Validate)]
#[serde(deny_unknown_fields)]
struct EmployeeRequest {
    /// 1 to 128 characters.
    #[schema(example = "Grace Hopper", min_length = 1, max_length = 128)]
    name: String,
    /// 1 to 128 characters.
    #[schema(example = "Rear Admiral", min_length = 1, max_length = 128)]
    title: String,
    /// The id of the manager; absent or `null` for the first employee, the CEO.
    #[schema(example = 1)]
    manager_id: Option<i64>,
}

/// Changes; at least one field. Absent fields stay unchanged.
#[derive(Deserialize, ToSchema, Validate)]
#[serde(deny_unknown_fields)]
#[validate(schema(function = changes_something))]
struct EmployeePatchRequest {
    /// A new name.
    #[schema(example = "Grace B. M. Hopper", min_length = 1, max_length = 128)]
    name: Option<String>,
    /// A new title.
    #[schema(example = "Commodore", min_length = 1, max_length = 128)]
    title: Option<String>,
    /// The id of the new manager. The whole team moves along.
    #[serde(default, with = "double_option")]
    #[schema(value_type = Option<i64>, example = 1)]
    #[expect(clippy::option_option, reason = "absent, null, or a value")]
    manager_id: Option<Option<i64>>,
}

/// How to reassign the reports of a deleted employee.
#[derive(Deserialize, IntoParams, Validate)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct DeleteQuery {
    /// `all` (the default): every direct and indirect report now reports to the deleted employee's
    /// manager. `direct`: only the direct reports do; their own teams stay with them.
    #[param(example = "all", pattern = "^(all|direct)$", nullable = false)]
    reparent: Option<String>,
}

/// A person in an org chart.
#[derive(Serialize, ToSchema)]
pub(in crate::web::rest) struct EmployeeResponse {
    /// The person's id within the chart.
    #[schema(example = 2)]
    id: i64,
    /// The chart.
    #[schema(example = 1)]
    org_id: i64,
    /// The person's name.
    #[schema(example = "Grace Hopper")]
    name: String,
    /// The person's title.
    #[schema(example = "Rear Admiral")]
    title: String,
    /// The id of the manager; `null` only for the CEO.
    #[schema(example = 1, required = true)]
    manager_id: Option<i64>,
    /// When the person was added.
    #[schema(example = "2026-01-31T09:30:00.123Z")]
    created_at: DateTime<Utc>,
    /// When the person last changed.
    #[schema(example = "2026-01-31T09:30:00.123Z")]
    updated_at: DateTime<Utc>,
}

/// A deleted employee.
#[derive(Serialize, ToSchema)]
struct DepartureResponse {
    /// The person's id.
    #[schema(example = 2)]
    id: i64,
    /// The new manager of the reports.
    #[schema(example = 1)]
    new_manager_id: i64,
    /// How many people have a new manager.
    #[schema(example = 7)]
    reassigned: u64,
}

pub(super) fn configure(config: &mut ServiceConfig<'_>) {
    config.service(create).service(list).service(get).service(update);
    config.service(delete).service(promote);
}

/// Add an employee.
///
/// The first one has no manager and is the CEO; everyone else has a manager in the same chart.
#[utoipa::path(
    tag = "org charts",
    params(("org_id" = i64, Path, description = "The chart", example = 1)),
    request_body = EmployeeRequest,
    security(("bearer" = [])),
    responses(
        (status = 201, description = "The employee", body = EmployeeResponse,
            headers(("Location" = String, description = "The path of the new resource"))),
        (status = 404, description = "No such chart in this organization", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "No manager, although there is a CEO (`chart_has_ceo`), or too deep (`chart_too_deep`)", body = Problem, content_type = "application/problem+json"),
        InputErrors, TokenErrors, BusyErrors,
    )
)]
#[post("/orgcharts/{org_id}/employees")]
async fn create(
    ctx: AdminContext,
    state: State,
    chart: Path<String>,
    body: Valid<EmployeeRequest>,
) -> Result<HttpResponse> {
    let employee = state.manager.employee_create(&ctx, chart_id(&chart)?, body.0).await?;
    let location = format!("/orgcharts/{}/employees/{}", employee.chart, employee.id);
    Ok(HttpResponse::Created()
        .insert_header((header::LOCATION, location))
        .json(EmployeeResponse::from(employee)))
}

/// List the employees of a chart.
#[utoipa::path(
    tag = "org charts",
    params(("org_id" = i64, Path, description = "The chart", example = 1), PageQuery),
    security(("bearer" = [])),
    responses(
        (status = 200, description = "A page of employees", body = [EmployeeResponse],
            headers(("Link" = String, description = "`rel=\"next\"`: the next page, if there is one"))),
        (status = 404, description = "No such chart in this organization", body = Problem, content_type = "application/problem+json"),
        QueryErrors, TokenErrors, BusyErrors,
    )
)]
#[get("/orgcharts/{org_id}/employees")]
async fn list(
    ctx: OrgContext,
    state: State,
    chart: Path<String>,
    query: ValidQuery<PageOf<EmployeeId>>,
) -> Result<HttpResponse> {
    let (chart, page) = (chart_id(&chart)?, query.0);
    let window = EmployeePage { after: page.after, limit: page.probe_limit() };
    let people = state.manager.employee_list(&ctx, chart, window).await?;
    Ok(page.answer(&format!("/orgcharts/{chart}/employees"), &keyed(people)))
}

/// Get one employee.
#[utoipa::path(
    tag = "org charts",
    params(
        ("org_id" = i64, Path, description = "The chart", example = 1),
        ("id" = i64, Path, description = "The employee", example = 2),
    ),
    security(("bearer" = [])),
    responses(
        (status = 200, description = "The employee", body = EmployeeResponse),
        (status = 404, description = "No such employee in this chart", body = Problem, content_type = "application/problem+json"),
        TokenErrors, BusyErrors,
    )
)]
#[get("/orgcharts/{org_id}/employees/{id}")]
async fn get(ctx: OrgContext, state: State, path: Path<(String, String)>) -> Result<HttpResponse> {
    let (chart, id) = ids(&path)?;
    let employee = state.manager.employee_get(&ctx, chart, id).await?;
    Ok(HttpResponse::Ok().json(EmployeeResponse::from(employee)))
}

/// Change an employee's name, title or manager.
///
/// Changing someone's manager moves their whole team with them.
#[utoipa::path(
    tag = "org charts",
    params(
        ("org_id" = i64, Path, description = "The chart", example = 1),
        ("id" = i64, Path, description = "The employee", example = 2),
    ),
    request_body = EmployeePatchRequest,
    security(("bearer" = [])),
    responses(
        (status = 200, description = "The changed employee", body = EmployeeResponse),
        (status = 404, description = "No such employee in this chart", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "A cycle (`chart_cycle`), a manager for the CEO or none for someone else (`chart_use_promote`), too deep (`chart_too_deep`), or too many people (`chart_change_too_large`)", body = Problem, content_type = "application/problem+json"),
        InputErrors, TokenErrors, BusyErrors,
    )
)]
#[put("/orgcharts/{org_id}/employees/{id}")]
async fn update(
    ctx: AdminContext,
    state: State,
    path: Path<(String, String)>,
    body: Valid<EmployeePatchRequest>,
) -> Result<HttpResponse> {
    let (chart, id) = ids(&path)?;
    let employee = state.manager.employee_update(&ctx, chart, id, body.0).await?;
    Ok(HttpResponse::Ok().json(EmployeeResponse::from(employee)))
}

/// Delete an employee; the reports move to the employee's manager.
#[utoipa::path(
    tag = "org charts",
    params(
        ("org_id" = i64, Path, description = "The chart", example = 1),
        ("id" = i64, Path, description = "The employee", example = 2),
        DeleteQuery,
    ),
    security(("bearer" = [])),
    responses(
        (status = 200, description = "The employee is deleted", body = DepartureResponse),
        (status = 404, description = "No such employee in this chart", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "It is the CEO (`chart_ceo_protected`), or too many people (`chart_change_too_large`)", body = Problem, content_type = "application/problem+json"),
        QueryErrors, TokenErrors, BusyErrors,
    )
)]
#[delete("/orgcharts/{org_id}/employees/{id}")]
async fn delete(
    ctx: AdminContext,
    state: State,
    path: Path<(String, String)>,
    query: ValidQuery<DeleteQuery>,
) -> Result<HttpResponse> {
    let (chart, id) = ids(&path)?;
    let departure = state.manager.employee_delete(&ctx, chart, id, query.0).await?;
    Ok(HttpResponse::Ok().json(DepartureResponse {
        id: id.get(),
        new_manager_id: departure.new_manager.get(),
        reassigned: departure.reassigned,
    }))
}

/// Make an employee the CEO.
///
/// The previous CEO then reports to the new one; everyone else keeps their manager.
#[utoipa::path(
    tag = "org charts",
    params(
        ("org_id" = i64, Path, description = "The chart", example = 1),
        ("id" = i64, Path, description = "The employee", example = 2),
    ),
    security(("bearer" = [])),
    responses(
        (status = 200, description = "The new CEO", body = EmployeeResponse),
        (status = 404, description = "No such employee in this chart", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "Too deep (`chart_too_deep`), or too many people (`chart_change_too_large`)", body = Problem, content_type = "application/problem+json"),
        TokenErrors, BusyErrors,
    )
)]
#[put("/orgcharts/{org_id}/employees/{id}/promote")]
async fn promote(
    ctx: AdminContext,
    state: State,
    path: Path<(String, String)>,
) -> Result<HttpResponse> {
    let (chart, id) = ids(&path)?;
    let employee = state.manager.employee_promote(&ctx, chart, id).await?;
    Ok(HttpResponse::Ok().json(EmployeeResponse::from(employee)))
}

/// Treats malformed ids like unknown ones.
pub(in crate::web::rest) fn ids(
    (chart, employee): &(String, String),
) -> Result<(ChartId, EmployeeId)> {
    let employee = employee.parse().map_err(|_| Error::NotFound("employee"))?;
    Ok((chart_id(chart)?, employee))
}

/// Each person with the id, which is the cursor.
pub(in crate::web::rest) fn keyed(people: Vec<Employee>) -> Vec<(EmployeeId, EmployeeResponse)> {
    people.into_iter().map(|person| (person.id, person.into())).collect()
}

fn changes_something(patch: &EmployeePatchRequest) -> Result<(), ValidationError> {
    let EmployeePatchRequest { name, title, manager_id } = patch;
    let given = name.is_some() || title.is_some() || manager_id.is_some();
    rule(given, "needs name, title or manager_id")
}

impl Input for EmployeeRequest {
    type Meaning = EmployeeInput;

    fn parse(self, errors: &mut FieldErrors) -> Option<EmployeeInput> {
        let name = errors.check("name", Label::parse(&self.name));
        let title = errors.check("title", Label::parse_title(&self.title));
        let manager = self.manager_id.map(EmployeeId::from);
        Some(EmployeeInput { name: name?, title: title?, manager })
    }
}

impl Input for EmployeePatchRequest {
    type Meaning = EmployeePatch;

    fn parse(self, errors: &mut FieldErrors) -> Option<EmployeePatch> {
        let name = self.name.and_then(|raw| errors.check("name", Label::parse(&raw)));
        let title = self.title.and_then(|raw| errors.check("title", Label::parse_title(&raw)));
        let manager = self.manager_id.map(|given| given.map(EmployeeId::from));
        Some(EmployeePatch { name, title, manager })
    }
}

impl Input for DeleteQuery {
    type Meaning = Reparent;

    fn parse(self, errors: &mut FieldErrors) -> Option<Reparent> {
        let reparent = match self.reparent.as_deref() {
            None | Some("all") => Ok(Reparent::All),
            Some("direct") => Ok(Reparent::Direct),
            Some(_) => Err(Invalid("must be all or direct")),
        };
        errors.check("reparent", reparent)
    }
}

impl From<Employee> for EmployeeResponse {
    fn from(employee: Employee) -> Self {
        Self {
            id: employee.id.get(),
            org_id: employee.chart.get(),
            name: employee.name.into(),
            title: employee.title.into(),
            manager_id: employee.manager.map(EmployeeId::get),
            created_at: employee.created_at,
            updated_at: employee.updated_at,
        }
    }
}
