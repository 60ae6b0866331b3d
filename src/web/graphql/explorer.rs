//! The page at `/graphiql`, for who wants to try GraphQL in a browser.
//!
//! A page of our own: GraphiQL itself comes from a CDN, and pages of this server load nothing from
//! elsewhere.

use actix_web::{HttpResponse, web};

const FILES: [(&str, &str, &str); 3] = [
    ("/graphiql", "text/html; charset=utf-8", include_str!("explorer/index.html")),
    (
        "/graphiql/explorer.js",
        "text/javascript; charset=utf-8",
        include_str!("explorer/explorer.js"),
    ),
    ("/graphiql/explorer.css", "text/css; charset=utf-8", include_str!("explorer/explorer.css")),
];

pub(super) fn configure(config: &mut web::ServiceConfig) {
    for (path, kind, content) in FILES {
        let serve = move || async move { HttpResponse::Ok().content_type(kind).body(content) };
        config.route(path, web::get().to(serve));
    }
}
