//! The GraphQL API of scheduling: its schema and its endpoint.

mod body;
mod document;
mod explorer;
mod failure;
mod inputs;
mod limits;
mod loaders;
mod mutation;
mod pages;
mod query;
mod scalars;
mod types;

use std::{str::FromStr, sync::Arc};

use actix_web::{
    HttpMessage, HttpRequest, HttpResponse,
    http::{StatusCode, header},
    web,
};
use async_graphql::{
    BatchRequest, BatchResponse, Context, EmptySubscription, ID, Request, Response, Schema,
    SchemaBuilder, parser::types::ExecutableDocument,
};

pub use self::loaders::Texts;
use self::{
    failure::{Answer, ERROR_BYTES, PASSING, bounded, codes_of, fail},
    loaders::{AnswerText, Source},
    mutation::Mutation,
    query::Query,
};
use super::{
    Shared,
    http::{body::BodyRefusal, input::JsonBytes, request::OwnBody},
};
use crate::{error::Error, manager::OrgContext};

/// The executable schema.
#[derive(Clone)]
pub struct GraphQl(Schema<Query, Mutation, EmptySubscription>);

/// The path of the endpoint.
pub(super) const PATH: &str = "/graphql";

impl GraphQl {
    /// Builds the schema with its limits; `introspection` lets clients query the schema itself.
    #[must_use]
    pub fn new(introspection: bool) -> Self {
        let schema = Schema::build(Query, Mutation, EmptySubscription)
            .limit_depth(limits::DEPTH)
            .limit_complexity(limits::COMPLEXITY);
        // Suggestions in error messages would reveal names of the schema.
        let closed =
            |schema: SchemaBuilder<_, _, _>| schema.disable_introspection().disable_suggestions();
        Self(if introspection { schema } else { closed(schema) }.finish())
    }

    /// Whether a document parses and is within the limits.
    #[cfg(feature = "test-support")]
    #[must_use]
    pub fn accepts(&self, document: &str) -> bool {
        let parsed =
            document::check(document).is_ok().then(|| async_graphql::parser::parse_query(document));
        parsed.is_some_and(|parsed| parsed.is_ok_and(|document| limits::check(&document).is_ok()))
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
        .configure(explorer::configure);
}

async fn answer(
    request: HttpRequest,
    shared: web::Data<Shared>,
    api: web::Data<GraphQl>,
    body: Result<JsonBytes, BodyRefusal>,
) -> Result<HttpResponse, BodyRefusal> {
    let body = match body {
        Ok(body) => body,
        Err(BodyRefusal::Invalid(error)) => return Ok(refusal(error)),
        Err(refused) => return Err(refused),
    };
    let (size, text) = (body::memory(&body.0), Arc::new(AnswerText::of(&shared.texts)));
    let response = match body::parse(&body.0) {
        Ok(BatchRequest::Single(one)) => BatchResponse::Single(bounded(
            execute(&request, &shared, &api, &text, (size, one)).await,
            ERROR_BYTES,
        )),
        Ok(BatchRequest::Batch(many)) => {
            let share = ERROR_BYTES / many.len().max(1);
            let mut responses = Vec::with_capacity(many.len());
            for one in many {
                let response = execute(&request, &shared, &api, &text, (size, one)).await;
                responses.push(bounded(response, share));
            }
            BatchResponse::Batch(responses)
        }
        Err(error) => refused(error),
    };
    if !text.is_large() {
        return Ok(respond(&response));
    }
    // Serializing a large answer here would delay the other requests of this thread.
    let serialized = web::block(move || {
        let json = serde_json::to_vec(&response).unwrap_or_default();
        (status_of(&response), json)
    });
    let gone = |_| Error::Internal("a blocking thread ended early".into());
    let (status, json) = serialized.await.map_err(gone)?;
    Ok(with_status(status, json))
}

async fn execute(
    request: &HttpRequest,
    shared: &web::Data<Shared>,
    api: &GraphQl,
    text: &Arc<AnswerText>,
    (size, mut asked): (usize, Request),
) -> Response {
    if let Err(error) = document::check(&asked.query).and_then(|uses| limits::copies(uses, size)) {
        return failed(error);
    }
    let given = asked.operation_name.clone();
    let name = match asked.parsed_query() {
        Ok(document) => match limits::check(document) {
            Ok(()) => operation_name(given, document),
            Err(error) => return failed(error),
        },
        Err(error) => return Response::from_errors(vec![error]),
    };
    tracing::Span::current().record("graphql.operation", name);
    asked = asked.data(shared.public_url.clone());
    let ctx = request.extensions().get::<OrgContext>().copied();
    if let Some(ctx) = ctx {
        // The last of ten requests in one body may start long after the first.
        match shared.manager.authority_now(&ctx).await {
            Ok(now) => {
                let source = Source::new(shared.manager.clone(), now, Arc::clone(text));
                asked = asked.data(source);
            }
            Err(error) => return failed(error),
        }
    }
    api.0.execute(asked).await
}

/// The name of the operation for the log, shortened and without special characters.
fn operation_name(given: Option<String>, document: &ExecutableDocument) -> String {
    let mut names = document.operations.iter().filter_map(|(name, _)| name);
    let mut name = given
        .or_else(|| names.next().map(ToString::to_string))
        .unwrap_or_else(|| "anonymous".to_owned());
    name.retain(|c| c.is_ascii_alphanumeric() || c == '_');
    name.truncate(64);
    name
}

/// The response to a request that is refused before its operation runs.
pub(super) fn refusal(error: Error) -> HttpResponse {
    respond(&refused(error))
}

fn refused(error: Error) -> BatchResponse {
    BatchResponse::Single(failed(error))
}

fn failed(error: Error) -> Response {
    Response::from_errors(vec![fail(error).into_server_error(async_graphql::Pos::default())])
}

fn respond(response: &BatchResponse) -> HttpResponse {
    with_status(status_of(response), serde_json::to_vec(response).unwrap_or_default())
}

/// 200, except for errors that matter to programs in between: 401 without a token, 503 if every
/// response is only a temporary error.
fn status_of(response: &BatchResponse) -> StatusCode {
    let responses = match response {
        BatchResponse::Single(one) => std::slice::from_ref(one),
        BatchResponse::Batch(many) => many.as_slice(),
    };
    if responses.iter().flat_map(codes_of).any(|code| code == "unauthenticated") {
        StatusCode::UNAUTHORIZED
    } else if responses.iter().all(|one| {
        one.data == async_graphql::Value::Null && codes_of(one).any(|code| PASSING.contains(&code))
    }) {
        StatusCode::SERVICE_UNAVAILABLE
    } else {
        StatusCode::OK
    }
}

fn with_status(status: StatusCode, json: Vec<u8>) -> HttpResponse {
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
    let mut answer = answer.content_type("application/json").body(json);
    answer.extensions_mut().insert(OwnBody);
    answer
}

/// The caller's permission and organization, with the loaders of the request.
fn source<'c>(ctx: &Context<'c>) -> Answer<&'c Source> {
    ctx.data_opt::<Source>().ok_or_else(|| fail(Error::Unauthenticated))
}

/// A malformed id is treated like an unknown one.
fn id_of<T: FromStr>(id: &ID) -> Option<T> {
    id.parse().ok()
}

fn id_or<T: FromStr>(id: &ID, what: &'static str) -> Answer<T> {
    id_of(id).ok_or_else(|| fail(Error::NotFound(what)))
}
