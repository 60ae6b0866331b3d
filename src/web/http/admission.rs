//! Limits the memory of request bodies in total, per address and per organization. Memory is
//! reserved before a body is read.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::{sync::Notify, time::Instant};

use super::answers::to_gauge;
use crate::{
    auth::network,
    domain::OrgId,
    error::{Error, Result},
    failpoint,
};

const MIB: usize = 1024 * 1024;

/// Bytes for all bodies.
const TOTAL: usize = 128 * MIB;
/// Bytes per address: two lists of the maximum size.
const PER_ADDRESS: usize = 64 * MIB;
/// Bytes per organization: one list of the maximum size and some small ones.
const PER_ORGANIZATION: usize = 40 * MIB;
/// Bytes for all requests without a token, whose bodies are short.
const STRANGERS: usize = 32 * MIB;
/// Bytes per address for requests without a token.
const STRANGERS_PER_ADDRESS: usize = 8 * MIB;
/// The maximum number of requests of one address that wait for memory.
const WAITING: usize = 128;
/// How long a request waits for memory.
const PATIENCE: Duration = Duration::from_secs(5);

/// The memory that bodies have reserved.
#[derive(Debug)]
pub struct Bodies {
    held: Mutex<Held>,
    freed: Notify,
    patience: Duration,
}

#[derive(Debug, Default)]
struct Held {
    total: usize,
    by_holder: HashMap<Holder, usize>,
    waiting: HashMap<IpAddr, usize>,
}

/// Bodies of one holder count together.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
enum Holder {
    Address(IpAddr),
    Organization(OrgId),
    Strangers,
    Stranger(IpAddr),
}

/// The memory reserved for one body, until dropped.
#[derive(Debug)]
pub(in crate::web) struct BodyReservation {
    bodies: Arc<Bodies>,
    holders: [Holder; 2],
    bytes: usize,
}

/// A request that waits for memory, until dropped.
struct Waiting<'b> {
    bodies: &'b Bodies,
    address: IpAddr,
}

impl Default for Bodies {
    fn default() -> Self {
        Self { held: Mutex::default(), freed: Notify::new(), patience: PATIENCE }
    }
}

impl Bodies {
    /// Reserves `bytes` for a body, and waits until others have freed enough.
    ///
    /// # Errors
    /// [`Error::Busy`] if that takes more than five seconds, or too many requests wait already.
    pub(in crate::web) async fn reserve(
        self: &Arc<Self>,
        bytes: usize,
        address: IpAddr,
        org: Option<OrgId>,
    ) -> Result<BodyReservation> {
        let address = network(address);
        let holders = match org {
            Some(org) => [Holder::Address(address), Holder::Organization(org)],
            None => [Holder::Stranger(address), Holder::Strangers],
        };
        if self.lock().try_reserve(bytes, &holders) {
            return Ok(BodyReservation { bodies: Arc::clone(self), holders, bytes });
        }
        let _waiting = self.wait(address)?;
        let deadline = Instant::now() + self.patience;
        loop {
            let freed = self.freed.notified();
            tokio::pin!(freed);
            // Enabled before the check, so no notification is lost in between.
            freed.as_mut().enable();
            if self.lock().try_reserve(bytes, &holders) {
                return Ok(BodyReservation { bodies: Arc::clone(self), holders, bytes });
            }
            if tokio::time::timeout_at(deadline, freed).await.is_err() {
                metrics::counter!("tenantry_bodies_without_room_total").increment(1);
                return Err(Error::Busy { what: "there is no memory for another body" });
            }
        }
    }

    fn wait(&self, address: IpAddr) -> Result<Waiting<'_>> {
        let mut held = self.lock();
        let waiting = held.waiting.entry(address).or_default();
        if *waiting >= WAITING {
            metrics::counter!("tenantry_bodies_without_room_total").increment(1);
            return Err(Error::Busy { what: "too many requests wait for memory for their body" });
        }
        *waiting += 1;
        Ok(Waiting { bodies: self, address })
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Held {
    /// Reserves `bytes` if the limits allow it.
    fn try_reserve(&mut self, bytes: usize, holders: &[Holder; 2]) -> bool {
        let fits = self.fits(bytes, holders);
        if fits {
            self.total += bytes;
            for holder in holders {
                *self.by_holder.entry(*holder).or_default() += bytes;
            }
            metrics::gauge!("tenantry_body_bytes").set(to_gauge(self.total));
        }
        fits
    }

    fn fits(&self, bytes: usize, holders: &[Holder; 2]) -> bool {
        failpoint!("bodies.unbounded", return true);
        let held = |holder| self.by_holder.get(holder).unwrap_or(&0);
        self.total + bytes <= TOTAL
            && holders.iter().all(|holder| held(holder) + bytes <= holder.limit())
    }

    fn free(&mut self, bytes: usize, holders: &[Holder; 2]) {
        self.total -= bytes;
        metrics::gauge!("tenantry_body_bytes").set(to_gauge(self.total));
        for holder in holders {
            if let Some(held) = self.by_holder.get_mut(holder) {
                *held -= bytes;
                if *held == 0 {
                    self.by_holder.remove(holder);
                }
            }
        }
    }
}

impl Holder {
    const fn limit(self) -> usize {
        match self {
            Self::Address(_) => PER_ADDRESS,
            Self::Organization(_) => PER_ORGANIZATION,
            Self::Strangers => STRANGERS,
            Self::Stranger(_) => STRANGERS_PER_ADDRESS,
        }
    }
}

impl Drop for BodyReservation {
    fn drop(&mut self) {
        self.bodies.lock().free(self.bytes, &self.holders);
        self.bodies.freed.notify_waiters();
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let mut held = self.bodies.lock();
        if let Some(waiting) = held.waiting.get_mut(&self.address) {
            *waiting -= 1;
            if *waiting == 0 {
                held.waiting.remove(&self.address);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn impatient() -> Arc<Bodies> {
        Arc::new(Bodies { patience: Duration::from_millis(20), ..Bodies::default() })
    }

    fn address(last: u8) -> IpAddr {
        [192, 0, 2, last].into()
    }

    async fn take(
        bodies: &Arc<Bodies>,
        mib: usize,
        last: u8,
        org: Option<OrgId>,
    ) -> Result<BodyReservation> {
        bodies.reserve(mib * MIB, address(last), org).await
    }

    #[tokio::test]
    async fn an_organization_and_an_address_leave_memory_for_others() {
        let bodies = impatient();
        let (one, two) = (OrgId::generate(), OrgId::generate());
        let held = take(&bodies, 32, 1, Some(one)).await.unwrap();
        assert!(take(&bodies, 32, 2, Some(one)).await.is_err(), "the same organization");
        let _more = take(&bodies, 32, 1, Some(two)).await.unwrap();
        assert!(take(&bodies, 1, 1, Some(OrgId::generate())).await.is_err(), "the same address");
        let mut strangers = Vec::new();
        for last in 1..=4 {
            strangers.push(take(&bodies, 8, last, None).await.unwrap());
            assert!(take(&bodies, 1, last, None).await.is_err(), "the same stranger");
        }
        assert!(take(&bodies, 1, 5, None).await.is_err(), "another stranger");
        strangers.pop();
        let _others = take(&bodies, 32, 2, Some(OrgId::generate())).await.unwrap();
        drop(held);
        take(&bodies, 32, 2, Some(one)).await.unwrap();
        assert!(bodies.lock().waiting.is_empty());
    }

    #[tokio::test]
    async fn a_waiting_request_gets_freed_memory() {
        let bodies = Arc::new(Bodies::default());
        let held = take(&bodies, 8, 1, None).await.unwrap();
        let waiting = tokio::spawn({
            let bodies = Arc::clone(&bodies);
            async move { take(&bodies, 8, 1, None).await.map(drop) }
        });
        tokio::task::yield_now().await;
        assert_eq!(bodies.lock().waiting[&address(1)], 1);
        drop(held);
        waiting.await.unwrap().unwrap();
        let held = bodies.lock();
        assert_eq!((held.total, held.by_holder.len(), held.waiting.len()), (0, 0, 0));
    }

    #[tokio::test]
    async fn requests_wait_up_to_a_limit_and_a_time() {
        let bodies = impatient();
        let _held = take(&bodies, 8, 1, None).await.unwrap();
        let all = (0..WAITING + 9).map(|_| take(&bodies, 8, 1, None));
        let all = futures::future::join_all(all).await;
        assert!(all.iter().all(|one| matches!(one, Err(Error::Busy { .. }))));
    }
}
