//! The OpenAPI document and the page that shows it.

use actix_web::{HttpResponse, http::header, web};
use utoipa::{
    OpenApi,
    openapi::{
        OpenApi as Document, PathItem,
        security::{HttpAuthScheme, HttpBuilder, SecurityScheme},
    },
};
use utoipa_swagger_ui::{Config, SwaggerUi};

use super::rest;

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Tenantry",
        description = "A multi-tenant organization platform. Sign up an organization with \
            `POST /org/create`, log in with `POST /admin/login`, and press **Authorize** with the \
            `access_token`. Events and registrations are in the GraphQL API at `POST /graphql`; \
            try it at `/graphiql`. Every error is `application/problem+json` (RFC 9457).",
        license(name = "Apache-2.0", identifier = "Apache-2.0")
    ),
    tags(
        (name = "organizations", description = "Sign up, look up, rename and delete organizations"),
        (name = "members", description = "The accounts of an organization"),
        (name = "login", description = "Tokens"),
        (name = "org charts", description = "Charts and the people in them"),
        (name = "teams", description = "Who reports to whom"),
        (name = "calendar", description = "Registrations for calendar programs; everything else about events is GraphQL"),
        (name = "operations", description = "Health and metrics"),
    ),
)]
struct Base;

/// The document without its paths, which the routes add.
pub(super) fn base() -> Document {
    let mut document = Base::openapi();
    let bearer = HttpBuilder::new()
        .scheme(HttpAuthScheme::Bearer)
        .bearer_format("JWT")
        .description(Some("The `access_token` of a login."))
        .build();
    document
        .components
        .get_or_insert_default()
        .add_security_scheme("bearer", SecurityScheme::Http(bearer));
    document
}

/// The whole document, as `/openapi.json` serves it.
#[must_use]
pub fn document() -> Document {
    use utoipa_actix_web::AppExt;

    actix_web::App::new()
        .into_utoipa_app()
        .openapi(base())
        .configure(rest::configure)
        .split_for_parts()
        .1
}

/// The methods of a path.
pub(super) fn methods(item: &PathItem) -> Vec<&'static str> {
    [
        ("GET", &item.get),
        ("POST", &item.post),
        ("PUT", &item.put),
        ("PATCH", &item.patch),
        ("DELETE", &item.delete),
    ]
    .into_iter()
    .filter_map(|(method, operation)| operation.is_some().then_some(method))
    .collect()
}

pub(super) fn configure(config: &mut web::ServiceConfig, document: Document) {
    let to_docs = || async {
        HttpResponse::PermanentRedirect().insert_header((header::LOCATION, "/docs/")).finish()
    };
    let options = Config::from("/openapi.json")
        // Otherwise the token stays in the browser's storage after the page is closed.
        .persist_authorization(false)
        .try_it_out_enabled(true)
        .display_request_duration(true)
        .doc_expansion("list");
    config
        .route("/docs", web::get().to(to_docs))
        .service(SwaggerUi::new("/docs/{_:.*}").url("/openapi.json", document).config(options));
}
