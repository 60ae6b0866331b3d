//! Reads the body of a request within a time limit, into reserved memory, and then checks again
//! that the account may act.

use std::{cell::Cell, future::ready, rc::Rc, time::Duration};

use actix_web::{
    FromRequest, HttpMessage, HttpRequest, HttpResponse, ResponseError,
    dev::Payload,
    error::PayloadError,
    http::{StatusCode, header},
    web::{self, Bytes, BytesMut},
};
use futures::{StreamExt, future::LocalBoxFuture};
use mime::Mime;
use tokio::time::Instant;

use super::{address::ClientAddress, connection::Connection};
use crate::{error::Error, manager::OrgContext, web::Shared};

/// Bodies up to this size need no reservation: there are at most as many as connections.
const SMALL: usize = 16 * 1024;

/// The time that does not count against a request's limit: the wait for its body, and what a large
/// body may take in addition.
#[derive(Clone, Debug, Default)]
pub(in crate::web) struct BodyTime(Rc<Cell<Waited>>);

#[derive(Clone, Copy, Debug, Default)]
struct Waited {
    before: Duration,
    since: Option<Instant>,
}

/// Why a body is refused.
#[derive(Debug, thiserror::Error)]
pub(in crate::web) enum BodyRefusal {
    #[error(transparent)]
    Invalid(#[from] Error),
    #[error("the body was refused: {0}")]
    Status(StatusCode),
}

pub(in crate::web) const UNSUPPORTED: BodyRefusal =
    BodyRefusal::Status(StatusCode::UNSUPPORTED_MEDIA_TYPE);

/// A request whose body is to be read.
struct Reading {
    request: HttpRequest,
    shared: web::Data<Shared>,
    limit: usize,
}

impl BodyTime {
    /// The total so far.
    pub(in crate::web) fn waited(&self) -> Duration {
        let Waited { before, since } = self.0.get();
        before + since.map_or(Duration::ZERO, |since| since.elapsed())
    }

    /// Gives the request more time.
    pub(in crate::web) fn extend(request: &HttpRequest, by: Duration) {
        if let Some(Self(time)) = request.extensions().get::<Self>() {
            let waited = time.get();
            time.set(Waited { before: waited.before + by, ..waited });
        }
    }

    fn set_waiting(&self, waiting: bool) {
        let since = waiting.then(Instant::now);
        self.0.set(Waited { before: self.waited(), since });
    }
}

/// Whether the body has this media type; parameters are ignored.
pub(in crate::web) fn is(kind: &Mime, request: &HttpRequest) -> bool {
    request.content_type().eq_ignore_ascii_case(kind.essence_str())
}

/// Like [`read`], but refuses bodies of another media type.
pub(in crate::web) fn read_as(
    kind: &Mime,
    request: &HttpRequest,
    payload: &mut Payload,
    limit: usize,
) -> LocalBoxFuture<'static, Result<Bytes, BodyRefusal>> {
    if is(kind, request) {
        read(request, payload, limit)
    } else {
        Box::pin(ready(Err(UNSUPPORTED)))
    }
}

/// Reads a body of at most `limit` bytes.
///
/// The token was checked before. It is checked again after the body has arrived: a client may hold
/// back the last byte for half a minute while its account is removed or demoted.
pub(in crate::web) fn read(
    request: &HttpRequest,
    payload: &mut Payload,
    limit: usize,
) -> LocalBoxFuture<'static, Result<Bytes, BodyRefusal>> {
    let request = request.clone();
    let payload = web::Payload::from_request(&request, payload);
    Box::pin(async move {
        let shared = request.app_data::<web::Data<Shared>>().cloned();
        let shared = shared.ok_or(BodyRefusal::Status(StatusCode::INTERNAL_SERVER_ERROR))?;
        let reading = Reading { request, shared, limit };
        let body = reading.read(payload.await.map_err(|_| unreadable())?).await?;
        reading.check_authority().await?;
        Ok(body)
    })
}

impl Reading {
    async fn read(&self, payload: web::Payload) -> Result<Bytes, BodyRefusal> {
        let size = self.size()?;
        if size > SMALL && !self.is_chunked() {
            self.reserve(size).await?;
        }
        let time = self.request.extensions().get::<BodyTime>().cloned().unwrap_or_default();
        time.set_waiting(true);
        let body = self.collect(payload, size);
        let body = tokio::time::timeout(self.shared.server.body_timeout(), body).await;
        time.set_waiting(false);
        body.map_err(|_| BodyRefusal::Status(StatusCode::REQUEST_TIMEOUT))?
    }

    /// Reserves memory until the request ends, because the parsed body is even larger.
    async fn reserve(&self, bytes: usize) -> Result<(), Error> {
        let address = ClientAddress::of(&self.request).0;
        let org = self.context().map(|ctx| ctx.org_id());
        let reservation = self.shared.bodies.reserve(bytes, address, org).await?;
        self.request.extensions_mut().insert(reservation);
        Ok(())
    }

    fn is_chunked(&self) -> bool {
        self.request.headers().contains_key(header::TRANSFER_ENCODING)
    }

    /// The size of the body, or the limit if it is chunked.
    fn size(&self) -> Result<usize, BodyRefusal> {
        let headers = self.request.headers();
        let length = headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok());
        match length.map(|length| length.trim().parse::<u64>()) {
            Some(length) => {
                let length = length.map_err(|_| unreadable())?;
                let fits = usize::try_from(length).ok().filter(|length| *length <= self.limit);
                fits.ok_or(BodyRefusal::Status(StatusCode::PAYLOAD_TOO_LARGE))
            }
            None if self.is_chunked() => Ok(self.limit),
            None => Ok(0),
        }
    }

    async fn collect(&self, mut payload: web::Payload, size: usize) -> Result<Bytes, BodyRefusal> {
        let connection = self.request.conn_data::<Connection>();
        let known = (!self.is_chunked()).then_some(size);
        let _wanted = connection.map(|connection| connection.want_body(known));
        let mut body = BytesMut::with_capacity(known.unwrap_or(0));
        let mut small = known.is_none();
        while let Some(piece) = payload.next().await {
            let piece = piece.map_err(|error| match error {
                PayloadError::Overflow => BodyRefusal::Status(StatusCode::PAYLOAD_TOO_LARGE),
                _ => unreadable(),
            })?;
            // On an upgraded connection, the library ignores the length and reads to the end.
            if body.len() + piece.len() > size {
                return Err(BodyRefusal::Status(StatusCode::PAYLOAD_TOO_LARGE));
            }
            if small && body.len() + piece.len() > SMALL {
                // Only now, because most chunked bodies are small.
                self.reserve(size).await?;
                small = false;
            }
            if let Some(connection) = connection {
                connection.took(piece.len() as u64);
            }
            body.extend_from_slice(&piece);
        }
        Ok(body.freeze())
    }

    fn context(&self) -> Option<OrgContext> {
        self.request.extensions().get::<OrgContext>().copied()
    }

    async fn check_authority(&self) -> Result<(), Error> {
        if let Some(ctx) = self.context() {
            let now = self.shared.manager.authority_now(&ctx).await?;
            self.request.extensions_mut().insert(now);
        }
        Ok(())
    }
}

fn unreadable() -> BodyRefusal {
    Error::field("", "the body could not be read").into()
}

impl ResponseError for BodyRefusal {
    fn status_code(&self) -> StatusCode {
        match self {
            Self::Invalid(error) => error.status_code(),
            Self::Status(status) => *status,
        }
    }

    fn error_response(&self) -> HttpResponse {
        match self {
            Self::Invalid(error) => error.error_response(),
            Self::Status(status) => HttpResponse::new(*status),
        }
    }
}
