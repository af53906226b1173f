use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::jobs::merge::Progress;
use crate::jobs::store;

/// A progress bar on standard error; nothing where that is no terminal, or where the log tells the same there.
#[derive(Debug)]
pub(super) struct Bar(ProgressBar);

impl Bar {
    pub(super) fn new() -> Self {
        let logs = tracing::enabled!(tracing::Level::INFO);
        let target = if logs { ProgressDrawTarget::hidden() } else { ProgressDrawTarget::stderr() };
        let bar = ProgressBar::with_draw_target(None, target);
        bar.set_style(
            ProgressStyle::with_template("{spinner} {msg}")
                .unwrap_or_else(|_| ProgressStyle::default_spinner()),
        );
        bar.enable_steady_tick(Duration::from_millis(120));
        Self(bar)
    }

    fn told(&self, text: &str) {
        tracing::info!("{text}");
        self.0.set_message(text.to_owned());
    }

    fn count(&self, total: u64, unit: &'static str) {
        tracing::info!("{total} {unit}");
        self.0.set_length(total);
        let style = ProgressStyle::with_template(&format!(
            "{{msg}} {{wide_bar}} {{pos}}/{{len}} {unit}, {{eta}} left"
        ));
        self.0.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}

impl Progress for Bar {
    fn files(&self, total: usize) {
        self.count(total as u64, "files");
        self.told("reading");
    }

    fn files_done(&self, more: usize) {
        self.0.inc(more as u64);
    }

    fn stage(&self, text: &str) {
        self.told(text);
    }
}

impl store::Progress for Bar {
    fn total(&self, units: u64, unit: &'static str) {
        self.count(units, unit);
    }

    fn done(&self, units: u64) {
        self.0.inc(units);
    }

    fn stage(&self, text: &str) {
        self.told(text);
    }
}
