//! What there is to judge, from a listing, the profiles, the ledger and what was judged before.

use std::collections::{BTreeMap, HashMap, HashSet};

use chrono::{DateTime, DurationRound as _, TimeDelta, Utc};
use wsp_schemas::image::WorkloadKey;
use wsp_schemas::keys::{self, SnapshotKey};
use wsp_schemas::store::Store;

use super::judge::Candidate;
use super::profile::Revision;
use super::{DetectError, Options, Report};
use crate::jobs::merge::listing::{self, Listed};
use crate::rows::Reader;
use crate::tables::{MERGE_WATERMARK, OpenTable, ProfileTables, Selection, TableError, detected_up_to};

/// All that a run has to do.
#[derive(Debug, Default)]
pub(super) struct Plan {
    /// Snapshots of each workload, in the order of their windows.
    pub(super) work: BTreeMap<(i32, WorkloadKey), Vec<Candidate>>,
    /// The hour up to which all is judged once this is done; none where that is no later than before.
    pub(super) watermark: Option<i64>,
    /// The hour up to which all was judged before.
    pub(super) stood: Option<i64>,
}

/// What the ledger says of an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Decided {
    /// It is in a profile.
    Admitted,
    /// It is kept, and belongs to no profile.
    Kept,
    /// Another one is judged in its place, or none can be.
    Refused,
}

pub(super) async fn make(
    store: &Store,
    tables: &ProfileTables,
    signals: &OpenTable,
    detections: &OpenTable,
    revisions: &HashMap<WorkloadKey, Revision>,
    options: &Options,
    report: &mut Report,
) -> Result<Plan, DetectError> {
    let buckets = tables.ledger.buckets()?;
    let stood = detected_up_to(Some(signals), Some(detections)).await?;
    let from = stood.filter(|_| !options.rescan).and_then(|hour| hour_before(hour, options));
    // Keys begin with the hour of their upload.
    let first = from.map(keys::snapshots_from).unwrap_or_default();
    let (judged, decided) = tokio::try_join!(judged(detections, &first), decided(&tables.ledger, &first))?;
    let merged = tables.profiles.application(MERGE_WATERMARK).await?;

    let hour = |time: DateTime<Utc>| time.timestamp().div_euclid(3600);
    let now = Utc::now();
    let (mut listed, mut known, mut undecided) = (0, 0, 0);
    let (mut reached, mut waiting) = (None, i64::MAX);
    let is_new = |key: &SnapshotKey| {
        listed += 1;
        // Beyond what merges have seen nothing is settled.
        if key.uploaded <= now {
            reached = reached.max(Some(hour(key.uploaded)));
        }
        if judged.contains(key) {
            known += 1;
            return false;
        }
        match decided.get(key) {
            Some(Decided::Admitted | Decided::Kept) => true,
            Some(Decided::Refused) => false,
            None if revisions.get(&key.workload).is_some_and(|revision| revision.is_stable) => true,
            // Whether it is learned from is not decided yet.
            None => {
                undecided += 1;
                waiting = waiting.min(hour(key.uploaded));
                false
            }
        }
    };
    let new = listing::snapshots(store, from, is_new).await.map_err(DetectError::of_listing)?;
    report.listed = listed;
    report.known += known;
    report.waiting += undecided;

    let mut plan = Plan { stood, ..Plan::default() };
    for Listed { object_key, key, size } in new {
        let is_late = !decided.contains_key(&key);
        let bucket = key.workload.bucket(buckets);
        let candidate = Candidate { object_key, size, is_late, key };
        plan.work.entry((bucket, candidate.key.workload)).or_default().push(candidate);
    }
    for work in plan.work.values_mut() {
        work.sort_by(|a, b| {
            (a.key.window_end_ms, a.key.id, &a.object_key).cmp(&(
                b.key.window_end_ms,
                b.key.id,
                &b.object_key,
            ))
        });
    }
    plan.watermark = reached.zip(merged).map(|(reached, merged)| reached.min(merged).min(waiting));
    plan.watermark = plan.watermark.filter(|hour| stood.is_none_or(|stood| *hour > stood));
    Ok(plan)
}

fn hour_before(hour: i64, options: &Options) -> Option<DateTime<Utc>> {
    let at = DateTime::from_timestamp(hour.checked_mul(3600)?, 0)?;
    let from = at.checked_sub_signed(TimeDelta::from_std(options.look_back).ok()?)?;
    from.duration_trunc(TimeDelta::hours(1)).ok()
}

/// Snapshots that were judged before, from a key on. Of a large fleet there are millions: their keys are kept as numbers, not as text.
async fn judged(detections: &OpenTable, from: &str) -> Result<HashSet<SnapshotKey>, TableError> {
    let select = Selection { columns: Some(&["object_key"]), workloads: None };
    let mut judged = HashSet::new();
    for file in detections.files()? {
        if file.greatest("object_key").is_some_and(|key| key < from) {
            continue;
        }
        for batch in detections.read(&file, select).await? {
            let read = Reader::new(&batch);
            let keys = (0..batch.num_rows()).filter_map(|row| read.text("object_key", row));
            judged.extend(keys.filter(|key| *key >= from).filter_map(|key| SnapshotKey::parse(key).ok()));
        }
    }
    Ok(judged)
}

/// What the ledger says of snapshots, from a key on.
async fn decided(ledger: &OpenTable, from: &str) -> Result<HashMap<SnapshotKey, Decided>, TableError> {
    let select = Selection { columns: Some(&["object_key", "outcome"]), workloads: None };
    let mut decided = HashMap::new();
    for file in ledger.files()? {
        if file.greatest("object_key").is_some_and(|key| key < from) {
            continue;
        }
        for batch in ledger.read(&file, select).await? {
            let read = Reader::new(&batch);
            for row in 0..batch.num_rows() {
                let key = read.text("object_key", row).filter(|key| *key >= from);
                let Some(key) = key.and_then(|key| SnapshotKey::parse(key).ok()) else { continue };
                let what = match read.text("outcome", row) {
                    Some("admitted") => Decided::Admitted,
                    Some("unkeyed" | "out_of_range") => Decided::Kept,
                    _ => Decided::Refused,
                };
                // What was refused and put back may have been admitted since.
                let entry = decided.entry(key).or_insert(what);
                if *entry == Decided::Refused {
                    *entry = what;
                }
            }
        }
    }
    Ok(decided)
}
