//! The state that the stream below the HTTP library and the requests above it share.

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
    sync::Arc,
    task::{Context, Waker},
};

use super::answers::Eviction;
use crate::failpoint;

/// The bytes that may be read ahead of the current request, and in one turn outside of bodies.
/// Waiting requests take far more memory than their bytes: a head of 200 bytes can have 57 headers,
/// in 28 KiB.
const READ_AHEAD: usize = 2 * 1024;
/// The bytes of a body that are read in one turn.
const BODY_PIECE: usize = 64 * 1024;
/// Bytes on the wire that may not belong to the body while one is read: heads and buffers.
const FRAMING: u64 = 1024 * 1024;
/// The maximum bytes on the wire per byte of a body: a chunk of one byte takes six.
const FRAMING_RATIO: u64 = 8;

/// The state of one connection, shared by its stream and its requests.
#[derive(Clone, Debug, Default)]
pub(in crate::web) struct Connection(Rc<State>);

#[derive(Debug, Default)]
struct State {
    /// The number of requests being handled. While there is one, no time limit applies to the
    /// client.
    handled: Cell<u32>,
    /// Whether the bytes written come from a handler, not from the library itself.
    answering: Cell<bool>,
    /// The number of answer bodies being sent.
    unsent: Cell<u32>,
    /// The body that a handler waits for.
    wanted: Cell<Option<Wanted>>,
    /// Bytes received since the last answer or since a body was wanted.
    read: Cell<u64>,
    /// How many of them were passed to handlers as a body.
    taken: Cell<u64>,
    /// Wakes the task that reads, once it may read more.
    reader: RefCell<Option<Waker>>,
    /// Closes the connection when its unread answer has to free memory.
    eviction: Arc<Eviction>,
}

/// The body that a handler waits for.
#[derive(Clone, Copy, Debug)]
enum Wanted {
    /// This many bytes are missing.
    Bytes(usize),
    /// A chunked body, which ends with its last chunk.
    Chunks,
}

/// A request that is being handled, until dropped.
pub(in crate::web) struct Handled(Connection);

/// The body of an answer that is being sent, until dropped.
pub(in crate::web) struct Unsent(Connection);

/// A body that is being read, until dropped.
pub(in crate::web) struct BodyWanted(Connection);

impl Connection {
    /// Starts handling a request.
    pub(in crate::web) fn begin(&self) -> Handled {
        self.0.handled.set(self.0.handled.get() + 1);
        self.0.answering.set(true);
        Handled(self.clone())
    }

    /// Starts sending the body of an answer in pieces.
    pub(in crate::web) fn send(&self) -> Unsent {
        self.0.unsent.set(self.0.unsent.get() + 1);
        Unsent(self.clone())
    }

    /// Whether the bytes written come from a handler.
    pub(in crate::web) fn is_answering(&self) -> bool {
        self.0.answering.get()
    }

    /// Records that all output was written.
    pub(in crate::web) fn flushed(&self) {
        if self.is_idle() && self.0.unsent.get() == 0 {
            self.0.answering.set(false);
        }
    }

    /// Starts reading a body of this many bytes, or a chunked one.
    pub(in crate::web) fn want_body(&self, bytes: Option<usize>) -> BodyWanted {
        let wanted = bytes.map_or(Wanted::Chunks, Wanted::Bytes);
        self.0.wanted.set(Some(wanted));
        self.0.read.set(0);
        self.0.taken.set(0);
        self.wake();
        BodyWanted(self.clone())
    }

    /// Closes the connection from outside.
    pub(in crate::web) fn eviction(&self) -> &Arc<Eviction> {
        &self.0.eviction
    }

    pub(in crate::web) fn wants_body(&self) -> bool {
        self.0.wanted.get().is_some()
    }

    pub(in crate::web) fn is_idle(&self) -> bool {
        self.0.handled.get() == 0
    }

    /// How many bytes may be read now. If 0, the task is woken when that changes.
    pub(in crate::web) fn allowance(&self, cx: &Context<'_>) -> usize {
        let state = &self.0;
        let allowed = match state.wanted.get() {
            Some(Wanted::Chunks) => READ_AHEAD,
            Some(Wanted::Bytes(left)) => left.clamp(READ_AHEAD, BODY_PIECE),
            None if self.is_idle() => READ_AHEAD,
            None => {
                let ahead = usize::try_from(state.read.get()).unwrap_or(usize::MAX);
                READ_AHEAD.saturating_sub(ahead)
            }
        };
        if allowed == 0 {
            *state.reader.borrow_mut() = Some(cx.waker().clone());
        }
        allowed
    }

    /// Records received bytes.
    pub(in crate::web) fn received(&self, bytes: usize) {
        let state = &self.0;
        state.read.set(state.read.get().saturating_add(bytes as u64));
        if let Some(Wanted::Bytes(left)) = state.wanted.get() {
            state.wanted.set(Some(Wanted::Bytes(left.saturating_sub(bytes))));
        }
    }

    /// Records bytes of a body that were passed to a handler.
    pub(in crate::web) fn took(&self, bytes: u64) {
        self.0.taken.set(self.0.taken.get().saturating_add(bytes));
    }

    /// Whether too many of the bytes received for a body are framing: chunk sizes, extensions,
    /// trailers.
    pub(in crate::web) fn is_flooded(&self) -> bool {
        failpoint!("framing.unbounded", return false);
        let taken = self.0.taken.get();
        let allowed = taken.saturating_mul(FRAMING_RATIO).saturating_add(FRAMING);
        self.wants_body() && self.0.read.get().saturating_sub(taken) > allowed
    }

    /// Records that something was written, and restarts the count of received bytes unless another
    /// request is being handled. Otherwise every answer would allow reading further ahead.
    pub(in crate::web) fn answered(&self) {
        if self.is_idle() {
            self.0.read.set(0);
            self.wake();
        }
    }

    fn wake(&self) {
        if let Some(reader) = self.0.reader.borrow_mut().take() {
            reader.wake();
        }
    }
}

impl Drop for Handled {
    fn drop(&mut self) {
        let Self(connection) = self;
        let handled = &connection.0.handled;
        handled.set(handled.get().saturating_sub(1));
        connection.wake();
    }
}

impl Drop for Unsent {
    fn drop(&mut self) {
        let unsent = &self.0.0.unsent;
        unsent.set(unsent.get().saturating_sub(1));
    }
}

impl Drop for BodyWanted {
    fn drop(&mut self) {
        self.0.0.wanted.set(None);
    }
}
