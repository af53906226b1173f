//! What a merge has to do, from a listing, the profiles and the ledger alone.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use chrono::{DateTime, DurationRound, TimeDelta, Utc};
use futures::TryStreamExt as _;
use object_store::ObjectMeta;
use object_store::path::Path;
use wsp_schemas::image::{Workload, WorkloadKey};
use wsp_schemas::keys::{self, KeyError, SnapshotKey};
use wsp_schemas::store::Store;

use super::late::Late;
use super::ledger::{self, Decided, Ledger, Outcome, Refusal};
use super::{MergeError, Options, Report, listing};
use crate::rows::Reader;
use crate::tables::{MERGE_COUNTED, MERGE_WATERMARK, ProfileTables, Selection};

/// An object that has to be looked at.
#[derive(Debug, Clone)]
pub(super) struct Planned {
    pub(super) path: Path,
    pub(super) size: u64,
    /// When the store got it, by the store's clock.
    pub(super) stored_at: DateTime<Utc>,
    pub(super) key: SnapshotKey,
    /// An object of this key was refused before; what stands there may be it.
    pub(super) refused: Option<Refusal>,
}

/// An object below `snapshots/` that has none of our keys.
#[derive(Debug, Clone)]
pub(super) struct Stray {
    pub(super) path: Path,
    pub(super) size: u64,
    /// Why its key is none of ours.
    pub(super) error: KeyError,
    /// The ledger has it; only its move was not done.
    pub(super) is_known: bool,
}

/// What has to be done about one workload.
#[derive(Debug, Clone)]
pub(super) struct Work {
    pub(super) workload: WorkloadKey,
    pub(super) bucket: i32,
    pub(super) objects: Vec<Planned>,
}

/// Whole workloads that are merged in one batch.
#[derive(Debug, Default)]
pub(super) struct Wave {
    pub(super) work: Vec<Work>,
    pub(super) strays: Vec<Stray>,
}

/// All that a merge has to do.
#[derive(Debug, Default)]
pub(super) struct Plan {
    work: Vec<Work>,
    strays: Vec<Stray>,
    /// The hour up to which everything is listed once this plan is done; none where nothing is.
    pub(super) watermark: Option<i64>,
    /// Where the watermark stands before.
    pub(super) stood: Option<i64>,
    /// What belongs to stable profiles.
    pub(super) late: Late,
}

/// The newest revision of a workload, as the profiles have it.
#[derive(Debug, Clone)]
struct Revision {
    workload: Workload,
    number: i32,
    is_stable: bool,
    is_due: bool,
    is_empty: bool,
}

/// Lists what is new and leaves out what the ledger has, and what belongs to stable profiles.
pub(super) async fn make(
    store: &Store,
    tables: &ProfileTables,
    options: &Options,
    report: &mut Report,
) -> Result<Plan, MergeError> {
    let buckets = tables.ledger.buckets()?;
    let old_watermark = tables.profiles.application(MERGE_WATERMARK).await?;
    let from = match old_watermark {
        Some(hour) if !options.rescan => hour_before(hour, options),
        _ => None,
    };
    let revisions = revisions(tables, options).await?;
    // Every hour is counted, also where this look-back is shorter than that of the merge before.
    let counted = tables.ledger.application(MERGE_COUNTED).await?;
    let from = from.map(|from| counted.and_then(start_of).map_or(from, |counted| from.min(counted)));
    // What an opened revision begins with may have come long ago.
    let from = match from {
        Some(from) => Some(opened(tables, &revisions, from).await?.map_or(from, |since| from.min(since))),
        None => None,
    };
    let first = from.map(keys::snapshots_from).unwrap_or_default();
    let decided = ledger::decided(&tables.ledger, &first).await?;

    let mut plan = Plan::default();
    let mut work: BTreeMap<(i32, WorkloadKey), Vec<Planned>> = BTreeMap::new();
    for (workload, revision) in &revisions {
        if revision.is_due {
            work.entry((workload.bucket(buckets), *workload)).or_default();
        }
    }
    let now = Utc::now();
    let soon = now + TimeDelta::from_std(options.clock_slack).unwrap_or_default();
    let mut newest = None;
    let mut strays = Vec::new();
    let mut listed = std::pin::pin!(listing::objects(store, from).await?);
    while let Some(object) = listed.try_next().await? {
        report.listed += 1;
        let key = match SnapshotKey::parse(object.location.as_ref()) {
            Ok(key) => key,
            Err(error) => {
                strays.push((object, error));
                continue;
            }
        };
        // A key that no clock explains does not carry the watermark past what is still to come.
        if key.uploaded <= soon {
            newest = newest.max(Some(key.uploaded.min(now)));
        }
        let known = decided.get(object.location.as_ref());
        if known == Some(&Decided::Settled) {
            report.known += 1;
        } else if known.is_none()
            && let Some(revision) = revisions.get(&key.workload).filter(|revision| revision.is_stable)
        {
            plan.late.add(&key, &revision.workload, revision.number);
        } else {
            let refused = match known {
                Some(Decided::Refused(refusal)) => Some(refusal.clone()),
                _ => None,
            };
            let (size, stored_at) = (object.size, object.last_modified);
            let planned = Planned { path: object.location, size, stored_at, key, refused };
            work.entry((key.workload.bucket(buckets), key.workload)).or_default().push(planned);
        }
    }
    plan.strays = self::strays(strays, &first, decided, tables).await?;
    for ((bucket, workload), mut objects) in work {
        // Listings come in any order; what is decided must not depend on it.
        objects.sort_by(|a, b| {
            (a.key.window_end_ms, a.key.id, &a.path).cmp(&(b.key.window_end_ms, b.key.id, &b.path))
        });
        plan.work.push(Work { workload, bucket, objects });
    }
    let hour = |time: DateTime<Utc>| time.timestamp().div_euclid(3600);
    plan.stood = old_watermark;
    plan.watermark = newest.map(hour).filter(|hour| Some(*hour) > old_watermark);
    Ok(plan)
}

/// Objects whose keys are none of ours, in the order of their keys. `decided`: what the ledger says of keys from `first` on.
async fn strays(
    mut found: Vec<(ObjectMeta, KeyError)>,
    first: &str,
    mut decided: HashMap<String, Decided>,
    tables: &ProfileTables,
) -> Result<Vec<Stray>, MergeError> {
    found.sort_by(|(a, _), (b, _)| a.location.cmp(&b.location));
    // They may sort anywhere.
    if let Some((earliest, _)) = found.first().filter(|(object, _)| object.location.as_ref() < first) {
        decided = ledger::decided(&tables.ledger, earliest.location.as_ref()).await?;
    }
    let strays = found.into_iter().map(|(object, error)| {
        let is_known = decided.contains_key(object.location.as_ref());
        Stray { path: object.location, size: object.size, error, is_known }
    });
    Ok(strays.collect())
}

/// The time of an hour since the epoch.
fn start_of(hour: i64) -> Option<DateTime<Utc>> {
    DateTime::from_timestamp(hour.checked_mul(3600)?, 0)
}

/// The hour that a listing begins with.
pub(super) fn hour_before(hour: i64, options: &Options) -> Option<DateTime<Utc>> {
    let from = start_of(hour)?.checked_sub_signed(TimeDelta::from_std(options.look_back).ok()?)?;
    from.duration_trunc(TimeDelta::hours(1)).ok()
}

/// The earliest hour that a revision begins with which has no snapshots and was opened after this time: one that was opened
/// before has been looked for.
async fn opened(
    tables: &ProfileTables,
    revisions: &HashMap<WorkloadKey, Revision>,
    after: DateTime<Utc>,
) -> Result<Option<DateTime<Utc>>, MergeError> {
    let empty: BTreeMap<WorkloadKey, i32> = revisions
        .iter()
        .filter(|(_, revision)| revision.is_empty)
        .map(|(key, revision)| (*key, revision.number))
        .collect();
    if empty.is_empty() {
        return Ok(None);
    }
    let ledger = Ledger::read(&tables.ledger, &empty.keys().copied().collect()).await?;
    let rows = empty.iter().flat_map(|(key, number)| {
        ledger.rows(*key).iter().filter(|row| row.outcome == Outcome::Opened && row.revision == Some(*number))
    });
    let since = rows.filter(|row| row.decided_at >= after).filter_map(|row| row.at).min();
    Ok(since.and_then(|since| since.duration_trunc(TimeDelta::hours(1)).ok()))
}

/// The newest revision of every workload.
async fn revisions(
    tables: &ProfileTables,
    options: &Options,
) -> Result<HashMap<WorkloadKey, Revision>, MergeError> {
    const COLUMNS: [&str; 9] = [
        "workload_key",
        "image_name",
        "image_tag",
        "revision",
        "status",
        "snapshot_count",
        "container_count",
        "first_window_start",
        "last_window_end",
    ];
    let rules = options.rules();
    let mut revisions: HashMap<WorkloadKey, Revision> = HashMap::new();
    let select = Selection { columns: Some(&COLUMNS), workloads: None };
    for file in tables.profiles.files()? {
        for batch in tables.profiles.read(&file, select).await? {
            let read = Reader::new(&batch);
            for row in 0..batch.num_rows() {
                let key = read.text("workload_key", row).and_then(WorkloadKey::parse);
                let image = read.text("image_name", row).zip(read.text("image_tag", row));
                let workload = image.and_then(|(name, tag)| Workload::from_columns(name, tag).ok());
                let (Some(key), Some(workload), Some(number)) = (key, workload, read.int32("revision", row))
                else {
                    continue;
                };
                let is_stable = read.text("status", row) == Some("stable");
                let count =
                    |name: &str| read.int32(name, row).and_then(|n| u32::try_from(n).ok()).unwrap_or(0);
                let is_due = !is_stable
                    && rules.is_due(
                        count("snapshot_count"),
                        count("container_count") as usize,
                        read.time("first_window_start", row),
                        read.time("last_window_end", row),
                    );
                let newer = revisions.get(&key).is_none_or(|known| known.number < number);
                if newer {
                    let is_empty = count("snapshot_count") == 0;
                    revisions.insert(key, Revision { workload, number, is_stable, is_due, is_empty });
                }
            }
        }
    }
    Ok(revisions)
}

impl Plan {
    pub(super) fn files(&self) -> usize {
        self.work.iter().map(|work| work.objects.len()).sum()
    }

    /// Batches of about `files` objects. Those of one bucket follow each other; a workload is never split.
    pub(super) fn waves(self, files: usize, stopped: &BTreeSet<i32>) -> Vec<Wave> {
        let mut waves = vec![Wave { work: Vec::new(), strays: self.strays }];
        let mut held = 0;
        for work in self.work.into_iter().filter(|work| !stopped.contains(&work.bucket)) {
            let more = work.objects.len();
            match waves.last_mut() {
                Some(wave) if wave.work.is_empty() || held + more <= files => {
                    held += more;
                    wave.work.push(work);
                }
                _ => {
                    held = more;
                    waves.push(Wave { work: vec![work], strays: Vec::new() });
                }
            }
        }
        waves.retain(|wave| !wave.work.is_empty() || !wave.strays.is_empty());
        waves
    }
}
