use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::jobs::merge::Progress;

/// A progress bar on standard error; nothing where that is no terminal.
#[derive(Debug)]
pub(super) struct Bar(ProgressBar);

impl Bar {
    pub(super) fn new() -> Self {
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
        bar.set_style(
            ProgressStyle::with_template("{spinner} {msg}")
                .unwrap_or_else(|_| ProgressStyle::default_spinner()),
        );
        bar.enable_steady_tick(Duration::from_millis(120));
        Self(bar)
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}

impl Progress for Bar {
    fn files(&self, total: usize) {
        self.0.set_length(total as u64);
        let style = ProgressStyle::with_template("{msg} {wide_bar} {pos}/{len} files, {eta} left");
        self.0.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        self.0.set_message("reading");
    }

    fn files_done(&self, more: usize) {
        self.0.inc(more as u64);
    }

    fn stage(&self, text: &str) {
        self.0.set_message(text.to_owned());
    }
}
