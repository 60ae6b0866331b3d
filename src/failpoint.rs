//! Fail points, where tests kill the process or turn a protection off. Release builds have none.

/// Marks a point between two steps, or a protection. In debug builds, the environment variable
/// `FAILPOINTS="<name>=return"` kills the process at this point, as `kill -9` would, or turns the
/// protection off.
#[macro_export]
macro_rules! failpoint {
    ($name:literal) => {
        #[cfg(debug_assertions)]
        $crate::failpoint::reach($name);
    };
    // Turns a protection off, for the negative control of a test.
    ($name:literal, $instead:expr) => {
        #[cfg(debug_assertions)]
        if $crate::failpoint::is_armed($name) {
            $instead
        }
    };
}

#[cfg(debug_assertions)]
tokio::task_local! {
    static OFF: &'static str;
}

/// Arms the points listed in `FAILPOINTS`; dropping the guard disarms them.
#[cfg(debug_assertions)]
#[must_use]
pub fn arm() -> fail::FailScenario<'static> {
    fail::FailScenario::setup()
}

/// Runs `work` with one protection turned off. It stays on for everything else in the process,
/// including tasks that `work` spawns.
#[cfg(debug_assertions)]
pub async fn without<F: Future>(protection: &'static str, work: F) -> F::Output {
    OFF.scope(protection, work).await
}

/// Whether the point is armed.
#[cfg(debug_assertions)]
#[must_use]
pub fn is_armed(name: &str) -> bool {
    OFF.try_with(|off| *off == name) == Ok(true) || fail::eval(name, |_| ()).is_some()
}

/// Kills the process if the point is armed.
#[cfg(debug_assertions)]
pub fn reach(name: &str) {
    fail::eval(name, |_| {
        let _ =
            rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
    });
}
