//! What a profile said when it had fewer snapshots. Ordinals are given in the order in which merges admitted them, and a node's
//! members are ordinals: both together give every earlier state.

use std::collections::BTreeSet;

use chrono::TimeDelta;
use wsp_schemas::image::WorkloadKey;

use super::MergeError;
use super::ledger::{Ledger, LedgerRow, Outcome, Seen};
use super::score::{Observers, Scorer};
use crate::tables::OpenTable;

/// How a revision came about: its admitted snapshots, by ordinal.
#[derive(Debug)]
pub(crate) struct Course {
    admitted: Vec<LedgerRow>,
}

impl Course {
    /// Reads it from the ledger.
    pub(crate) async fn read(
        table: &OpenTable,
        workload: WorkloadKey,
        revision: i32,
    ) -> Result<Self, MergeError> {
        let ledger = Ledger::read(table, &BTreeSet::from([workload])).await?;
        let is_of_it = |row: &&LedgerRow| row.outcome == Outcome::Admitted && row.revision == Some(revision);
        let mut admitted: Vec<LedgerRow> = ledger.rows(workload).iter().filter(is_of_it).cloned().collect();
        admitted.sort_by_key(|row| row.ordinal);
        Ok(Self { admitted })
    }

    /// How many snapshots there are.
    pub(crate) fn snapshots(&self) -> u32 {
        u32::try_from(self.admitted.len()).unwrap_or(u32::MAX)
    }

    /// The revision as of its first snapshots; of all where there are fewer.
    pub(crate) fn first(&self, snapshots: u32) -> Earlier {
        let rows: Vec<&LedgerRow> = self.until(snapshots).iter().collect();
        let snapshots = u32::try_from(rows.len()).unwrap_or(u32::MAX);
        Earlier { observers: Observers::new(&rows), snapshots }
    }

    /// From the start of the first window to the latest end of the first `snapshots`.
    pub(crate) fn span(&self, snapshots: u32) -> TimeDelta {
        let seen: Vec<&Seen> = self.until(snapshots).iter().filter_map(|row| row.seen.as_ref()).collect();
        let end = seen.iter().map(|seen| seen.window_end).max();
        seen.first().zip(end).map_or_else(TimeDelta::zero, |(first, end)| end - first.window_start)
    }

    fn until(&self, snapshots: u32) -> &[LedgerRow] {
        let end = usize::try_from(snapshots).unwrap_or(usize::MAX).min(self.admitted.len());
        &self.admitted[..end]
    }
}

/// A revision as of its first snapshots.
#[derive(Debug)]
pub(crate) struct Earlier {
    observers: Observers,
    snapshots: u32,
}

impl Earlier {
    /// How many there are.
    pub(crate) fn snapshots(&self) -> u32 {
        self.snapshots
    }

    /// Containers that they are of.
    pub(crate) fn containers(&self) -> u32 {
        self.observers.containers()
    }

    /// Hosts that they are of.
    pub(crate) fn hosts(&self) -> u32 {
        self.observers.hosts()
    }

    /// Scores nodes by the members that they had then.
    pub(crate) fn scorer(&self) -> Scorer<'_> {
        self.observers.scorer()
    }
}
