//! `tenantry openapi`: the document that the repository keeps and CI compares.

use std::process::ExitCode;

use super::Failure;

pub(super) fn run() -> Result<ExitCode, Failure> {
    println!("{}", crate::web::document().to_pretty_json()?);
    Ok(ExitCode::SUCCESS)
}
