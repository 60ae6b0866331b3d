//! `tenantry graphql-schema`: prints the GraphQL schema, which CI compares with the repository.

use std::process::ExitCode;

pub(super) fn run() -> ExitCode {
    print!("{}", crate::web::graphql::GraphQl::new(true).sdl());
    ExitCode::SUCCESS
}
