//! Groups the sightings of one workload's nodes, snapshot by snapshot.
//!
//! A node's numbers stand in arrays, indexed by the number that the scanner gave it. Attributes are not looked at until
//! the end: only then is it known which sighting is a node's first.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BinaryArray, BinaryBuilder, BooleanArray, Int64Array, RecordBatch, StringArray,
    StructArray, UInt32Array, UInt64Array,
};
use arrow::compute::interleave;
use arrow::datatypes::{DataType, Field, Fields, Int64Type, Schema, SchemaRef, TimestampMicrosecondType};
use arrow::error::ArrowError;
use uuid::Uuid;
use wsp_schemas::identity::NodeId;
use wsp_schemas::snapshot::{Scan, Scanner};
use wsp_schemas::tables::{CONSTANT_COLUMNS, PROFILE_NODES, SNAPSHOT};

use crate::functions::MemberSet;

/// Columns that a node keeps from its first sighting: those that snapshots and node rows share, but for what is merged.
pub(crate) fn attribute_columns() -> impl Iterator<Item = &'static str> {
    const MERGED: [&str; 4] = ["node_id", "phase", "lineage_complete", "events"];
    PROFILE_NODES.columns.iter().map(|column| column.name).filter(|name| {
        SNAPSHOT.column(name).is_some() && !CONSTANT_COLUMNS.contains(name) && !MERGED.contains(name)
    })
}

/// The attributes of a node.
pub(crate) fn attribute_fields() -> Fields {
    let schema = PROFILE_NODES.arrow_schema();
    attribute_columns()
        .filter_map(|name| schema.field_with_name(name).ok())
        .map(|field| Field::new(field.name(), field.data_type().clone(), true))
        .collect()
}

/// The rows of a scan. A row without an id is the report on a unit.
pub(crate) fn sighting_schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("workload", DataType::UInt32, false),
        Field::new("id_high", DataType::UInt64, true),
        Field::new("id_low", DataType::UInt64, true),
        Field::new("members", DataType::Binary, true),
        Field::new("first", DataType::Binary, true),
        Field::new("attributes", DataType::Struct(attribute_fields()), true),
        Field::new("events", DataType::Int64, true),
        Field::new("overflow", DataType::Int64, true),
        Field::new("last_seen", DataType::Int64, true),
        Field::new("startup", DataType::Boolean, true),
        Field::new("lineage_complete", DataType::Boolean, true),
        Field::new("report", DataType::Utf8, true),
    ]))
}

/// The key of a sighting: its bytes sort as (time, snapshot id) do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Sighting {
    /// Microseconds since the epoch.
    pub(crate) seen: i64,
    /// UUID of the snapshot.
    pub(crate) snapshot: [u8; 16],
}

impl Sighting {
    const LAST: Self = Self { seen: i64::MAX, snapshot: [0xff; 16] };

    fn to_bytes(self) -> [u8; 24] {
        let mut bytes = [0; 24];
        // With the sign bit turned, negative numbers sort before positive ones.
        bytes[..8].copy_from_slice(&(self.seen.cast_unsigned() ^ 1 << 63).to_be_bytes());
        bytes[8..].copy_from_slice(&self.snapshot);
        bytes
    }

    pub(crate) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (seen, snapshot) = bytes.split_first_chunk::<8>()?;
        let seen = (u64::from_be_bytes(*seen) ^ 1 << 63).cast_signed();
        Some(Self { seen, snapshot: snapshot.try_into().ok()? })
    }
}

/// Where the attributes of a node stand: which batch or scan, and the row.
#[derive(Debug, Clone, Copy)]
enum Place {
    Nowhere,
    Kept(u32, u32),
    Scan(u32, u32),
}

/// Scans are held until they have this many rows, or so many for each node: then what is needed of them is copied out.
const HELD_ROWS: usize = 4096;
const HELD_ROWS_PER_NODE: usize = 8;

/// What a node takes beside its members and attributes.
const NODE_BYTES: usize = size_of::<(Sighting, Place, i64, Option<i64>, i64, bool, bool)>();

/// The nodes of one workload so far.
#[derive(Debug)]
pub(crate) struct Collector {
    number: u32,
    scanner: Scanner,
    stride: usize,
    members: Vec<u8>,
    first: Vec<Sighting>,
    places: Vec<Place>,
    events: Vec<i64>,
    overflow: Vec<Option<i64>>,
    last: Vec<i64>,
    startup: Vec<bool>,
    lineage: Vec<bool>,
    scans: Vec<Scan>,
    /// Rows and bytes of the scans.
    held: usize,
    scan_bytes: usize,
    /// Attributes that do not stand in scans: of earlier merges, and of scans that are no longer held.
    kept: Vec<RecordBatch>,
    kept_bytes: usize,
}

impl Collector {
    /// `snapshots`: how many ordinals to expect.
    pub(crate) fn new(number: u32, snapshots: usize) -> Self {
        Self {
            number,
            scanner: Scanner::default(),
            stride: snapshots.div_ceil(8).max(1),
            members: Vec::new(),
            first: Vec::new(),
            places: Vec::new(),
            events: Vec::new(),
            overflow: Vec::new(),
            last: Vec::new(),
            startup: Vec::new(),
            lineage: Vec::new(),
            scans: Vec::new(),
            held: 0,
            scan_bytes: 0,
            kept: Vec::new(),
            kept_bytes: 0,
        }
    }

    /// The scanner that snapshots must be read with.
    pub(crate) fn scanner(&mut self) -> &mut Scanner {
        &mut self.scanner
    }

    /// Nodes that are held, and rows with their attributes.
    pub(crate) fn held(&self) -> usize {
        let kept: usize = self.kept.iter().map(RecordBatch::num_rows).sum();
        self.held + kept + self.scanner.nodes()
    }

    /// Memory that it takes, about.
    pub(crate) fn memory(&self) -> usize {
        let nodes = self.members.len() + self.first.len() * NODE_BYTES;
        nodes + self.scanner.memory() + self.scan_bytes + self.kept_bytes
    }

    fn grow(&mut self) {
        let nodes = self.scanner.nodes();
        self.members.resize(nodes * self.stride, 0);
        self.first.resize(nodes, Sighting::LAST);
        self.places.resize(nodes, Place::Nowhere);
        self.events.resize(nodes, 0);
        self.overflow.resize(nodes, None);
        self.last.resize(nodes, i64::MIN);
        self.startup.resize(nodes, true);
        self.lineage.resize(nodes, false);
    }

    /// Makes room for an ordinal in every set.
    fn widen(&mut self, bytes: usize) {
        if bytes <= self.stride {
            return;
        }
        let stride = bytes.next_power_of_two();
        let mut members = vec![0; self.members.len() / self.stride * stride];
        for (old, new) in self.members.chunks(self.stride).zip(members.chunks_mut(stride)) {
            new[..old.len()].copy_from_slice(old);
        }
        (self.members, self.stride) = (members, stride);
    }

    /// Adds an admitted snapshot, which this collector's scanner has read. The ordinal is at most
    /// [`MAX_ORDINAL`](crate::functions::MAX_ORDINAL).
    pub(crate) fn add(&mut self, ordinal: u32, scan: Scan) -> Result<(), ArrowError> {
        let (byte, bit) = (ordinal as usize / 8, 1 << (ordinal % 8));
        self.widen(byte + 1);
        self.grow();
        let start = scan.meta.window_start.timestamp_micros();
        let snapshot = *scan.meta.id.as_bytes();
        let at = u32::try_from(self.scans.len()).unwrap_or(u32::MAX);
        for (row, number) in scan.numbers().iter().enumerate() {
            let node = *number as usize;
            let time = |ms: i32| start + i64::from(ms) * 1000;
            self.members[node * self.stride + byte] |= bit;
            // A file may claim any number; a sum of what it may claim here stays far from overflowing.
            self.events[node] = self.events[node].saturating_add(scan.events(row).min(1 << 40));
            self.last[node] = self.last[node].max(time(scan.last_seen_ms(row)));
            self.startup[node] &= scan.is_startup(row);
            self.lineage[node] |= scan.lineage_complete(row);
            let sighting = Sighting { seen: time(scan.first_seen_ms(row)), snapshot };
            if sighting < self.first[node] {
                self.first[node] = sighting;
                self.places[node] = Place::Scan(at, u32::try_from(row).unwrap_or(u32::MAX));
            }
        }
        self.held += scan.len();
        self.scan_bytes += scan.memory();
        self.scans.push(scan);
        if self.held > HELD_ROWS.max(HELD_ROWS_PER_NODE * self.scanner.nodes()) {
            self.keep()?;
        }
        Ok(())
    }

    /// Copies the attributes of first sightings out of the scans, and lets these go.
    fn keep(&mut self) -> Result<(), ArrowError> {
        let (mut nodes, mut places) = (Vec::new(), Vec::new());
        for (node, place) in self.places.iter().enumerate() {
            if let Place::Scan(scan, row) = place {
                nodes.push(node);
                places.push((*scan as usize, *row as usize));
            }
        }
        if !nodes.is_empty() {
            let scans: Vec<&Scan> = self.scans.iter().collect();
            let columns = attribute_columns().map(|name| {
                Scan::gather(name, &scans, &places)
                    .ok_or_else(|| ArrowError::SchemaError(format!("`{name}` is no column of snapshots")))
            });
            let schema = Arc::new(Schema::new(attribute_fields()));
            let rows = RecordBatch::try_new(schema, columns.collect::<Result<_, _>>()?)?;
            let at = u32::try_from(self.kept.len()).unwrap_or(u32::MAX);
            for (node, row) in nodes.into_iter().zip(0..) {
                self.places[node] = Place::Kept(at, row);
            }
            self.kept_bytes += rows.get_array_memory_size();
            self.kept.push(rows);
        }
        self.scans.clear();
        (self.held, self.scan_bytes) = (0, 0);
        Ok(())
    }

    /// Adds rows of `profile_nodes` that an earlier merge made.
    pub(crate) fn add_learned(&mut self, rows: RecordBatch) -> Result<(), ArrowError> {
        let corrupt = |what: &str| ArrowError::InvalidArgumentError(format!("a node row has {what}"));
        let numbers =
            |name: &str| rows[name].as_primitive_opt::<Int64Type>().ok_or_else(|| corrupt("no numbers"));
        let times = |name: &str| {
            rows[name].as_primitive_opt::<TimestampMicrosecondType>().ok_or_else(|| corrupt("no times"))
        };
        let ids: &BinaryArray = rows["node_id"].as_binary();
        let members: &BinaryArray = rows["members"].as_binary();
        let (events, overflow) = (numbers("events")?, numbers("overflow")?);
        let (first, last) = (times("first_seen")?, times("last_seen")?);
        let snapshots: &StringArray = rows["first_snapshot_id"].as_string();
        let phases: &StringArray = rows["phase"].as_string();
        let lineage: &BooleanArray = rows["lineage_complete"].as_boolean();
        let at = u32::try_from(self.kept.len()).unwrap_or(u32::MAX);
        for row in 0..rows.num_rows() {
            let id = ids.value(row).try_into().map_err(|_| corrupt("an id that is not 16 bytes"))?;
            let node = self.scanner.number(NodeId::from_bytes(id)) as usize;
            let set = members.value(row);
            MemberSet::check(set).map_err(|error| corrupt(&error.to_string()))?;
            self.widen(set.len());
            self.grow();
            let mine = &mut self.members[node * self.stride..][..self.stride];
            mine.iter_mut().zip(set).for_each(|(mine, other)| *mine |= other);
            self.events[node] = self.events[node].saturating_add(events.value(row));
            if overflow.is_valid(row) {
                let slot = &mut self.overflow[node];
                *slot = Some(slot.unwrap_or(0).saturating_add(overflow.value(row)));
            }
            self.last[node] = self.last[node].max(last.value(row));
            self.startup[node] &= phases.value(row) == "startup";
            self.lineage[node] |= lineage.value(row);
            let snapshot = Uuid::parse_str(snapshots.value(row)).map_err(|_| corrupt("no snapshot id"))?;
            let sighting = Sighting { seen: first.value(row), snapshot: *snapshot.as_bytes() };
            if sighting < self.first[node] {
                self.first[node] = sighting;
                self.places[node] = Place::Kept(at, u32::try_from(row).unwrap_or(u32::MAX));
            }
        }
        self.kept_bytes += rows.get_array_memory_size();
        self.kept.push(rows);
        Ok(())
    }

    /// What was collected, as rows of a scan; then it is empty.
    pub(crate) fn take(&mut self) -> Result<Vec<RecordBatch>, ArrowError> {
        self.keep()?;
        let (mut nodes, mut places) = (Vec::new(), Vec::new());
        for (node, place) in self.places.iter().enumerate() {
            // An id of a file that was then refused has no place.
            if let Place::Kept(batch, row) = place {
                nodes.push(node);
                places.push((*batch as usize, *row as usize));
            }
        }
        let mut batches = Vec::new();
        if !nodes.is_empty() {
            let columns = attribute_columns().map(|name| {
                let arrays: Vec<&dyn Array> = self.kept.iter().map(|rows| rows[name].as_ref()).collect();
                interleave(&arrays, &places)
            });
            batches.push(self.rows(&nodes, columns.collect::<Result<_, _>>()?)?);
        }
        *self = Self::new(self.number, self.stride * 8);
        Ok(batches)
    }

    fn rows(&self, nodes: &[usize], attributes: Vec<ArrayRef>) -> Result<RecordBatch, ArrowError> {
        let ids: Vec<NodeId> = nodes
            .iter()
            .map(|node| u32::try_from(*node).ok().and_then(|number| self.scanner.node(number)))
            .collect::<Option<_>>()
            .ok_or_else(|| ArrowError::InvalidArgumentError("a node without a number".to_owned()))?;
        let half = |start: usize| -> UInt64Array {
            let half = |id: &NodeId| id.as_bytes()[start..start + 8].try_into().map(u64::from_be_bytes).ok();
            ids.iter().map(half).collect()
        };
        let mut members = BinaryBuilder::with_capacity(nodes.len(), nodes.len() * self.stride);
        let mut first = BinaryBuilder::with_capacity(nodes.len(), nodes.len() * 24);
        for node in nodes {
            let set = &self.members[node * self.stride..][..self.stride];
            let end = set.iter().rposition(|byte| *byte != 0).map_or(0, |at| at + 1);
            members.append_value(&set[..end]);
            first.append_value(self.first[*node].to_bytes());
        }
        let rows = nodes.len();
        let columns: Vec<ArrayRef> = vec![
            Arc::new(UInt32Array::from(vec![self.number; rows])),
            Arc::new(half(0)),
            Arc::new(half(8)),
            Arc::new(members.finish()),
            Arc::new(first.finish()),
            Arc::new(StructArray::try_new(attribute_fields(), attributes, None)?),
            Arc::new(nodes.iter().map(|node| Some(self.events[*node])).collect::<Int64Array>()),
            Arc::new(nodes.iter().map(|node| self.overflow[*node]).collect::<Int64Array>()),
            Arc::new(nodes.iter().map(|node| Some(self.last[*node])).collect::<Int64Array>()),
            Arc::new(nodes.iter().map(|node| Some(self.startup[*node])).collect::<BooleanArray>()),
            Arc::new(nodes.iter().map(|node| Some(self.lineage[*node])).collect::<BooleanArray>()),
            arrow::array::new_null_array(&DataType::Utf8, rows),
        ];
        RecordBatch::try_new(sighting_schema(), columns)
    }
}

/// The report on a unit, as a row.
pub(crate) fn report_row(number: u32, report: &str) -> Result<RecordBatch, ArrowError> {
    let schema = sighting_schema();
    let columns = schema.fields().iter().map(|field| -> ArrayRef {
        match field.name().as_str() {
            "workload" => Arc::new(UInt32Array::from(vec![number])),
            "report" => Arc::new(StringArray::from(vec![report])),
            _ => arrow::array::new_null_array(field.data_type(), 1),
        }
    });
    RecordBatch::try_new(Arc::clone(&schema), columns.collect())
}
