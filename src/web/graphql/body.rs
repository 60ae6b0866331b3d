//! Parses the body of a GraphQL request. The library itself would accept a list as the fields of a
//! request, and a missing query as an empty one.

use std::fmt;

use async_graphql::{BatchRequest, Request};
use serde::{
    Deserialize, Deserializer,
    de::{Error as _, IgnoredAny, MapAccess, Visitor},
};

use super::limits;
use crate::error::{Error, Result};

/// The maximum number of values in a body.
const VALUES: usize = 40_000;
/// The memory of a value without its text, in bytes: even a zero in a list takes that much.
const VALUE_BYTES: usize = size_of::<async_graphql::Value>();

/// About how much memory the values of a body take, in bytes.
pub(super) fn memory(body: &[u8]) -> usize {
    body.len() + values(body) * VALUE_BYTES
}

/// The number of commas and opening brackets outside of strings.
fn values(body: &[u8]) -> usize {
    let (mut count, mut in_string, mut escaped) = (0, false, false);
    for byte in body {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = in_string,
            b'"' => in_string = !in_string,
            b',' | b'[' | b'{' if !in_string => count += 1,
            _ => {}
        }
    }
    count
}

/// Parses one request or a list of them.
///
/// # Errors
/// [`Error::Validation`] if the body is neither, or too large.
pub(super) fn parse(body: &[u8]) -> Result<BatchRequest> {
    if values(body) > VALUES {
        return Err(Error::field("", "must have at most 40000 values"));
    }
    if body.trim_ascii_start().first() != Some(&b'[') {
        let RequestObject(one) = serde_json::from_slice(body).map_err(|_| malformed())?;
        return Ok(BatchRequest::Single(one));
    }
    let many: Vec<RequestObject> = serde_json::from_slice(body).map_err(|_| malformed())?;
    if !(1..=limits::BATCH).contains(&many.len()) {
        return Err(Error::field("", "must be one request, or a list of 1 to 10"));
    }
    Ok(BatchRequest::Batch(many.into_iter().map(|RequestObject(one)| one).collect()))
}

fn malformed() -> Error {
    let text = "must be a JSON object with `query`, and `variables` and `operationName` if needed";
    Error::field("", text)
}

struct RequestObject(Request);

struct RequestVisitor;

impl<'de> Deserialize<'de> for RequestObject {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(RequestVisitor)
    }
}

impl<'de> Visitor<'de> for RequestVisitor {
    type Value = RequestObject;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<M: MapAccess<'de>>(self, mut fields: M) -> Result<RequestObject, M::Error> {
        let (mut request, mut has_query) = (Request::new(String::new()), false);
        while let Some(name) = fields.next_key::<String>()? {
            match name.as_str() {
                "query" => (request.query, has_query) = (fields.next_value()?, true),
                "operationName" => request.operation_name = fields.next_value()?,
                "variables" => request.variables = fields.next_value()?,
                "extensions" => request.extensions = fields.next_value()?,
                _ => {
                    fields.next_value::<IgnoredAny>()?;
                }
            }
        }
        if has_query { Ok(RequestObject(request)) } else { Err(M::Error::missing_field("query")) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn single(body: &str) -> Option<Request> {
        match parse(body.as_bytes()) {
            Ok(BatchRequest::Single(one)) => Some(one),
            _ => None,
        }
    }

    #[test]
    fn a_request_is_an_object_with_a_query() {
        let body = r#" {"query":"{ a }","variables":{"n":1,"t":["x",null,1.5]},
            "operationName":"O","extensions":{"e":true},"more":[1,{}]} "#;
        let one = single(body).unwrap();
        assert_eq!((one.query.as_str(), one.operation_name.as_deref()), ("{ a }", Some("O")));
        assert_eq!(one.variables.into_value().to_string(), r#"{n: 1, t: ["x", null, 1.5]}"#);
        assert!(one.extensions.contains_key("e"));
        let bare = r#"{"variables":null,"operationName":null,"extensions":null,"query":""}"#;
        assert!(single(bare).unwrap().variables.is_empty());
    }

    #[test]
    fn anything_but_requests_is_refused() {
        for body in [
            "",
            "1",
            "null",
            "\"{ a }\"",
            "{}",
            r#"{"query":null}"#,
            r#"{"query":1}"#,
            r#"{"query":"{ a }","variables":[]}"#,
            r#"{"query":"{ a }","operationName":1}"#,
            r#"{"query":"{ a }"} {}"#,
            r#"["{ a }"]"#,
            r#"[["{ a }", null, {}, {}]]"#,
            r#"[{"query":"{ a }"},{}]"#,
            "[]",
        ] {
            assert!(parse(body.as_bytes()).is_err(), "{body}");
        }
        let many = |count| format!("[{}]", vec![r#"{"query":"{ a }"}"#; count].join(","));
        assert!(parse(many(50_000).as_bytes()).is_err());
        let list =
            format!(r#"{{"query":"{{ a }}","variables":{{"a":[{}0]}}}}"#, "0,".repeat(39_990));
        assert!(
            single(&list).is_some() && single(&list.replace('[', "[0,0,0,0,0,0,0,0,")).is_none()
        );
        assert!(parse(many(10).as_bytes()).is_ok() && parse(many(11).as_bytes()).is_err());
    }
}
