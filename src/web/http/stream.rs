//! The stream of a connection, closed when the client is too slow or sends too much.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
    time::{Instant, Sleep, sleep, sleep_until},
};

use super::{connection::Connection, malformed::Refusal};

/// The bytes of an answer that a client must read within [`Limits::answer`].
const TAKEN: usize = 16 * 1024;
/// The bytes read before the thread's other connections have their turn. The pause uses a timer,
/// because a task that only wakes itself would keep the thread from polling its sockets.
const SLICE: usize = 256 * 1024;
const REST: Duration = Duration::from_millis(1);
/// The same while no handler waits for a body: for long heads, and bytes after an early answer.
const IDLE_SLICE: usize = 16 * 1024;
const IDLE_REST: Duration = Duration::from_millis(4);

/// Time limits of a client.
#[derive(Clone, Copy, Debug)]
pub(in crate::web) struct Limits {
    /// From the first byte of a request to the last one of its head.
    pub(in crate::web) head: Duration,
    /// For each 16 KiB of an answer.
    pub(in crate::web) answer: Duration,
}

/// The transport of a connection.
pub(in crate::web) trait Transport: AsyncRead + AsyncWrite + Unpin {
    /// Makes closing discard bytes that the client has not received yet.
    fn discard_unsent(&self);
}

impl Transport for TcpStream {
    fn discard_unsent(&self) {
        let _ = self.set_zero_linger();
    }
}

/// The stream below actix. actix limits the time for the first head and between two requests. This
/// limits everything else: further heads, bytes after a request that was answered early, answers
/// that the client does not read, and pipelined requests.
pub(in crate::web) struct Wire<S = TcpStream> {
    stream: S,
    limits: Limits,
    connection: Connection,
    /// Bytes read since the library last had its turn.
    turn: usize,
    /// Bytes read since the last pause.
    slice: usize,
    rest: Option<Pin<Box<Sleep>>>,
    /// The answer being sent instead of the library's.
    refusal: Option<Refusal>,
    /// When the first byte arrived that no answer has followed yet.
    unanswered: Option<Instant>,
    stall: Option<Stall>,
    /// Whether a read was postponed because of the stall.
    read_postponed: bool,
    timer: Option<Pin<Box<Sleep>>>,
}

/// An answer that the client is slow to read.
struct Stall {
    since: Instant,
    taken: usize,
}

impl<S: Transport> Wire<S> {
    pub(in crate::web) fn new(stream: S, limits: Limits) -> Self {
        metrics::gauge!("tenantry_connections").increment(1);
        Self {
            stream,
            limits,
            connection: Connection::default(),
            turn: 0,
            slice: 0,
            rest: None,
            refusal: None,
            unanswered: None,
            stall: None,
            read_postponed: false,
            timer: None,
        }
    }

    /// The state that it shares with its requests.
    pub(in crate::web) fn connection(&self) -> Connection {
        self.connection.clone()
    }

    /// How many bytes may be read in this turn. If none, the task is woken for the next turn.
    fn poll_turn(&mut self, cx: &mut Context<'_>) -> Poll<usize> {
        let allowed = self.connection.allowance(cx);
        if allowed == 0 {
            return Poll::Pending;
        }
        let (slice, rest) =
            if self.connection.wants_body() { (SLICE, REST) } else { (IDLE_SLICE, IDLE_REST) };
        if self.slice >= slice {
            let rest = self.rest.get_or_insert_with(|| Box::pin(sleep(rest)));
            ready!(rest.as_mut().poll(cx));
            (self.rest, self.slice) = (None, 0);
        }
        if self.turn >= allowed {
            // A request may have arrived that has to be handled before more is read.
            self.turn = 0;
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        Poll::Ready(allowed - self.turn)
    }

    /// Counts received bytes, and fails if the client sends too much framing or a slow head.
    fn received(&mut self, bytes: usize) -> io::Result<()> {
        self.turn += bytes;
        self.slice += bytes;
        self.connection.received(bytes);
        if self.connection.is_flooded() {
            return Err(self.abort("framing"));
        }
        if bytes > 0 {
            let since = *self.unanswered.get_or_insert_with(Instant::now);
            // For a client that sends without a pause, no timer ever runs.
            if self.connection.is_idle() && since.elapsed() > self.limits.head {
                return Err(closed("slow_request"));
            }
        }
        Ok(())
    }

    /// Ready once `deadline` has passed. The timer is rarely reset: one that fires too early starts
    /// again.
    fn poll_deadline(&mut self, cx: &mut Context<'_>, deadline: Instant) -> Poll<()> {
        let timer = self.timer.get_or_insert_with(|| Box::pin(sleep_until(deadline)));
        if timer.deadline() > deadline {
            timer.as_mut().reset(deadline);
        }
        loop {
            ready!(timer.as_mut().poll(cx));
            if Instant::now() >= deadline {
                return Poll::Ready(());
            }
            timer.as_mut().reset(deadline);
        }
    }

    /// Closes at once and discards the kernel's send buffer, which the client does not read.
    fn abort(&self, reason: &'static str) -> io::Error {
        self.stream.discard_unsent();
        closed(reason)
    }

    fn poll_send(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match Pin::new(&mut self.stream).poll_write(cx, bytes) {
            Poll::Ready(Ok(written)) => {
                self.written(written, bytes.len(), cx);
                Poll::Ready(Ok(written))
            }
            Poll::Pending => {
                let stall =
                    self.stall.get_or_insert_with(|| Stall { since: Instant::now(), taken: 0 });
                let deadline = stall.since + self.limits.answer;
                if self.connection.eviction().is_over(cx) {
                    return Poll::Ready(Err(self.abort("no_room")));
                }
                ready!(self.poll_deadline(cx, deadline));
                Poll::Ready(Err(self.abort("slow_reader")))
            }
            failed @ Poll::Ready(_) => failed,
        }
    }

    fn written(&mut self, bytes: usize, wanted: usize, cx: &Context<'_>) {
        self.unanswered = None;
        self.connection.answered();
        let Some(stall) = &mut self.stall else { return };
        stall.taken += bytes;
        if bytes == wanted || stall.taken >= TAKEN {
            self.stall = None;
            if std::mem::take(&mut self.read_postponed) {
                cx.waker().wake_by_ref();
            }
        }
    }
}

fn closed(reason: &'static str) -> io::Error {
    metrics::counter!("tenantry_connections_given_up_total", "reason" => reason).increment(1);
    io::Error::new(io::ErrorKind::TimedOut, reason)
}

impl<S: Transport> AsyncRead for Wire<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.stall.is_some() {
            // A client that does not read answers may not send further requests.
            this.read_postponed = true;
            return Poll::Pending;
        }
        let allowed = ready!(this.poll_turn(cx)).min(buffer.remaining());
        let mut piece = ReadBuf::new(buffer.initialize_unfilled_to(allowed));
        match Pin::new(&mut this.stream).poll_read(cx, &mut piece) {
            Poll::Pending => {
                (this.turn, this.slice) = (0, 0);
                let Some(since) = this.unanswered.filter(|_| this.connection.is_idle()) else {
                    return Poll::Pending;
                };
                let deadline = since + this.limits.head;
                ready!(this.poll_deadline(cx, deadline));
                Poll::Ready(Err(closed("slow_request")))
            }
            read @ Poll::Ready(_) => {
                let received = piece.filled().len();
                buffer.advance(received);
                this.received(received)?;
                read
            }
        }
    }
}

impl<S: Transport> AsyncWrite for Wire<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if this.refusal.is_none() && !this.connection.is_answering() {
            this.refusal = Refusal::of(bytes);
        }
        while let Some(mut refusal) = this.refusal.take() {
            let sent = this.poll_send(cx, &refusal.bytes[refusal.sent..]);
            refusal.sent += if let Poll::Ready(Ok(sent)) = sent { sent } else { 0 };
            if sent.is_ready() && refusal.sent == refusal.bytes.len() {
                return Poll::Ready(Ok(bytes.len()));
            }
            this.refusal = Some(refusal);
            ready!(sent)?;
        }
        this.poll_send(cx, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        this.connection.flushed();
        Pin::new(&mut this.stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(cx)
    }
}

impl<S> Drop for Wire<S> {
    fn drop(&mut self) {
        metrics::gauge!("tenantry_connections").decrement(1);
    }
}

#[cfg(test)]
#[path = "stream_tests.rs"]
mod tests;
