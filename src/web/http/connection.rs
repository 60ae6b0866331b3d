//! What the two ends of one connection know of each other: the stream below the HTTP library, and
//! the requests above it.

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
    sync::Arc,
    task::{Context, Waker},
};

use super::answers::Eviction;
use crate::failpoint;

/// The bytes that are read ahead of what is handled, and at once where no body is. Requests that wait
/// take far more memory than their bytes: a head of 200 bytes can have 57 headers, in 28 KiB.
const READ_AHEAD: usize = 2 * 1024;
/// The bytes of a body that are read at once.
const BODY_PIECE: usize = 64 * 1024;
/// Bytes on the wire that may be no body while one is read: heads and buffers.
const FRAMING: u64 = 1024 * 1024;
/// Bytes on the wire for each byte of a body: a chunk of one byte takes six.
const FRAMING_RATIO: u64 = 8;

/// The state of one connection, shared by its stream and its requests.
#[derive(Clone, Debug, Default)]
pub(in crate::web) struct Connection(Rc<State>);

#[derive(Debug, Default)]
struct State {
    /// How many requests are being handled: while one is, it is the server's turn.
    handled: Cell<u32>,
    /// Whether what is written is the answer of a handler, and not the library's own.
    answering: Cell<bool>,
    /// How many bodies of answers are being sent.
    unsent: Cell<u32>,
    /// The bytes that are missing of the body that a handler waits for, as far as it says.
    wanted: Cell<Option<Wanted>>,
    /// Bytes that have come since something was last answered.
    read: Cell<u64>,
    /// Bytes of bodies that handlers have got of them.
    taken: Cell<u64>,
    /// Who reads on once there is room.
    reader: RefCell<Option<Waker>>,
    /// Ends the connection when its unread answer is in the way of others.
    eviction: Arc<Eviction>,
}

/// What a handler waits for.
#[derive(Clone, Copy, Debug)]
enum Wanted {
    /// So many bytes of the connection.
    Bytes(usize),
    /// Chunks, of which the last one ends the body.
    Chunks,
}

/// A request that is being handled, until dropped.
pub(in crate::web) struct Handled(Connection);

/// The body of an answer that is being sent, until dropped.
pub(in crate::web) struct Unsent(Connection);

/// A body that is being read, until dropped.
pub(in crate::web) struct BodyWanted(Connection);

impl Connection {
    /// Begins to handle a request.
    pub(in crate::web) fn begin(&self) -> Handled {
        self.0.handled.set(self.0.handled.get() + 1);
        self.0.answering.set(true);
        Handled(self.clone())
    }

    /// Begins to send the body of an answer in pieces.
    pub(in crate::web) fn send(&self) -> Unsent {
        self.0.unsent.set(self.0.unsent.get() + 1);
        Unsent(self.clone())
    }

    /// Whether what is written comes from a handler.
    pub(in crate::web) fn is_answering(&self) -> bool {
        self.0.answering.get()
    }

    /// All that was to be written is written.
    pub(in crate::web) fn flushed(&self) {
        if self.is_idle() && self.0.unsent.get() == 0 {
            self.0.answering.set(false);
        }
    }

    /// Begins to read a body of so many bytes, or one in chunks.
    pub(in crate::web) fn want_body(&self, bytes: Option<usize>) -> BodyWanted {
        let wanted = bytes.map_or(Wanted::Chunks, Wanted::Bytes);
        self.0.wanted.set(Some(wanted));
        self.0.read.set(0);
        self.0.taken.set(0);
        self.wake();
        BodyWanted(self.clone())
    }

    /// What ends the connection from elsewhere.
    pub(in crate::web) fn eviction(&self) -> &Arc<Eviction> {
        &self.0.eviction
    }

    pub(in crate::web) fn wants_body(&self) -> bool {
        self.0.wanted.get().is_some()
    }

    pub(in crate::web) fn is_idle(&self) -> bool {
        self.0.handled.get() == 0
    }

    /// How many bytes may be read now. Where it is none, the reader is woken when there are some.
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

    /// So many bytes have come.
    pub(in crate::web) fn came(&self, bytes: usize) {
        let state = &self.0;
        state.read.set(state.read.get().saturating_add(bytes as u64));
        if let Some(Wanted::Bytes(left)) = state.wanted.get() {
            state.wanted.set(Some(Wanted::Bytes(left.saturating_sub(bytes))));
        }
    }

    /// So many bytes of a body have reached their handler.
    pub(in crate::web) fn took(&self, bytes: u64) {
        self.0.taken.set(self.0.taken.get().saturating_add(bytes));
    }

    /// Whether much more has come for a body than the body: chunk sizes, extensions, trailers.
    pub(in crate::web) fn is_flooded(&self) -> bool {
        failpoint!("framing.unbounded", return false);
        let taken = self.0.taken.get();
        let allowed = taken.saturating_mul(FRAMING_RATIO).saturating_add(FRAMING);
        self.wants_body() && self.0.read.get().saturating_sub(taken) > allowed
    }

    /// Something was answered; what comes from now on is counted anew, unless the next request has
    /// begun already. Each answer would let more be read than is handled otherwise.
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
