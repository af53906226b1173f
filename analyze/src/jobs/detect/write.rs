//! Puts verdicts into the tables: signals first, then what was judged.
//!
//! A run that stops in between has written signals of snapshots that count as not judged. The next run judges them again, and
//! leaves out signals that stand already: their ids follow from what they are about. So is what a container goes on doing: that
//! is new once.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::error::ArrowError;
use chrono::{DateTime, Utc};
use datafusion::common::runtime::SpawnedTask;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use wsp_schemas::tables::{DETECTIONS, SIGNALS};

use super::signal::{self, Signal};
use super::{DetectError, Report, Verdict, ended};
use crate::jobs::suppress;
use crate::rows::{Builder, Reader};
use crate::tables::{
    Change, DETECT_WATERMARK, DataFile, Encoded, OpenTable, Selection, TableError, Written, application,
    partition_value,
};

/// Application transaction that says at which run of a bucket a table stands.
fn run_of(bucket: i32) -> String {
    format!("detect/{bucket}")
}

/// What verdicts are written with.
#[derive(Debug)]
pub(super) struct Writer {
    /// Hash of the rules.
    pub(super) rules: String,
    pub(super) detected_at: DateTime<Utc>,
    /// Signals of one snapshot.
    pub(super) most_signals: usize,
    pub(super) hides: suppress::Current,
    /// Buckets that are made at once.
    pub(super) at_once: usize,
}

/// The files of a bucket, and what is reported of it.
struct Made<File> {
    bucket: i32,
    batch: i64,
    raised: Vec<File>,
    judged: File,
    report: Report,
}

impl Writer {
    /// Writes, and sets the hour up to which all is judged then, where that has changed; gives both tables at the versions that follow.
    pub(super) async fn commit(
        self: &Arc<Self>,
        signals: OpenTable,
        detections: OpenTable,
        verdicts: Vec<Verdict>,
        reached: Option<i64>,
        report: &mut Report,
    ) -> Result<(OpenTable, OpenTable), DetectError> {
        let mut buckets: BTreeMap<i32, Vec<Verdict>> = BTreeMap::new();
        for verdict in verdicts {
            buckets.entry(verdict.bucket).or_default().push(verdict);
        }
        let files = Arc::new(signals.files()?);
        let parts = stream::iter(buckets).map(|(bucket, verdicts)| {
            let tables = (signals.clone(), Arc::clone(&files), detections.clone());
            let part = Arc::clone(self).write(tables, bucket, verdicts);
            // It ends with the others, where one fails.
            async { SpawnedTask::spawn(part).join().await.map_err(|error| ended(&error))? }
        });
        // While some are written, others are made: what is held are the files, and what stood before, of so many buckets.
        let parts: Vec<Made<Written>> = parts.buffered(2 * self.at_once).try_collect().await?;
        let (mut raised, mut judged) = (Change::default(), Change::default());
        let mut reports = Vec::new();
        for made in parts {
            made.raised.into_iter().for_each(|file| raised.add_written(file));
            raised.advance(made.bucket, application(&run_of(made.bucket), made.batch));
            judged.add_written(made.judged);
            judged.advance(made.bucket, application(&run_of(made.bucket), made.batch));
            reports.push(made.report);
        }
        // Where suppressions change meanwhile, one of the two begins anew.
        raised.set(self.hides.applied());
        if let Some(hour) = reached {
            judged.set(application(DETECT_WATERMARK, hour));
        }
        let signals = if reports.is_empty() { signals } else { raised.commit(&signals).await? };
        let detections = if judged.is_empty() { detections } else { judged.commit(&detections).await? };
        reports.into_iter().for_each(|part| report.add(part));
        Ok((signals, detections))
    }

    /// Writes the files of a bucket. Beside `signals` are its present files.
    async fn write(
        self: Arc<Self>,
        (signals, files, detections): (OpenTable, Arc<Vec<DataFile>>, OpenTable),
        bucket: i32,
        mut verdicts: Vec<Verdict>,
    ) -> Result<Made<Written>, DetectError> {
        // In the order of windows: what is new is told by the first that shows it.
        verdicts.sort_by_key(|verdict| (verdict.candidate.key.window_end_ms, verdict.candidate.key.id));
        let mut standing = Standing::read(&signals, &files, bucket, &verdicts).await?;
        verdicts.iter_mut().for_each(|verdict| standing.settle(verdict, self.most_signals));
        let stood = signals.application(&run_of(bucket)).await?.unwrap_or(0);
        let done = detections.application(&run_of(bucket)).await?.unwrap_or(0);
        let batch = stood.max(done) + 1;
        for signal in verdicts.iter_mut().flat_map(|verdict| &mut verdict.signals) {
            signal.batch = Some(batch);
        }
        let made = tokio::task::spawn_blocking(move || self.made(bucket, batch, &verdicts)).await;
        let Made { raised, judged, report, .. } = made.map_err(|error| ended(&error))??;
        let (to, detections) = (signals.folder(), detections.folder());
        let mut written = Vec::with_capacity(raised.len());
        for file in raised {
            written.push(file.write(&to).await?);
        }
        Ok(Made { bucket, batch, raised: written, judged: judged.write(&detections).await?, report })
    }

    /// Encodes what is written to a bucket.
    fn made(&self, bucket: i32, batch: i64, verdicts: &[Verdict]) -> Result<Made<Encoded>, DetectError> {
        let partition = vec![partition_value("bucket", &bucket)];
        let mut report = Report::default();
        let rows: Vec<&Signal> = verdicts.iter().flat_map(|verdict| &verdict.signals).collect();
        let mut raised = Vec::new();
        for rows in rows.chunks(signal::ROWS_AT_ONCE) {
            let (rows, hidden) = self.hides.mark(&signal::to_batch(rows)?)?;
            report.suppressed += hidden;
            raised.push(Encoded::of(&SIGNALS, partition.clone(), &rows)?);
        }
        let judged = Encoded::of(&DETECTIONS, partition, &self.to_batch(bucket, verdicts, batch)?)?;
        verdicts.iter().for_each(|verdict| report.count(verdict));
        Ok(Made { bucket, batch, raised, judged, report })
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
        rows.int32("signals", count(|verdict| verdict.signals.len() + verdict.standing));
        rows.int32("signals_dropped", count(|verdict| verdict.dropped));
        rows.text("rules", all().map(|_| Some(self.rules.clone())));
        rows.int64("batch", all().map(|_| Some(batch)));
        rows.time("detected_at", all().map(|_| Some(self.detected_at)));
        rows.finish(&DETECTIONS)
    }
}

/// What stands already, of the snapshots and workloads at hand.
#[derive(Debug, Default)]
struct Standing {
    /// Ids of signals.
    ids: HashSet<String>,
    /// What was told of what is new, by workload and container.
    told: HashMap<(String, String), HashSet<String>>,
}

impl Standing {
    async fn read(
        signals: &OpenTable,
        files: &[DataFile],
        bucket: i32,
        verdicts: &[Verdict],
    ) -> Result<Self, TableError> {
        let raises = |verdict: &&Verdict| !verdict.signals.is_empty() || !verdict.novelties.is_empty();
        let workload = |verdict: &Verdict| verdict.candidate.key.workload.to_string();
        let workloads: BTreeSet<String> = verdicts.iter().filter(raises).map(workload).collect();
        let has_news = |verdict: &&Verdict| !verdict.novelties.is_empty();
        let news: BTreeSet<String> = verdicts.iter().filter(has_news).map(workload).collect();
        let snapshots: BTreeSet<String> =
            verdicts.iter().filter(raises).map(|verdict| verdict.candidate.key.id.to_string()).collect();
        let columns = ["signal_id", "snapshot_id", "container_id", "workload_key", "told"];
        let select = Selection { columns: Some(&columns), workloads: Some(&workloads) };
        let mut standing = Self::default();
        for file in files.iter().filter(|file| file.bucket() == Some(bucket)) {
            // Ids of snapshots begin with their time: older files have none of these.
            if !file.may_hold("snapshot_id", &snapshots) && !file.may_hold("workload_key", &news) {
                continue;
            }
            for batch in signals.read(file, select).await? {
                let read = Reader::new(&batch);
                for row in 0..batch.num_rows() {
                    let text = |name: &str| read.text(name, row).unwrap_or_default();
                    if snapshots.contains(text("snapshot_id")) {
                        standing.ids.insert(text("signal_id").to_owned());
                    }
                    let told = read.text_list("told", row);
                    if !told.is_empty() && news.contains(text("workload_key")) {
                        let of = (text("workload_key").to_owned(), text("container_id").to_owned());
                        standing.told.entry(of).or_default().extend(told);
                    }
                }
            }
        }
        Ok(standing)
    }

    /// Leaves of a verdict what does not stand already, at most so many signals: the worst.
    fn settle(&mut self, verdict: &mut Verdict, most: usize) {
        let workload = verdict.candidate.key.workload.to_string();
        let all = verdict.signals.len();
        verdict.signals.retain(|signal| self.ids.insert(signal.id.clone()));
        verdict.standing = all - verdict.signals.len();
        for things in std::mem::take(&mut verdict.novelties) {
            let known = self.told.entry((workload.clone(), things.container().to_owned())).or_default();
            if !things.has_news(known) {
                continue;
            }
            if verdict.signals.len() >= most {
                verdict.dropped += 1;
                // What is new comes before what is no worse and a rule raised.
                let least = verdict.signals.iter().enumerate().min_by_key(|(_, signal)| signal.severity);
                match least.filter(|(_, least)| least.severity < things.severity()).map(|(at, _)| at) {
                    Some(at) => drop(verdict.signals.remove(at)),
                    // Not told: the next window may have room.
                    None => continue,
                }
            }
            let signal = things.signal(known).filter(|signal| self.ids.insert(signal.id.clone()));
            verdict.standing += usize::from(signal.is_none());
            verdict.signals.extend(signal);
        }
    }
}
