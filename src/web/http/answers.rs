//! Limits the memory of answers that clients have not read yet. A slow client keeps its whole
//! answer in memory; if the limit is reached, the address that holds the most loses its oldest
//! answer.

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
/// Bytes for all answers. A larger one is sent nevertheless and evicts all others.
const LIMIT: usize = 96 * 1024 * 1024;
/// The bytes of an answer that are passed on at a time.
const PIECE: usize = 16 * 1024;

/// The answers that clients have not read yet.
#[derive(Debug, Default)]
pub struct Answers(Mutex<Held>);

#[derive(Debug, Default)]
struct Held {
    next: u64,
    bytes: usize,
    answers: HashMap<u64, Answer>,
    by_address: HashMap<IpAddr, Share>,
}

/// The answers of one address, oldest first.
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

/// Signals a connection to close.
#[derive(Debug, Default)]
pub(in crate::web) struct Eviction {
    over: AtomicBool,
    writer: AtomicWaker,
}

/// The memory reserved for one answer, until dropped.
#[derive(Debug)]
pub(in crate::web) struct AnswerReservation {
    number: u64,
    answers: Arc<Answers>,
}

/// A body that is sent in pieces, with its reservation.
pub(in crate::web) struct ReservedBody {
    rest: Bytes,
    _reservation: AnswerReservation,
    _unsent: Unsent,
}

impl Answers {
    /// Reserves memory for a large answer of `bytes`, and evicts others if needed. `None` for small
    /// answers, which need no reservation.
    pub(in crate::web) fn reserve(
        self: &Arc<Self>,
        bytes: usize,
        address: impl FnOnce() -> IpAddr,
        eviction: &Arc<Eviction>,
    ) -> Option<AnswerReservation> {
        if bytes < SMALL {
            return None;
        }
        let address = address();
        // The previous answer may have been evicted just as the client had read it.
        eviction.over.store(false, Ordering::Release);
        let mut held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        while held.bytes + bytes > limit() && held.evict_one() {}
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
        Some(AnswerReservation { number, answers: Arc::clone(self) })
    }
}

fn limit() -> usize {
    failpoint!("answers.unbounded", return usize::MAX);
    LIMIT
}

impl Held {
    /// Evicts the oldest answer of the address that holds the most. Returns whether there was one.
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

impl Drop for AnswerReservation {
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

    /// Whether the connection has to close. If not, wakes the task once it has to.
    pub(in crate::web) fn is_over(&self, cx: &Context<'_>) -> bool {
        self.writer.register(cx.waker());
        self.over.load(Ordering::Acquire)
    }
}

impl ReservedBody {
    pub(in crate::web) fn new(
        rest: Bytes,
        reservation: AnswerReservation,
        connection: &Connection,
    ) -> Self {
        Self { rest, _reservation: reservation, _unsent: connection.send() }
    }
}

impl MessageBody for ReservedBody {
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

    const BIG: usize = LIMIT / 4;

    fn address(last: u8) -> IpAddr {
        [192, 0, 2, last].into()
    }

    fn is_over(eviction: &Eviction) -> bool {
        eviction.over.load(Ordering::Acquire)
    }

    #[test]
    fn the_oldest_answer_of_the_address_that_holds_the_most_is_evicted() {
        let answers = Arc::new(Answers::default());
        let evictions: Vec<Arc<Eviction>> = (0..5).map(|_| Arc::default()).collect();
        let reserve =
            |n: usize, last| answers.reserve(BIG, || address(last), &evictions[n]).unwrap();
        let _one = reserve(0, 1);
        let _greedy = [reserve(1, 9), reserve(2, 9), reserve(3, 9)];
        let _two = reserve(4, 2);
        let over: Vec<bool> = evictions.iter().map(|eviction| is_over(eviction)).collect();
        assert_eq!(over, [false, true, false, false, false]);
    }

    #[test]
    fn memory_is_released_and_small_answers_need_none() {
        let answers = Arc::new(Answers::default());
        let eviction = Arc::<Eviction>::default();
        for _ in 0..100 {
            let _reservation = answers.reserve(BIG, || address(1), &eviction).unwrap();
        }
        assert!(answers.reserve(SMALL - 1, || address(1), &eviction).is_none());
        assert!(!is_over(&eviction));
        assert_eq!(answers.0.lock().unwrap().bytes, 0);
        // An answer above the limit is sent alone.
        let _huge = answers.reserve(LIMIT * 2, || address(1), &eviction).unwrap();
    }
}
