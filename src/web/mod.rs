//! HTTP: the routes and the middleware around them.

pub mod graphql;
pub mod http;
mod openapi;
mod rest;

use std::{collections::HashMap, rc::Rc, sync::Arc};

use actix_cors::Cors;
use actix_web::{
    App, HttpRequest, HttpResponse,
    body::MessageBody,
    dev::{ResourceDef, ServiceFactory, ServiceRequest, ServiceResponse},
    http::header,
    middleware::from_fn,
    web,
};
use tracing_actix_web::TracingLogger;
use utoipa::openapi::OpenApi;
use utoipa_actix_web::AppExt;

pub use openapi::document;

use self::{
    graphql::{GraphQl, Texts},
    http::{guard, request},
};
use crate::{
    config::{PublicUrl, ServerSettings},
    error::Error,
    manager::TenantManager,
    telemetry::Traces,
};

/// State shared by all worker threads.
pub struct Shared {
    /// Carries out every request.
    pub manager: Arc<TenantManager>,
    /// The settings of the HTTP server.
    pub server: ServerSettings,
    /// The base of URLs in responses.
    pub public_url: PublicUrl,
    /// The GraphQL schema.
    pub graphql: GraphQl,
    /// The memory that request bodies use.
    pub bodies: Arc<http::Bodies>,
    /// The memory of responses that clients have not read yet.
    pub answers: Arc<http::Answers>,
    /// The bytes of text in the GraphQL responses in progress.
    pub texts: Arc<Texts>,
    /// Renders the metrics of this process.
    pub metrics: metrics_exporter_prometheus::PrometheusHandle,
    /// Exports the spans of requests, if the settings name a collector.
    pub traces: Option<Traces>,
}

/// The application of one worker thread.
pub fn app(
    shared: &web::Data<Shared>,
) -> App<
    impl ServiceFactory<
        ServiceRequest,
        Config = (),
        Response = ServiceResponse<impl MessageBody + use<>>,
        Error = actix_web::Error,
        InitError = (),
    > + use<>,
> {
    let (app, document) = App::new()
        .app_data(shared.clone())
        .into_utoipa_app()
        .openapi(openapi::base())
        .configure(rest::configure)
        .split_for_parts();
    app.app_data(Rc::new(Routes::of(&document)))
        .configure(|config| openapi::configure(config, document))
        .configure(|config| graphql::configure(config, shared.graphql.clone()))
        .default_service(web::to(fallback))
        .wrap(from_fn(guard::authenticate))
        .wrap(from_fn(request::in_time))
        .wrap(cors(&shared.server.cors_origins))
        .wrap(from_fn(request::around))
        .wrap(TracingLogger::<request::RequestSpan>::new())
}

/// The routes, for one worker thread.
struct Routes {
    /// The methods of each pattern, as the value of an `Allow` header.
    methods: HashMap<String, String>,
    /// The same patterns, compiled.
    patterns: Vec<ResourceDef>,
    timings: request::Timings,
}

impl Routes {
    fn of(document: &OpenApi) -> Self {
        let paths = document.paths.paths.iter();
        let documented =
            paths.map(|(path, item)| (path.clone(), openapi::methods(item).join(", ")));
        let graphql = (graphql::PATH.to_owned(), "POST".to_owned());
        Self::of_methods(documented.chain([graphql]).collect())
    }

    fn of_methods(methods: HashMap<String, String>) -> Self {
        let patterns = methods.keys().map(|pattern| ResourceDef::new(pattern.as_str())).collect();
        Self { methods, patterns, timings: request::Timings::default() }
    }

    /// The pattern that a path matches, for callers without the request.
    fn pattern_of(&self, path: &str) -> Option<String> {
        let found = self.patterns.iter().find(|pattern| pattern.is_match(path));
        found.and_then(ResourceDef::pattern).map(str::to_owned)
    }
}

/// Answers requests that no route matches: the path is unknown, or its methods are others.
async fn fallback(request: HttpRequest) -> Result<HttpResponse, Error> {
    let pattern = request.resource_map().match_pattern(request.path());
    let routes = request.app_data::<Rc<Routes>>().zip(pattern);
    let allowed = routes.and_then(|(routes, pattern)| routes.methods.get(&pattern));
    let allowed = allowed.ok_or(Error::NotFound("page or resource"))?;
    Ok(HttpResponse::MethodNotAllowed().insert_header((header::ALLOW, allowed.as_str())).finish())
}

fn cors(origins: &[String]) -> Cors {
    let cors = Cors::default()
        .allowed_methods(["GET", "POST", "PUT", "PATCH", "DELETE"])
        .allowed_headers([
            "authorization",
            "content-type",
            "traceparent",
            "tracestate",
            request::REQUEST_ID,
        ])
        .expose_headers(["link", "location", "retry-after", request::REQUEST_ID])
        .max_age(3600);
    if origins.iter().any(|origin| origin == "*") {
        return cors.allow_any_origin();
    }
    origins.iter().fold(cors, |cors, origin| cors.allowed_origin(origin))
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;

    fn time_of(work: impl FnOnce()) -> Duration {
        let started = Instant::now();
        work();
        started.elapsed()
    }

    #[test]
    fn patterns_are_compiled_once_and_not_for_every_lookup() {
        let document = openapi::document();
        let compiling = time_of(|| drop(Routes::of(&document)));
        let routes = Routes::of(&document);
        let pattern = routes.pattern_of("/orgcharts/7/employees/9");
        assert_eq!(pattern.as_deref(), Some("/orgcharts/{org_id}/employees/{id}"));
        // A path that no pattern matches is compared with all of them.
        let looking_up = time_of(|| assert_eq!(routes.pattern_of("/nowhere/7"), None));
        assert!(looking_up < compiling / 4, "{looking_up:?}, compiling took {compiling:?}");
    }
}
