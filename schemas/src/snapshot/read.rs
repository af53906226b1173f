use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, LazyLock};

use arrow::array::{
    Array, ArrayRef, AsArray, GenericListArray, MapArray, MapBuilder, MapFieldNames, RecordBatch,
    StringArray, StringBuilder, StringViewArray, StructArray, new_null_array,
};
use arrow::buffer::OffsetBuffer;
use arrow::compute::concat_batches;
use arrow::datatypes::{DataType, Field, FieldRef, Fields, Schema, SchemaRef, TimestampMicrosecondType};
use arrow::error::ArrowError;
use bytes::Bytes;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReaderBuilder,
};
use parquet::errors::ParquetError;
use parquet::file::metadata::{ParquetMetaData, ParquetMetaDataReader};
use parquet::schema::types::TypePtr;

use super::columns::Columns;
use super::look;
use super::meta::{Constants, MetaError, Said, SnapshotMeta, hashes, millis};
use super::verify::{self, Checked, Known, RowError};
use super::write::write_batch;
use crate::paths::RULES_VERSION;
use crate::tables::{LABELS, SNAPSHOT};

/// Bounds on what a file may make its reader hold: the file, and about twice [`Limits::decompressed_bytes`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Limits {
    /// Bytes of the file.
    pub file_bytes: usize,
    /// Rows.
    pub rows: usize,
    /// Bytes of all pages after decompression, and again of all rows after decoding.
    pub decompressed_bytes: i64,
}

impl Default for Limits {
    /// Far above what a recorder writes: 128 MiB, a million rows, 512 MiB decompressed.
    fn default() -> Self {
        Self { file_bytes: 128 << 20, rows: 1_000_000, decompressed_bytes: 512 << 20 }
    }
}

/// A snapshot whose every row was checked.
#[derive(Debug, Clone)]
pub struct Verified {
    /// The footer.
    pub meta: SnapshotMeta,
    /// All rows, with exactly the declared columns; what an older writer did not have is null.
    pub rows: RecordBatch,
    /// BLAKE3 of the file.
    pub content_hash: blake3::Hash,
    /// Bytes of the file.
    pub size: usize,
}

/// Why a file is not a snapshot that can be used.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    /// Larger than the reader's bounds.
    #[error("{what} of {found} exceeds the limit of {limit}")]
    TooLarge {
        /// What is too large.
        what: &'static str,
        /// How large.
        found: i64,
        /// The bound.
        limit: i64,
    },
    /// Not Parquet, cut off, or corrupt.
    #[error("not a readable Parquet file: {}", reason(.0))]
    Parquet(ParquetError),
    /// Its pages do not hold what its footer says.
    #[error("corrupt data: {0}")]
    Arrow(ArrowError),
    /// The footer is not usable.
    #[error(transparent)]
    Meta(#[from] MetaError),
    /// A column is missing or has another type.
    #[error("column `{column}`: {reason}")]
    Schema {
        /// The column.
        column: &'static str,
        /// What is wrong.
        reason: String,
    },
    /// Path rules that this version does not have.
    #[error(
        "the file's paths went through rules version {found}, this version knows up to {RULES_VERSION}: upgrade wsp"
    )]
    PathRules {
        /// Version in the file.
        found: i32,
    },
    /// A row is not what it claims.
    #[error(transparent)]
    Row(#[from] RowError),
}

/// The reason alone, where the error would say once more that it is one of Parquet.
fn reason(error: &ParquetError) -> String {
    match error {
        ParquetError::General(reason) | ParquetError::EOF(reason) => reason.clone(),
        other => other.to_string(),
    }
}

/// Rows that are decoded at a time: whole files of the usual size, and a bound on what lies between pages and rows.
const BATCH_ROWS: usize = 8192;

/// Reads a snapshot file and verifies every row: node ids are the hashes of their rows, parents exist, values are known
/// ones, offsets lie in the window, constant columns agree with the footer.
///
/// Any bytes give a result: what the Parquet reader would reserve memory for or recurse into is bounded before it starts,
/// and a panic inside it (it has assertions on what stands in files) is an error of this file. The panic hook still runs.
pub fn decode(file: Bytes, limits: &Limits) -> Result<Verified, DecodeError> {
    decode_with(file, limits, &mut Known::default()).map(|(verified, ..)| verified)
}

/// As [`decode`]; `known` are nodes of earlier files. Also gives the node columns, and what was found out about
/// the rows.
pub(super) fn decode_with(
    file: Bytes,
    limits: &Limits,
    known: &mut Known,
) -> Result<(Verified, Columns, Checked), DecodeError> {
    catch_unwind(AssertUnwindSafe(|| try_decode(file, limits, known))).unwrap_or_else(|panic| {
        Err(DecodeError::Parquet(ParquetError::General(format!(
            "the Parquet reader gave up: {}",
            said(&*panic)
        ))))
    })
}

fn said(panic: &(dyn Any + Send)) -> &str {
    panic
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| panic.downcast_ref().copied())
        .unwrap_or("no message")
}

fn try_decode(
    file: Bytes,
    limits: &Limits,
    known: &mut Known,
) -> Result<(Verified, Columns, Checked), DecodeError> {
    let size = file.len();
    bound("the file's size in bytes", size, limits.file_bytes)?;
    look::footer(&file)?;
    let footer = ParquetMetaDataReader::new().parse_and_finish(&file).map_err(DecodeError::Parquet)?;
    let entries = footer.file_metadata().key_value_metadata().map_or(&[][..], Vec::as_slice);
    let entries: Vec<(&str, &str)> =
        entries.iter().filter_map(|entry| Some((entry.key.as_str(), entry.value.as_deref()?))).collect();
    let (said, content_hash) = said_by(&file, &entries)?;
    look::pages(&file, &footer, limits)?;
    let rows = read(file, footer, limits)?;
    let meta = said.with(|| constants(&rows))?;
    verify::constants(&meta, &rows)?;
    let columns = Columns::from_batch(&rows).ok_or_else(|| corrupt("a column holds more than 4 GiB"))?;
    let checked = verify::rows(&meta, &columns, known)?;
    Ok((Verified { meta, rows, content_hash, size }, columns, checked))
}

pub(super) fn corrupt(reason: &str) -> DecodeError {
    DecodeError::Parquet(ParquetError::General(reason.to_owned()))
}

/// What the footer's entries say, once the file is known to be undamaged; and its content hash.
pub(super) fn said_by(file: &[u8], entries: &[(&str, &str)]) -> Result<(Said, blake3::Hash), DecodeError> {
    let said = Said::from_footer(entries)?;
    if said.path_rules > RULES_VERSION {
        return Err(DecodeError::PathRules { found: said.path_rules });
    }
    let (content_hash, undamaged) = hashes(file, SnapshotMeta::stored_check(entries));
    if !undamaged {
        return Err(corrupt("its bytes are not the ones that were written"));
    }
    Ok((said, content_hash))
}

/// The constant columns of the first row; whether others have the same is to be seen.
fn constants(rows: &RecordBatch) -> Result<Constants, String> {
    if rows.num_rows() == 0 {
        return Err("a file without rows does not have the constant columns in its footer".to_owned());
    }
    let text = |name: &str| {
        let column = rows[name].as_string::<i32>();
        column.is_valid(0).then(|| column.value(0).to_owned())
    };
    let time = |name: &str| {
        let column = rows[name].as_primitive::<TimestampMicrosecondType>();
        column.is_valid(0).then(|| millis(name, column.value(0))).transpose()
    };
    let labels = rows["labels"].as_map().value(0);
    let (keys, values) = (labels.column(0).as_string::<i32>(), labels.column(1).as_string::<i32>());
    let pairs = keys.iter().zip(values).filter_map(|(key, value)| Some((key?.to_owned(), value?.to_owned())));
    Ok(Constants {
        snapshot_id: text("snapshot_id").unwrap_or_default(),
        image_name: text("image_name"),
        image_tag: text("image_tag"),
        image_digest: text("image_digest"),
        container_id: text("container_id").unwrap_or_default(),
        container_name: text("container_name"),
        container_started_ms: time("container_started")?,
        labels: pairs.collect(),
        host: text("host").unwrap_or_default(),
        window_start_ms: time("window_start")?.unwrap_or_default(),
        window_end_ms: time("window_end")?.unwrap_or_default(),
        covers_start: rows["covers_start"].as_boolean().value(0),
    })
}

/// The declared schema in the forms that reading needs.
struct Declared {
    arrow: SchemaRef,
    views: SchemaRef,
    /// As a file has them; none if that could not be found out, and then no file takes the short way.
    parquet: Vec<TypePtr>,
}

static DECLARED: LazyLock<Declared> = LazyLock::new(|| {
    let arrow = Arc::new(SNAPSHOT.arrow_schema());
    let parquet = write_batch(&RecordBatch::new_empty(Arc::clone(&arrow)), Vec::new()).and_then(|empty| {
        let footer = ParquetMetaDataReader::new().parse_and_finish(&Bytes::from(empty))?;
        Ok(footer.file_metadata().schema().get_fields().to_vec())
    });
    Declared { views: with_views(&arrow), arrow, parquet: parquet.unwrap_or_default() }
});

/// The Arrow schema for columns that are declared ones as this version writes them, in their order; none for others.
fn as_written(fields: &[TypePtr]) -> Option<SchemaRef> {
    let mut declared = DECLARED.parquet.iter().zip(DECLARED.views.fields());
    let views =
        fields.iter().map(|field| Some(Arc::clone(declared.find(|(parquet, _)| *parquet == field)?.1)));
    let views: Vec<FieldRef> = views.collect::<Option<_>>()?;
    // What must be there is for the slow way to tell.
    let mut must = SNAPSHOT.columns.iter().filter(|column| !column.nullable && column.name != LABELS);
    let is_there = |name: &str| views.iter().any(|field| field.name() == name);
    must.all(|column| is_there(column.name)).then(|| Arc::new(Schema::new(views)))
}

fn read(file: Bytes, footer: ParquetMetaData, limits: &Limits) -> Result<RecordBatch, DecodeError> {
    let declared = &DECLARED.arrow;
    let footer = Arc::new(footer);
    let found = metadata(&footer)?;
    let known = found
        .schema()
        .fields()
        .iter()
        .enumerate()
        .filter(|(_, field)| declared.column_with_name(field.name()).is_some());
    let mask = ProjectionMask::roots(found.parquet_schema(), known.map(|(at, _)| at).collect::<Vec<_>>());
    let reader = ParquetRecordBatchReaderBuilder::new_with_metadata(file, found)
        .with_projection(mask)
        .with_batch_size(BATCH_ROWS)
        .build()
        .map_err(DecodeError::Parquet)?;
    let mut batches = Vec::new();
    let mut budget = Budget { bytes: 0, limit: usize::try_from(limits.decompressed_bytes).unwrap_or(0) };
    let mut rows = 0;
    for batch in reader {
        let batch = batch.map_err(DecodeError::Arrow)?;
        rows += batch.num_rows();
        bound("the number of rows", rows, limits.rows)?;
        batches.push(as_declared(&batch, declared, &mut budget)?);
    }
    match batches.len() {
        1 => Ok(batches.swap_remove(0)),
        _ => concat_batches(declared, &batches).map_err(DecodeError::Arrow),
    }
}

/// The metadata of a file that has the declared columns, so set up that text is read as views: what is repeated in every
/// row is then in memory once, and how much it is as plain text can be counted before it is made.
fn metadata(footer: &Arc<ParquetMetaData>) -> Result<ArrowReaderMetadata, DecodeError> {
    // An embedded Arrow schema could ask for other types than the declared ones: only Parquet's own counts.
    let options = ArrowReaderOptions::new().with_skip_arrow_metadata(true);
    let load =
        |options| ArrowReaderMetadata::try_new(Arc::clone(footer), options).map_err(DecodeError::Parquet);
    let written = footer.file_metadata().schema_descr();
    if let Some(views) = as_written(written.root_schema().get_fields()) {
        return load(options.with_schema(views));
    }
    let found = load(options.clone())?;
    check_schema(found.schema(), &DECLARED.arrow)?;
    load(options.with_schema(with_views(found.schema())))
}

pub(super) fn bound(what: &'static str, found: usize, limit: usize) -> Result<(), DecodeError> {
    if found <= limit {
        return Ok(());
    }
    let shown = |n| i64::try_from(n).unwrap_or(i64::MAX);
    Err(DecodeError::TooLarge { what, found: shown(found), limit: shown(limit) })
}

fn check_schema(found: &Schema, declared: &Schema) -> Result<(), DecodeError> {
    for (column, field) in SNAPSHOT.columns.iter().zip(declared.fields()) {
        let mut same_name = found.fields().iter().filter(|other| other.name() == column.name);
        let reason = match (same_name.next(), same_name.next()) {
            (Some(_), Some(_)) => "is there twice".to_owned(),
            (Some(other), None) if other.data_type() == field.data_type() => continue,
            (Some(other), None) => format!("has the type {}, not {}", other.data_type(), field.data_type()),
            (None, _) if column.nullable || column.name == LABELS => continue,
            (None, _) => "is missing".to_owned(),
        };
        return Err(DecodeError::Schema { column: column.name, reason });
    }
    Ok(())
}

fn with_views(schema: &Schema) -> SchemaRef {
    Arc::new(Schema::new(schema.fields().iter().map(as_view).collect::<Fields>()))
}

/// The field with views in place of all text.
fn as_view(field: &FieldRef) -> FieldRef {
    let kind = match field.data_type() {
        DataType::Utf8 => DataType::Utf8View,
        DataType::List(items) => DataType::List(as_view(items)),
        DataType::Map(entries, sorted) => DataType::Map(as_view(entries), *sorted),
        DataType::Struct(fields) => DataType::Struct(fields.iter().map(as_view).collect()),
        other => other.clone(),
    };
    Arc::new(Field::new(field.name(), kind, field.is_nullable()))
}

/// What the rows may still take.
struct Budget {
    bytes: usize,
    limit: usize,
}

impl Budget {
    fn take(&mut self, bytes: usize) -> Result<(), DecodeError> {
        self.bytes = self.bytes.saturating_add(bytes);
        bound("the decoded size in bytes", self.bytes, self.limit)
    }
}

/// The declared columns of a batch, in order, text in place of views; an absent nullable one as nulls.
fn as_declared(
    batch: &RecordBatch,
    declared: &SchemaRef,
    budget: &mut Budget,
) -> Result<RecordBatch, DecodeError> {
    let mut columns = Vec::with_capacity(declared.fields().len());
    for (column, field) in SNAPSHOT.columns.iter().zip(declared.fields()) {
        let array = match batch.column_by_name(column.name) {
            Some(array) => plain(array, field.data_type(), budget)?,
            None if column.name == LABELS => no_labels(batch.num_rows()),
            None => new_null_array(field.data_type(), batch.num_rows()),
        };
        if !column.nullable && array.null_count() > 0 {
            return Err(DecodeError::Schema { column: column.name, reason: "has nulls".to_owned() });
        }
        columns.push(array);
    }
    RecordBatch::try_new(Arc::clone(declared), columns).map_err(DecodeError::Arrow)
}

/// A map without entries in every row: what a file says by not having the column.
fn no_labels(rows: usize) -> ArrayRef {
    let names = MapFieldNames { entry: "key_value".into(), key: "key".into(), value: "value".into() };
    let mut labels = MapBuilder::new(Some(names), StringBuilder::new(), StringBuilder::new());
    // Fails only where keys and values differ in number.
    (0..rows).for_each(|_| drop(labels.append(true)));
    Arc::new(labels.finish())
}

/// The array as its declared type; `kind` differs from the array's by views only.
fn plain(array: &ArrayRef, kind: &DataType, budget: &mut Budget) -> Result<ArrayRef, DecodeError> {
    Ok(match kind {
        DataType::Utf8 => Arc::new(plain_text(array.as_string_view(), budget)?),
        DataType::List(items) => {
            let list: &GenericListArray<i32> = array.as_list();
            let values = plain(list.values(), items.data_type(), budget)?;
            budget.take(list.offsets().len() * 4)?;
            let (offsets, nulls) = (list.offsets().clone(), list.nulls().cloned());
            Arc::new(
                GenericListArray::try_new(Arc::clone(items), offsets, values, nulls)
                    .map_err(DecodeError::Arrow)?,
            )
        }
        DataType::Map(entries, sorted) => {
            let map: &MapArray = array.as_map();
            let DataType::Struct(fields) = entries.data_type() else { return Ok(Arc::clone(array)) };
            let columns = map
                .entries()
                .columns()
                .iter()
                .zip(fields)
                .map(|(column, field)| plain(column, field.data_type(), budget));
            let values = StructArray::try_new(
                fields.clone(),
                columns.collect::<Result<_, _>>()?,
                map.entries().nulls().cloned(),
            );
            budget.take(map.offsets().len() * 4)?;
            let (offsets, nulls) = (map.offsets().clone(), map.nulls().cloned());
            let array = values
                .and_then(|values| MapArray::try_new(Arc::clone(entries), offsets, values, nulls, *sorted));
            Arc::new(array.map_err(DecodeError::Arrow)?)
        }
        _ => {
            budget.take(array.get_array_memory_size())?;
            Arc::clone(array)
        }
    })
}

fn plain_text(views: &StringViewArray, budget: &mut Budget) -> Result<StringArray, DecodeError> {
    let bytes = views.lengths().map(|bytes| bytes as usize).sum::<usize>();
    budget.take(bytes + views.len() * 4)?;
    if i32::try_from(bytes).is_err() {
        let error = ArrowError::OffsetOverflowError(bytes);
        return Err(DecodeError::Arrow(error));
    }
    if views.null_count() == views.len() {
        return Ok(StringArray::new_null(views.len()));
    }
    let mut values = Vec::with_capacity(bytes);
    let mut ends = Vec::with_capacity(views.len() + 1);
    ends.push(0);
    for row in 0..views.len() {
        if views.is_valid(row) {
            values.extend_from_slice(views.value(row).as_bytes());
        }
        // Cannot saturate: all together are fewer, as was checked.
        ends.push(i32::try_from(values.len()).unwrap_or(i32::MAX));
    }
    let offsets = OffsetBuffer::new(ends.into());
    StringArray::try_new(offsets, values.into(), views.nulls().cloned()).map_err(DecodeError::Arrow)
}
