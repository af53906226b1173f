//! Sightings of nodes, old and new, become one row a node.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BinaryArray, BooleanArray, Decimal128Array, FixedSizeBinaryArray, Int32Array,
    Int64Array, RecordBatch, StringArray, UInt32Array, UInt64Array,
};
use arrow::compute::{cast, concat_batches, interleave_record_batch};
use arrow::datatypes::{
    DataType, Decimal128Type, Field, Int32Type, Int64Type, Schema, TimestampMicrosecondType, UInt32Type,
    UInt64Type,
};
use arrow::error::ArrowError;
use datafusion::datasource::MemTable;
use wsp_schemas::snapshot::Verified;
use wsp_schemas::tables::{PROFILE_NODES, SNAPSHOT};

use super::MergeError;
use crate::session;

const SQL: &str = include_str!("aggregate.sql");

/// Where sightings come from: a snapshot, or rows of an earlier merge.
pub(super) struct Source {
    sightings: RecordBatch,
    attributes: RecordBatch,
    snapshot_ids: StringArray,
}

/// The node rows of the profiles of a bucket, sorted by (profile, node id); all columns have the same length.
pub(super) struct Merged {
    /// Index of the profile, as the caller numbered them.
    pub(super) workload: UInt32Array,
    pub(super) node_id: ArrayRef,
    pub(super) members: BinaryArray,
    pub(super) events: Int64Array,
    pub(super) first_seen: Int64Array,
    pub(super) last_seen: Int64Array,
    pub(super) startup: BooleanArray,
    pub(super) lineage_complete: BooleanArray,
    pub(super) first_snapshot_id: StringArray,
    /// Attributes of the first sighting, by the names that both tables have.
    pub(super) attributes: RecordBatch,
}

/// Columns that a node keeps from its first sighting: those that snapshots and node rows share, but for what is merged.
fn attribute_columns() -> impl Iterator<Item = &'static str> {
    const MERGED: [&str; 5] = ["node_id", "phase", "lineage_complete", "events", "image_name"];
    PROFILE_NODES
        .columns
        .iter()
        .map(|column| column.name)
        .filter(|name| SNAPSHOT.column(name).is_some() && !MERGED.contains(name) && *name != "image_tag")
}

fn attribute_schema() -> Arc<Schema> {
    let schema = PROFILE_NODES.arrow_schema();
    Arc::new(Schema::new(
        attribute_columns().filter_map(|name| schema.field_with_name(name).ok().cloned()).collect::<Vec<_>>(),
    ))
}

impl Source {
    /// A snapshot that was admitted under an ordinal.
    pub(super) fn snapshot(workload: u32, ordinal: i32, snapshot: &Verified) -> Result<Self, ArrowError> {
        let rows = &snapshot.rows;
        let count = rows.num_rows();
        let start = snapshot.meta.window_start.timestamp_micros();
        let time = |name: &str| -> Int64Array {
            let offsets = rows[name].as_primitive::<Int32Type>();
            offsets.values().iter().map(|ms| start + i64::from(*ms) * 1000).collect()
        };
        let ids: &FixedSizeBinaryArray = rows["node_id"].as_fixed_size_binary();
        let phases: &StringArray = rows["phase"].as_string();
        let sightings = sightings(Parts {
            workload: vec![workload; count],
            ids: ids.iter().map(|id| id.unwrap_or_default()).collect(),
            ordinal: Int32Array::from(vec![ordinal; count]),
            members: BinaryArray::new_null(count),
            // A file may claim any number; a sum of what it may claim here stays far from overflowing.
            events: Arc::new(
                rows["events"]
                    .as_primitive::<Int64Type>()
                    .unary::<_, Int64Type>(|events| events.min(1 << 40)),
            ),
            first_seen: time("first_seen_ms"),
            last_seen: time("last_seen_ms"),
            startup: phases.iter().map(|phase| phase.map(|phase| phase == "startup")).collect(),
            lineage_complete: Arc::clone(&rows["lineage_complete"]),
        })?;
        let attributes = project(rows)?;
        let snapshot_ids = StringArray::from(vec![snapshot.meta.id.to_string(); count]);
        Ok(Self { sightings, attributes, snapshot_ids })
    }

    /// Rows of `profile_nodes`, with the profile of each.
    pub(super) fn earlier(workloads: Vec<u32>, rows: &RecordBatch) -> Result<Self, ArrowError> {
        let micros = |name: &str| -> Int64Array {
            rows[name].as_primitive::<TimestampMicrosecondType>().values().iter().copied().collect()
        };
        let ids: &BinaryArray = rows["node_id"].as_binary();
        let phases: &StringArray = rows["phase"].as_string();
        let sightings = sightings(Parts {
            workload: workloads,
            ids: ids.iter().map(|id| id.unwrap_or_default()).collect(),
            ordinal: Int32Array::new_null(rows.num_rows()),
            members: rows["members"].as_binary::<i32>().clone(),
            events: Arc::clone(&rows["events"]),
            first_seen: micros("first_seen"),
            last_seen: micros("last_seen"),
            startup: phases.iter().map(|phase| phase.map(|phase| phase == "startup")).collect(),
            lineage_complete: Arc::clone(&rows["lineage_complete"]),
        })?;
        let snapshot_ids = rows["first_snapshot_id"].as_string::<i32>().clone();
        Ok(Self { sightings, attributes: project(rows)?, snapshot_ids })
    }
}

struct Parts<'a> {
    workload: Vec<u32>,
    ids: Vec<&'a [u8]>,
    ordinal: Int32Array,
    members: BinaryArray,
    events: ArrayRef,
    first_seen: Int64Array,
    last_seen: Int64Array,
    startup: BooleanArray,
    lineage_complete: ArrayRef,
}

fn sightings(parts: Parts<'_>) -> Result<RecordBatch, ArrowError> {
    let half = |range: std::ops::Range<usize>| -> UInt64Array {
        let read =
            |id: &&[u8]| id.get(range.clone()).and_then(|half| half.try_into().ok()).map(u64::from_be_bytes);
        parts.ids.iter().map(read).collect()
    };
    let columns: [(&str, ArrayRef); 10] = [
        ("workload", Arc::new(UInt32Array::from(parts.workload))),
        ("id_high", Arc::new(half(0..8))),
        ("id_low", Arc::new(half(8..16))),
        ("ordinal", Arc::new(parts.ordinal)),
        ("members", Arc::new(parts.members)),
        ("events", parts.events),
        ("first_seen", Arc::new(parts.first_seen)),
        ("last_seen", Arc::new(parts.last_seen)),
        ("startup", Arc::new(parts.startup)),
        ("lineage_complete", parts.lineage_complete),
    ];
    let fields: Vec<Field> =
        columns.iter().map(|(name, array)| Field::new(*name, array.data_type().clone(), true)).collect();
    RecordBatch::try_new(Arc::new(Schema::new(fields)), columns.into_iter().map(|(_, array)| array).collect())
}

fn project(rows: &RecordBatch) -> Result<RecordBatch, ArrowError> {
    let schema = attribute_schema();
    let column = |field: &Arc<Field>| match rows.column_by_name(field.name()) {
        // Ids of snapshot files have a fixed size, which Delta has no type for.
        Some(column) if column.data_type() != field.data_type() => cast(column, field.data_type()),
        Some(column) => Ok(Arc::clone(column)),
        None => Err(ArrowError::SchemaError(format!("`{}` is missing", field.name()))),
    };
    let columns = schema.fields().iter().map(column).collect::<Result<Vec<_>, _>>()?;
    RecordBatch::try_new(schema, columns)
}

/// The packed key of a sighting: its minimum over a group names the first one, by (time, snapshot id).
///
/// 54 bits of microseconds reach the year 2540, 32 bits number the snapshots of a bucket, 40 bits their rows.
#[derive(Clone, Copy)]
struct Sighting {
    first_seen: i64,
    rank: u32,
    row: u64,
}

impl Sighting {
    const ROW_BITS: u32 = 40;
    const RANK_BITS: u32 = 32;

    fn pack(self) -> i128 {
        i128::from(self.first_seen) << (Self::ROW_BITS + Self::RANK_BITS)
            | i128::from(self.rank) << Self::ROW_BITS
            | i128::from(self.row)
    }

    fn row(packed: i128) -> usize {
        usize::try_from(packed & ((1 << Self::ROW_BITS) - 1)).unwrap_or_default()
    }
}

/// Groups all sources.
pub(super) async fn run(sources: &[Source], partitions: usize) -> Result<Merged, MergeError> {
    let (inputs, starts) = inputs(sources, partitions)?;
    let schema =
        inputs.iter().flatten().next().map_or_else(|| Arc::new(Schema::empty()), RecordBatch::schema);
    let context = session::new(partitions)?;
    context.register_table("sightings", Arc::new(MemTable::try_new(schema, inputs)?))?;
    let batches = context.sql(SQL).await?.collect().await?;
    let schema = batches.first().map_or_else(|| Arc::new(Schema::empty()), RecordBatch::schema);
    let grouped = concat_batches(&schema, &batches)?;
    unpack(&grouped, sources, &starts)
}

/// The sightings with their packed keys, dealt to partitions; and the first row number of every source.
fn inputs(sources: &[Source], partitions: usize) -> Result<(Vec<Vec<RecordBatch>>, Vec<u64>), MergeError> {
    let mut ids: Vec<&str> = sources.iter().flat_map(|source| source.snapshot_ids.iter().flatten()).collect();
    ids.sort_unstable();
    ids.dedup();
    let rank = |id: &str| u32::try_from(ids.partition_point(|other| *other < id)).unwrap_or(u32::MAX);

    let mut inputs = vec![Vec::new(); partitions.max(1)];
    let mut starts = Vec::with_capacity(sources.len());
    let mut start = 0_u64;
    for (at, source) in sources.iter().enumerate() {
        starts.push(start);
        let first_seen = source.sightings["first_seen"].as_primitive::<Int64Type>();
        let mut known: Option<(&str, u32)> = None;
        let packed: Decimal128Array = first_seen
            .values()
            .iter()
            .zip(source.snapshot_ids.iter())
            .zip(start..)
            .map(|((first_seen, id), row)| {
                let id = id.unwrap_or_default();
                // All rows of a snapshot have one id: look it up once.
                let rank = known.filter(|(known, _)| *known == id).map_or_else(|| rank(id), |(_, rank)| rank);
                known = Some((id, rank));
                Some(Sighting { first_seen: *first_seen, rank, row }.pack())
            })
            .collect();
        start += source.sightings.num_rows() as u64;
        let mut fields: Vec<Field> =
            source.sightings.schema().fields().iter().map(|field| field.as_ref().clone()).collect();
        fields.push(Field::new("first", DataType::Decimal128(38, 0), false));
        let mut columns = source.sightings.columns().to_vec();
        columns.push(Arc::new(packed.with_precision_and_scale(38, 0)?));
        inputs[at % partitions.max(1)].push(RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)?);
    }
    Ok((inputs, starts))
}

fn unpack(grouped: &RecordBatch, sources: &[Source], starts: &[u64]) -> Result<Merged, MergeError> {
    let first: &Decimal128Array = grouped["first"].as_primitive::<Decimal128Type>();
    let places: Vec<(usize, usize)> = first
        .values()
        .iter()
        .map(|packed| {
            let row = Sighting::row(*packed) as u64;
            let source = starts.partition_point(|start| *start <= row) - 1;
            (source, usize::try_from(row - starts[source]).unwrap_or_default())
        })
        .collect();
    let attributes: Vec<&RecordBatch> = sources.iter().map(|source| &source.attributes).collect();
    let attributes = if places.is_empty() {
        RecordBatch::new_empty(attribute_schema())
    } else {
        interleave_record_batch(&attributes, &places)?
    };
    let first_snapshot_id =
        places.iter().map(|(source, row)| Some(sources[*source].snapshot_ids.value(*row))).collect();
    let (high, low) =
        (grouped["id_high"].as_primitive::<UInt64Type>(), grouped["id_low"].as_primitive::<UInt64Type>());
    let node_id: BinaryArray = high
        .values()
        .iter()
        .zip(low.values())
        .map(|(high, low)| Some((u128::from(*high) << 64 | u128::from(*low)).to_be_bytes()))
        .collect();
    Ok(Merged {
        workload: grouped["workload"].as_primitive::<UInt32Type>().clone(),
        node_id: Arc::new(node_id),
        members: grouped["members"].as_binary::<i32>().clone(),
        events: grouped["events"].as_primitive::<Int64Type>().clone(),
        first_seen: grouped["first_seen"].as_primitive::<Int64Type>().clone(),
        last_seen: grouped["last_seen"].as_primitive::<Int64Type>().clone(),
        startup: grouped["startup"].as_boolean().clone(),
        lineage_complete: grouped["lineage_complete"].as_boolean().clone(),
        first_snapshot_id,
        attributes,
    })
}

impl Merged {
    /// Times of a column of microseconds, as the tables have them.
    pub(super) fn timestamps(micros: &Int64Array) -> ArrayRef {
        Arc::new(micros.reinterpret_cast::<TimestampMicrosecondType>().with_timezone("UTC"))
    }

    /// A slice of the rows.
    pub(super) fn slice(&self, start: usize, length: usize) -> Self {
        Self {
            workload: self.workload.slice(start, length),
            node_id: self.node_id.slice(start, length),
            members: self.members.slice(start, length),
            events: self.events.slice(start, length),
            first_seen: self.first_seen.slice(start, length),
            last_seen: self.last_seen.slice(start, length),
            startup: self.startup.slice(start, length),
            lineage_complete: self.lineage_complete.slice(start, length),
            first_snapshot_id: self.first_snapshot_id.slice(start, length),
            attributes: self.attributes.slice(start, length),
        }
    }
}
