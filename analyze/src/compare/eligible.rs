//! In how many containers a profile could have seen a node that it does not have.

use std::collections::{HashMap, HashSet};

use arrow::array::RecordBatch;

use crate::jobs::merge::makes_eligible;
use crate::rows::Reader;

/// Eligible containers by kind and phase, as the merge counts them.
#[derive(Debug, Default)]
pub(crate) struct Eligible(HashMap<(String, bool), HashSet<(String, String)>>);

impl Eligible {
    /// From the admitted snapshots of a profile.
    pub(crate) fn of(snapshots: &[RecordBatch]) -> Self {
        let mut found = Self::default();
        for batch in snapshots {
            let read = Reader::new(batch);
            for row in 0..batch.num_rows() {
                let (Some(host), Some(id)) = (read.text("host", row), read.text("container_id", row)) else {
                    continue;
                };
                let covers_start = read.bool("covers_start", row) == Some(true);
                for (kind, state) in read.text_map("completeness", row) {
                    let phases = [false, true].into_iter();
                    for startup in phases.filter(|startup| makes_eligible(&state, covers_start, *startup)) {
                        let containers = found.0.entry((kind.clone(), startup)).or_default();
                        containers.insert((host.to_owned(), id.to_owned()));
                    }
                }
            }
        }
        found
    }

    /// How many there are.
    pub(crate) fn containers(&self, kind: &str, startup: bool) -> u32 {
        let found = self.0.get(&(kind.to_owned(), startup)).map_or(0, HashSet::len);
        u32::try_from(found).unwrap_or(u32::MAX)
    }
}
