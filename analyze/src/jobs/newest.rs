//! Which containers were recorded last: those whose snapshots stand in the newest hours of a store.

use std::collections::{BTreeMap, HashMap};

use chrono::{DateTime, TimeDelta, Utc};
use futures::{StreamExt as _, stream};
use wsp_schemas::image::WorkloadKey;
use wsp_schemas::snapshot::{Limits, SnapshotMeta, decode};
use wsp_schemas::store::Store;

use super::fetch::{Files, at_once};
use super::judgement::disagreement;
use super::merge::MergeError;
use super::merge::listing::{self, Listed};

/// Hours before the newest one that still count.
const HOURS_BEFORE: i64 = 1;
/// How far the clocks of hosts may go before ours. Hours beyond are nobody's: who may upload could name them.
const CLOCKS: TimeDelta = TimeDelta::hours(24);
/// Files of one workload that are opened.
const MOST_FILES: usize = 64;

/// The newest snapshots of a store, by workload.
#[derive(Debug, Default)]
pub(crate) struct Newest(HashMap<WorkloadKey, Vec<Listed>>);

impl Newest {
    /// Lists the newest hours; opens nothing.
    pub(crate) async fn list(store: &Store, now: DateTime<Utc>) -> Result<Self, MergeError> {
        let Some(hour) = listing::newest_hour(store, now + CLOCKS).await? else { return Ok(Self::default()) };
        let from: DateTime<Utc> = hour - TimeDelta::hours(HOURS_BEFORE);
        let mut by_workload: HashMap<WorkloadKey, Vec<Listed>> = HashMap::new();
        let until = (now + CLOCKS).timestamp_millis();
        for listed in listing::snapshots(store, Some(from), |key| key.window_end_ms <= until).await? {
            by_workload.entry(listed.key.workload).or_default().push(listed);
        }
        for listed in by_workload.values_mut() {
            listed.sort_by_key(|listed| std::cmp::Reverse(listed.key.window_end_ms));
            listed.truncate(MOST_FILES);
        }
        Ok(Self(by_workload))
    }

    /// What the newest snapshot of each container of a workload says of it, the newest first. A file that is gone or damaged is
    /// left out: merges tell.
    pub(crate) async fn containers(&self, store: &Store, workload: WorkloadKey) -> Vec<SnapshotMeta> {
        let listed = self.0.get(&workload).map(Vec::as_slice).unwrap_or_default();
        let at_once = at_once(store, 0, 2);
        let files = Files::of(store, at_once);
        let limits = Limits::default();
        let read = |listed: &Listed| {
            let (files, listed) = (files.clone(), listed.clone());
            async move {
                let file = files.whole(&listed.object_key, listed.size, limits.file_bytes).await.ok()?;
                let decoded = tokio::task::spawn_blocking(move || decode(file, &limits));
                let meta = decoded.await.ok()?.ok()?.meta;
                disagreement(&listed.key, &meta).is_none().then_some(meta)
            }
        };
        let found = stream::iter(listed).map(read).buffered(at_once).collect::<Vec<_>>().await;
        let mut newest: BTreeMap<(String, String), SnapshotMeta> = BTreeMap::new();
        for meta in found.into_iter().flatten() {
            let known = newest.entry((meta.host.clone(), meta.container.id.clone()));
            known
                .and_modify(|known| {
                    if known.window_end < meta.window_end {
                        known.clone_from(&meta);
                    }
                })
                .or_insert(meta);
        }
        let mut newest: Vec<_> = newest.into_values().collect();
        newest.sort_by_key(|meta| std::cmp::Reverse(meta.window_end));
        newest
    }
}
