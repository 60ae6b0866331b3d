//! The page at `/graphiql` for trying GraphQL in a browser.
//!
//! It is our own page: GraphiQL loads its scripts from a CDN, and this server's pages load nothing
//! from other servers.

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
