//! From a bearer token to a context: before any body is read, and closed where there is none.

use std::future::{Ready, ready};

use actix_web::{
    Error as ActixError, FromRequest, HttpMessage, HttpRequest, ResponseError,
    body::{BoxBody, EitherBody, MessageBody},
    dev::{Payload, ServiceRequest, ServiceResponse},
    http::{Method, header},
    middleware::Next,
    web,
};

use crate::{
    error::{Error, Result},
    manager::{AdminContext, OrgContext},
    web::{Shared, graphql},
};

/// Paths that ignore tokens: a client that sends an old one must still be able to sign up, to log
/// in, and to check the server's health.
const WITHOUT_TOKEN: [&str; 9] = [
    "/org/create",
    "/admin/login",
    "/auth/login",
    "/health/",
    "/metrics",
    "/openapi.json",
    "/docs",
    "/graphiql",
    "/calendar/",
];

/// Checks the bearer token of every request that has one, and refuses a bad one at once. A handler
/// that needs a context takes it as an argument, which fails without a token.
///
/// This is a middleware because actix polls the arguments of a handler together: a token that needs
/// the database would lose against a body that is wrong.
pub(in crate::web) async fn authenticate(
    request: ServiceRequest,
    next: Next<impl MessageBody>,
) -> Result<ServiceResponse<EitherBody<impl MessageBody, BoxBody>>, ActixError> {
    if !WITHOUT_TOKEN.iter().any(|path| request.path().starts_with(path)) {
        match scope_of(&request).await {
            // Without a token, the document is not even read.
            Ok(None) if request.path() == graphql::PATH && request.method() == Method::POST => {
                let response = graphql::refusal(Error::Unauthenticated);
                return Ok(request.into_response(response).map_into_right_body());
            }
            Ok(None) => {}
            Ok(Some(ctx)) => {
                tracing::Span::current().record("org.id", tracing::field::display(ctx.org_id()));
                request.extensions_mut().insert(ctx);
            }
            Err(error) => {
                let response = match request.path() {
                    graphql::PATH => graphql::refusal(error),
                    _ => error.error_response(),
                };
                return Ok(request.into_response(response).map_into_right_body());
            }
        }
    }
    Ok(next.call(request).await?.map_into_left_body())
}

async fn scope_of(request: &ServiceRequest) -> Result<Option<OrgContext>> {
    let Some(value) = request.headers().get(header::AUTHORIZATION) else { return Ok(None) };
    let token = value
        .to_str()
        .ok()
        .and_then(|value| value.split_once(' '))
        .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
        .map(|(_, token)| token.trim())
        .ok_or(Error::Unauthenticated)?;
    let shared = request
        .app_data::<web::Data<Shared>>()
        .ok_or_else(|| Error::Internal("the application has no shared state".into()))?;
    shared.manager.authenticate(token).await.map(Some)
}

fn scope_in(request: &HttpRequest) -> Result<OrgContext> {
    request.extensions().get::<OrgContext>().copied().ok_or(Error::Unauthenticated)
}

impl FromRequest for OrgContext {
    type Error = Error;
    type Future = Ready<Result<Self>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        ready(scope_in(request))
    }
}

impl FromRequest for AdminContext {
    type Error = Error;
    type Future = Ready<Result<Self>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        ready(scope_in(request).and_then(OrgContext::admin))
    }
}
