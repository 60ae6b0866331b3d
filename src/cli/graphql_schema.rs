//! `tenantry graphql-schema`: the schema that the repository keeps and CI compares.

use std::process::ExitCode;

pub(super) fn run() -> ExitCode {
    print!("{}", crate::web::graphql::GraphQl::new(true).sdl());
    ExitCode::SUCCESS
}
