//! Scheduling in GraphQL: the schema, and the endpoint that answers it.

mod body;
mod failure;
mod inputs;
mod limits;
mod loaders;
mod mutation;
mod pages;
mod query;
mod scalars;
mod types;

use std::str::FromStr;

use actix_web::{
    HttpMessage, HttpRequest, HttpResponse,
    http::{StatusCode, header},
    web,
};
use async_graphql::{
    BatchRequest, BatchResponse, Context, EmptySubscription, ID, Request, Response, Schema,
    SchemaBuilder, parser::types::ExecutableDocument,
};

use self::{
    failure::{Answer, PASSING, codes_of, fail, with_codes},
    loaders::Source,
    mutation::Mutation,
    query::Query,
};
use super::{Shared, input::JsonBytes, request::OwnBody};
use crate::{error::Error, manager::OrgScope};

/// The schema of GraphQL, made once.
#[derive(Clone)]
pub struct GraphQl(Schema<Query, Mutation, EmptySubscription>);

/// Where it is answered.
pub(super) const PATH: &str = "/graphql";

impl GraphQl {
    /// Makes the schema, with its limits; `introspection` lets clients ask what is in it.
    #[must_use]
    pub fn new(introspection: bool) -> Self {
        let schema = Schema::build(Query, Mutation, EmptySubscription)
            .limit_depth(limits::DEPTH)
            .limit_complexity(limits::COMPLEXITY);
        // A suggestion tells what is in it, too.
        let closed =
            |schema: SchemaBuilder<_, _, _>| schema.disable_introspection().disable_suggestions();
        Self(if introspection { schema } else { closed(schema) }.finish())
    }

    /// The schema in the schema definition language.
    #[must_use]
    pub fn sdl(&self) -> String {
        self.0.sdl()
    }
}

pub(super) fn configure(config: &mut web::ServiceConfig, api: GraphQl) {
    config
        .app_data(web::Data::new(api))
        .route(PATH, web::post().to(answer))
        .configure(super::explorer::configure);
}

async fn answer(
    request: HttpRequest,
    shared: web::Data<Shared>,
    api: web::Data<GraphQl>,
    body: JsonBytes,
) -> HttpResponse {
    let response = match body::parse(&body.0) {
        Ok(BatchRequest::Single(one)) => {
            BatchResponse::Single(execute(&request, &shared, &api, one).await)
        }
        Ok(BatchRequest::Batch(many)) => {
            let mut responses = Vec::with_capacity(many.len());
            for one in many {
                responses.push(execute(&request, &shared, &api, one).await);
            }
            BatchResponse::Batch(responses)
        }
        Err(error) => refused(error),
    };
    respond(&response)
}

async fn execute(
    request: &HttpRequest,
    shared: &web::Data<Shared>,
    api: &GraphQl,
    mut asked: Request,
) -> Response {
    let given = asked.operation_name.clone();
    let name = match asked.parsed_query() {
        Ok(document) => match limits::check(document) {
            Ok(()) => operation_name(given, document),
            Err(error) => return with_codes(failed(error)),
        },
        Err(error) => return with_codes(Response::from_errors(vec![error])),
    };
    tracing::Span::current().record("graphql.operation", name);
    asked = asked.data(shared.public_url.clone());
    if let Some(scope) = request.extensions().get::<OrgScope>().copied() {
        asked = asked.data(Source::new(shared.manager.clone(), scope));
    }
    with_codes(api.0.execute(asked).await)
}

/// The name of the operation for the log: a client may call it what it likes.
fn operation_name(given: Option<String>, document: &ExecutableDocument) -> String {
    let mut names = document.operations.iter().filter_map(|(name, _)| name);
    let mut name = given
        .or_else(|| names.next().map(ToString::to_string))
        .unwrap_or_else(|| "anonymous".to_owned());
    name.retain(|c| c.is_ascii_alphanumeric() || c == '_');
    name.truncate(64);
    name
}

/// An error in the form of GraphQL, for what never becomes an operation.
pub(super) fn refusal(error: Error) -> HttpResponse {
    respond(&refused(error))
}

fn refused(error: Error) -> BatchResponse {
    BatchResponse::Single(failed(error))
}

fn failed(error: Error) -> Response {
    Response::from_errors(vec![fail(error).into_server_error(async_graphql::Pos::default())])
}

/// 200, unless other programs on the way should know of an error: that there is no token, without
/// which no field is answered, or that there is nothing but an error that passes.
fn respond(response: &BatchResponse) -> HttpResponse {
    let responses = match response {
        BatchResponse::Single(one) => std::slice::from_ref(one),
        BatchResponse::Batch(many) => many.as_slice(),
    };
    let status = if responses.iter().flat_map(codes_of).any(|code| code == "unauthenticated") {
        StatusCode::UNAUTHORIZED
    } else if responses.iter().all(|one| {
        one.data == async_graphql::Value::Null && codes_of(one).any(|code| PASSING.contains(&code))
    }) {
        StatusCode::SERVICE_UNAVAILABLE
    } else {
        StatusCode::OK
    };
    let mut answer = HttpResponse::build(status);
    match status {
        StatusCode::UNAUTHORIZED => {
            answer.insert_header((header::WWW_AUTHENTICATE, "Bearer realm=\"tenantry\""));
        }
        StatusCode::SERVICE_UNAVAILABLE => {
            answer.insert_header((header::RETRY_AFTER, 1));
        }
        _ => {}
    }
    let mut answer = answer.json(response);
    answer.extensions_mut().insert(OwnBody);
    answer
}

/// The right to read and to change, and where.
fn source<'c>(ctx: &Context<'c>) -> Answer<&'c Source> {
    ctx.data_opt::<Source>().ok_or_else(|| fail(Error::Unauthenticated))
}

/// An id that is not one is as unknown as one that never existed.
fn id_of<T: FromStr>(id: &ID) -> Option<T> {
    id.parse().ok()
}

fn id_or<T: FromStr>(id: &ID, what: &'static str) -> Answer<T> {
    id_of(id).ok_or_else(|| fail(Error::NotFound(what)))
}
