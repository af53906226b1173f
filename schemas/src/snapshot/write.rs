use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, BooleanBuilder, FixedSizeBinaryBuilder, Int32Array, Int32Builder,
    Int64Builder, ListBuilder, MapBuilder, MapFieldNames, RecordBatch, StringArray, StringBuilder,
    TimestampMicrosecondArray, UInt32Array,
};
use arrow::compute::take_record_batch;
use arrow::datatypes::{DataType, Field};
use arrow::error::ArrowError;
use chrono::{DateTime, Utc};
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_writer::ArrowWriterOptions;
use parquet::basic::{Compression, Encoding, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::metadata::KeyValue;
use parquet::file::properties::{EnabledStatistics, WriterProperties, WriterVersion};
use parquet::schema::types::ColumnPath;

use super::meta::{SnapshotMeta, blank_check, reseal};
use super::node::{Fact, Node};
use super::read::Verified;
use super::slim::slim;
use crate::identity::{Kind, NodeId, RootKind};
use crate::table::{Column, Storage};
use crate::tables::{CONSTANT_COLUMNS, SNAPSHOT};
use crate::text::RawText;

/// A snapshot could not be written.
#[derive(Debug, thiserror::Error)]
#[error("snapshot {id} cannot be encoded")]
pub struct EncodeError {
    /// The snapshot.
    pub id: String,
    /// What the encoder said.
    #[source]
    pub source: ParquetError,
}

/// The bytes of a snapshot file. Rows stand by kind, those of one kind in the order given: what only one kind has is then
/// one run of values in its column.
pub fn encode(meta: &SnapshotMeta, nodes: &[Node]) -> Result<Vec<u8>, EncodeError> {
    try_encode(meta, nodes).map_err(|source| EncodeError { id: meta.id.to_string(), source })
}

/// A snapshot that was read, as this version writes it.
pub fn rewrite(read: &Verified) -> Result<Vec<u8>, EncodeError> {
    let sorted = by_kind(&read.rows).map_err(ParquetError::from);
    sorted
        .and_then(|rows| to_file(&read.meta, &rows))
        .map_err(|source| EncodeError { id: read.meta.id.to_string(), source })
}

fn try_encode(meta: &SnapshotMeta, nodes: &[Node]) -> Result<Vec<u8>, ParquetError> {
    let mut nodes: Vec<&Node> = nodes.iter().collect();
    nodes.sort_by_key(|node| place_of(node.fact.kind()));
    to_file(meta, &to_batch(meta, &nodes)?)
}

fn place_of(kind: Kind) -> Option<usize> {
    Kind::ALL.iter().position(|other| *other == kind)
}

fn by_kind(rows: &RecordBatch) -> Result<RecordBatch, ArrowError> {
    let kinds: &StringArray = rows["kind"].as_string();
    let place = |row: u32| Kind::parse(kinds.value(row as usize)).and_then(place_of);
    let mut order: Vec<u32> = (0..).take(rows.num_rows()).collect();
    order.sort_by_key(|row| place(*row));
    take_record_batch(rows, &UInt32Array::from(order))
}

fn to_file(meta: &SnapshotMeta, rows: &RecordBatch) -> Result<Vec<u8>, ParquetError> {
    let rows = without_empty_columns(rows)?;
    let footer =
        meta.to_footer(rows.num_rows() == 0).map_err(|error| ParquetError::External(Box::new(error)))?;
    let mut file = write_batch(&rows, footer.into_iter().chain([blank_check()]).collect())?;
    let _sealed = reseal(&mut file);
    Ok(file)
}

/// The rows without the columns that say nothing: optional ones of nulls, and labels where there are none.
fn without_empty_columns(batch: &RecordBatch) -> Result<RecordBatch, ArrowError> {
    let says_something = |(at, column): (usize, &Column)| {
        let array = batch.column(at);
        let empty = match array.as_map_opt() {
            Some(map) => map.values().is_empty(),
            None => column.nullable && array.null_count() == array.len(),
        };
        (!empty).then_some(at)
    };
    let kept: Vec<usize> = SNAPSHOT.columns.iter().enumerate().filter_map(says_something).collect();
    batch.project(&kept)
}

/// Rows with declared columns, and entries of the footer, as a file.
pub(super) fn write_batch(batch: &RecordBatch, footer: Vec<KeyValue>) -> Result<Vec<u8>, ParquetError> {
    let whole = write_unslimmed(batch, footer)?;
    Ok(slim(&whole).unwrap_or(whole))
}

/// The same with all that the Parquet writer puts into a footer.
pub(super) fn write_unslimmed(batch: &RecordBatch, footer: Vec<KeyValue>) -> Result<Vec<u8>, ParquetError> {
    // Readers take the types from Parquet's own schema: Arrow's would be a quarter of the file.
    let options = ArrowWriterOptions::new()
        .with_properties(properties(batch))
        .with_skip_arrow_metadata(true)
        .with_schema_root("wsp".to_owned());
    let mut writer = ArrowWriter::try_new_with_options(Vec::new(), batch.schema(), options)?;
    writer.write(batch)?;
    footer.into_iter().for_each(|entry| writer.append_key_value_metadata(entry));
    writer.into_inner()
}

/// A page holds the whole column, however long it is.
const PAGE_BYTES: usize = 1 << 30;
/// Columns whose values take no more than this are stored as they are: a dictionary or a compressed frame would be larger.
const TINY_BYTES: usize = 64;
/// Runs of flags have a length in front.
const TINY_FLAGS: usize = 6;

/// The encodings that the declarations ask for.
fn properties(batch: &RecordBatch) -> WriterProperties {
    let mut properties = WriterProperties::builder()
        // Headers of pages of version 2 are larger, and levels are not compressed in them.
        .set_writer_version(WriterVersion::PARQUET_1_0)
        .set_created_by("wsp".to_owned())
        .set_data_page_size_limit(PAGE_BYTES)
        .set_data_page_row_count_limit(PAGE_BYTES)
        .set_dictionary_page_size_limit(PAGE_BYTES)
        // A file has one row group of a few hundred rows: statistics and indexes would be larger than what they skip.
        .set_max_row_group_row_count(None)
        .set_statistics_enabled(EnabledStatistics::None)
        .set_offset_index_disabled(true);
    let zstd = ZstdLevel::try_new(ZSTD_LEVEL).unwrap_or_default();
    for column in SNAPSHOT.columns {
        let Some(array) = batch.column_by_name(column.name) else { continue };
        let bytes = plain_bytes(array);
        let constant = CONSTANT_COLUMNS.contains(&column.name);
        let storage = match column.storage {
            Storage::Dictionary if constant => Storage::Dictionary,
            Storage::Runs if bytes <= TINY_FLAGS => Storage::Plain,
            Storage::Runs => Storage::Runs,
            _ if bytes <= TINY_BYTES => Storage::Plain,
            storage => storage,
        };
        for path in column.leaves().into_iter().map(ColumnPath::new) {
            let encoding = match storage {
                Storage::Dictionary | Storage::Text => None,
                Storage::Packed | Storage::Plain => Some(Encoding::PLAIN),
                Storage::Split => Some(Encoding::BYTE_STREAM_SPLIT),
                Storage::Runs => Some(Encoding::RLE),
            };
            if let Storage::Text | Storage::Packed | Storage::Split = storage {
                properties = properties.set_column_compression(path.clone(), Compression::ZSTD(zstd));
            }
            if let Some(encoding) = encoding {
                properties = properties
                    .set_column_dictionary_enabled(path.clone(), false)
                    .set_column_encoding(path, encoding);
            }
        }
    }
    properties.build()
}

/// What the values of a column take in plain encoding, nulls left out.
fn plain_bytes(array: &ArrayRef) -> usize {
    let values = array.len() - array.null_count();
    match array.data_type() {
        DataType::Utf8 => {
            let texts: &StringArray = array.as_string();
            texts.iter().flatten().map(|text| text.len() + size_of::<u32>()).sum()
        }
        DataType::List(_) => plain_bytes(array.as_list::<i32>().values()),
        DataType::Map(..) => array.as_map().entries().columns().iter().map(plain_bytes).sum(),
        DataType::Boolean => values.div_ceil(8),
        kind => values * kind.primitive_width().unwrap_or(size_of::<NodeId>()),
    }
}

/// Higher levels bring a hundredth, for several times the work; readers do not notice.
const ZSTD_LEVEL: i32 = 9;

fn to_batch(meta: &SnapshotMeta, nodes: &[&Node]) -> Result<RecordBatch, ArrowError> {
    let mut columns = constant_columns(meta, nodes.len())?;
    columns.extend(node_columns(nodes)?);
    let schema = Arc::new(SNAPSHOT.arrow_schema());
    let ordered = schema
        .fields()
        .iter()
        .map(|field| {
            columns.remove(field.name().as_str()).ok_or_else(|| {
                ArrowError::SchemaError(format!("column `{}` is declared and not written", field.name()))
            })
        })
        .collect::<Result<Vec<_>, _>>()?;
    RecordBatch::try_new(schema, ordered)
}

type Columns = HashMap<&'static str, ArrayRef>;

fn constant_columns(meta: &SnapshotMeta, rows: usize) -> Result<Columns, ArrowError> {
    let text = |value: Option<&str>| -> ArrayRef { Arc::new(StringArray::from(vec![value; rows])) };
    let time = |value: Option<DateTime<Utc>>| -> ArrayRef {
        let micros = value.map(|time| time.timestamp_micros());
        Arc::new(TimestampMicrosecondArray::from(vec![micros; rows]).with_timezone("UTC"))
    };
    let workload = meta.image.workload.as_ref();
    let names = MapFieldNames { entry: "key_value".into(), key: "key".into(), value: "value".into() };
    let mut labels = MapBuilder::new(Some(names), StringBuilder::new(), StringBuilder::new());
    for _ in 0..rows {
        for (key, value) in &meta.container.labels {
            labels.keys().append_value(key);
            labels.values().append_value(value);
        }
        labels.append(true)?;
    }
    Ok(HashMap::from([
        ("snapshot_id", text(Some(&meta.id.to_string()))),
        ("image_name", text(workload.map(|workload| workload.name()))),
        ("image_tag", text(workload.map(|workload| workload.tag()))),
        ("image_digest", text(meta.image.digest.as_deref())),
        ("container_id", text(Some(&meta.container.id))),
        ("container_name", text(meta.container.name.as_deref())),
        ("container_started", time(meta.container.started)),
        ("host", text(Some(&meta.host))),
        ("labels", Arc::new(labels.finish()) as ArrayRef),
        ("window_start", time(Some(meta.window_start))),
        ("window_end", time(Some(meta.window_end))),
        ("covers_start", Arc::new(BooleanArray::from(vec![meta.covers_start; rows])) as ArrayRef),
    ]))
}

fn node_columns(nodes: &[&Node]) -> Result<Columns, ArrowError> {
    let mut columns = Columns::new();
    let mut ids = FixedSizeBinaryBuilder::with_capacity(nodes.len(), 16);
    let mut parents = FixedSizeBinaryBuilder::with_capacity(nodes.len(), 16);
    for node in nodes {
        ids.append_value(node.id().as_bytes())?;
        match node.parent {
            Some(id) => parents.append_value(id.as_bytes())?,
            None => parents.append_null(),
        }
    }
    columns.insert("node_id", Arc::new(ids.finish()));
    columns.insert("parent_id", Arc::new(parents.finish()));

    let mut put = |name: &'static str, array: ArrayRef| columns.insert(name, array);
    let text = |get: &dyn Fn(&Node) -> Option<String>| -> ArrayRef {
        Arc::new(nodes.iter().copied().map(get).collect::<StringArray>())
    };
    put("kind", text(&|node| Some(node.fact.kind().as_str().to_owned())));
    put("exe", text(&|node| escaped(node.exe.as_ref())));
    put("path", text(&|node| file(node).map(|file| file.path.to_escaped())));
    put("access", text_lists(nodes, |node| file(node).map(|file| owned(&file.access))));
    put("mode", Arc::new(nodes.iter().copied().map(|node| file(node)?.mode).collect::<Int32Array>()));
    put("path_raw", text(&|node| escaped(file(node)?.path_raw.as_ref())));
    put("path_source", text(&|node| Some(file(node)?.path_source.to_owned())));
    put(
        "file_origin",
        text(&|node| match &node.fact {
            Fact::File(file) => Some(file.file_origin.to_owned()),
            Fact::Process(process) => process.file_origin.map(str::to_owned),
            _ => None,
        }),
    );
    put(
        "dns_name",
        text(&|node| match &node.fact {
            Fact::Dns { name, .. } => Some(name.to_escaped()),
            _ => None,
        }),
    );
    put(
        "dns_type",
        text(&|node| match &node.fact {
            Fact::Dns { rtype, .. } => Some(rtype.clone()),
            _ => None,
        }),
    );
    put("protocol", text(&|node| socket(node).map(|socket| socket.protocol.clone())));
    put("address", text(&|node| socket(node).map(|socket| socket.address.to_escaped())));
    put(
        "port",
        Arc::new(
            nodes
                .iter()
                .copied()
                .map(|node| socket(node).map(|socket| i32::from(socket.port)))
                .collect::<Int32Array>(),
        ),
    );
    put(
        "remote_ips",
        text_lists(nodes, |node| {
            socket(node)
                .filter(|socket| !socket.remote_ips.is_empty())
                .map(|socket| socket.remote_ips.clone())
        }),
    );
    put("name_source", text(&|node| socket(node)?.name_source.map(str::to_owned)));
    put(
        "name",
        text(&|node| match &node.fact {
            Fact::Syscall(name) | Fact::Capability(name) => Some(name.clone()),
            _ => None,
        }),
    );
    put("root_kind", text(&|node| process(node)?.root_kind.map(RootKind::as_str).map(str::to_owned)));
    put("exec_from", text(&|node| escaped(process(node)?.exec_from.as_ref())));
    put("script", text(&|node| escaped(process(node)?.script.as_ref())));
    put("argv0", text(&|node| escaped(process(node)?.argv0.as_ref())));
    put("comm", text(&|node| process(node).map(|process| process.comm.to_escaped())));
    put("cwd", text(&|node| process(node).map(|process| process.cwd.to_escaped())));
    put(
        "args",
        text_lists(nodes, |node| {
            process(node).map(|process| process.args.iter().map(RawText::to_escaped).collect())
        }),
    );
    put("stdio", text_lists(nodes, |node| process(node).map(|process| owned(&process.stdio))));
    put("uids", int_lists(nodes, |node| process(node).map(|process| &process.uids)));
    put("gids", int_lists(nodes, |node| process(node).map(|process| &process.gids)));
    put("shebang", flags(nodes, |process| process.shebang));
    put("cred_change", flags(nodes, |process| process.cred_change));
    put("tty", flags(nodes, |process| process.tty));
    put("ns_changed", flags(nodes, |process| process.ns_changed));
    put("written_in_window", flags(nodes, |process| process.written_in_window));
    put("args_overflow", int64s(nodes, |node| process(node).map(|process| process.args_overflow)));
    put("processes", int64s(nodes, |node| process(node).map(|process| process.processes)));
    put("phase", text(&|node| Some(node.phase.as_str().to_owned())));
    put("origin", text(&|node| Some(node.seen_by.as_str().to_owned())));
    put(
        "lineage_complete",
        Arc::new(nodes.iter().copied().map(|node| Some(node.lineage_complete)).collect::<BooleanArray>()),
    );
    put("events", int64s(nodes, |node| Some(node.events)));
    put("first_seen_ms", int32s(nodes, |node| node.first_seen_ms));
    put("last_seen_ms", int32s(nodes, |node| node.last_seen_ms));
    Ok(columns)
}

fn escaped(text: Option<&RawText>) -> Option<String> {
    text.map(RawText::to_escaped)
}

fn owned(texts: &[&'static str]) -> Vec<String> {
    texts.iter().map(|text| (*text).to_owned()).collect()
}

fn process(node: &Node) -> Option<&super::Process> {
    match &node.fact {
        Fact::Process(process) => Some(process),
        _ => None,
    }
}

fn file(node: &Node) -> Option<&super::File> {
    match &node.fact {
        Fact::File(file) => Some(file),
        _ => None,
    }
}

fn socket(node: &Node) -> Option<&super::Socket> {
    match &node.fact {
        Fact::Connect(socket) | Fact::Listen(socket) => Some(socket),
        _ => None,
    }
}

fn flags(nodes: &[&Node], get: impl Fn(&super::Process) -> bool) -> ArrayRef {
    let mut builder = BooleanBuilder::with_capacity(nodes.len());
    nodes.iter().for_each(|node| builder.append_option(process(node).map(&get)));
    Arc::new(builder.finish())
}

fn int32s(nodes: &[&Node], get: impl Fn(&Node) -> i32) -> ArrayRef {
    let mut builder = Int32Builder::with_capacity(nodes.len());
    nodes.iter().for_each(|node| builder.append_value(get(node)));
    Arc::new(builder.finish())
}

fn int64s(nodes: &[&Node], get: impl Fn(&Node) -> Option<i64>) -> ArrayRef {
    let mut builder = Int64Builder::with_capacity(nodes.len());
    nodes.iter().for_each(|node| builder.append_option(get(node)));
    Arc::new(builder.finish())
}

fn text_lists(nodes: &[&Node], get: impl Fn(&Node) -> Option<Vec<String>>) -> ArrayRef {
    let mut builder =
        ListBuilder::new(StringBuilder::new()).with_field(Field::new("element", DataType::Utf8, true));
    for node in nodes {
        match get(node) {
            Some(texts) => builder.append_value(texts.into_iter().map(Some)),
            None => builder.append_null(),
        }
    }
    Arc::new(builder.finish())
}

fn int_lists(nodes: &[&Node], get: impl Fn(&Node) -> Option<&Vec<u32>>) -> ArrayRef {
    let mut builder =
        ListBuilder::new(Int64Builder::new()).with_field(Field::new("element", DataType::Int64, true));
    for node in nodes {
        match get(node) {
            Some(ids) => builder.append_value(ids.iter().map(|id| Some(i64::from(*id)))),
            None => builder.append_null(),
        }
    }
    Arc::new(builder.finish())
}
