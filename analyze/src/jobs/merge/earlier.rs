//! What a profile said when it had fewer snapshots. Ordinals are given in the order in which merges admitted them, and a node's
//! members are ordinals: both together give every earlier state.

use std::collections::BTreeSet;

use wsp_schemas::image::WorkloadKey;

use super::MergeError;
use super::ledger::{Ledger, LedgerRow, Outcome};
use super::score::{Observers, Scorer};
use crate::tables::OpenTable;

/// A revision as of its first snapshots.
#[derive(Debug)]
pub(crate) struct Earlier {
    observers: Observers,
    snapshots: u32,
}

impl Earlier {
    /// Reads what the ledger says of the first `snapshots`, of all where there are fewer.
    pub(crate) async fn read(
        table: &OpenTable,
        workload: WorkloadKey,
        revision: i32,
        snapshots: u32,
    ) -> Result<Self, MergeError> {
        let ledger = Ledger::read(table, &BTreeSet::from([workload])).await?;
        let is_of_it = |row: &&LedgerRow| row.outcome == Outcome::Admitted && row.revision == Some(revision);
        let mut admitted: Vec<&LedgerRow> = ledger.rows(workload).iter().filter(is_of_it).collect();
        admitted.sort_by_key(|row| row.ordinal);
        admitted.truncate(usize::try_from(snapshots).unwrap_or(usize::MAX));
        let snapshots = u32::try_from(admitted.len()).unwrap_or(u32::MAX);
        Ok(Self { observers: Observers::new(&admitted), snapshots })
    }

    /// How many there are.
    pub(crate) fn snapshots(&self) -> u32 {
        self.snapshots
    }

    /// Scores nodes by the members that they had then.
    pub(crate) fn scorer(&self) -> Scorer<'_> {
        self.observers.scorer()
    }
}
