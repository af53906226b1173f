use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use futures::TryStreamExt;
use object_store::path::Path;
use object_store::{ObjectMeta, ObjectStore};
use wsp_schemas::image::WorkloadKey;
use wsp_schemas::keys::{self, SnapshotKey};
use wsp_schemas::store::Store;

use super::ledger::Ledger;
use super::{MergeError, Report};

/// An object that has to be opened.
#[derive(Debug, Clone)]
pub(super) struct Planned {
    pub(super) path: Path,
    pub(super) size: u64,
    /// When the store got it, by the store's clock.
    pub(super) stored_at: DateTime<Utc>,
    /// What its key says; none where the key is not one of ours.
    pub(super) key: Option<SnapshotKey>,
    pub(super) bucket: i32,
}

/// What a listing leaves to do, by bucket.
#[derive(Debug, Default)]
pub(super) struct Plan {
    objects: BTreeMap<i32, Vec<Planned>>,
}

/// Whole buckets that are merged in one batch.
#[derive(Debug, Default)]
pub(super) struct Wave {
    pub(super) objects: Vec<Planned>,
    pub(super) buckets: Vec<i32>,
}

/// Lists the snapshots and leaves out what the ledger has, and what belongs to stable profiles.
pub(super) async fn make(
    store: &Store,
    ledger: &Ledger,
    buckets: u32,
    report: &mut Report,
) -> Result<Plan, MergeError> {
    let mut plan = Plan::default();
    let mut listing = store.objects.list(Some(&Path::from(keys::SNAPSHOTS)));
    loop {
        let next = listing.try_next().await;
        let Some(object) = next.map_err(|source| MergeError::List { store: store.to_string(), source })?
        else {
            break;
        };
        report.listed += 1;
        if let Some(planned) = consider(object, ledger, buckets, report) {
            plan.objects.entry(planned.bucket).or_default().push(planned);
        }
    }
    // A store may list in any order; what is decided must not depend on it.
    plan.objects.values_mut().for_each(|objects| objects.sort_by(|a, b| a.path.cmp(&b.path)));
    Ok(plan)
}

fn consider(object: ObjectMeta, ledger: &Ledger, buckets: u32, report: &mut Report) -> Option<Planned> {
    let path = object.location;
    if ledger.has_object(path.as_ref()) {
        report.known += 1;
        return None;
    }
    let key = SnapshotKey::parse(path.as_ref()).ok();
    if let Some(key) = &key
        && ledger.is_stable(key.workload)
    {
        report.after_freeze += 1;
        return None;
    }
    let bucket = key.map_or(WorkloadKey::UNKEYED, |key| key.workload).bucket(buckets);
    Some(Planned { path, size: object.size, stored_at: object.last_modified, key, bucket })
}

impl Plan {
    pub(super) fn files(&self) -> usize {
        self.objects.values().map(Vec::len).sum()
    }

    /// Batches of about `files` objects. Buckets that are due without a new object (their learning time has passed) come with the first.
    pub(super) fn waves(mut self, files: usize, due: Vec<i32>) -> Vec<Wave> {
        for bucket in due {
            self.objects.entry(bucket).or_default();
        }
        let mut waves: Vec<Wave> = Vec::new();
        for (bucket, objects) in self.objects {
            match waves.last_mut() {
                Some(wave) if wave.objects.len() + objects.len() <= files => {
                    wave.objects.extend(objects);
                    wave.buckets.push(bucket);
                }
                _ => waves.push(Wave { objects, buckets: vec![bucket] }),
            }
        }
        waves
    }
}
