//! Admission: which snapshots go into which profile, in which order, and when a profile is frozen. No I/O.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use chrono::{DateTime, TimeDelta, Utc};
use wsp_schemas::image::{Workload, WorkloadKey};
use wsp_schemas::keys::SnapshotId;
use wsp_schemas::snapshot::Verified;

use super::ledger::{Ledger, LedgerRow, Outcome, Seen};
use super::plan::Planned;
use super::read::{Finding, Snapshots, Unusable};
use super::{Options, Problem};

/// What was decided on a wave.
#[derive(Debug, Default)]
pub(super) struct Decided {
    /// Rows for the ledger, without their batch number.
    pub(super) rows: Vec<LedgerRow>,
    /// The admitted snapshots, by object key.
    pub(super) snapshots: Snapshots,
    /// What the store did not give.
    pub(super) problems: Vec<Problem>,
    /// Snapshots that came after their profile was frozen: neither merged nor listed.
    pub(super) after_freeze: usize,
}

impl Decided {
    pub(super) fn touched(&self) -> Vec<i32> {
        self.rows.iter().map(|row| row.bucket).collect::<BTreeSet<_>>().into_iter().collect()
    }
}

type Candidate = (Planned, Box<Verified>);

/// Decides on everything that a wave found, and on the profiles of its buckets whose time has passed.
pub(super) fn decide(
    ledger: &Ledger,
    findings: Vec<Finding>,
    wave: &[i32],
    options: &Options,
    buckets: u32,
) -> Decided {
    let mut decided = Decided::default();
    let mut candidates: BTreeMap<Workload, Vec<Candidate>> = BTreeMap::new();
    let mut ids: HashMap<SnapshotId, String> = HashMap::new();
    for Finding { object, result } in findings {
        let snapshot = match result {
            Ok(snapshot) => snapshot,
            Err(Unusable::Unavailable(reason)) => {
                decided.problems.push(Problem { object: object.path.to_string(), reason });
                continue;
            }
            Err(Unusable::Damaged { reason, content_hash }) => {
                let refused =
                    LedgerRow { content_hash, ..refusal(&object, Outcome::Damaged, Some(reason), options) };
                decided.rows.push(refused);
                continue;
            }
        };
        let Some(workload) = snapshot.meta.image.workload.clone() else {
            let reason = "the image has neither tag nor digest".to_owned();
            decided.rows.push(about(&object, &snapshot, Outcome::Unkeyed, Some(reason), options));
            continue;
        };
        let hash = snapshot.content_hash.to_hex().to_string();
        let id = snapshot.meta.id;
        match ledger.admitted(&id).or_else(|| ids.get(&id).map(String::as_str)) {
            Some(other) if other == hash => {
                let reason = format!("the snapshot {id} was admitted already, with the same content");
                decided.rows.push(about(&object, &snapshot, Outcome::Duplicate, Some(reason), options));
            }
            Some(_) => {
                let reason = format!("the snapshot {id} was admitted already, with other content");
                decided.rows.push(about(&object, &snapshot, Outcome::Conflict, Some(reason), options));
            }
            None => {
                ids.insert(id, hash);
                candidates.entry(workload).or_default().push((object, snapshot));
            }
        }
    }
    for bucket in wave {
        for revision in ledger.overdue(*bucket, options, buckets) {
            candidates.entry(revision.workload.clone()).or_default();
        }
    }
    for (workload, candidates) in candidates {
        admit(ledger, &workload, candidates, options, buckets, &mut decided);
    }
    decided
}

/// Admits the snapshots of one workload in order of (window end, id), up to the limits.
fn admit(
    ledger: &Ledger,
    workload: &Workload,
    mut candidates: Vec<Candidate>,
    options: &Options,
    buckets: u32,
    decided: &mut Decided,
) {
    candidates.sort_by_key(|(_, snapshot)| (snapshot.meta.window_end, snapshot.meta.id));
    let known = ledger.revision(workload.key());
    let number = known.map_or(1, |revision| revision.number);
    let mut count = known.map_or(0, |revision| revision.snapshots);
    let mut deadline = known.map(|revision| deadline(revision.first_start, options));
    let mut newest = options.as_of;
    for (object, snapshot) in candidates {
        let meta = &snapshot.meta;
        let end = *deadline.get_or_insert_with(|| self::deadline(meta.window_start, options));
        // A snapshot proves the time; one that is dated later than it was stored proves no more than that.
        newest = newest.max(meta.window_end.min(object.stored_at));
        if known.is_some_and(|revision| revision.frozen)
            || count >= options.max_snapshots
            || meta.window_end > end
        {
            decided.after_freeze += 1;
            continue;
        }
        let row = LedgerRow {
            revision: Some(number),
            ordinal: i32::try_from(count).ok(),
            ..about(&object, &snapshot, Outcome::Admitted, None, options)
        };
        count += 1;
        decided.rows.push(row);
        decided.snapshots.insert(object.path.to_string(), *snapshot);
    }
    let reason = if known.is_some_and(|revision| revision.frozen) {
        None
    } else if count >= options.max_snapshots {
        Some("snapshots")
    } else if deadline.is_some_and(|deadline| newest >= deadline) {
        Some("age")
    } else {
        None
    };
    if let Some(reason) = reason {
        let key = workload.key();
        decided.rows.push(LedgerRow {
            bucket: key.bucket(buckets),
            workload_key: Some(key),
            workload: Some(workload.clone()),
            revision: Some(number),
            reason: Some(reason.to_owned()),
            ..empty(Outcome::Frozen, options)
        });
    }
}

/// When the learning time of a revision ends.
pub(super) fn deadline(first_start: DateTime<Utc>, options: &Options) -> DateTime<Utc> {
    let learning = TimeDelta::from_std(options.learning_time).unwrap_or(TimeDelta::MAX);
    first_start.checked_add_signed(learning).unwrap_or(DateTime::<Utc>::MAX_UTC)
}

fn empty(outcome: Outcome, options: &Options) -> LedgerRow {
    LedgerRow {
        bucket: 0,
        workload_key: None,
        workload: None,
        revision: None,
        outcome,
        reason: None,
        ordinal: None,
        batch: 0,
        decided_at: options.as_of,
        object_key: None,
        object_size: None,
        content_hash: None,
        snapshot_id: None,
        seen: None,
    }
}

fn refusal(object: &Planned, outcome: Outcome, reason: Option<String>, options: &Options) -> LedgerRow {
    LedgerRow {
        bucket: object.bucket,
        workload_key: object.key.map(|key| key.workload).filter(|key| *key != WorkloadKey::UNKEYED),
        reason,
        object_key: Some(object.path.to_string()),
        object_size: i64::try_from(object.size).ok(),
        snapshot_id: object.key.map(|key| key.id),
        ..empty(outcome, options)
    }
}

fn about(
    object: &Planned,
    snapshot: &Verified,
    outcome: Outcome,
    reason: Option<String>,
    options: &Options,
) -> LedgerRow {
    LedgerRow {
        workload: snapshot.meta.image.workload.clone(),
        content_hash: Some(snapshot.content_hash.to_hex().to_string()),
        snapshot_id: Some(snapshot.meta.id),
        seen: Some(Seen::of(snapshot)),
        ..refusal(object, outcome, reason, options)
    }
}
