//! The pauses between the attempts of a job that changes tables.

use std::time::Duration;

use backon::{BackoffBuilder as _, ExponentialBackoff, ExponentialBuilder};

use crate::tables::TableError;

/// Pauses with jitter, so that two jobs do not meet again and again.
#[derive(Debug)]
pub(super) struct Patience {
    conflicts: ExponentialBackoff,
    uncertain: ExponentialBackoff,
}

impl Patience {
    /// Begins anew so many times where another job was faster.
    pub(super) fn new(conflicts: usize) -> Self {
        let pauses = |times| {
            ExponentialBuilder::new()
                .with_jitter()
                .with_min_delay(Duration::from_millis(25))
                .with_max_delay(Duration::from_secs(3))
                .with_max_times(times)
                .build()
        };
        Self { conflicts: pauses(conflicts), uncertain: pauses(3) }
    }

    /// Waits before a new attempt; gives the error back where none is worth it. `table` says which error of a table it is.
    pub(super) async fn wait<E>(
        &mut self,
        error: E,
        table: impl Fn(&E) -> Option<&TableError>,
    ) -> Result<(), E> {
        let pause = match table(&error) {
            Some(TableError::Conflict { .. }) => self.conflicts.next(),
            // It may have been committed: the next attempt finds out, from what stands.
            Some(TableError::Uncertain { .. }) => self.uncertain.next(),
            _ => None,
        };
        tokio::time::sleep(pause.ok_or(error)?).await;
        Ok(())
    }
}
