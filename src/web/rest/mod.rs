//! The REST API: one file per resource, thin handlers.

mod charts;
mod health;
mod identity;
mod paging;
mod scheduling;
mod tenancy;

use actix_web::web::{self, Data};
use utoipa_actix_web::service_config::ServiceConfig;

use super::Shared;
use crate::error::{Error, Result};

/// From so many people on, what is made of a chart is made on a thread for long work: up to there it
/// takes a millisecond or so, and the way to that thread is not free.
const MANY: usize = 500;

/// What `work` makes of something that is about so many people, without holding up the other requests
/// of this thread. It goes on when its request is given up, so what it takes up is moved to it.
async fn aside<I, T, F>(people: usize, input: I, work: F) -> Result<T>
where
    I: Send + 'static,
    T: Send + 'static,
    F: FnOnce(I) -> Result<T> + Send + 'static,
{
    if people < MANY {
        return work(input);
    }
    web::block(move || work(input))
        .await
        .map_err(|_| Error::Internal("a thread for long work is gone".into()))?
}

/// What a handler works with.
type State = Data<Shared>;

/// Registers every route, and with it its part of the OpenAPI document.
pub(super) fn configure(config: &mut ServiceConfig<'_>) {
    tenancy::configure(config);
    identity::configure(config);
    charts::configure(config);
    scheduling::configure(config);
    health::configure(config);
}
