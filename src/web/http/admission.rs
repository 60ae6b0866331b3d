//! How much memory the bodies of requests may take, in total, per address and per organization. A
//! body has its room before it is read.

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

/// What all bodies may take, in bytes.
const TOTAL: usize = 128 * MIB;
/// What those of one address may take: two of the longest lists.
const PER_ADDRESS: usize = 64 * MIB;
/// What those of one organization may take: one of the longest lists, and some small ones.
const PER_ORGANIZATION: usize = 40 * MIB;
/// What those of all who show no token may take: what they have to say is short.
const STRANGERS: usize = 32 * MIB;
/// What those of one address may take without a token.
const STRANGERS_PER_ADDRESS: usize = 8 * MIB;
/// How many requests of one address may wait for room.
const WAITING: usize = 128;
/// How long one waits.
const PATIENCE: Duration = Duration::from_secs(5);

/// The room for bodies.
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

/// Whose bodies count together.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
enum Holder {
    Address(IpAddr),
    Organization(OrgId),
    Strangers,
    Stranger(IpAddr),
}

/// The room of one body, until dropped.
#[derive(Debug)]
pub(in crate::web) struct BodyRoom {
    bodies: Arc<Bodies>,
    holders: [Holder; 2],
    bytes: usize,
}

/// One that waits, until dropped.
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
    /// Takes room for a body of so many bytes, which may have to be freed by others first.
    ///
    /// # Errors
    /// [`Error::Busy`] when there is no room within five seconds, or too many wait for it.
    pub(in crate::web) async fn take(
        self: &Arc<Self>,
        bytes: usize,
        address: IpAddr,
        org: Option<OrgId>,
    ) -> Result<BodyRoom> {
        let address = network(address);
        let holders = match org {
            Some(org) => [Holder::Address(address), Holder::Organization(org)],
            None => [Holder::Stranger(address), Holder::Strangers],
        };
        if self.lock().fits(bytes, &holders) {
            return Ok(self.room(bytes, holders));
        }
        let _waiting = self.wait(address)?;
        let deadline = Instant::now() + self.patience;
        loop {
            let freed = self.freed.notified();
            tokio::pin!(freed);
            // Heard from here on, so nothing that is freed below goes unnoticed.
            freed.as_mut().enable();
            if self.lock().fits(bytes, &holders) {
                return Ok(self.room(bytes, holders));
            }
            if tokio::time::timeout_at(deadline, freed).await.is_err() {
                metrics::counter!("tenantry_bodies_without_room_total").increment(1);
                return Err(Error::Busy { what: "there is no room for another body" });
            }
        }
    }

    /// The room that has just been taken.
    fn room(self: &Arc<Self>, bytes: usize, holders: [Holder; 2]) -> BodyRoom {
        BodyRoom { bodies: Arc::clone(self), holders, bytes }
    }

    fn wait(&self, address: IpAddr) -> Result<Waiting<'_>> {
        let mut held = self.lock();
        let waiting = held.waiting.entry(address).or_default();
        if *waiting >= WAITING {
            metrics::counter!("tenantry_bodies_without_room_total").increment(1);
            return Err(Error::Busy { what: "too many wait for room for a body" });
        }
        *waiting += 1;
        Ok(Waiting { bodies: self, address })
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Held {
    /// Takes the room if it is there.
    fn fits(&mut self, bytes: usize, holders: &[Holder; 2]) -> bool {
        let fits = self.has_room(bytes, holders);
        if fits {
            self.total += bytes;
            for holder in holders {
                *self.by_holder.entry(*holder).or_default() += bytes;
            }
            metrics::gauge!("tenantry_body_bytes").set(to_gauge(self.total));
        }
        fits
    }

    fn has_room(&self, bytes: usize, holders: &[Holder; 2]) -> bool {
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

impl Drop for BodyRoom {
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
    ) -> Result<BodyRoom> {
        bodies.take(mib * MIB, address(last), org).await
    }

    #[tokio::test]
    async fn an_organization_and_an_address_leave_room_for_others() {
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
    async fn whoever_waits_gets_what_is_freed() {
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
    async fn only_so_many_wait() {
        let bodies = impatient();
        let _held = take(&bodies, 8, 1, None).await.unwrap();
        let all = (0..WAITING + 9).map(|_| take(&bodies, 8, 1, None));
        let all = futures::future::join_all(all).await;
        assert!(all.iter().all(|one| matches!(one, Err(Error::Busy { .. }))));
    }
}
