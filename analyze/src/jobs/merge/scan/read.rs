//! Reads one unit: learned rows first, then candidates in their order.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::compute::concat_batches;
use bytes::Bytes;
use datafusion::common::{Result, exec_datafusion_err};
use datafusion::execution::memory_pool::MemoryReservation;
use futures::FutureExt;
use futures::future::BoxFuture;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use tokio::sync::mpsc::Sender;
use wsp_schemas::keys::SnapshotKey;
use wsp_schemas::snapshot::{Limits, Scan, renew};
use wsp_schemas::tables::PROFILE_NODES;

use super::collect::{Collector, report_row};
use super::spec::{About, Candidate, Finding, Known, ScanSpec, Unit, UnitReport};
use crate::functions::MAX_ORDINAL;
use crate::jobs::fetch::{Files, Unfetched};
use crate::jobs::judgement::disagreement;
use crate::jobs::merge::admit::{Admission, Applicant};
use crate::jobs::merge::ledger::Seen;
use crate::one_line::one_line;
use crate::tables::{Selection, decode_rows};
use crate::units::Counter;

/// Rows of snapshots and nodes that a unit may hold; beyond it gives what it has and begins anew.
const HELD_ROWS: usize = 1 << 20;

/// Rows in a batch: what takes them looks at that many at once.
const BATCH_ROWS: usize = 8192;

/// What a unit is read with.
pub(super) struct Means<'a> {
    pub(super) objects: &'a Arc<dyn ObjectStore>,
    pub(super) counter: &'a Counter,
    /// Memory for what is held of a unit; where there is no more, its rows go on early.
    pub(super) memory: &'a MemoryReservation,
    /// Where its rows go. Nobody may listen any more.
    pub(super) rows: &'a Sender<Result<RecordBatch>>,
}

/// Sends the rows of one unit, its report last.
pub(super) async fn read_unit(means: &Means<'_>, spec: &ScanSpec, unit: &Unit) -> Result<()> {
    let expected = unit.standing.snapshots as usize + unit.candidates.len();
    let collector = Collector::new(unit.number, expected.min(spec.rules.max_snapshots as usize));
    let mut reader = UnitReader {
        means,
        spec,
        unit,
        limits: spec.limits,
        admission: Admission::new(&spec.rules, unit.standing.clone()),
        collector,
        report: UnitReport::default(),
        admitted: HashMap::new(),
    };
    reader.learned().await?;
    reader.candidates().await?;
    reader.finish().await
}

struct UnitReader<'a> {
    means: &'a Means<'a>,
    spec: &'a ScanSpec,
    unit: &'a Unit,
    limits: Limits,
    admission: Admission<'a>,
    collector: Collector,
    report: UnitReport,
    /// Content hashes by snapshot id, of what this scan admitted.
    admitted: HashMap<[u8; 16], String>,
}

type Fetched = std::result::Result<Bytes, Box<Finding>>;

impl UnitReader<'_> {
    async fn learned(&mut self) -> Result<()> {
        let Some(workload) = &self.unit.workload else { return Ok(()) };
        let workloads: BTreeSet<String> = [workload.clone()].into();
        let mut learned = Vec::new();
        for file in &self.unit.learned {
            let bad = |reason: String| exec_datafusion_err!("the node rows in `{}`: {reason}", file.key);
            let path = Path::parse(&file.key).map_err(|error| bad(error.to_string()))?;
            let object = self.means.objects.get(&path).await.map_err(|error| bad(error.to_string()))?;
            let bytes = object.bytes().await.map_err(|error| bad(error.to_string()))?;
            let partition = HashMap::from([
                ("bucket".to_owned(), Some(file.bucket.to_string())),
                ("status".to_owned(), Some("learning".to_owned())),
            ]);
            let select = Selection { columns: None, workloads: Some(&workloads) };
            for rows in decode_rows(&PROFILE_NODES, bytes, &partition, select).map_err(bad)? {
                learned.push(of_revision(&rows, file.revision)?);
            }
        }
        let Some(first) = learned.first() else { return Ok(()) };
        let rows = concat_batches(first.schema_ref(), &learned)?;
        // A merge of before may have known earlier path rules only.
        let rows = renew(&rows)?.unwrap_or(rows);
        self.collector.add_learned(rows)?;
        self.make_room().await
    }

    /// Fetches some candidates ahead, as long as they may be admitted.
    async fn candidates(&mut self) -> Result<()> {
        let Means { objects, counter, .. } = *self.means;
        let mut next = 0;
        let mut under_way: VecDeque<(usize, BoxFuture<'static, Fetched>)> = VecDeque::new();
        let candidates = &self.unit.candidates;
        loop {
            while under_way.len() < self.spec.concurrency.max(1) && next < candidates.len() {
                let candidate = &candidates[next];
                if self.is_wanted(candidate) {
                    let files = Files::through(Arc::clone(objects));
                    let fetch = fetch(files, candidate.clone(), self.limits);
                    under_way.push_back((next, tokio_spawned(fetch)));
                } else {
                    self.pass(candidate, counter);
                }
                next += 1;
            }
            let Some((at, fetched)) = under_way.pop_front() else { return Ok(()) };
            let candidate = &candidates[at];
            // What was fetched ahead may be too late by now.
            if !self.is_wanted(candidate) {
                self.pass(candidate, counter);
                continue;
            }
            let finding = match fetched.await {
                Ok(bytes) => self.judge(candidate, &bytes)?,
                Err(finding) => *finding,
            };
            let finding = for_known(candidate, finding);
            self.report.findings.push((u32::try_from(at).unwrap_or(u32::MAX), finding));
            counter.add(1);
            self.make_room().await?;
        }
    }

    /// Whether a candidate has to be opened: what its key says may be too late already.
    fn is_wanted(&self, candidate: &Candidate) -> bool {
        if !matches!(candidate.known, Known::New) || self.unit.workload.is_none() {
            return true;
        }
        let end = candidate.window_end;
        !self.admission.is_closed(end) || self.spec.rules.out_of_range(end, candidate.stored_at).is_some()
    }

    /// A candidate that comes too late still proves the time.
    fn pass(&mut self, candidate: &Candidate, counter: &Counter) {
        if self.spec.rules.out_of_range(candidate.window_end, candidate.stored_at).is_none() {
            self.admission.note(candidate.window_end, candidate.stored_at);
        }
        counter.add(1);
    }

    fn judge(&mut self, candidate: &Candidate, bytes: &Bytes) -> Result<Finding> {
        if let Known::Refused(Some(hash)) = &candidate.known
            && *hash == wsp_schemas::content_hash(bytes)
        {
            return Ok(Finding::RefusedBefore);
        }
        let scan = match self.collector.scanner().scan(bytes, &self.limits) {
            Ok(scan) => scan,
            Err(error) => {
                let content_hash = Some(wsp_schemas::content_hash(bytes));
                return Ok(Finding::Damaged { reason: one_line(&error), content_hash });
            }
        };
        let about = about(&scan);
        let key = SnapshotKey::parse(&candidate.key);
        let wrong = key.map_or_else(|error| Some(error.to_string()), |key| disagreement(&key, &scan.meta));
        if let Some(reason) = wrong {
            return Ok(Finding::Damaged { reason, content_hash: Some(about.content_hash) });
        }
        if let Known::Admitted { ordinal, content_hash } = &candidate.known {
            if *content_hash != about.content_hash {
                return Ok(Finding::Lost("its content has changed".to_owned()));
            }
            if *ordinal > MAX_ORDINAL {
                return Ok(Finding::Lost(format!("the ledger's ordinal {ordinal} is above {MAX_ORDINAL}")));
            }
            self.collector.add(*ordinal, scan)?;
            return Ok(Finding::Admitted { ordinal: *ordinal, about });
        }
        let id = *scan.meta.id.as_bytes();
        if self.unit.workload.is_none() {
            return Ok(Finding::Unkeyed(about));
        }
        let twin = match &candidate.known {
            Known::Twin(hash) => Some(hash),
            _ => self.admitted.get(&id),
        };
        if let Some(hash) = twin {
            return Ok(if *hash == about.content_hash {
                Finding::Duplicate(about)
            } else {
                Finding::Conflict(about)
            });
        }
        if let Some(reason) = self.spec.rules.out_of_range(scan.meta.window_end, candidate.stored_at) {
            return Ok(Finding::OutOfRange { reason, about });
        }
        self.admission.note(scan.meta.window_end, candidate.stored_at);
        let container = about.seen.container();
        let applicant = Applicant {
            window_start: scan.meta.window_start,
            window_end: scan.meta.window_end,
            container: &container,
        };
        Ok(match self.admission.admit(&applicant) {
            Some(ordinal) => {
                self.admitted.insert(id, about.content_hash.clone());
                self.collector.add(ordinal, scan)?;
                Finding::Admitted { ordinal, about }
            }
            None => Finding::Late,
        })
    }

    /// Sends what is held on, where it is too much.
    async fn make_room(&mut self) -> Result<()> {
        let fits = self.means.memory.try_resize(self.collector.memory()).is_ok();
        if fits && self.collector.held() <= HELD_ROWS {
            return Ok(());
        }
        self.send().await
    }

    /// Sends what is held on.
    async fn send(&mut self) -> Result<()> {
        for batch in self.collector.take()? {
            for start in (0..batch.num_rows()).step_by(BATCH_ROWS) {
                let rows = batch.slice(start, BATCH_ROWS.min(batch.num_rows() - start));
                let _ = self.means.rows.send(Ok(rows)).await;
            }
        }
        self.means.memory.free();
        Ok(())
    }

    async fn finish(mut self) -> Result<()> {
        if self.unit.workload.is_some() {
            self.report.freeze = self.admission.freeze().map(|(reason, at)| (reason.to_owned(), at));
        }
        self.send().await?;
        let report = serde_json::to_string(&self.report).map_err(|error| exec_datafusion_err!("{error}"))?;
        let _ = self.means.rows.send(Ok(report_row(self.unit.number, &report)?)).await;
        Ok(())
    }
}

/// The file is fetched while earlier ones are looked at.
fn tokio_spawned(fetch: impl Future<Output = Fetched> + Send + 'static) -> BoxFuture<'static, Fetched> {
    let task = datafusion::common::runtime::SpawnedTask::spawn(fetch);
    async move { task.await.unwrap_or_else(|error| Err(Box::new(Finding::Unavailable(error.to_string())))) }
        .boxed()
}

fn of_revision(rows: &RecordBatch, revision: i32) -> Result<RecordBatch> {
    use arrow::array::AsArray;
    use arrow::datatypes::Int32Type;

    let revisions = rows["revision"].as_primitive::<Int32Type>();
    // Pattern rows are made anew from the rows that they stand for.
    let keep = revisions
        .iter()
        .zip(0..)
        .map(|(found, row)| Some(found == Some(revision) && rows["pattern"].is_null(row)))
        .collect();
    Ok(arrow::compute::filter_record_batch(rows, &keep)?)
}

/// What a finding means for a candidate that the ledger has: an admitted one is never refused, only lost.
fn for_known(candidate: &Candidate, finding: Finding) -> Finding {
    match (&candidate.known, finding) {
        (Known::Admitted { .. }, Finding::Damaged { reason, .. } | Finding::Unavailable(reason)) => {
            Finding::Lost(reason)
        }
        // Too large to be looked at, as before.
        (Known::Refused(None), Finding::Damaged { content_hash: None, .. }) => Finding::RefusedBefore,
        (_, finding) => finding,
    }
}

async fn fetch(files: Files, candidate: Candidate, limits: Limits) -> Fetched {
    let fetched = files.whole(&candidate.key, Some(candidate.size), limits.file_bytes).await;
    fetched.map_err(|error| {
        let reason = error.to_string();
        Box::new(match error {
            Unfetched::TooLarge { .. } => Finding::Damaged { reason, content_hash: None },
            Unfetched::Changed { .. } | Unfetched::Unavailable(_) => Finding::Unavailable(reason),
        })
    })
}

fn about(scan: &Scan) -> About {
    let workload = scan.meta.image.workload.as_ref();
    About {
        content_hash: scan.content_hash.to_hex().to_string(),
        image_name: workload.map(|workload| workload.name().to_owned()),
        image_tag: workload.map(|workload| workload.tag().to_owned()),
        seen: Seen::of(&scan.meta, scan.len()),
    }
}
