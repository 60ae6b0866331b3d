//! Errors as GraphQL says them: the same codes as REST, in `extensions`.

use async_graphql::{Error as GraphError, ErrorExtensions, Response, Value, value};

use crate::error::Error;

/// What a resolver returns.
pub(super) type Answer<T> = Result<T, GraphError>;

/// Turns an error of the platform into one of GraphQL, and logs it if it is ours.
#[expect(clippy::needless_pass_by_value, reason = "it is what `map_err` hands over")]
pub(super) fn fail(error: Error) -> GraphError {
    fail_shared(&error)
}

/// As [`fail`], for an error that several resolvers meet.
pub(super) fn fail_shared(error: &Error) -> GraphError {
    if let Some(detail) = error.detail() {
        tracing::error!(code = error.code(), detail, "a field failed");
    }
    GraphError::new(error.to_string()).extend_with(|_, extensions| {
        extensions.set("code", error.code());
        if let Error::Validation(fields) = error {
            let fields = fields.iter().map(|wrong| {
                value!({ "field": wrong.field.as_str(), "message": wrong.message.as_str() })
            });
            extensions.set("errors", Value::List(fields.collect()));
        }
    })
}

/// What the library itself refuses (syntax, unknown fields, wrong types, limits) has no code yet.
pub(super) fn with_codes(mut response: Response) -> Response {
    for error in &mut response.errors {
        let extensions = error.extensions.get_or_insert_default();
        if extensions.get("code").is_none() {
            extensions.set("code", "validation");
        }
    }
    response
}

/// The code of the first error that every other program on the way should know of, too.
pub(super) fn code_of(response: &Response) -> Option<&str> {
    let codes =
        response.errors.iter().filter_map(|error| match error.extensions.as_ref()?.get("code") {
            Some(Value::String(code)) => Some(code.as_str()),
            _ => None,
        });
    let empty = response.data == Value::Null;
    let mut telling = codes.filter(|code| match *code {
        "unauthenticated" => true,
        "busy" | "database_unavailable" => empty,
        _ => false,
    });
    telling.next()
}
