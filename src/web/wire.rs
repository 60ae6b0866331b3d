//! A client's connection, which is given up when the client does not do its part.

use std::{
    cell::Cell,
    io,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
    time::{Instant, Sleep, sleep_until},
};

/// What a client must take of an answer, in bytes, within the time that an answer may wait.
const TAKEN: usize = 16 * 1024;
/// How often a connection may be polled without a byte to or fro while its requests wait. Where
/// more of them have come than are read ahead, actix polls itself without pause.
const TURNS: u32 = 10_000;

/// How long a client may take.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// From the first byte of a request to the last one of its head.
    pub(super) head: Duration,
    /// Over each 16 KiB of an answer.
    pub(super) answer: Duration,
}

/// How many requests of a connection are being handled: while one is, it is the server's turn.
#[derive(Clone, Debug, Default)]
pub(super) struct Handling(Rc<Cell<u32>>);

/// One of them, until dropped.
pub(super) struct Handled(Handling);

/// The stream under actix. actix limits the time for the first head and between two requests; the
/// rest of it is here: further heads, what follows a request that was answered early, answers that
/// nobody takes, and more requests at once than are read.
pub(super) struct Wire {
    stream: TcpStream,
    limits: Limits,
    handling: Handling,
    /// Since when something has come that no answer followed.
    unanswered: Option<Instant>,
    stall: Option<Stall>,
    /// Whether a read was put off because of the stall.
    put_off: bool,
    turns: u32,
    timer: Option<Pin<Box<Sleep>>>,
}

/// An answer that waits for the client.
struct Stall {
    since: Instant,
    taken: usize,
}

impl Handling {
    pub(super) fn begin(&self) -> Handled {
        self.0.set(self.0.get() + 1);
        Handled(self.clone())
    }

    fn is_idle(&self) -> bool {
        self.0.get() == 0
    }
}

impl Drop for Handled {
    fn drop(&mut self) {
        let Self(Handling(count)) = self;
        count.set(count.get().saturating_sub(1));
    }
}

impl Wire {
    pub(super) fn new(stream: TcpStream, limits: Limits) -> Self {
        metrics::gauge!("tenantry_connections").increment(1);
        Self {
            stream,
            limits,
            handling: Handling::default(),
            unanswered: None,
            stall: None,
            put_off: false,
            turns: 0,
            timer: None,
        }
    }

    /// Counts the requests that are being handled.
    pub(super) fn handling(&self) -> Handling {
        self.handling.clone()
    }

    /// Ready once `deadline` is over. The timer is seldom set: one that fires too early is set
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

    /// Closes at once: what lies in the system's buffer is for nobody.
    fn abort(&self, reason: &'static str) -> io::Error {
        let _ = self.stream.set_zero_linger();
        given_up(reason)
    }

    fn count_turn(&mut self) -> io::Result<()> {
        self.turns += 1;
        if self.turns > TURNS { Err(self.abort("flood")) } else { Ok(()) }
    }

    fn written(&mut self, bytes: usize, wanted: usize, cx: &Context<'_>) {
        (self.unanswered, self.turns) = (None, 0);
        let Some(stall) = &mut self.stall else { return };
        stall.taken += bytes;
        if bytes == wanted || stall.taken >= TAKEN {
            self.stall = None;
            if std::mem::take(&mut self.put_off) {
                cx.waker().wake_by_ref();
            }
        }
    }
}

fn given_up(reason: &'static str) -> io::Error {
    metrics::counter!("tenantry_connections_given_up_total", "reason" => reason).increment(1);
    io::Error::new(io::ErrorKind::TimedOut, reason)
}

impl AsyncRead for Wire {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        this.turns = 0;
        if this.stall.is_some() {
            // Who does not take answers may not ask for more of them.
            this.put_off = true;
            return Poll::Pending;
        }
        let before = buffer.filled().len();
        match Pin::new(&mut this.stream).poll_read(cx, buffer) {
            Poll::Pending => {
                let Some(since) = this.unanswered.filter(|_| this.handling.is_idle()) else {
                    return Poll::Pending;
                };
                let deadline = since + this.limits.head;
                ready!(this.poll_deadline(cx, deadline));
                Poll::Ready(Err(given_up("slow_request")))
            }
            read @ Poll::Ready(_) => {
                if buffer.filled().len() > before {
                    this.unanswered.get_or_insert_with(Instant::now);
                }
                read
            }
        }
    }
}

impl AsyncWrite for Wire {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        match Pin::new(&mut this.stream).poll_write(cx, bytes) {
            Poll::Ready(Ok(written)) => {
                this.written(written, bytes.len(), cx);
                Poll::Ready(Ok(written))
            }
            Poll::Pending => {
                this.count_turn()?;
                let stall =
                    this.stall.get_or_insert_with(|| Stall { since: Instant::now(), taken: 0 });
                let deadline = stall.since + this.limits.answer;
                ready!(this.poll_deadline(cx, deadline));
                Poll::Ready(Err(this.abort("slow_reader")))
            }
            failed @ Poll::Ready(_) => failed,
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        this.count_turn()?;
        Pin::new(&mut this.stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(cx)
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        metrics::gauge!("tenantry_connections").decrement(1);
    }
}
