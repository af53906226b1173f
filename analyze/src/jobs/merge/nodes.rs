//! The node rows of one revision.

use std::iter::repeat_n;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, AsArray, BinaryArray, BinaryBuilder, BooleanArray, Int32Array, Int64Array, RecordBatch,
    StringArray, StringBuilder, StructArray, TimestampMicrosecondArray, UInt32Array, UInt64Array,
};
use arrow::compute::concat_batches;
use arrow::datatypes::{Int64Type, UInt64Type};
use arrow::error::ArrowError;
use uuid::Uuid;
use uuid::fmt::Hyphenated;
use wsp_schemas::identity::Kind;
use wsp_schemas::image::WorkloadKey;
use wsp_schemas::tables::PROFILE_NODES;

use super::bound;
use super::fold::{self, Folding};
use super::profile::RevisionRows;
use super::scan::Sighting;
use super::score::{Observers, Score};
use crate::functions::MemberSet;
use crate::rows::Builder;

/// The rows, by node id; patterns among them.
pub(super) fn rows(
    bucket: i32,
    workload: WorkloadKey,
    revision: &RevisionRows<'_>,
    grouped: Vec<RecordBatch>,
    folding: &Folding,
) -> Result<RecordBatch, ArrowError> {
    let schema = Arc::new(PROFILE_NODES.arrow_schema());
    let Some(grouped) = in_order(grouped)? else { return Ok(RecordBatch::new_empty(schema)) };
    let observers = Observers::new(&revision.admitted);
    let place = Place { bucket, workload, revision };
    let plain = bound::siblings(plain_rows(&place, &observers, &grouped)?, folding.kept)?;
    let folded = fold::fold(&plain, &observers, folding)?;
    let patterns = pattern_rows(&place, &observers, &folded)?;
    let plain = with_column(&plain, "collapsed_into", Arc::new(folded.collapsed_into))?;
    if patterns.num_rows() == 0 {
        return Ok(plain);
    }
    let all = concat_batches(&schema, &[plain, patterns])?;
    let order = arrow::compute::sort_to_indices(&all["node_id"], None, None)?;
    arrow::compute::take_record_batch(&all, &order)
}

/// Grouped rows by node id.
fn in_order(mut parts: Vec<RecordBatch>) -> Result<Option<RecordBatch>, ArrowError> {
    let Some(first) = parts.pop() else { return Ok(None) };
    let all =
        if parts.is_empty() { first } else { concat_batches(&first.schema(), parts.iter().chain([&first]))? };
    let half = |name: &str| all[name].as_primitive::<UInt64Type>().values();
    let (high, low) = (half("id_high"), half("id_low"));
    let mut order: Vec<u32> = (0..u32::try_from(all.num_rows()).unwrap_or(u32::MAX)).collect();
    order.sort_unstable_by_key(|row| (high[*row as usize], low[*row as usize]));
    arrow::compute::take_record_batch(&all, &UInt32Array::from(order)).map(Some)
}

/// Where rows belong.
struct Place<'a> {
    bucket: i32,
    workload: WorkloadKey,
    revision: &'a RevisionRows<'a>,
}

impl Place<'_> {
    fn put(&self, out: &mut Builder, rows: usize) {
        let same = |text: &str| -> ArrayRef { Arc::new(StringArray::from_iter_values(repeat_n(text, rows))) };
        let workload = self.revision.workload.as_ref();
        out.int32("bucket", repeat_n(Some(self.bucket), rows));
        out.array("workload_key", same(&self.workload.to_string()));
        out.array("image_name", same(workload.map_or("", |workload| workload.name())));
        out.array("image_tag", same(workload.map_or("", |workload| workload.tag())));
        out.int32("revision", repeat_n(Some(self.revision.number), rows));
        out.array("status", same(self.revision.status()));
    }
}

fn put_scores(out: &mut Builder, scores: &[Score]) {
    let count = |get: fn(&Score) -> u32| -> ArrayRef {
        Arc::new(scores.iter().map(|score| i32::try_from(get(score)).ok()).collect::<Int32Array>())
    };
    out.array("snapshot_count", count(|score| score.snapshot_count));
    out.array("container_count", count(|score| score.container_count));
    out.array("host_count", count(|score| score.host_count));
    out.array("eligible_containers", count(|score| score.eligible_containers));
    out.float("commonality", scores.iter().map(|score| score.commonality));
    out.float("commonality_low", scores.iter().map(|score| score.interval.map(|(low, _)| low)));
    out.float("commonality_high", scores.iter().map(|score| score.interval.map(|(_, high)| high)));
    out.float("snapshot_commonality", scores.iter().map(|score| score.snapshot_commonality));
    out.array("lossy_count", count(|score| score.lossy_count));
    out.bool("stable", scores.iter().map(|score| score.stable));
    out.bool("rare", scores.iter().map(|score| Some(score.rare)));
    out.bool("late", scores.iter().map(|score| score.late));
}

fn put_phase(out: &mut Builder, startup: impl Iterator<Item = bool>) {
    let phases = startup.map(|startup| Some(if startup { "startup" } else { "steady" }));
    out.array("phase", Arc::new(phases.collect::<StringArray>()));
}

/// The rows of all nodes that were seen.
fn plain_rows(
    place: &Place<'_>,
    observers: &Observers,
    grouped: &RecordBatch,
) -> Result<RecordBatch, ArrowError> {
    let rows = grouped.num_rows();
    let attributes: &StructArray = grouped["attributes"].as_struct();
    let startup: &BooleanArray = grouped["startup"].as_boolean();
    let members: &BinaryArray = grouped["members"].as_binary();
    let column = |name: &str| {
        attributes.column_by_name(name).ok_or_else(|| ArrowError::SchemaError(format!("`{name}` is missing")))
    };
    let kinds: &StringArray = column("kind")?.as_string();
    let mut scorer = observers.scorer();
    let scores = (0..rows)
        .map(|row| {
            let kind = Kind::parse(kinds.value(row)).ok_or_else(|| corrupt("an unknown kind"))?;
            let members =
                MemberSet::from_bytes(members.value(row)).map_err(|error| corrupt(&error.to_string()))?;
            let score = scorer.score(kind, startup.value(row), &members);
            score.ok_or_else(|| corrupt("a member that the ledger does not have"))
        })
        .collect::<Result<Vec<Score>, ArrowError>>()?;
    let firsts: &BinaryArray = grouped["first"].as_binary();
    let firsts = firsts
        .iter()
        .map(|key| key.and_then(Sighting::from_bytes).ok_or_else(|| corrupt("no first sighting")))
        .collect::<Result<Vec<Sighting>, ArrowError>>()?;

    let mut out = Builder::new(rows);
    place.put(&mut out, rows);
    for field in attributes.fields() {
        if let Some(declared) = PROFILE_NODES.column(field.name()) {
            out.array(declared.name, Arc::clone(column(field.name())?));
        }
    }
    out.array("node_id", node_ids(grouped));
    put_phase(&mut out, startup.iter().map(|startup| startup == Some(true)));
    out.array("lineage_complete", Arc::clone(&grouped["lineage_complete"]));
    put_scores(&mut out, &scores);
    out.array("members", Arc::clone(&grouped["members"]));
    out.array("events", Arc::clone(&grouped["events"]));
    out.array("overflow", Arc::clone(&grouped["overflow"]));
    out.array("first_seen", times(firsts.iter().map(|first| first.seen)));
    out.array("last_seen", times(grouped["last_seen"].as_primitive::<Int64Type>().values().iter().copied()));
    let mut ids = StringBuilder::with_capacity(rows, rows * Hyphenated::LENGTH);
    let mut text = Uuid::encode_buffer();
    for first in &firsts {
        ids.append_value(Uuid::from_bytes(first.snapshot).hyphenated().encode_lower(&mut text));
    }
    out.array("first_snapshot_id", Arc::new(ids.finish()));
    out.finish(&PROFILE_NODES)
}

/// The rows of patterns: what is folded into one counts as one node.
fn pattern_rows(
    place: &Place<'_>,
    observers: &Observers,
    folded: &fold::Folded,
) -> Result<RecordBatch, ArrowError> {
    let patterns = &folded.patterns;
    let rows = patterns.len();
    if rows == 0 {
        return Ok(RecordBatch::new_empty(Arc::new(PROFILE_NODES.arrow_schema())));
    }
    let mut scorer = observers.scorer();
    let scores = patterns
        .iter()
        .map(|pattern| {
            let score = scorer.score(pattern.kind, pattern.startup, &pattern.members);
            score.ok_or_else(|| corrupt("a member that the ledger does not have"))
        })
        .collect::<Result<Vec<Score>, ArrowError>>()?;
    let mut out = Builder::new(rows);
    place.put(&mut out, rows);
    // Attributes that all of a crowd share by what they are; the others are those of none.
    for (name, column) in &folded.attributes {
        out.array(name, Arc::clone(column));
    }
    let bytes = |values: &mut dyn Iterator<Item = &[u8]>| -> ArrayRef {
        let mut out = BinaryBuilder::new();
        values.for_each(|value| out.append_value(value));
        Arc::new(out.finish())
    };
    out.array("node_id", bytes(&mut patterns.iter().map(|pattern| pattern.id.as_bytes().as_slice())));
    put_phase(&mut out, patterns.iter().map(|pattern| pattern.startup));
    out.bool("lineage_complete", patterns.iter().map(|pattern| Some(pattern.lineage_complete)));
    put_scores(&mut out, &scores);
    out.array("members", bytes(&mut patterns.iter().map(|pattern| pattern.members.as_bytes())));
    out.array(
        "events",
        Arc::new(patterns.iter().map(|pattern| Some(pattern.events)).collect::<Int64Array>()),
    );
    out.array("first_seen", times(patterns.iter().map(|pattern| pattern.first_seen)));
    out.array("last_seen", times(patterns.iter().map(|pattern| pattern.last_seen)));
    out.text("first_snapshot_id", patterns.iter().map(|pattern| Some(pattern.first_snapshot_id.clone())));
    out.text("pattern", patterns.iter().map(|pattern| Some(pattern.signature.clone())));
    out.int32("collapsed_nodes", patterns.iter().map(|pattern| i32::try_from(pattern.nodes).ok()));
    out.finish(&PROFILE_NODES)
}

pub(super) fn with_column(
    rows: &RecordBatch,
    name: &str,
    column: ArrayRef,
) -> Result<RecordBatch, ArrowError> {
    let at = rows.schema().index_of(name)?;
    let mut columns = rows.columns().to_vec();
    columns[at] = column;
    RecordBatch::try_new(rows.schema(), columns)
}

fn node_ids(grouped: &RecordBatch) -> ArrayRef {
    let half = |name: &str| -> &UInt64Array { grouped[name].as_primitive::<UInt64Type>() };
    let (high, low) = (half("id_high"), half("id_low"));
    let mut out = BinaryBuilder::with_capacity(high.len(), high.len() * 16);
    for (high, low) in high.values().iter().zip(low.values()) {
        out.append_value((u128::from(*high) << 64 | u128::from(*low)).to_be_bytes());
    }
    Arc::new(out.finish())
}

fn times(micros: impl Iterator<Item = i64>) -> ArrayRef {
    Arc::new(micros.map(Some).collect::<TimestampMicrosecondArray>().with_timezone("UTC"))
}

fn corrupt(what: &str) -> ArrowError {
    ArrowError::InvalidArgumentError(format!("a node has {what}"))
}
