//! Charts as lists, statistics and pictures.

use std::time::Duration;

use actix_web::{
    FromRequest, HttpRequest, HttpResponse, dev, get,
    http::header,
    post,
    web::{Bytes, Path},
};
use futures::future::LocalBoxFuture;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_actix_web::service_config::ServiceConfig;
use validator::Validate;

use super::{
    chart::chart_id,
    csv,
    picture::{self, Node, PictureOptions},
};
use crate::{
    domain::{
        self,
        charts::{self, Chart, Employee},
    },
    error::{Error, FieldErrors, Result},
    manager::{
        AdminContext, OrgContext,
        charts::{ChartWork, ImportMode, WholeChart},
    },
    web::{
        http::{
            body::{self, BodyRefusal, BodyTime},
            input::{Input, ValidQuery},
            problem::{BusyErrors, InputErrors, Problem, QueryErrors, TokenErrors},
        },
        rest::{State, aside},
    },
};

/// How to import.
#[derive(Deserialize, IntoParams, Validate)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct ImportQuery {
    /// Only checks the list and writes nothing.
    #[param(example = true, nullable = false)]
    dry_run: Option<bool>,
    /// Replaces the people in the chart.
    #[param(example = false, nullable = false)]
    replace: Option<bool>,
}

/// The result of an import or of its dry run.
#[derive(Serialize, ToSchema)]
struct ImportResponse {
    /// The chart.
    #[schema(example = 1)]
    id: i64,
    /// The number of people in the list.
    #[schema(example = 42)]
    imported: usize,
    /// Whether nothing was written.
    #[schema(example = false)]
    dry_run: bool,
}

/// Statistics of a chart.
#[derive(Serialize, ToSchema)]
struct StatsResponse {
    /// The number of people.
    #[schema(example = 42)]
    people: usize,
    /// The number of levels below the CEO.
    #[schema(example = 4)]
    depth: usize,
    /// The number of people with reports.
    #[schema(example = 9)]
    managers: usize,
    /// The number of people without reports.
    #[schema(example = 33)]
    individual_contributors: usize,
    /// Direct reports of a manager.
    span_of_control: SpanResponse,
}

/// Direct reports of a manager.
#[derive(Serialize, ToSchema)]
struct SpanResponse {
    /// The average; 0 without managers.
    #[schema(example = 4.56)]
    mean: f64,
    /// The maximum.
    #[schema(example = 11)]
    max: usize,
    /// The managers with the maximum.
    widest: Vec<WidestResponse>,
}

/// A manager with the widest span of control.
#[derive(Serialize, ToSchema)]
struct WidestResponse {
    /// The employee.
    #[schema(example = 2)]
    id: i64,
    /// The person's name.
    #[schema(example = "Grace Hopper")]
    name: String,
    /// The person's title.
    #[schema(example = "Rear Admiral")]
    title: String,
}

/// The text of a list, whose size limit is higher than that of other bodies.
struct ListBody(Bytes);

/// The maximum size of a list. 200,000 typical lines take a third of it, the longest possible more.
const LIST_LIMIT: usize = 32 * 1024 * 1024;
/// The bytes of a typical line, to estimate the number of lines before parsing.
const USUAL_LINE: usize = 40;

/// What a line adds to the time limit of its request: 80 s for 200,000 lines.
const LINE_TIME: Duration = Duration::from_micros(400);

/// The part of a chart to draw.
#[derive(Deserialize, IntoParams, Validate)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct PictureQuery {
    /// The employee at the top of the picture; by default the CEO.
    #[param(example = 1, nullable = false)]
    root: Option<i64>,
    /// The number of levels below the top; by default as many as fit.
    #[param(example = 2, nullable = false)]
    depth: Option<u32>,
}

pub(super) fn configure(config: &mut ServiceConfig<'_>) {
    config.service(import).service(export).service(stats).service(drawn);
}

/// Import a chart from a CSV list.
///
/// The header names the columns: `name`, `title`, and either `id` and `manager_id`, or `manager`,
/// which refers to the column `key`, `email` or `name`, the first of them that exists. The one
/// person without a manager is the CEO. If a line is wrong, nothing is imported; the answer gives
/// the reason for each wrong line and the members of each cycle. At most 200,000 lines and 32 MiB.
#[utoipa::path(
    tag = "org charts",
    params(("org_id" = i64, Path, description = "The chart", example = 1), ImportQuery),
    request_body(content = String, content_type = "text/csv",
        example = "id,name,title,manager_id\n1,Ada Lovelace,CEO,\n2,Grace Hopper,CTO,1\n"),
    security(("bearer" = [])),
    responses(
        (status = 200, description = "Imported, or valid if it is a dry run", body = ImportResponse),
        (status = 404, description = "No such chart in this organization", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "The chart is not empty (`chart_not_empty`)", body = Problem, content_type = "application/problem+json"),
        InputErrors, TokenErrors, BusyErrors,
    )
)]
#[post("/orgcharts/{org_id}/import")]
async fn import(
    ctx: AdminContext,
    state: State,
    chart: Path<String>,
    query: ValidQuery<ImportQuery>,
    body: ListBody,
) -> Result<HttpResponse> {
    let id = chart_id(&chart)?;
    let dry_run = query.0.dry_run.unwrap_or_default();
    let replace = query.0.replace.unwrap_or_default();
    let lines = body.lines();
    let permit = state.manager.admit_chart(&ctx, ChartWork::Import, lines).await?;
    let read = aside(lines, (body.0, permit), |(text, permit)| Ok((places(&text)?, permit)));
    let ((people, has_ids), _permit) = read.await?;
    let imported = people.len();
    let mode = ImportMode { replace, dry_run, renumber: !has_ids };
    state.manager.chart_import(&ctx, id, people, mode).await?;
    Ok(HttpResponse::Ok().json(ImportResponse { id: id.get(), imported, dry_run }))
}

/// Export a chart as a CSV list. Importing it gives the same chart.
#[utoipa::path(
    tag = "org charts",
    params(("org_id" = i64, Path, description = "The chart", example = 1)),
    security(("bearer" = [])),
    responses(
        (status = 200, description = "`id,name,title,manager_id`", body = String, content_type = "text/csv"),
        (status = 404, description = "No such chart in this organization", body = Problem, content_type = "application/problem+json"),
        TokenErrors, BusyErrors,
    )
)]
#[get("/orgcharts/{org_id}/export")]
async fn export(ctx: OrgContext, state: State, chart: Path<String>) -> Result<HttpResponse> {
    let id = chart_id(&chart)?;
    let whole = state.manager.chart_whole(&ctx, id).await?;
    let list = aside(whole.people.len(), whole, |whole| csv::write(&whole.people)).await?;
    let name = format!("attachment; filename=\"orgchart-{id}.csv\"");
    Ok(HttpResponse::Ok()
        .content_type("text/csv; charset=utf-8")
        .insert_header((header::CONTENT_DISPOSITION, name))
        .body(list))
}

/// Get the statistics of a chart.
#[utoipa::path(
    tag = "org charts",
    params(("org_id" = i64, Path, description = "The chart", example = 1)),
    security(("bearer" = [])),
    responses(
        (status = 200, description = "The statistics", body = StatsResponse),
        (status = 404, description = "No such chart in this organization", body = Problem, content_type = "application/problem+json"),
        TokenErrors, BusyErrors,
    )
)]
#[get("/orgcharts/{org_id}/stats")]
async fn stats(ctx: OrgContext, state: State, chart: Path<String>) -> Result<HttpResponse> {
    let whole = state.manager.chart_whole(&ctx, chart_id(&chart)?).await?;
    let (statistics, widest) =
        aside(whole.people.len(), whole, |whole| Ok(whole.statistics())).await?;
    let widest = widest.into_iter().map(|person| WidestResponse {
        id: person.id.get(),
        name: person.name.into(),
        title: person.title.into(),
    });
    Ok(HttpResponse::Ok().json(StatsResponse {
        people: statistics.people,
        depth: statistics.depth,
        managers: statistics.managers,
        individual_contributors: statistics.people - statistics.managers,
        span_of_control: SpanResponse {
            mean: statistics.mean_span,
            max: statistics.max_span,
            widest: widest.collect(),
        },
    }))
}

/// Get a chart as a picture.
///
/// A self-contained SVG of the tree. Large teams and deep levels are folded into counts.
#[utoipa::path(
    tag = "org charts",
    params(("org_id" = i64, Path, description = "The chart", example = 1), PictureQuery),
    security(("bearer" = [])),
    responses(
        (status = 200, description = "The picture", body = String, content_type = "image/svg+xml"),
        (status = 404, description = "No such chart in this organization, or no such `root` in it", body = Problem, content_type = "application/problem+json"),
        QueryErrors, TokenErrors, BusyErrors,
    )
)]
#[get("/orgcharts/{org_id}/chart.svg")]
async fn drawn(
    ctx: OrgContext,
    state: State,
    chart: Path<String>,
    query: ValidQuery<PictureQuery>,
) -> Result<HttpResponse> {
    let whole = state.manager.chart_whole(&ctx, chart_id(&chart)?).await?;
    let draw = move |whole: WholeChart| Ok(draw(&whole.chart, &whole.people, &query.0));
    let svg = aside(whole.people.len(), whole, draw).await?;
    let policy = "default-src 'none'; style-src 'unsafe-inline'";
    Ok(HttpResponse::Ok()
        .content_type("image/svg+xml")
        .insert_header((header::CONTENT_SECURITY_POLICY, policy))
        .body(svg.ok_or(Error::NotFound("employee"))?))
}

fn draw(chart: &Chart, people: &[Employee], options: &PictureOptions) -> Option<String> {
    let nodes: Vec<Node<'_>> = people
        .iter()
        .map(|person| Node {
            id: person.id.get(),
            name: person.name.as_str(),
            title: person.title.as_str(),
            manager: person.manager.map(domain::EmployeeId::get),
        })
        .collect();
    picture::draw(chart.name.as_str(), &nodes, options)
}

/// The people in a list with their place in the chart, and whether the list has ids.
fn places(text: &[u8]) -> Result<(Vec<charts::Placed>, bool)> {
    let list = csv::read(text)?;
    let people = charts::place(&list.lines, list.managed_by).map_err(csv::refusal)?;
    Ok((people, list.has_ids))
}

impl Input for ImportQuery {
    type Meaning = Self;

    fn parse(self, _: &mut FieldErrors) -> Option<Self> {
        Some(self)
    }
}

impl Input for PictureQuery {
    type Meaning = PictureOptions;

    fn parse(self, _: &mut FieldErrors) -> Option<PictureOptions> {
        Some(PictureOptions { root: self.root, depth: self.depth })
    }
}

impl ListBody {
    /// About how many lines it has.
    fn lines(&self) -> usize {
        self.0.len() / USUAL_LINE
    }
}

impl FromRequest for ListBody {
    type Error = BodyRefusal;
    type Future = LocalBoxFuture<'static, Result<Self, BodyRefusal>>;

    fn from_request(request: &HttpRequest, payload: &mut dev::Payload) -> Self::Future {
        let body = body::read_as(&mime::TEXT_CSV, request, payload, LIST_LIMIT);
        let request = request.clone();
        Box::pin(async move {
            let list = Self(body.await?);
            let lines = u32::try_from(list.lines().min(csv::MAX_LINES)).unwrap_or(u32::MAX);
            BodyTime::extend(&request, LINE_TIME * lines);
            Ok(list)
        })
    }
}
