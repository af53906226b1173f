//! The second half of a merge: what the ledger has and the profiles have not.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BinaryArray, BooleanArray, RecordBatch, StringArray};
use arrow::compute::{concat_batches, filter_record_batch};
use object_store::path::Path;
use wsp_schemas::identity::Kind;
use wsp_schemas::image::{Workload, WorkloadKey};
use wsp_schemas::store::Store;
use wsp_schemas::tables::{PROFILE_NODES, PROFILES};

use super::aggregate::{self, Merged, Source};
use super::ledger::{Ledger, LedgerRow, Outcome};
use super::profile::{self, ProfileRow, RevisionRows};
use super::read::{self, Snapshots, Unusable};
use super::score::{Observers, Score};
use super::{MergeError, Options, Report};
use crate::functions::MemberSet;
use crate::rows::Builder;
use crate::tables::{Change, ProfileTables, partition_value, pins, read_partition, transaction};

type PartitionValues = HashMap<String, Option<String>>;

/// Buckets whose nodes or profiles stand behind the ledger.
pub(super) async fn behind(tables: &ProfileTables, buckets: u32) -> Result<Vec<i32>, MergeError> {
    let mut behind = Vec::new();
    for bucket in 0..i32::try_from(buckets).unwrap_or(i32::MAX) {
        let ledger = tables.ledger.batch(bucket).await?;
        if ledger > tables.nodes.batch(bucket).await?.min(tables.profiles.batch(bucket).await?) {
            behind.push(bucket);
        }
    }
    Ok(behind)
}

/// Brings buckets to where the ledger stands. `fresh` are snapshots that are in memory already.
pub(super) async fn run(
    store: &Store,
    mut tables: ProfileTables,
    ledger: &Ledger,
    buckets: &[i32],
    mut fresh: Snapshots,
    options: &Options,
    report: &mut Report,
) -> Result<ProfileTables, MergeError> {
    let mut nodes = Change::default();
    let mut changed: HashMap<WorkloadKey, RecordBatch> = HashMap::new();
    for bucket in buckets {
        let (target, stands) = (tables.ledger.batch(*bucket).await?, tables.nodes.batch(*bucket).await?);
        if stands < target {
            let bucket =
                Bucket { store, tables: &tables, number: *bucket, rows: ledger.rows(*bucket), options };
            bucket.merge(stands, &mut fresh, &mut nodes, &mut changed, report).await?;
            nodes.advance(bucket.number, transaction(bucket.number, target));
        }
    }
    if !nodes.is_empty() {
        tables.nodes = nodes.commit(&tables.nodes).await?;
    }

    let mut profiles = Change::default();
    for bucket in buckets {
        let (target, stands) = (tables.ledger.batch(*bucket).await?, tables.profiles.batch(*bucket).await?);
        if stands < target {
            let bucket =
                Bucket { store, tables: &tables, number: *bucket, rows: ledger.rows(*bucket), options };
            report.profiles += bucket.summarise(stands, target, &changed, &mut profiles).await?;
            profiles.advance(bucket.number, transaction(bucket.number, target));
        }
    }
    if !profiles.is_empty() {
        profiles.note(pins(&tables.ledger, &tables.nodes));
        tables.profiles = profiles.commit(&tables.profiles).await?;
    }
    Ok(tables)
}

struct Bucket<'a> {
    store: &'a Store,
    tables: &'a ProfileTables,
    number: i32,
    rows: &'a [LedgerRow],
    options: &'a Options,
}

impl Bucket<'_> {
    fn is_mine(&self, values: &PartitionValues) -> bool {
        let number = self.number.to_string();
        values.get("bucket").is_some_and(|value| value.as_deref() == Some(number.as_str()))
    }

    fn is_learning(&self, values: &PartitionValues) -> bool {
        self.is_mine(values) && values.get("status").is_some_and(|value| value.as_deref() == Some("learning"))
    }

    /// Workloads whose profile changed after a batch.
    fn touched(&self, after: i64) -> Vec<Workload> {
        let rows = self.rows.iter().filter(|row| row.batch > after);
        let rows = rows.filter(|row| matches!(row.outcome, Outcome::Admitted | Outcome::Frozen));
        rows.filter_map(|row| row.workload.clone()).collect::<BTreeSet<_>>().into_iter().collect()
    }

    /// Groups what was admitted after a batch with the rows of before, and puts the bucket's files into the change.
    async fn merge(
        &self,
        stands: i64,
        fresh: &mut Snapshots,
        change: &mut Change,
        changed: &mut HashMap<WorkloadKey, RecordBatch>,
        report: &mut Report,
    ) -> Result<(), MergeError> {
        let touched = self.touched(stands);
        if touched.is_empty() {
            return Ok(());
        }
        let numbers: HashMap<String, u32> =
            touched.iter().zip(0..).map(|(workload, at)| (workload.key().to_string(), at)).collect();
        let mut sources = Vec::new();
        let mut learning = Vec::new();
        for batch in read_partition(&self.tables.nodes, |values| self.is_learning(values)).await? {
            let (earlier, kept) = split(&batch, &numbers)?;
            learning.push(kept);
            sources.extend(earlier);
        }
        for row in self.rows.iter().filter(|row| row.batch > stands && row.outcome == Outcome::Admitted) {
            let (Some(key), Some(workload), Some(ordinal)) = (&row.object_key, &row.workload, row.ordinal)
            else {
                continue;
            };
            let snapshot = match fresh.remove(key) {
                Some(snapshot) => snapshot,
                None => self.again(key, row).await?,
            };
            let number = numbers.get(&workload.key().to_string()).copied().unwrap_or_default();
            sources.push(Source::snapshot(number, ordinal, &snapshot)?);
        }
        let merged = match sources.as_slice() {
            [] => None,
            sources => Some(aggregate::run(sources, partitions()).await?),
        };
        let mut stable = Vec::new();
        for (workload, number) in touched.iter().zip(0..) {
            let revision = RevisionRows::of(workload, self.rows);
            let rows = self.node_rows(&revision, merged.as_ref(), number)?;
            report.nodes += rows.num_rows();
            changed.insert(workload.key(), rows.clone());
            if revision.frozen.is_some() { stable.push(rows) } else { learning.push(rows) }
        }
        change.remove(&self.tables.nodes, |values| self.is_learning(values))?;
        let schema = Arc::new(PROFILE_NODES.arrow_schema());
        for (status, batches) in [("learning", learning), ("stable", stable)] {
            let partition = vec![partition_value("bucket", &self.number), partition_value("status", &status)];
            change.add(&self.tables.nodes, partition, &concat_batches(&schema, &batches)?).await?;
        }
        Ok(())
    }

    /// Reads an admitted snapshot again, as recovery must. It is never skipped.
    async fn again(&self, key: &str, row: &LedgerRow) -> Result<wsp_schemas::snapshot::Verified, MergeError> {
        let lost = |reason: String| MergeError::Lost { object: key.to_owned(), reason };
        let path = Path::parse(key).map_err(|error| lost(error.to_string()))?;
        let size = row.object_size.and_then(|size| u64::try_from(size).ok()).unwrap_or_default();
        let snapshot =
            read::one(self.store, &path, size, self.options.limits).await.map_err(
                |unusable| match unusable {
                    Unusable::Damaged { reason, .. } | Unusable::Unavailable(reason) => lost(reason),
                },
            )?;
        if row.content_hash.as_deref() == Some(snapshot.content_hash.to_hex().as_str()) {
            Ok(*snapshot)
        } else {
            Err(lost("its content has changed".to_owned()))
        }
    }

    /// The rows of one revision.
    fn node_rows(
        &self,
        revision: &RevisionRows<'_>,
        merged: Option<&Merged>,
        number: u32,
    ) -> Result<RecordBatch, MergeError> {
        let Some(merged) = merged else {
            return Ok(RecordBatch::new_empty(Arc::new(PROFILE_NODES.arrow_schema())));
        };
        let workloads = merged.workload.values();
        let start = workloads.partition_point(|other| *other < number);
        let end = workloads.partition_point(|other| *other <= number);
        let merged = merged.slice(start, end - start);
        let scores = scores(revision, &merged)?;

        let rows = end - start;
        let mut out = Builder::new(rows);
        let same = |text: &str| std::iter::repeat_n(Some(text.to_owned()), rows);
        let count = |get: fn(&Score) -> u32| scores.iter().map(move |score| i32::try_from(get(score)).ok());
        out.int32("bucket", std::iter::repeat_n(Some(self.number), rows));
        out.text("workload_key", same(&revision.workload.key().to_string()));
        out.text("image_name", same(revision.workload.name()));
        out.text("image_tag", same(revision.workload.tag()));
        out.int32("revision", std::iter::repeat_n(Some(revision.number), rows));
        out.text("status", same(revision.status()));
        for (field, column) in merged.attributes.schema().fields().iter().zip(merged.attributes.columns()) {
            if let Some(column_name) = PROFILE_NODES.column(field.name()) {
                out.array(column_name.name, Arc::clone(column));
            }
        }
        out.array("node_id", Arc::clone(&merged.node_id));
        let phase = |startup: Option<bool>| if startup == Some(true) { "startup" } else { "steady" };
        out.text("phase", merged.startup.iter().map(|startup| Some(phase(startup).to_owned())));
        out.array("lineage_complete", Arc::new(merged.lineage_complete.clone()));
        out.int32("snapshot_count", count(|score| score.snapshot_count));
        out.int32("container_count", count(|score| score.container_count));
        out.int32("host_count", count(|score| score.host_count));
        out.int32("eligible_containers", count(|score| score.eligible_containers));
        out.float("commonality", scores.iter().map(|score| score.commonality));
        out.float("commonality_low", scores.iter().map(|score| score.interval.map(|(low, _)| low)));
        out.float("commonality_high", scores.iter().map(|score| score.interval.map(|(_, high)| high)));
        out.float("snapshot_commonality", scores.iter().map(|score| score.snapshot_commonality));
        out.int32("lossy_count", count(|score| score.lossy_count));
        out.array("members", Arc::new(merged.members.clone()) as ArrayRef);
        out.array("events", Arc::new(merged.events.clone()));
        out.array("first_seen", Merged::timestamps(&merged.first_seen));
        out.array("last_seen", Merged::timestamps(&merged.last_seen));
        out.array("first_snapshot_id", Arc::new(merged.first_snapshot_id.clone()));
        out.bool("stable", scores.iter().map(|score| score.stable));
        out.bool("rare", scores.iter().map(|score| Some(score.rare)));
        out.bool("late", scores.iter().map(|score| score.late));
        Ok(out.finish(&PROFILE_NODES)?)
    }

    /// Puts the bucket's profile rows into the change: those touched after a batch anew, the others as they are.
    async fn summarise(
        &self,
        stands: i64,
        target: i64,
        changed: &HashMap<WorkloadKey, RecordBatch>,
        change: &mut Change,
    ) -> Result<usize, MergeError> {
        let touched = self.touched(stands);
        if touched.is_empty() {
            return Ok(0);
        }
        let mut rows: Vec<ProfileRow> = Vec::with_capacity(touched.len());
        for workload in &touched {
            let revision = RevisionRows::of(workload, self.rows);
            let nodes = match changed.get(&workload.key()) {
                Some(nodes) => nodes.clone(),
                // The run that wrote the nodes stopped before their profile.
                None => self.written_nodes(workload.key()).await?,
            };
            rows.push(profile::summarise(self.number, &revision, &nodes, target, self.options)?);
        }
        let keys: HashMap<String, u32> =
            touched.iter().map(|workload| (workload.key().to_string(), 0)).collect();
        let mut batches = vec![profile::to_batch(&rows)?];
        for batch in read_partition(&self.tables.profiles, |values| self.is_mine(values)).await? {
            batches.push(filter_record_batch(&batch, &untouched(&batch, &keys))?);
        }
        change.remove(&self.tables.profiles, |values| self.is_mine(values))?;
        let all = concat_batches(&Arc::new(PROFILES.arrow_schema()), &batches)?;
        change.add(&self.tables.profiles, vec![partition_value("bucket", &self.number)], &all).await?;
        Ok(rows.len())
    }

    async fn written_nodes(&self, workload: WorkloadKey) -> Result<RecordBatch, MergeError> {
        let key = HashMap::from([(workload.to_string(), 0)]);
        let mut batches = Vec::new();
        for batch in read_partition(&self.tables.nodes, |values| self.is_mine(values)).await? {
            let mine: BooleanArray =
                untouched(&batch, &key).iter().map(|other| other.map(|other| !other)).collect();
            batches.push(filter_record_batch(&batch, &mine)?);
        }
        let rows = concat_batches(&Arc::new(PROFILE_NODES.arrow_schema()), &batches)?;
        let ids: &BinaryArray = rows["node_id"].as_binary();
        let order = arrow::compute::sort_to_indices(ids, None, None)?;
        Ok(arrow::compute::take_record_batch(&rows, &order)?)
    }
}

fn scores(revision: &RevisionRows<'_>, merged: &Merged) -> Result<Vec<Score>, MergeError> {
    let observers = Observers::new(&revision.admitted);
    let kinds: &StringArray = merged.attributes["kind"].as_string();
    let corrupt = |what: &str| {
        let reason = format!("a node of {} has {what}", revision.workload);
        arrow::error::ArrowError::InvalidArgumentError(reason)
    };
    (0..kinds.len())
        .map(|row| {
            let members = MemberSet::from_bytes(merged.members.value(row))
                .map_err(|error| corrupt(&error.to_string()))?;
            let kind = Kind::parse(kinds.value(row)).ok_or_else(|| corrupt("an unknown kind"))?;
            let score = observers.score(kind, merged.startup.value(row), &members);
            Ok(score.ok_or_else(|| corrupt("a member that the ledger does not have"))?)
        })
        .collect()
}

/// Splits rows of a bucket into those that a merge touches, with their profile's number, and the others.
fn split(
    batch: &RecordBatch,
    numbers: &HashMap<String, u32>,
) -> Result<(Option<Source>, RecordBatch), MergeError> {
    let others = untouched(batch, numbers);
    let mine: BooleanArray = others.iter().map(|other| other.map(|other| !other)).collect();
    let rows = filter_record_batch(batch, &mine)?;
    let keys: &StringArray = rows["workload_key"].as_string();
    let workloads = keys.iter().filter_map(|key| numbers.get(key?).copied()).collect();
    let source = if rows.num_rows() > 0 { Some(Source::earlier(workloads, &rows)?) } else { None };
    Ok((source, filter_record_batch(batch, &others)?))
}

fn untouched(batch: &RecordBatch, touched: &HashMap<String, u32>) -> BooleanArray {
    let keys: &StringArray = batch["workload_key"].as_string();
    keys.iter().map(|key| key.map(|key| !touched.contains_key(key))).collect()
}

fn partitions() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}
