//! Errors as GraphQL says them: the same codes as REST, in `extensions`.

use async_graphql::{Error as GraphError, ErrorExtensions, Response, Value, value};

use crate::error::Error;

/// The codes of errors that pass.
pub(super) const PASSING: [&str; 2] = ["busy", "database_unavailable"];

/// What a resolver returns.
pub(super) type Answer<T> = Result<T, GraphError>;

/// Turns an error of the platform into one of GraphQL, and logs it if it is ours.
#[expect(clippy::needless_pass_by_value, reason = "it is what `map_err` hands over")]
pub(super) fn fail(error: Error) -> GraphError {
    fail_shared(&error)
}

/// As [`fail()`], for an error that several resolvers meet.
pub(super) fn fail_shared(error: &Error) -> GraphError {
    let code = error.code();
    match error.detail() {
        // It passes, and says so to the client: in a storm there are thousands of these.
        Some(detail) if PASSING.contains(&code) => tracing::warn!(code, detail, "a field failed"),
        Some(detail) => tracing::error!(code, detail, "a field failed"),
        None => {}
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

/// The most errors of one response; a client mends the first before it looks at the rest.
const MOST: usize = 10;
/// The most characters of a sentence about what is wrong: the parser quotes the line that it could
/// not read, which may be all of a large request.
const LONGEST: usize = 500;
/// The most bytes of the errors of one answer, which may hold several responses.
pub(super) const ERROR_BYTES: usize = 64 * 1024;

/// Bounds the errors of a response to ten and to `bytes`, and gives a code to what the library
/// itself refuses (syntax, unknown fields, wrong types, limits). `extensions.omittedErrors` counts
/// the errors that are left out.
pub(super) fn bounded(mut response: Response, bytes: usize) -> Response {
    let all = response.errors.len();
    response.errors.truncate(MOST);
    let mut left = bytes;
    let mut kept = 0;
    for error in &mut response.errors {
        if let Some((end, _)) = error.message.char_indices().nth(LONGEST) {
            error.message.truncate(end);
            error.message.push_str(" ...");
        }
        let extensions = error.extensions.get_or_insert_default();
        if extensions.get("code").is_none() {
            extensions.set("code", "validation");
        }
        let size = serde_json::to_vec(error).map_or(usize::MAX, |json| json.len());
        // The first one always fits: it is bounded by what may be quoted and by how deep fields nest.
        if kept > 0 && size > left {
            break;
        }
        left = left.saturating_sub(size);
        kept += 1;
    }
    response.errors.truncate(kept);
    if kept < all {
        response.extensions.insert("omittedErrors".to_owned(), Value::from(all - kept));
    }
    response
}

/// The codes of the errors of an answer.
pub(super) fn codes_of(response: &Response) -> impl Iterator<Item = &str> {
    response.errors.iter().filter_map(|error| match error.extensions.as_ref()?.get("code") {
        Some(Value::String(code)) => Some(code.as_str()),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use std::{
        io::{self, Write},
        sync::{Arc, Mutex},
    };

    use super::*;

    #[derive(Clone, Default)]
    struct Log(Arc<Mutex<Vec<u8>>>);

    impl Write for Log {
        fn write(&mut self, text: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(text)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn logged(error: Error) -> String {
        let log = Log::default();
        let writer = log.clone();
        let subscriber = tracing_subscriber::fmt().with_writer(move || writer.clone());
        let subscriber = subscriber.with_ansi(false).finish();
        tracing::subscriber::with_default(subscriber, || fail(error));
        let text = log.0.lock().unwrap().clone();
        String::from_utf8(text).unwrap()
    }

    #[test]
    fn what_passes_is_a_warning_and_what_clients_send_is_no_news() {
        assert!(logged(Error::Busy { what: "a test" }).contains(" WARN "));
        assert!(logged(Error::Internal("a test".into())).contains(" ERROR "));
        assert_eq!(logged(Error::Forbidden), "");
    }
}
