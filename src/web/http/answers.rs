//! How much memory answers may take that wait for their clients. A client that takes its answer
//! slowly keeps all of it in memory, so where the room is used up, the address that holds the most
//! loses its oldest answer.

use std::{
    collections::{BTreeSet, HashMap},
    net::IpAddr,
    pin::Pin,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
};

use actix_web::{
    body::{BodySize, MessageBody},
    web::Bytes,
};
use futures::task::AtomicWaker;

use super::connection::{Connection, Unsent};
use crate::failpoint;

/// Answers below this size are not counted: there are at most as many as connections.
const SMALL: usize = 16 * 1024;
/// What all answers may take, in bytes. One that is larger waits for nobody, and evicts all others.
const ROOM: usize = 96 * 1024 * 1024;
/// How much of an answer is handed over at once.
const PIECE: usize = 16 * 1024;

/// The answers that wait for their clients.
#[derive(Debug, Default)]
pub struct Answers(Mutex<Held>);

#[derive(Debug, Default)]
struct Held {
    next: u64,
    bytes: usize,
    answers: HashMap<u64, Answer>,
    by_address: HashMap<IpAddr, Share>,
}

/// The answers of one address, the oldest one first.
#[derive(Debug, Default)]
struct Share {
    bytes: usize,
    answers: BTreeSet<u64>,
}

#[derive(Debug)]
struct Answer {
    address: IpAddr,
    bytes: usize,
    eviction: Arc<Eviction>,
}

/// Tells a connection that it has to end.
#[derive(Debug, Default)]
pub(in crate::web) struct Eviction {
    over: AtomicBool,
    writer: AtomicWaker,
}

/// The room of one answer, until dropped.
#[derive(Debug)]
pub(in crate::web) struct Place {
    number: u64,
    answers: Arc<Answers>,
}

/// A body in pieces, with the room that it takes.
pub(in crate::web) struct Placed {
    rest: Bytes,
    _place: Place,
    _unsent: Unsent,
}

impl Answers {
    /// Takes room for a large answer of so many bytes; others may have to make it.
    pub(in crate::web) fn hold(
        self: &Arc<Self>,
        bytes: usize,
        address: impl FnOnce() -> IpAddr,
        eviction: &Arc<Eviction>,
    ) -> Option<Place> {
        if bytes < SMALL {
            return None;
        }
        let address = address();
        // An answer before this one may have been evicted just when it was taken after all.
        eviction.over.store(false, Ordering::Release);
        let mut held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        while held.bytes + bytes > room() && held.evict_one() {}
        let number = held.next;
        held.next += 1;
        held.bytes += bytes;
        metrics::gauge!("tenantry_answer_bytes").set(to_gauge(held.bytes));
        let answer = Answer { address, bytes, eviction: Arc::clone(eviction) };
        held.answers.insert(number, answer);
        let share = held.by_address.entry(address).or_default();
        share.bytes += bytes;
        share.answers.insert(number);
        drop(held);
        Some(Place { number, answers: Arc::clone(self) })
    }
}

fn room() -> usize {
    failpoint!("answers.unbounded", return usize::MAX);
    ROOM
}

impl Held {
    /// Ends the oldest answer of the address that holds the most; whether there was one.
    fn evict_one(&mut self) -> bool {
        let most = self.by_address.values().max_by_key(|share| share.bytes);
        let oldest = most.and_then(|share| share.answers.first().copied());
        let Some(number) = oldest else { return false };
        if let Some(answer) = self.remove(number) {
            answer.eviction.evict();
        }
        true
    }

    fn remove(&mut self, number: u64) -> Option<Answer> {
        let answer = self.answers.remove(&number)?;
        self.bytes -= answer.bytes;
        if let Some(share) = self.by_address.get_mut(&answer.address) {
            share.bytes -= answer.bytes;
            share.answers.remove(&number);
            if share.answers.is_empty() {
                self.by_address.remove(&answer.address);
            }
        }
        metrics::gauge!("tenantry_answer_bytes").set(to_gauge(self.bytes));
        Some(answer)
    }
}

#[expect(clippy::cast_precision_loss, reason = "a gauge is a float")]
pub(super) const fn to_gauge(bytes: usize) -> f64 {
    bytes as f64
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut held = self.answers.0.lock().unwrap_or_else(PoisonError::into_inner);
        held.remove(self.number);
    }
}

impl Eviction {
    fn evict(&self) {
        self.over.store(true, Ordering::Release);
        self.writer.wake();
    }

    /// Whether the connection has to end; if not, its writer is woken when it has to.
    pub(in crate::web) fn is_over(&self, cx: &Context<'_>) -> bool {
        self.writer.register(cx.waker());
        self.over.load(Ordering::Acquire)
    }
}

impl Placed {
    pub(in crate::web) fn new(body: Bytes, place: Place, connection: &Connection) -> Self {
        Self { rest: body, _place: place, _unsent: connection.send() }
    }
}

impl MessageBody for Placed {
    type Error = std::convert::Infallible;

    fn size(&self) -> BodySize {
        BodySize::Sized(self.rest.len() as u64)
    }

    fn poll_next(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, Self::Error>>> {
        let piece = self.rest.len().min(PIECE);
        if piece == 0 {
            return Poll::Ready(None);
        }
        Poll::Ready(Some(Ok(self.rest.split_to(piece))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BIG: usize = ROOM / 4;

    fn address(last: u8) -> IpAddr {
        [192, 0, 2, last].into()
    }

    fn is_over(eviction: &Eviction) -> bool {
        eviction.over.load(Ordering::Acquire)
    }

    #[test]
    fn the_oldest_answer_of_the_address_that_holds_the_most_makes_room() {
        let answers = Arc::new(Answers::default());
        let evictions: Vec<Arc<Eviction>> = (0..5).map(|_| Arc::default()).collect();
        let hold = |n: usize, last| answers.hold(BIG, || address(last), &evictions[n]).unwrap();
        let _one = hold(0, 1);
        let _greedy = [hold(1, 9), hold(2, 9), hold(3, 9)];
        let _two = hold(4, 2);
        let over: Vec<bool> = evictions.iter().map(|eviction| is_over(eviction)).collect();
        assert_eq!(over, [false, true, false, false, false]);
    }

    #[test]
    fn room_is_given_back_and_small_answers_need_none() {
        let answers = Arc::new(Answers::default());
        let eviction = Arc::<Eviction>::default();
        for _ in 0..100 {
            let _place = answers.hold(BIG, || address(1), &eviction).unwrap();
        }
        assert!(answers.hold(SMALL - 1, || address(1), &eviction).is_none());
        assert!(!is_over(&eviction));
        assert_eq!(answers.0.lock().unwrap().bytes, 0);
        // One that is larger than all of the room is let through alone.
        let _huge = answers.hold(ROOM * 2, || address(1), &eviction).unwrap();
    }
}
