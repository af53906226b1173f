use std::sync::Arc;

use arrow::array::{Array, ArrayRef, RecordBatch, new_null_array};
use arrow::compute::concat_batches;
use arrow::datatypes::{Schema, SchemaRef};
use arrow::error::ArrowError;
use bytes::Bytes;
use parquet::arrow::arrow_reader::{ArrowReaderOptions, ParquetRecordBatchReaderBuilder};
use parquet::errors::ParquetError;
use parquet::file::metadata::ParquetMetaData;

use super::meta::{MetaError, SnapshotMeta};
use super::verify::{self, RowError};
use crate::paths::RULES_VERSION;
use crate::tables::SNAPSHOT;

/// Bounds on what a file may make its reader hold.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Bytes of the file.
    pub file_bytes: usize,
    /// Rows.
    pub rows: usize,
    /// Bytes of all columns after decompression.
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
    #[error("not a readable Parquet file: {0}")]
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
    #[error("the file's paths went through rules version {found}, this version knows up to {RULES_VERSION}: upgrade wsp")]
    PathRules {
        /// Version in the file.
        found: i32,
    },
    /// A row is not what it claims.
    #[error(transparent)]
    Row(#[from] RowError),
}

/// Reads a snapshot file and verifies every row: node ids are the hashes of their rows, parents exist, values are known
/// ones, offsets lie in the window, constant columns agree with the footer.
pub fn decode(file: Bytes, limits: &Limits) -> Result<Verified, DecodeError> {
    let size = file.len();
    bound("the file's size in bytes", size, limits.file_bytes)?;
    let content_hash = blake3::hash(&file);
    // The embedded Arrow schema could ask for other types than the declared ones: only Parquet's own counts.
    let options = ArrowReaderOptions::new().with_skip_arrow_metadata(true);
    let builder = ParquetRecordBatchReaderBuilder::try_new_with_options(file, options).map_err(DecodeError::Parquet)?;
    let footer = Arc::clone(builder.metadata());
    let meta = SnapshotMeta::from_footer(footer.file_metadata().key_value_metadata())?;
    if meta.path_rules > RULES_VERSION {
        return Err(DecodeError::PathRules { found: meta.path_rules });
    }
    check_sizes(&footer, limits)?;
    let schema = Arc::new(SNAPSHOT.arrow_schema());
    check_schema(builder.schema(), &schema)?;

    // Small batches: a dictionary value may be long and repeated in every row.
    let reader = builder.with_batch_size(1024).build().map_err(DecodeError::Parquet)?;
    let mut batches = Vec::new();
    let mut rows = 0;
    let mut bytes = 0_usize;
    for batch in reader {
        let batch = batch.map_err(DecodeError::Arrow)?;
        rows += batch.num_rows();
        bytes = bytes.saturating_add(batch.get_array_memory_size());
        bound("the number of rows", rows, limits.rows)?;
        bound("the decoded size in bytes", bytes, usize::try_from(limits.decompressed_bytes).unwrap_or(usize::MAX))?;
        batches.push(declared(&batch, &schema)?);
    }
    let rows = concat_batches(&schema, &batches).map_err(DecodeError::Arrow)?;
    verify::rows(&meta, &rows)?;
    Ok(Verified { meta, rows, content_hash, size })
}

fn bound(what: &'static str, found: usize, limit: usize) -> Result<(), DecodeError> {
    if found <= limit {
        return Ok(());
    }
    let shown = |n| i64::try_from(n).unwrap_or(i64::MAX);
    Err(DecodeError::TooLarge { what, found: shown(found), limit: shown(limit) })
}

fn check_sizes(footer: &ParquetMetaData, limits: &Limits) -> Result<(), DecodeError> {
    let rows = footer.file_metadata().num_rows();
    bound("the number of rows", usize::try_from(rows).unwrap_or(usize::MAX), limits.rows)?;
    let mut total: i64 = 0;
    for group in footer.row_groups() {
        for column in group.columns() {
            total = total.saturating_add(column.uncompressed_size().max(0));
        }
    }
    if total > limits.decompressed_bytes {
        let what = "the decompressed size in bytes";
        return Err(DecodeError::TooLarge { what, found: total, limit: limits.decompressed_bytes });
    }
    Ok(())
}

fn check_schema(found: &Schema, declared: &Schema) -> Result<(), DecodeError> {
    for (column, field) in SNAPSHOT.columns.iter().zip(declared.fields()) {
        let reason = match found.field_with_name(column.name) {
            Ok(other) if other.data_type() == field.data_type() => continue,
            Ok(other) => format!("has the type {}, not {}", other.data_type(), field.data_type()),
            Err(_) if column.nullable => continue,
            Err(_) => "is missing".to_owned(),
        };
        return Err(DecodeError::Schema { column: column.name, reason });
    }
    Ok(())
}

/// The declared columns of a batch, in order; an absent nullable one as nulls.
fn declared(batch: &RecordBatch, schema: &SchemaRef) -> Result<RecordBatch, DecodeError> {
    let column = |field: &arrow::datatypes::FieldRef| -> ArrayRef {
        batch
            .column_by_name(field.name())
            .map_or_else(|| new_null_array(field.data_type(), batch.num_rows()), Arc::clone)
    };
    let columns: Vec<ArrayRef> = schema.fields().iter().map(column).collect();
    for (column, array) in SNAPSHOT.columns.iter().zip(&columns) {
        if !column.nullable && array.null_count() > 0 {
            return Err(DecodeError::Schema { column: column.name, reason: "has nulls".to_owned() });
        }
    }
    RecordBatch::try_new(Arc::clone(schema), columns).map_err(DecodeError::Arrow)
}
