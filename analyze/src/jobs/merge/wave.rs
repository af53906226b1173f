//! One wave: its scan, and what the ledger will say of it.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use arrow::array::RecordBatch;
use chrono::DateTime;
use object_store::path::Path;
use object_store::{ObjectStoreExt, PutPayload};
use wsp_schemas::image::{Workload, WorkloadKey};
use wsp_schemas::keys::{self, SnapshotId};
use wsp_schemas::store::Store;
use wsp_schemas::tables::PROFILE_NODES;

use super::admit::Standing;
use super::aggregate;
use super::late::Late;
use super::ledger::{Ledger, LedgerRow, Outcome};
use super::plan::{Planned, Stray, Wave, Work};
use super::scan::{About, Candidate, Finding, Known, LearnedFile, ScanSpec, Unit, UnitReport};
use super::{MergeError, Options, Problem, Progress};
use crate::tables::{DataFile, ProfileTables};

/// What was decided on a wave.
#[derive(Debug, Default)]
pub(super) struct Decided {
    /// New rows for the ledger, without their batch numbers.
    pub(super) rows: Vec<LedgerRow>,
    /// The rows of before, of the wave's workloads.
    pub(super) ledger: Ledger,
    /// Grouped node rows of every workload that was scanned.
    pub(super) nodes: HashMap<WorkloadKey, Vec<RecordBatch>>,
    /// Objects that move to quarantine, with the reason.
    pub(super) refused: Vec<Problem>,
    /// What the store did not give.
    pub(super) unavailable: Vec<Problem>,
    /// Snapshots that came after their profile was frozen: neither merged nor listed.
    pub(super) late: Late,
}

/// Reads a wave and decides on everything in it. Nothing is changed.
pub(super) async fn decide(
    store: &Store,
    tables: &ProfileTables,
    wave: Wave,
    options: &Options,
    progress: &dyn Progress,
) -> Result<Decided, MergeError> {
    let keys: BTreeSet<WorkloadKey> = wave.work.iter().map(|work| work.workload).collect();
    let mut decided = Decided { ledger: Ledger::read(&tables.ledger, &keys).await?, ..Decided::default() };
    let files = LearnedFiles::new(tables)?;
    let units = wave.work.iter().zip(0..).map(|(work, number)| unit(number, work, &decided.ledger, &files));
    let mut grouped =
        aggregate::run(spec(options), units.collect(), tables, store, options, progress).await?;
    for (work, number) in wave.work.iter().zip(0..) {
        let report = grouped.reports.remove(&number).unwrap_or_default();
        decided.take(work, report, options);
        if let Some(nodes) = grouped.nodes.remove(&number) {
            decided.nodes.insert(work.workload, nodes);
        }
    }
    decided.take_strays(&wave.strays, tables.ledger.buckets()?, options);
    Ok(decided)
}

/// Reads admitted snapshots again: what buckets lack whose nodes stand behind the ledger. Gives grouped node rows by
/// workload, and what is lost.
pub(super) async fn replay(
    store: &Store,
    tables: &ProfileTables,
    ledger: &Ledger,
    behind: &BTreeMap<i32, i64>,
    options: &Options,
    progress: &dyn Progress,
) -> Result<(HashMap<WorkloadKey, Vec<RecordBatch>>, BTreeMap<i32, Vec<Problem>>), MergeError> {
    let files = LearnedFiles::new(tables)?;
    let mut work = Vec::new();
    for (bucket, stands) in behind {
        for workload in ledger.changed_after(*bucket, *stands) {
            work.push((*bucket, *stands, workload));
        }
    }
    let mut lost = BTreeMap::<i32, Vec<Problem>>::new();
    let mut units = Vec::with_capacity(work.len());
    for ((bucket, stands, workload), number) in work.iter().zip(0..) {
        let revision = revision(ledger.rows(*workload));
        let admitted = ledger.rows(*workload).iter().filter(|row| {
            row.batch > *stands && row.outcome == Outcome::Admitted && row.revision == Some(revision)
        });
        let mut candidates = Vec::new();
        for row in admitted {
            match admitted_before(row) {
                Some(candidate) => candidates.push(candidate),
                None => lost.entry(*bucket).or_default().push(Problem {
                    object: row.object_key.clone().unwrap_or_default(),
                    reason: "its row in the ledger does not say what it was".to_owned(),
                }),
            }
        }
        let learned = files.of(*workload, *bucket, revision);
        let workload = Some(workload.to_string());
        units.push(Unit { number, workload, standing: Standing::default(), candidates, learned });
    }
    let objects: Vec<Vec<String>> = units
        .iter()
        .map(|unit| unit.candidates.iter().map(|candidate| candidate.key.clone()).collect())
        .collect();
    let mut grouped = aggregate::run(spec(options), units, tables, store, options, progress).await?;
    let mut nodes = HashMap::new();
    for (((bucket, _, workload), objects), number) in work.iter().zip(objects).zip(0..) {
        if let Some(rows) = grouped.nodes.remove(&number) {
            nodes.insert(*workload, rows);
        }
        for (at, finding) in grouped.reports.remove(&number).unwrap_or_default().findings {
            if let Finding::Lost(reason) = finding {
                let object = objects.get(at as usize).cloned().unwrap_or_default();
                lost.entry(*bucket).or_default().push(Problem { object, reason });
            }
        }
    }
    Ok((nodes, lost))
}

fn admitted_before(row: &LedgerRow) -> Option<Candidate> {
    Some(Candidate {
        key: row.object_key.clone()?,
        size: u64::try_from(row.object_size?).ok()?,
        window_end: row.seen.as_ref()?.window_end,
        stored_at: row.decided_at,
        known: Known::Admitted {
            ordinal: u32::try_from(row.ordinal?).ok()?,
            content_hash: row.content_hash.clone()?,
        },
    })
}

/// The newest revision that the ledger has of a workload.
pub(super) fn revision(rows: &[LedgerRow]) -> i32 {
    rows.iter().filter_map(|row| row.revision).max().unwrap_or(1)
}

/// Where the newest revision of a workload stands.
fn standing(rows: &[LedgerRow]) -> Standing {
    let revision = revision(rows);
    let mut standing = Standing::default();
    for row in rows.iter().filter(|row| row.revision == Some(revision)) {
        match (row.outcome, &row.seen) {
            (Outcome::Admitted, Some(seen)) => {
                standing.snapshots += 1;
                if row.ordinal == Some(0) {
                    standing.first_start = Some(seen.window_start);
                }
                standing.last_end = standing.last_end.max(Some(seen.window_end));
                standing.containers.insert(seen.container());
            }
            (Outcome::Opened, _) => standing.since = row.at,
            (Outcome::Frozen, _) => standing.frozen = true,
            _ => {}
        }
    }
    standing
}

fn unit(number: u32, work: &Work, ledger: &Ledger, files: &LearnedFiles) -> Unit {
    let rows = ledger.rows(work.workload);
    let keyed = work.workload != WorkloadKey::UNKEYED;
    let admitted = rows.iter().filter(|row| row.outcome == Outcome::Admitted);
    let twins: HashMap<SnapshotId, &String> =
        admitted.filter_map(|row| Some((row.snapshot_id?, row.content_hash.as_ref()?))).collect();
    let candidate = |object: &Planned| Candidate {
        key: object.path.to_string(),
        size: object.size,
        window_end: DateTime::from_timestamp_millis(object.key.window_end_ms).unwrap_or_default(),
        stored_at: object.stored_at,
        known: match (&object.refused, twins.get(&object.key.id)) {
            (Some(refusal), _) => Known::Refused(refusal.content_hash.clone()),
            (None, Some(hash)) => Known::Twin((*hash).clone()),
            (None, None) => Known::New,
        },
    };
    Unit {
        number,
        workload: keyed.then(|| work.workload.to_string()),
        standing: if keyed { standing(rows) } else { Standing::default() },
        candidates: work.objects.iter().map(candidate).collect(),
        learned: if keyed { files.of(work.workload, work.bucket, revision(rows)) } else { Vec::new() },
    }
}

fn spec(options: &Options) -> ScanSpec {
    ScanSpec { rules: options.rules(), limits: options.limits, concurrency: options.concurrency }
}

/// Files with node rows of revisions that learn, by bucket.
struct LearnedFiles(BTreeMap<i32, Vec<DataFile>>);

impl LearnedFiles {
    fn new(tables: &ProfileTables) -> Result<Self, MergeError> {
        let mut files: BTreeMap<i32, Vec<DataFile>> = BTreeMap::new();
        for file in tables.nodes.files()? {
            if let (Some(bucket), Some("learning")) = (file.bucket(), file.status()) {
                files.entry(bucket).or_default().push(file);
            }
        }
        Ok(Self(files))
    }

    fn of(&self, workload: WorkloadKey, bucket: i32, revision: i32) -> Vec<LearnedFile> {
        let key = [workload.to_string()].into();
        let mine = self.0.get(&bucket).into_iter().flatten();
        mine.filter(|file| file.may_hold("workload_key", &key))
            .map(|file| LearnedFile {
                key: format!("{}/{}", keys::table(PROFILE_NODES.name), file.path()),
                bucket,
                revision,
            })
            .collect()
    }
}

impl Decided {
    /// Takes what a scan says of one workload.
    fn take(&mut self, work: &Work, report: UnitReport, options: &Options) {
        let number = revision(self.ledger.rows(work.workload));
        let mut workload = self.ledger.rows(work.workload).iter().find_map(|row| row.workload.clone());
        // What is not even opened comes too late, as its key says.
        let mut is_late = vec![true; work.objects.len()];
        for (at, finding) in report.findings {
            let Some(object) = work.objects.get(at as usize) else { continue };
            is_late[at as usize] = matches!(finding, Finding::Late);
            let path = object.path.to_string();
            let refusal = LedgerRow {
                workload_key: Some(work.workload).filter(|key| *key != WorkloadKey::UNKEYED),
                object_key: Some(path.clone()),
                object_size: i64::try_from(object.size).ok(),
                snapshot_id: Some(object.key.id),
                ..empty(work.bucket, options)
            };
            match finding {
                Finding::Admitted { ordinal, about } => {
                    let row = LedgerRow {
                        outcome: Outcome::Admitted,
                        revision: Some(number),
                        ordinal: i32::try_from(ordinal).ok(),
                        ..with(refusal, about)
                    };
                    workload = workload.or_else(|| row.workload.clone());
                    self.rows.push(row);
                }
                Finding::Duplicate(about) => {
                    let reason =
                        format!("the snapshot {} was admitted already, with the same content", object.key.id);
                    self.rows.push(refused(with(refusal, about), Outcome::Duplicate, reason));
                }
                Finding::Conflict(about) => {
                    let reason =
                        format!("the snapshot {} was admitted already, with other content", object.key.id);
                    self.refused.push(Problem { object: path, reason: reason.clone() });
                    self.rows.push(refused(with(refusal, about), Outcome::Conflict, reason));
                }
                Finding::Unkeyed(about) => {
                    let reason = "the image has neither tag nor digest".to_owned();
                    self.rows.push(refused(with(refusal, about), Outcome::Unkeyed, reason));
                }
                Finding::OutOfRange { reason, about } => {
                    self.rows.push(refused(with(refusal, about), Outcome::OutOfRange, reason));
                }
                Finding::Damaged { reason, content_hash } => {
                    self.refused.push(Problem { object: path, reason: reason.clone() });
                    let row = LedgerRow { content_hash, ..refusal };
                    self.rows.push(refused(row, Outcome::Damaged, reason));
                }
                Finding::RefusedBefore => {
                    let reason = object.refused.as_ref().map(|refusal| refusal.reason.clone());
                    self.refused.push(Problem { object: path, reason: reason.unwrap_or_default() });
                }
                Finding::Late => {}
                Finding::Unavailable(reason) | Finding::Lost(reason) => {
                    self.unavailable.push(Problem { object: path, reason });
                }
            }
        }
        // What is from before a revision that learns came after the freeze of the one before.
        let is_stable = report.freeze.is_some() || standing(self.ledger.rows(work.workload)).frozen;
        let stable = if is_stable { number } else { number - 1 };
        for (object, _) in work.objects.iter().zip(is_late).filter(|(_, is_late)| *is_late) {
            if let Some(workload) = workload.as_ref().filter(|_| stable > 0) {
                self.late.add(&object.key, workload, stable);
            }
        }
        if let (Some((reason, at)), Some(workload)) = (report.freeze, workload) {
            self.rows.push(LedgerRow {
                workload_key: Some(work.workload),
                workload: Some(workload),
                revision: Some(number),
                reason: Some(reason),
                outcome: Outcome::Frozen,
                at: Some(at),
                ..empty(work.bucket, options)
            });
        }
    }

    /// Objects whose key alone says that they are none of ours.
    fn take_strays(&mut self, strays: &[Stray], buckets: u32, options: &Options) {
        for stray in strays {
            let problem = Problem { object: stray.path.to_string(), reason: stray.error.to_string() };
            if !stray.is_known {
                let row = LedgerRow {
                    object_key: Some(problem.object.clone()),
                    object_size: i64::try_from(stray.size).ok(),
                    ..empty(WorkloadKey::UNKEYED.bucket(buckets), options)
                };
                self.rows.push(refused(row, Outcome::Damaged, problem.reason.clone()));
            }
            self.refused.push(problem);
        }
    }
}

pub(super) fn empty(bucket: i32, options: &Options) -> LedgerRow {
    LedgerRow {
        bucket,
        workload_key: None,
        workload: None,
        revision: None,
        outcome: Outcome::Damaged,
        reason: None,
        ordinal: None,
        batch: 0,
        decided_at: options.as_of,
        object_key: None,
        object_size: None,
        content_hash: None,
        snapshot_id: None,
        at: None,
        snapshots: None,
        seen: None,
    }
}

fn refused(row: LedgerRow, outcome: Outcome, reason: String) -> LedgerRow {
    LedgerRow { outcome, reason: Some(reason), ..row }
}

fn with(row: LedgerRow, about: About) -> LedgerRow {
    let workload = about.image_name.zip(about.image_tag);
    LedgerRow {
        workload: workload.and_then(|(name, tag)| Workload::from_columns(&name, &tag).ok()),
        content_hash: Some(about.content_hash),
        seen: Some(about.seen),
        ..row
    }
}

/// Moves what was refused out of the way: its reason first, then the object.
pub(super) async fn quarantine(store: &Store, refused: &[Problem]) -> Result<(), MergeError> {
    for Problem { object, reason } in refused {
        let failed = |source| MergeError::Quarantine { object: object.clone(), source };
        // Keys come from a listing: `parse` keeps what is percent-encoded in them, `from` would encode it again.
        let path = |key: &str| Path::parse(key).map_err(|error| failed(error.into()));
        let (from, to, note) =
            (path(object)?, path(&keys::quarantined(object))?, path(&keys::quarantine_reason(object))?);
        let reason = format!("{reason}\n");
        store.objects.put(&note, PutPayload::from(reason.into_bytes())).await.map_err(failed)?;
        match store.objects.rename(&from, &to).await {
            // A run that stopped here had moved it already.
            Ok(()) | Err(object_store::Error::NotFound { .. }) => {}
            Err(source) => return Err(failed(source)),
        }
    }
    Ok(())
}
