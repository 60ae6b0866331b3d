//! Work on large charts: a few at a time, since each takes much memory.

use std::{sync::Arc, time::Duration};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::{
    error::{Error, Result},
    manager::TenantManager,
};

/// So many large charts may be worked on at once: 200,000 people are about a hundred megabytes from
/// their documents to an answer.
const AT_ONCE: usize = 2;
/// From so many people on a chart is large. Smaller ones are done before others have to wait.
const LARGE: usize = 5_000;

/// Room for large charts.
pub(super) struct ChartAdmission(Arc<Semaphore>);

/// Room for one chart, until it is dropped.
#[derive(Debug)]
pub struct Room {
    _permit: Option<OwnedSemaphorePermit>,
}

impl Default for ChartAdmission {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(AT_ONCE)))
    }
}

impl ChartAdmission {
    /// Waits for room for a chart of so many people; small ones always have it.
    async fn admit(&self, people: usize, patience: Duration) -> Result<Room> {
        if people < LARGE {
            return Ok(Room { _permit: None });
        }
        let permit = tokio::time::timeout(patience, Arc::clone(&self.0).acquire_owned()).await;
        let permit = permit.ok().and_then(Result::ok);
        let busy = Error::Busy { what: "too many large charts are worked on" };
        permit.map(|permit| Room { _permit: Some(permit) }).ok_or(busy)
    }
}

impl TenantManager {
    /// Waits for room to work on a chart of so many people.
    ///
    /// # Errors
    /// [`Error::Busy`] when others do not make room in time.
    pub async fn admit_chart(&self, people: usize) -> Result<Room> {
        self.charts.admission.admit(people, self.tenancy.patience).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_few_large_charts_have_room_and_small_ones_always() {
        let rooms = ChartAdmission::default();
        let take = async |people| rooms.admit(people, Duration::from_millis(1)).await;
        let one = take(LARGE).await.unwrap();
        let _two = take(200_000).await.unwrap();
        assert!(matches!(take(LARGE).await, Err(Error::Busy { .. })));
        let small = take(LARGE - 1).await;
        assert!(small.is_ok());
        drop(one);
        take(LARGE).await.unwrap();
    }

    #[tokio::test]
    async fn who_waits_gets_the_room_that_another_leaves() {
        let rooms = ChartAdmission::default();
        let take = || rooms.admit(LARGE, Duration::from_secs(30));
        let (one, _two) = (take().await.unwrap(), take().await.unwrap());
        let leave = async {
            tokio::task::yield_now().await;
            drop(one);
        };
        let (got, ()) = tokio::join!(take(), leave);
        assert!(got.is_ok());
    }
}
