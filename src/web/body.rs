//! How long a client takes over a body, which is not the server's time.

use std::{cell::Cell, rc::Rc, time::Duration};

use actix_web::{HttpMessage, HttpRequest, http::StatusCode, web};
use tokio::time::Instant;

use super::{Shared, input::BodyRefusal};

/// The time that a request has waited for its body.
#[derive(Clone, Debug, Default)]
pub(super) struct BodyTime(Rc<Cell<Waited>>);

#[derive(Clone, Copy, Debug, Default)]
struct Waited {
    before: Duration,
    since: Option<Instant>,
}

impl BodyTime {
    /// Until now.
    pub(super) fn waited(&self) -> Duration {
        let Waited { before, since } = self.0.get();
        before + since.map_or(Duration::ZERO, |since| since.elapsed())
    }

    fn set_waiting(&self, waiting: bool) {
        let since = waiting.then(Instant::now);
        self.0.set(Waited { before: self.waited(), since });
    }
}

/// Waits for `body` as long as the settings say.
pub(super) fn in_time<F: Future>(
    request: &HttpRequest,
    body: F,
) -> impl Future<Output = Result<F::Output, BodyRefusal>> + use<F> {
    let time = request.extensions().get::<BodyTime>().cloned().unwrap_or_default();
    let limit = request.app_data::<web::Data<Shared>>().map(|shared| shared.server.body_timeout());
    async move {
        let limit = limit.ok_or(BodyRefusal::Status(StatusCode::INTERNAL_SERVER_ERROR))?;
        time.set_waiting(true);
        let body = tokio::time::timeout(limit, body).await;
        time.set_waiting(false);
        body.map_err(|_| BodyRefusal::Status(StatusCode::REQUEST_TIMEOUT))
    }
}
