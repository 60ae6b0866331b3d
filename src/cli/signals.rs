//! The signals that stop a server: the first one lets it finish, a second one stops it at once.

use std::{io, process, thread};

use tokio::{
    runtime::Builder,
    signal::unix::{SignalKind, signal},
};
use tokio_util::sync::CancellationToken;

/// What a shell calls a process that these signals have ended.
const INTERRUPTED: i32 = 130;
const TERMINATED: i32 = 143;

/// Listens on a thread of its own, which no other work keeps from it, until the process ends. At the
/// first signal it calls `stopping` and cancels the token.
///
/// # Errors
/// The system's.
pub(super) fn listen(stopping: impl Fn() + Send + 'static) -> io::Result<CancellationToken> {
    let runtime = Builder::new_current_thread().enable_io().build()?;
    let (mut interrupt, mut terminate) = {
        let _entered = runtime.enter();
        (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?)
    };
    let asked = CancellationToken::new();
    let told = asked.clone();
    let listening = async move {
        loop {
            let code = tokio::select! {
                _ = interrupt.recv() => INTERRUPTED,
                _ = terminate.recv() => TERMINATED,
            };
            if told.is_cancelled() {
                process::exit(code);
            }
            stopping();
            told.cancel();
        }
    };
    thread::Builder::new().name("signals".into()).spawn(move || runtime.block_on(listening))?;
    Ok(asked)
}
