//! Shows how far long work is. A thread of its own does that, so the work never waits for a
//! terminal or a pipe that nobody reads.

use std::{
    io::{self, IsTerminal, Write},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
        mpsc::{self, Receiver, RecvTimeoutError, Sender},
    },
    thread,
    time::Duration,
};

use indicatif::ProgressBar;

/// Work that is shown until it ends or this is dropped.
#[derive(Debug)]
pub(crate) struct Progress {
    position: Arc<AtomicU64>,
    complete: Sender<()>,
    ended: Receiver<()>,
}

/// How long anything waits for what it shows.
const SHOWN_WITHIN: Duration = Duration::from_secs(1);

/// Prints a line on the standard error for a person, who misses it if nobody reads there.
pub(crate) fn tell(line: String) {
    let (told, heard) = mpsc::channel();
    thread::spawn(move || {
        let _ = writeln!(io::stderr(), "{line}");
        told.send(())
    });
    let _ = heard.recv_timeout(SHOWN_WITHIN);
}

impl Progress {
    /// How often it is shown.
    pub(crate) const INTERVAL: Duration = Duration::from_millis(100);

    /// Shows `bar` on a terminal, and anywhere else `plain`, if there is one: as a line at the start
    /// and one at the end.
    pub(crate) fn start(bar: ProgressBar, plain: Option<String>) -> Self {
        let position = Arc::new(AtomicU64::new(0));
        let ((complete, completed), (shown, ended)) = (mpsc::channel(), mpsc::channel());
        let seen = Arc::clone(&position);
        let plain = plain.filter(|_| !io::stderr().is_terminal());
        thread::spawn(move || {
            let say = |more: &str| {
                if let Some(plain) = &plain {
                    let _ = writeln!(io::stderr(), "{plain}{more}");
                }
            };
            say("");
            let complete = loop {
                match completed.recv_timeout(Self::INTERVAL) {
                    Err(RecvTimeoutError::Timeout) => bar.set_position(seen.load(Relaxed)),
                    told => break told.is_ok(),
                }
            };
            if complete {
                bar.finish_using_style();
                say(": done");
            } else {
                bar.abandon();
            }
            drop(shown);
        });
        Self { position, complete, ended }
    }

    /// How far it is now; it never goes back.
    pub(crate) fn set(&self, position: u64) {
        self.position.fetch_max(position, Relaxed);
    }

    /// So much more is done.
    pub(crate) fn add(&self, more: u64) {
        self.position.fetch_add(more, Relaxed);
    }

    /// The work is complete.
    pub(crate) fn end(self) {
        let _ = self.complete.send(());
        let _ = self.ended.recv_timeout(SHOWN_WITHIN);
    }
}
