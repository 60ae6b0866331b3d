//! Finds and stops the `mongod` that serves a directory, whichever process started it.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::{Duration, Instant};
use std::{io, thread};

use fs_err as fs;
use rustix::process::{Pid, Signal, kill_process, test_kill_process};
use serde::{Deserialize, Serialize};

use super::data_dir::{DataDir, write_atomically};

const RECORD: &str = "mongod.json";
const POLL: Duration = Duration::from_millis(20);
const PATIENCE: Duration = Duration::from_mins(1);
/// Longer than any process takes to execute another program.
const EXEC_TIME: Duration = Duration::from_secs(1);

/// A `mongod` that was running when last checked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Mongod {
    pub(super) pid: i32,
    pub(super) port: u16,
    /// Unknown if the starting process was killed before it wrote the record.
    #[serde(default)]
    pub(super) version: Option<String>,
}

impl Mongod {
    /// Finds the `mongod` that runs on this directory: the recorded one, or any with this
    /// `--dbpath`.
    pub(super) fn find(dir: &DataDir) -> io::Result<Option<Self>> {
        if let Some(recorded) = Self::recorded(dir)
            && recorded.is_confirmed(dir)
        {
            return Ok(Some(recorded));
        }
        if !has_proc() {
            return Ok(None);
        }
        for entry in fs::read_dir("/proc")? {
            let name = entry?.file_name();
            if let Some(pid) = name.to_str().and_then(|name| name.parse().ok())
                && let Presence::Serves(port) = presence(pid, dir)
            {
                return Ok(Some(Self { pid, port, version: None }));
            }
        }
        Ok(None)
    }

    /// Records which process serves the directory.
    pub(super) fn record(&self, dir: &DataDir) -> io::Result<()> {
        write_atomically(&dir.file(RECORD), &serde_json::to_string(self)?)
    }

    /// Whether the process, which served the directory, still runs.
    pub(super) fn is_alive(&self, dir: &DataDir) -> bool {
        if has_proc() {
            return presence(self.pid, dir) != Presence::Gone;
        }
        exists(self.pid)
    }

    /// Whether the process serves the directory; waits for one that is just executing `mongod`.
    fn is_confirmed(&self, dir: &DataDir) -> bool {
        if !has_proc() {
            return self.is_alive(dir);
        }
        let until = Instant::now() + EXEC_TIME;
        loop {
            match presence(self.pid, dir) {
                Presence::Serves(_) => return true,
                Presence::Nameless if Instant::now() < until => thread::sleep(POLL),
                _ => return false,
            }
        }
    }

    fn recorded(dir: &DataDir) -> Option<Self> {
        let text = fs::read_to_string(dir.file(RECORD)).ok()?;
        serde_json::from_str(&text).ok()
    }

    /// Terminates the process, and kills it if it does not end in time.
    fn stop(&self, dir: &DataDir) {
        for (signal, patience) in [(Signal::TERM, PATIENCE), (Signal::KILL, PATIENCE)] {
            if let Some(pid) = Pid::from_raw(self.pid) {
                // It may already have ended, which the wait notices.
                let _ = kill_process(pid, signal);
            }
            let until = Instant::now() + patience;
            while self.is_alive(dir) && Instant::now() < until {
                thread::sleep(POLL);
            }
            if !self.is_alive(dir) {
                return;
            }
        }
    }
}

/// Stops every `mongod` of the directory and deletes its record.
pub(super) fn stop_all(dir: &DataDir) -> io::Result<()> {
    while let Some(mongod) = Mongod::find(dir)? {
        mongod.stop(dir);
    }
    match fs::remove_file(dir.file(RECORD)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn exists(pid: i32) -> bool {
    Pid::from_raw(pid).is_some_and(|pid| test_kill_process(pid).is_ok())
}

fn has_proc() -> bool {
    Path::new("/proc/self/stat").exists()
}

/// What the process list shows about a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Presence {
    /// It is a live `mongod` on the directory, on this port.
    Serves(u16),
    /// Its command line is empty or cannot be read: it is executing another program, or is part of
    /// the kernel.
    Nameless,
    /// It has ended, or is another program.
    Gone,
}

fn presence(pid: i32, dir: &DataDir) -> Presence {
    let read = |name| fs::read(format!("/proc/{pid}/{name}"));
    let (Ok(command), Ok(stat)) = (read("cmdline"), read("stat")) else {
        // This process may be out of file handles, which must not look like the end of `mongod`.
        return if exists(pid) { Presence::Nameless } else { Presence::Gone };
    };
    match port_of(&command, &dir.db()) {
        _ if is_zombie(&stat) => Presence::Gone,
        Some(port) => Presence::Serves(port),
        None if command.is_empty() => Presence::Nameless,
        None => Presence::Gone,
    }
}

fn port_of(command: &[u8], db: &Path) -> Option<u16> {
    let words: Vec<&[u8]> = command.split(|byte| *byte == 0).collect();
    let value = |flag: &str| {
        let at = words.iter().position(|word| *word == flag.as_bytes())?;
        words.get(at + 1).copied()
    };
    if OsStr::from_bytes(value("--dbpath")?) != db.as_os_str() {
        return None;
    }
    std::str::from_utf8(value("--port")?).ok()?.parse().ok()
}

/// The state follows the name, which may contain any characters, including parentheses.
fn is_zombie(stat: &[u8]) -> bool {
    let name_end = stat.iter().rposition(|byte| *byte == b')');
    let state = name_end.and_then(|end| stat.get(end + 2));
    matches!(state, Some(b'Z' | b'X'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_ours_only_with_exactly_our_database_path() {
        let command = b"mongod\0--dbpath\0/a b/db\0--port\x004711\0";
        assert_eq!(port_of(command, Path::new("/a b/db")), Some(4711));
        assert_eq!(port_of(command, Path::new("/a b")), None);
        assert_eq!(port_of(b"grep\0/a b/db\0", Path::new("/a b/db")), None);
    }

    #[test]
    fn a_zombie_is_recognized_by_its_state_and_not_by_its_name() {
        assert!(is_zombie(b"12 (mongod) Z 1 12"));
        assert!(!is_zombie(b"12 (a) Z b) S 1 12"));
    }
}
