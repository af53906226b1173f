//! Puts verdicts into the tables: signals first, then what was judged.
//!
//! A run that stops in between has written signals of snapshots that count as not judged. The next run judges them again, and
//! leaves out signals that stand already: their ids follow from what they are about. So is what a container goes on doing: that
//! is new once.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use arrow::array::RecordBatch;
use arrow::error::ArrowError;
use chrono::{DateTime, Utc};
use wsp_schemas::tables::DETECTIONS;

use super::signal::{self, Signal};
use super::{DetectError, Report, Verdict};
use crate::jobs::suppress;
use crate::rows::{Builder, Reader};
use crate::tables::{Change, OpenTable, Selection, TableError, application, partition_value};

/// Application transaction that says at which run of a bucket a table stands.
fn run_of(bucket: i32) -> String {
    format!("detect/{bucket}")
}

/// What verdicts are written with.
pub(super) struct Writer<'a> {
    /// Hash of the rules.
    pub(super) rules: &'a str,
    pub(super) detected_at: DateTime<Utc>,
    pub(super) hides: &'a suppress::Current,
}

impl Writer<'_> {
    /// Writes; gives both tables at the versions that follow.
    pub(super) async fn commit(
        &self,
        signals: OpenTable,
        detections: OpenTable,
        verdicts: Vec<Verdict>,
        report: &mut Report,
    ) -> Result<(OpenTable, OpenTable), DetectError> {
        let mut buckets: BTreeMap<i32, Vec<Verdict>> = BTreeMap::new();
        for verdict in verdicts {
            buckets.entry(verdict.bucket).or_default().push(verdict);
        }
        let (mut raised, mut judged) = (Change::default(), Change::default());
        for (bucket, verdicts) in &mut buckets {
            let stood = signals.application(&run_of(*bucket)).await?.unwrap_or(0);
            let done = detections.application(&run_of(*bucket)).await?.unwrap_or(0);
            let mut standing = standing(&signals, *bucket, verdicts, stood > done).await?;
            for verdict in verdicts.iter_mut() {
                verdict.signals.retain(|signal| standing.insert(signal.id.clone()));
            }
            let batch = stood.max(done) + 1;
            for verdict in verdicts.iter_mut() {
                verdict.signals.iter_mut().for_each(|signal| signal.batch = Some(batch));
            }
            let partition = vec![partition_value("bucket", bucket)];
            let rows: Vec<Signal> =
                verdicts.iter().flat_map(|verdict| verdict.signals.iter().cloned()).collect();
            let rows = signal::to_batch(&rows)?;
            let (rows, hidden) = self.hides.mark(&rows)?;
            report.suppressed += hidden;
            raised.add(&signals, partition.clone(), &rows).await?;
            raised.advance(*bucket, application(&run_of(*bucket), batch));
            judged.add(&detections, partition, &self.to_batch(*bucket, verdicts, batch)?).await?;
            judged.advance(*bucket, application(&run_of(*bucket), batch));
        }
        if raised.is_empty() {
            return Ok((signals, detections));
        }
        // Where suppressions change meanwhile, one of the two begins anew.
        raised.set(self.hides.applied());
        let signals = raised.commit(&signals).await?;
        let detections = judged.commit(&detections).await?;
        buckets.values().flatten().for_each(|verdict| report.count(verdict));
        Ok((signals, detections))
    }

    fn to_batch(&self, bucket: i32, verdicts: &[Verdict], batch: i64) -> Result<RecordBatch, ArrowError> {
        let mut rows = Builder::new(verdicts.len());
        let all = || verdicts.iter();
        let text = |get: fn(&Verdict) -> Option<String>| verdicts.iter().map(get);
        let count = |get: fn(&Verdict) -> usize| {
            verdicts.iter().map(move |verdict| Some(i32::try_from(get(verdict)).unwrap_or(i32::MAX)))
        };
        rows.int32("bucket", all().map(|_| Some(bucket)));
        rows.text("workload_key", text(|verdict| Some(verdict.candidate.key.workload.to_string())));
        rows.text("object_key", text(|verdict| Some(verdict.candidate.object_key.clone())));
        rows.text("snapshot_id", text(|verdict| Some(verdict.candidate.key.id.to_string())));
        let outcome = |verdict: &Verdict| if verdict.damage.is_some() { "damaged" } else { "judged" };
        rows.text("outcome", all().map(|verdict| Some(outcome(verdict).to_owned())));
        rows.text("reason", text(|verdict| verdict.damage.clone()));
        rows.text(
            "profile_context",
            text(|verdict| {
                let context = match verdict.revision {
                    None => "no_profile",
                    Some((_, false)) => "learning",
                    Some((_, true)) => "stable",
                };
                Some(context.to_owned())
            }),
        );
        rows.int32("revision", all().map(|verdict| verdict.revision.map(|(number, _)| number)));
        rows.bool("is_novel", all().map(|verdict| Some(verdict.candidate.is_late)));
        rows.int32("nodes", count(|verdict| verdict.nodes));
        rows.int32("novel_nodes", count(|verdict| verdict.novel_nodes));
        rows.int32("signals", count(|verdict| verdict.signals.len()));
        rows.int32("signals_dropped", count(|verdict| verdict.dropped));
        rows.text("rules", all().map(|_| Some(self.rules.to_owned())));
        rows.int64("batch", all().map(|_| Some(batch)));
        rows.time("detected_at", all().map(|_| Some(self.detected_at)));
        rows.finish(&DETECTIONS)
    }
}

/// Ids of signals that stand already and may be raised again: of what is new, and where another run stopped half way, all of
/// these workloads.
async fn standing(
    signals: &OpenTable,
    bucket: i32,
    verdicts: &[Verdict],
    stopped: bool,
) -> Result<HashSet<String>, TableError> {
    let is_new = |signal: &Signal| signal.novelty.is_some();
    let workloads: BTreeSet<String> = verdicts
        .iter()
        .filter(|verdict| stopped || verdict.signals.iter().any(is_new))
        .map(|verdict| verdict.candidate.key.workload.to_string())
        .collect();
    let mut standing = HashSet::new();
    if workloads.is_empty() {
        return Ok(standing);
    }
    let columns = ["signal_id", "novelty", "workload_key"];
    let select = Selection { columns: Some(&columns), workloads: Some(&workloads) };
    for file in signals.files()? {
        if file.bucket() != Some(bucket) || !file.may_hold("workload_key", &workloads) {
            continue;
        }
        for batch in signals.read(&file, select).await? {
            let read = Reader::new(&batch);
            let ids = (0..batch.num_rows())
                .filter(|row| stopped || read.text("novelty", *row).is_some())
                .filter_map(|row| read.text("signal_id", row).map(str::to_owned));
            standing.extend(ids);
        }
    }
    Ok(standing)
}
