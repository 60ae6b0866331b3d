//! Shows the progress of a download: a bar on a terminal, otherwise two plain lines.
#![expect(clippy::print_stderr, reason = "progress is shown to the user")]

use std::io::{self, IsTerminal};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

const TEMPLATE: &str = "{msg} {wide_bar} {decimal_bytes} of {decimal_total_bytes}";

#[derive(Debug)]
pub(super) struct Progress {
    what: &'static str,
    bar: Option<ProgressBar>,
}

impl Progress {
    /// How often to update.
    pub(super) const INTERVAL: Duration = Duration::from_millis(100);

    pub(super) fn start(what: &'static str, bytes: u64) -> Self {
        if !io::stderr().is_terminal() {
            eprintln!("{what}: {} MB", bytes / 1_000_000);
            return Self { what, bar: None };
        }
        let bar = ProgressBar::with_draw_target(Some(bytes), ProgressDrawTarget::stderr());
        let style = ProgressStyle::with_template(TEMPLATE);
        let bar = bar.with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        bar.set_message(what);
        Self { what, bar: Some(bar) }
    }

    /// Shows the bytes on disk. The bar never goes back, although files are moved away at the end.
    pub(super) fn show(&self, bytes: u64) {
        if let Some(bar) = &self.bar {
            let most = bar.length().unwrap_or(bytes);
            bar.set_position(bytes.min(most).max(bar.position()));
        }
    }

    pub(super) fn end(self, complete: bool) {
        match self.bar {
            Some(bar) if complete => bar.finish(),
            Some(bar) => bar.abandon(),
            None if complete => eprintln!("{}: done", self.what),
            None => {}
        }
    }
}
