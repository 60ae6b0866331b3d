//! `tenantry openapi`: prints the OpenAPI document, which CI compares with the repository.

use std::process::ExitCode;

use super::Failure;

pub(super) fn run() -> Result<ExitCode, Failure> {
    println!("{}", crate::web::document().to_pretty_json()?);
    Ok(ExitCode::SUCCESS)
}
