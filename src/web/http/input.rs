//! Request bodies and queries, refused in our own words.

use std::{
    borrow::Cow,
    future::{Ready, ready},
};

use actix_web::{
    FromRequest, HttpRequest,
    dev::Payload,
    http::{StatusCode, header},
    web::{self, Bytes},
};
use futures::future::LocalBoxFuture;
use serde::de::DeserializeOwned;

use super::body::{self, BodyRefusal};
use crate::{
    domain::{QUOTED, quote},
    error::Error,
    web::Shared,
};

const UNSUPPORTED: BodyRefusal = BodyRefusal::Status(StatusCode::UNSUPPORTED_MEDIA_TYPE);

/// A JSON body of at most the configured size.
#[derive(Debug)]
pub(in crate::web) struct Json<T>(pub(in crate::web) T);

/// A JSON body, or none at all.
#[derive(Debug)]
pub(in crate::web) struct OptionalJson<T>(pub(in crate::web) Option<T>);

/// A JSON body of at most the configured size, as it came.
#[derive(Debug)]
pub(in crate::web) struct JsonBytes(pub(in crate::web) Bytes);

/// The parameters of the query.
#[derive(Debug)]
pub(in crate::web) struct Query<T>(pub(in crate::web) T);

impl<T: DeserializeOwned + 'static> FromRequest for Json<T> {
    type Error = BodyRefusal;
    type Future = LocalBoxFuture<'static, Result<Self, BodyRefusal>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let body = JsonBytes::from_request(request, payload);
        Box::pin(async move { Ok(Self(parse(&body.await?.0)?)) })
    }
}

impl FromRequest for JsonBytes {
    type Error = BodyRefusal;
    type Future = LocalBoxFuture<'static, Result<Self, BodyRefusal>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        if !is_json(request) {
            return Box::pin(ready(Err(UNSUPPORTED)));
        }
        let body = body::read(request, payload, limit(request));
        Box::pin(async move { Ok(Self(body.await?)) })
    }
}

impl<T: DeserializeOwned + 'static> FromRequest for OptionalJson<T> {
    type Error = BodyRefusal;
    type Future = LocalBoxFuture<'static, Result<Self, BodyRefusal>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let is_json = is_json(request);
        let body = body::read(request, payload, limit(request));
        Box::pin(async move {
            let body = body.await?;
            match (body.is_empty(), is_json) {
                (true, _) => Ok(Self(None)),
                (false, true) => Ok(Self(Some(parse(&body)?))),
                (false, false) => Err(UNSUPPORTED),
            }
        })
    }
}

fn limit(request: &HttpRequest) -> usize {
    let shared = request.app_data::<web::Data<Shared>>();
    shared.map_or(0, |shared| shared.server.body_limit_bytes)
}

impl<T: DeserializeOwned> FromRequest for Query<T> {
    type Error = Error;
    type Future = Ready<Result<Self, Error>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let pairs = form_urlencoded::parse(request.query_string().as_bytes());
        let parsed = serde_path_to_error::deserialize(serde_urlencoded::Deserializer::new(pairs));
        ready(parsed.map(Self).map_err(|error| {
            let path = error.path().to_string();
            refusal(&path, &error.into_inner().to_string())
        }))
    }
}

fn is_json(request: &HttpRequest) -> bool {
    let kind = request.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let kind = kind.and_then(|kind| kind.split(';').next()).map(str::trim);
    kind.is_some_and(|kind| kind.eq_ignore_ascii_case("application/json"))
}

fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, Error> {
    // serde would take an array for a struct, field by field.
    if body.trim_ascii_start().first() != Some(&b'{') {
        return Err(Error::field("", "the body must be a JSON object"));
    }
    let mut json = serde_json::Deserializer::from_slice(body);
    let parsed = serde_path_to_error::deserialize(&mut json).map_err(|error| {
        let path = error.path().to_string();
        refusal(&path, &error.into_inner().to_string())
    })?;
    json.end().map_err(|error| Error::field("", shortened(&error.to_string())))?;
    Ok(parsed)
}

/// The library names a missing, unknown or duplicate field only in its text, between backticks.
fn refusal(path: &str, reason: &str) -> Error {
    let named = ["missing field `", "unknown field `", "duplicate field `"]
        .iter()
        .find_map(|start| reason.strip_prefix(start))
        .and_then(|rest| rest.split_once('`'))
        .map(|(field, _)| field);
    let message = match reason {
        r if r.starts_with("missing field") => "is required",
        r if r.starts_with("unknown field") => "is not a field of this request",
        r if r.starts_with("duplicate field") => "must be given once",
        r => &shortened(r),
    };
    let field = named.unwrap_or(if path == "." { "" } else { path });
    Error::field(field, message)
}

/// The library's reason, which repeats a value of a wrong type however long it is, and ends with
/// what it should have been.
fn shortened(reason: &str) -> Cow<'_, str> {
    match reason.rsplit_once(", expected ") {
        Some((said, wanted)) if reason.len() > QUOTED => {
            Cow::Owned(format!("{}, expected {}", quote(said), quote(wanted)))
        }
        _ => quote(reason),
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Body {
        #[expect(dead_code, reason = "only its parsing matters")]
        email: String,
    }

    #[test]
    fn a_value_of_a_wrong_type_is_quoted_in_part_with_what_it_should_have_been() {
        let reason = |body: String| match parse::<Body>(body.as_bytes()) {
            Err(Error::Validation(errors)) => errors.iter().next().unwrap().message().to_owned(),
            other => panic!("{other:?}"),
        };
        let long = "x".repeat(500_000);
        for body in
            [format!("{{\"email\": [\"{long}\"]}}"), format!("{{\"email\": {}}}", "1".repeat(300))]
        {
            let reason = reason(body);
            assert!(reason.contains("expected a string") && reason.len() < 200, "{reason}");
        }
        let reason =
            refusal("role", &format!("unknown variant `{long}`, expected `a` or `b` at line 1"));
        let Error::Validation(errors) = reason else { panic!("{reason:?}") };
        let message = errors.iter().next().unwrap().message().to_owned();
        assert!(message.ends_with("x ..., expected `a` or `b` at line 1"), "{message}");
        assert!(message.matches('x').count() <= 102, "{message}");
    }

    #[test]
    fn refusals_name_the_field() {
        for (body, field) in [
            (r"{}", "email"),
            (r#"{"email": {"$ne": null}}"#, "email"),
            (r#"{"email": "a", "x": 1}"#, "x"),
            (r#"{"email": "a", "email": "b"}"#, "email"),
            (r#"{"email": "a"} trailing"#, ""),
            (r"not json", ""),
            (r#"["a"]"#, ""),
            (&"[".repeat(100_000), ""),
            (&r#"{"email":"#.repeat(100_000), "email"),
        ] {
            match parse::<Body>(body.as_bytes()) {
                Err(Error::Validation(errors)) => {
                    assert_eq!(errors.iter().next().unwrap().field(), field, "{errors:?}");
                }
                other => panic!("{other:?}"),
            }
        }
    }
}
