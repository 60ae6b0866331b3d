//! Errors in the form of GraphQL: the codes are those of REST, in `extensions`.

use async_graphql::{Error as GraphError, ErrorExtensions, PathSegment, Response, Value, value};

use crate::{
    domain::{QUOTED, quote},
    error::Error,
};

/// The codes of temporary errors.
pub(super) const PASSING: [&str; 2] = ["busy", "database_unavailable"];

/// What a resolver returns.
pub(super) type Answer<T> = Result<T, GraphError>;

/// Converts an error to one of GraphQL, and logs it if the server is at fault.
#[expect(clippy::needless_pass_by_value, reason = "`map_err` passes it by value")]
pub(super) fn fail(error: Error) -> GraphError {
    fail_shared(&error)
}

/// Like [`fail()`], for an error that several resolvers share.
pub(super) fn fail_shared(error: &Error) -> GraphError {
    let code = error.code();
    match error.detail() {
        // The client may retry. Under overload there are thousands of these.
        Some(detail) if PASSING.contains(&code) => tracing::warn!(code, detail, "a field failed"),
        Some(detail) => tracing::error!(code, detail, "a field failed"),
        None => {}
    }
    GraphError::new(error.to_string()).extend_with(|_, extensions| {
        extensions.set("code", error.code());
        if let Error::Validation(fields) = error {
            let fields = fields.iter().map(
                |wrong| value!({ "field": camel_case(wrong.field()), "message": wrong.message() }),
            );
            extensions.set("errors", Value::List(fields.collect()));
        }
    })
}

/// The name of a field as the schema spells it.
fn camel_case(field: &str) -> String {
    let mut words = field.split('_');
    let first = words.next().unwrap_or_default().to_owned();
    words.fold(first, |name, word| {
        let (initial, rest) = word.split_at_checked(1).unwrap_or((word, ""));
        name + &initial.to_ascii_uppercase() + rest
    })
}

/// The maximum number of errors in one response.
const MOST: usize = 10;
/// The maximum length of a message in bytes, rounded up to a whole character.
const LONGEST: usize = 500;
/// The maximum bytes of all errors in one answer, which may hold several responses.
pub(super) const ERROR_BYTES: usize = 64 * 1024;

/// Limits the errors of a response to ten and to `bytes`, and adds a code to the library's own
/// errors (syntax, unknown fields, wrong types, limits). `extensions.omittedErrors` is the number
/// of errors that are left out.
pub(super) fn bounded(mut response: Response, bytes: usize) -> Response {
    let all = response.errors.len();
    response.errors.truncate(MOST);
    let mut left = bytes;
    let mut kept = 0;
    for error in &mut response.errors {
        error.message = shortened(&error.message);
        for segment in &mut error.path {
            if let PathSegment::Field(name) = segment {
                *name = quote(name).into_owned();
            }
        }
        let extensions = error.extensions.get_or_insert_default();
        if extensions.get("code").is_none() {
            extensions.set("code", "validation");
        }
        let size = serde_json::to_vec(error).map_or(usize::MAX, |json| json.len());
        // The first error always fits: quotes and the depth of fields are limited.
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

/// Shortens what a message repeats of the request. The library repeats whole names and values, in
/// quotation marks or after `found`, and the line that it could not parse, which may be all of a
/// large request. The first characters stay.
fn shortened(message: &str) -> String {
    let mut short = String::new();
    let (mut sent, mut quoted, mut escaped) = (0, false, false);
    let (mut value, mut line) = (false, false);
    for c in message.chars() {
        let mark = c == '"' && !escaped;
        escaped = c == '\\' && !escaped;
        quoted ^= mark;
        line &= c != '\n';
        if !mark && (quoted || value || line) {
            sent += 1;
        }
        if sent <= QUOTED || mark || !(quoted || value || line) {
            short.push(c);
        } else if sent == QUOTED + 1 {
            short.push_str(" ...");
        }
        value |= short.ends_with(FOUND);
        line |= short.ends_with(LINE);
        if short.len() >= LONGEST {
            break;
        }
    }
    short
}

/// A value follows.
const FOUND: &str = ", found ";
/// A line of the document follows.
const LINE: &str = " | ";

/// The codes of a response's errors.
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
    fn messages_of_the_library_keep_only_the_start_of_what_they_repeat() {
        let long = "x".repeat(100_000);
        for (message, expected) in [
            (
                "Unknown field \"a\" on type \"Query\".".to_owned(),
                "Unknown field \"a\" on type \"Query\".",
            ),
            (format!("Unknown field \"{long}\" on type"), "x ...\" on type"),
            (format!("Two: \"a\\\"{long}\" and \"{long}\""), "x ...\" and \"\""),
            (format!("Expected input type \"Int\", found [{long}, 1]."), "x ..."),
            (format!(" --> 1:5\n  |\n1 | {long}\n  |   ^---\n"), "x ..."),
        ] {
            let short = shortened(&message);
            assert!(short.contains(expected), "{short}");
            assert!(short.matches('x').count() <= 100, "{short}");
        }
    }

    #[test]
    fn temporary_errors_are_warnings_and_client_errors_are_not_logged() {
        assert!(logged(Error::Busy { what: "a test" }).contains(" WARN "));
        assert!(logged(Error::Internal("a test".into())).contains(" ERROR "));
        assert_eq!(logged(Error::Forbidden), "");
    }
}
