//! The process that stops `mongod` after its last user has ended, for whatever reason.

use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};
use std::{io, thread};

use std::os::unix::process::CommandExt;

use tokio::sync::oneshot;

use super::{
    data_dir::{DataDir, Lock, create},
    error::EmbeddedError,
    process,
};

/// The hidden subcommand that runs [`watch`].
pub const SUBCOMMAND: &str = "embedded-watch";

/// What the watcher says.
const OUTPUT: &str = "watcher.out";
const POLL: Duration = Duration::from_millis(5);
const PATIENCE: Duration = Duration::from_secs(20);

/// Waits until no process uses the database in `dir`, then stops its `mongod`.
///
/// # Errors
///
/// If the directory or one of its locks cannot be opened.
pub fn watch(dir: &Path) -> io::Result<()> {
    let dir = DataDir::open(dir)?;
    let watch = dir.lock(Lock::Watch)?;
    let users = dir.lock(Lock::Users)?;
    let outcome = process::stop_all(&dir);
    // The order matters: the next holder of the users' lock must not see a watcher that is
    // finishing.
    drop(watch);
    drop(users);
    outcome
}

/// Ensures that a watcher waits for the caller, who holds the users' lock; `true` if it is new.
pub(super) fn ensure(dir: &DataDir, program: &Path) -> Result<bool, EmbeddedError> {
    let io = EmbeddedError::io("look at the watcher's lock");
    if dir.is_locked(Lock::Watch).map_err(io)? {
        return Ok(false);
    }
    let failed = |reason: String| EmbeddedError::Watcher { program: program.to_owned(), reason };
    let mut child = spawn(dir, program).map_err(|error| failed(error.to_string()))?;
    let until = Instant::now() + PATIENCE;
    while !dir.is_locked(Lock::Watch).map_err(io)? {
        if let Some(status) = child.try_wait().map_err(io)? {
            let said = fs_err::read_to_string(dir.file(OUTPUT)).unwrap_or_default();
            return Err(failed(format!("it ended with {status} and said {:?}", said.trim())));
        }
        if Instant::now() >= until {
            return Err(failed("it does not take its lock".to_owned()));
        }
        thread::sleep(POLL);
    }
    reap(child);
    Ok(true)
}

/// Uses a separate process group, so that Ctrl-C in the terminal ends the users but not the
/// watcher.
fn spawn(dir: &DataDir, program: &Path) -> io::Result<Child> {
    let output = create(&dir.file(OUTPUT))?;
    Command::new(std::path::absolute(program)?)
        .args([SUBCOMMAND.as_ref(), "--dir".as_ref(), dir.root().as_os_str()])
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(output.into_file())
        .process_group(0)
        .spawn()
}

/// Waits for the child on a thread, so that it leaves no zombie while this process lives; how it
/// ended.
pub(super) fn reap(mut child: Child) -> oneshot::Receiver<ExitStatus> {
    let (sender, ended) = oneshot::channel();
    // The receiver may be gone.
    thread::spawn(move || child.wait().map(|status| sender.send(status)));
    ended
}
