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

/// Charts with this many people are processed on a blocking thread. Smaller ones take about a
/// millisecond, and switching threads has a cost, too.
const MANY: usize = 500;

/// Runs `work` on a chart of about this many people without delaying the other requests of this
/// thread. It continues if its request is aborted, so it owns its input and its reservations.
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
        .map_err(|_| Error::Internal("a blocking thread ended early".into()))?
}

/// The state that handlers use.
type State = Data<Shared>;

/// Registers every route and its part of the OpenAPI document.
pub(super) fn configure(config: &mut ServiceConfig<'_>) {
    tenancy::configure(config);
    identity::configure(config);
    charts::configure(config);
    scheduling::configure(config);
    health::configure(config);
}
