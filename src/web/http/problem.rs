//! Errors as `application/problem+json` (RFC 9457). The only place that maps errors to HTTP
//! statuses.

use actix_web::{
    HttpResponse, ResponseError,
    http::{StatusCode, header},
};
use serde::Serialize;
use utoipa::{IntoResponses, ToSchema};

use crate::error::Error;

/// Seconds before a retry, unless something better is known.
const RETRY_AFTER: u64 = 1;
const RETRY_AFTER_FULL: u64 = 60;
pub(in crate::web) const CONTENT_TYPE: &str = "application/problem+json";

/// What went wrong, in the form of RFC 9457.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(example = json!({
    "type": "about:blank",
    "title": "Bad Request",
    "status": 400,
    "detail": "The request is not valid.",
    "code": "validation",
    "request_id": "0198c5b2-6c1f-7d3a-9b0e-0c8f5d1e2a3b",
    "errors": [{ "field": "email", "message": "must be an e-mail address such as ada@example.com" }]
}))]
pub(in crate::web) struct Problem {
    /// Always `about:blank`: `code` identifies the problem.
    r#type: &'static str,
    /// The reason phrase of the status.
    title: &'static str,
    /// The HTTP status.
    status: u16,
    /// A sentence for people.
    detail: String,
    /// A stable word for programs.
    code: &'static str,
    /// Identifies the request in the logs.
    request_id: String,
    /// Every wrong field if `code` is `validation`; beyond 100, only how many more.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    errors: Vec<ProblemField>,
}

/// One wrong field.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(in crate::web) struct ProblemField {
    /// Its name; empty for the body as a whole.
    field: String,
    /// What is wrong with it.
    message: String,
}

/// The input is wrong.
#[derive(IntoResponses)]
#[expect(dead_code, reason = "only its documentation is used")]
pub(in crate::web) enum InputErrors {
    /// A field is missing, unknown or wrong, or the body is malformed. `errors` names the fields.
    #[response(status = 400, content_type = "application/problem+json")]
    BadRequest(Problem),
    /// The body did not arrive in time.
    #[response(status = 408, content_type = "application/problem+json")]
    TooSlow(Problem),
    /// The body is larger than 1 MiB, or a list than 32 MiB.
    #[response(status = 413, content_type = "application/problem+json")]
    TooLarge(Problem),
    /// The body's content type is not the documented one.
    #[response(status = 415, content_type = "application/problem+json")]
    MediaType(Problem),
}

/// The query is wrong.
#[derive(IntoResponses)]
#[expect(dead_code, reason = "only its documentation is used")]
pub(in crate::web) enum QueryErrors {
    /// A parameter is missing, unknown or wrong. `errors` names it.
    #[response(status = 400, content_type = "application/problem+json")]
    BadRequest(Problem),
}

/// The token is missing, invalid or insufficient.
#[derive(IntoResponses)]
#[expect(dead_code, reason = "only its documentation is used")]
pub(in crate::web) enum TokenErrors {
    /// The token is missing or no longer valid. Checked before anything else.
    #[response(status = 401, content_type = "application/problem+json")]
    Unauthorized(Problem),
    /// The account may not do this.
    #[response(status = 403, content_type = "application/problem+json")]
    Forbidden(Problem),
}

/// The server is overloaded, or the database is unreachable.
#[derive(IntoResponses)]
#[expect(dead_code, reason = "only its documentation is used")]
pub(in crate::web) enum BusyErrors {
    /// The database is unreachable or a queue is full; `Retry-After` says when to try again.
    #[response(status = 503, content_type = "application/problem+json")]
    Unavailable(Problem),
}

/// Too many attempts.
#[derive(IntoResponses)]
#[expect(dead_code, reason = "only its documentation is used")]
pub(in crate::web) enum ThrottleErrors {
    /// Too many attempts; `Retry-After` says when to try again.
    #[response(status = 429, content_type = "application/problem+json")]
    TooMany(Problem),
}

impl Problem {
    /// The problem of `error`.
    fn of(error: &Error) -> Self {
        let errors = match error {
            Error::Validation(fields) => fields
                .iter()
                .map(|e| ProblemField {
                    field: e.field().to_owned(),
                    message: e.message().to_owned(),
                })
                .collect(),
            _ => Vec::new(),
        };
        Self { errors, ..Self::new(error.status_code(), error.code(), error.to_string()) }
    }

    /// The problem of a status that the framework or a middleware sets, such as 405.
    pub(in crate::web) fn of_status(status: StatusCode) -> Self {
        let (code, detail) = match status {
            StatusCode::NOT_FOUND => ("not_found", "No such page or resource."),
            StatusCode::METHOD_NOT_ALLOWED => {
                ("method_not_allowed", "This path does not support that method.")
            }
            StatusCode::REQUEST_TIMEOUT => ("too_slow", "The body did not arrive in time."),
            StatusCode::PAYLOAD_TOO_LARGE => ("too_large", "The body is too large."),
            StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE => {
                ("too_large", "The request's headers are too large.")
            }
            StatusCode::UNSUPPORTED_MEDIA_TYPE => {
                ("unsupported_media_type", "This Content-Type is not supported here.")
            }
            status if status.is_client_error() => ("validation", "The request is not valid."),
            _ => ("internal", "An internal error occurred."),
        };
        Self::new(status, code, detail.to_owned())
    }

    fn new(status: StatusCode, code: &'static str, detail: String) -> Self {
        Self {
            r#type: "about:blank",
            title: status.canonical_reason().unwrap_or("Error"),
            status: status.as_u16(),
            detail,
            code,
            request_id: String::new(),
            errors: Vec::new(),
        }
    }

    /// The body of the answer to the request `request_id`.
    pub(in crate::web) fn into_body(self, request_id: &str) -> Vec<u8> {
        let problem = Self { request_id: request_id.to_owned(), ..self };
        serde_json::to_vec(&problem).unwrap_or_default()
    }
}

/// Sets the status, the headers and the problem as an extension. `request::around` knows the id of
/// the request and writes the body.
impl ResponseError for Error {
    fn status_code(&self) -> StatusCode {
        match self {
            Self::Validation(_) | Self::AnswerTooLarge => StatusCode::BAD_REQUEST,
            Self::Unauthenticated | Self::InvalidCredentials => StatusCode::UNAUTHORIZED,
            Self::Forbidden => StatusCode::FORBIDDEN,
            Self::NotFound(_) => StatusCode::NOT_FOUND,
            Self::OrgNameTaken
            | Self::EmailTaken
            | Self::LastAdmin
            | Self::Hierarchy(_)
            | Self::OccurrencePast
            | Self::LimitReached(_) => StatusCode::CONFLICT,
            Self::Throttled { .. } => StatusCode::TOO_MANY_REQUESTS,
            Self::Busy { .. } | Self::Full => StatusCode::SERVICE_UNAVAILABLE,
            Self::Database(error) if error.is_unavailable() => StatusCode::SERVICE_UNAVAILABLE,
            Self::Database(_) | Self::Internal(_) => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    fn error_response(&self) -> HttpResponse {
        let mut response = HttpResponse::build(self.status_code());
        match self {
            Self::Unauthenticated => {
                response.insert_header((header::WWW_AUTHENTICATE, "Bearer realm=\"tenantry\""));
            }
            Self::InvalidCredentials => {
                response.insert_header((header::WWW_AUTHENTICATE, "Login realm=\"tenantry\""));
            }
            Self::Throttled { retry_after } => {
                let seconds = retry_after.as_secs().max(RETRY_AFTER);
                response.insert_header((header::RETRY_AFTER, seconds));
            }
            // An operator has to delete data or add hardware first.
            Self::Full => {
                response.insert_header((header::RETRY_AFTER, RETRY_AFTER_FULL));
            }
            _ if self.status_code() == StatusCode::SERVICE_UNAVAILABLE => {
                response.insert_header((header::RETRY_AFTER, RETRY_AFTER));
            }
            _ => {}
        }
        let mut response = response.finish();
        let mut extensions = response.extensions_mut();
        extensions.insert(Problem::of(self));
        if let Some(detail) = self.detail() {
            extensions.insert(Detail(detail));
        }
        drop(extensions);
        response
    }
}

/// The reason of an error, for the log only.
pub(in crate::web) struct Detail(pub(in crate::web) String);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_internal_reason_is_only_for_the_log() {
        let error = Error::Internal("mongodb://user:password@host".to_owned());
        let response = error.error_response();
        let problem = response.extensions().get::<Problem>().unwrap().to_owned();
        let body = String::from_utf8(problem.into_body("the-id")).unwrap();
        assert!(body.contains("\"internal\"") && body.contains("the-id"), "{body}");
        assert!(!body.contains("mongodb") && !body.contains("password"), "{body}");
        assert!(response.extensions().get::<Detail>().unwrap().0.contains("mongodb"));
    }
}
