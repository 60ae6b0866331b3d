//! Extractors of request bodies and queries, which report all wrong fields at once.

use std::future::{Ready, ready};

use actix_web::{
    FromRequest, HttpRequest,
    dev::Payload,
    web::{self, Bytes},
};
use futures::future::LocalBoxFuture;
use mime::APPLICATION_JSON;
use serde::de::DeserializeOwned;
use validator::Validate;

use super::{
    body::{self, BodyRefusal},
    fields,
};
use crate::{
    error::{FieldErrors, Result},
    web::Shared,
};

/// Input of a client. `Validate` has the rules on its shape: ranges, numbers of items, and required
/// fields. [`Input::parse`] converts it to domain types, which have the rules on texts, because
/// those apply to the trimmed and normalized text.
pub(in crate::web) trait Input: Validate {
    /// What it is converted to.
    type Meaning;

    /// Converts it, and adds an error for every field that cannot be converted.
    fn parse(self, errors: &mut FieldErrors) -> Option<Self::Meaning>;
}

/// A JSON body of at most the configured size.
pub(in crate::web) struct Valid<T: Input>(pub(in crate::web) T::Meaning);

/// A JSON body, or none.
pub(in crate::web) struct OptionalValid<T: Input>(pub(in crate::web) Option<T::Meaning>);

/// The parameters of the query.
pub(in crate::web) struct ValidQuery<T: Input>(pub(in crate::web) T::Meaning);

/// An unparsed JSON body of at most the configured size.
pub(in crate::web) struct JsonBytes(pub(in crate::web) Bytes);

/// Checks and converts an input.
pub(in crate::web) fn valid<T: Input>(input: T) -> Result<T::Meaning> {
    checked(Some(input), FieldErrors::default())
}

impl<T: Input + DeserializeOwned> FromRequest for Valid<T> {
    type Error = BodyRefusal;
    type Future = LocalBoxFuture<'static, Result<Self, BodyRefusal>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let body = JsonBytes::from_request(request, payload);
        Box::pin(async move { Ok(Self(from_json::<T>(&body.await?.0)?)) })
    }
}

impl FromRequest for JsonBytes {
    type Error = BodyRefusal;
    type Future = LocalBoxFuture<'static, Result<Self, BodyRefusal>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let body = body::read_as(&APPLICATION_JSON, request, payload, limit(request));
        Box::pin(async move { Ok(Self(body.await?)) })
    }
}

impl<T: Input + DeserializeOwned> FromRequest for OptionalValid<T> {
    type Error = BodyRefusal;
    type Future = LocalBoxFuture<'static, Result<Self, BodyRefusal>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let is_json = body::is(&APPLICATION_JSON, request);
        let body = body::read(request, payload, limit(request));
        Box::pin(async move {
            let body = body.await?;
            match (body.is_empty(), is_json) {
                (true, _) => Ok(Self(None)),
                (false, true) => Ok(Self(Some(from_json::<T>(&body)?))),
                (false, false) => Err(body::UNSUPPORTED),
            }
        })
    }
}

impl<T: Input + DeserializeOwned> FromRequest for ValidQuery<T> {
    type Error = crate::error::Error;
    type Future = Ready<Result<Self>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let mut errors = FieldErrors::default();
        let query = fields::from_query::<T>(request.query_string(), &mut errors);
        ready(checked(query, errors).map(Self))
    }
}

fn from_json<T: Input + DeserializeOwned>(body: &[u8]) -> Result<T::Meaning> {
    let mut errors = FieldErrors::default();
    checked(fields::from_json::<T>(body, &mut errors), errors)
}

fn checked<T: Input>(input: Option<T>, mut errors: FieldErrors) -> Result<T::Meaning> {
    let meaning = input.and_then(|input| {
        errors.check_shape("", &input);
        input.parse(&mut errors)
    });
    errors.into_result(meaning)
}

fn limit(request: &HttpRequest) -> usize {
    let shared = request.app_data::<web::Data<Shared>>();
    shared.map_or(0, |shared| shared.server.body_limit_bytes)
}
