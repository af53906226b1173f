use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, Int32Array, RecordBatch, StringArray};
use arrow::compute::{max, max_string, min, min_string};
use arrow::datatypes::{DataType, Int32Type, Int64Type, Schema, SchemaRef};
use bytes::Bytes;
use chrono::Utc;
use deltalake_core::kernel::{Add, Remove};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use object_store::path::Path;
use object_store::{ObjectStoreExt, PutPayload};
use parquet::arrow::arrow_reader::{
    ArrowPredicateFn, ArrowReaderBuilder, ArrowReaderOptions, ParquetRecordBatchReaderBuilder, RowFilter,
};
use parquet::arrow::{ArrowWriter, ProjectionMask};
use parquet::basic::{Compression, ZstdLevel};
use parquet::schema::types::ColumnPath;
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use serde_json::{Map, Value, json};
use uuid::Uuid;
use wsp_schemas::table::Table;

use super::{OpenTable, TableError};

/// Columns whose least and greatest value stand with a file in the log: by them readers leave files out.
const PRUNED_BY: [&str; 6] = ["workload_key", "image_name", "image_tag", "revision", "object_key", "batch"];

/// A data file of a table at its opened version.
#[derive(Debug, Clone)]
pub struct DataFile {
    path: Path,
    /// Bytes.
    pub size: u64,
    /// Rows, where the log says.
    pub rows: Option<u64>,
    partition: HashMap<String, Option<String>>,
    stats: Value,
    remove: Remove,
}

impl DataFile {
    /// Its bucket.
    pub fn bucket(&self) -> Option<i32> {
        self.partition.get("bucket")?.as_deref()?.parse().ok()
    }

    /// Its partition of revisions: `learning` or `stable`.
    pub fn status(&self) -> Option<&str> {
        self.partition.get("status")?.as_deref()
    }

    /// Values of the partition columns.
    pub(super) fn partition(&self) -> &HashMap<String, Option<String>> {
        &self.partition
    }

    /// The action that takes it out of its table.
    pub(super) fn remove(&self) -> Remove {
        self.remove.clone()
    }

    /// Its key, from the table's folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether a text column may have one of the values; where its range is not known, it may.
    pub fn may_hold(&self, column: &str, values: &BTreeSet<String>) -> bool {
        let (Some(least), Some(greatest)) = (self.least(column), self.greatest(column)) else { return true };
        values.range(least.to_owned()..).next().is_some_and(|value| value.as_str() <= greatest)
    }

    /// Whether a text column is known to have one value throughout.
    pub fn is_of_one(&self, column: &str) -> bool {
        self.least(column).is_some() && self.least(column) == self.greatest(column)
    }

    fn least(&self, column: &str) -> Option<&str> {
        self.stats.get("minValues")?.get(column)?.as_str()
    }

    /// The greatest value of a text column, where it is known.
    pub fn greatest(&self, column: &str) -> Option<&str> {
        self.stats.get("maxValues")?.get(column)?.as_str()
    }

    /// The greatest value of a column of integers, where it is known.
    pub fn greatest_number(&self, column: &str) -> Option<i64> {
        self.stats.get("maxValues")?.get(column)?.as_i64()
    }
}

/// Which rows and columns of a file are read.
#[derive(Debug, Clone, Copy, Default)]
pub struct Selection<'a> {
    /// These columns only.
    pub columns: Option<&'a [&'a str]>,
    /// Rows of these workloads only: values of `workload_key`.
    pub workloads: Option<&'a BTreeSet<String>>,
}

impl OpenTable {
    /// The table's data files.
    pub fn files(&self) -> Result<Vec<DataFile>, TableError> {
        let files = self.state()?.log_data();
        Ok(files
            .iter()
            .map(|file| DataFile {
                path: file.object_store_path(),
                size: u64::try_from(file.size()).unwrap_or_default(),
                rows: file.num_records().and_then(|rows| u64::try_from(rows).ok()),
                partition: file.partition_values_map(),
                stats: file.stats().and_then(|stats| serde_json::from_str(&stats).ok()).unwrap_or_default(),
                remove: file.remove_action(true),
            })
            .collect())
    }

    /// Rows of one file, partition columns included, in batches of at most 8192 rows.
    ///
    /// The merge reads so instead of through a query: it needs known rows of known files, and no plan.
    pub async fn read(&self, file: &DataFile, select: Selection<'_>) -> Result<Vec<RecordBatch>, TableError> {
        let bad = |reason: String| TableError::File {
            table: self.declared.name,
            path: file.path.to_string(),
            reason,
        };
        let objects = self.delta.object_store();
        let object = objects.get(&file.path).await.map_err(|error| bad(error.to_string()))?;
        let bytes = object.bytes().await.map_err(|error| bad(error.to_string()))?;
        decode_rows(self.declared, bytes, &file.partition, select).map_err(bad)
    }
}

/// Rows of a data file of a table, with the values of its partition columns. The error is a reason.
pub fn decode_rows(
    table: &Table,
    bytes: Bytes,
    partition: &HashMap<String, Option<String>>,
    select: Selection<'_>,
) -> Result<Vec<RecordBatch>, String> {
    let options = ArrowReaderOptions::new().with_skip_arrow_metadata(true);
    let builder = ParquetRecordBatchReaderBuilder::try_new_with_options(bytes, options)
        .map_err(|error| error.to_string())?;
    let (builder, schema) = select.of(builder, table);
    let reader = builder.build().map_err(|error| error.to_string())?;
    reader
        .map(|batch| with_partition_columns(&batch.map_err(|error| error.to_string())?, &schema, partition))
        .collect()
}

impl Selection<'_> {
    /// Has a reader of a data file give these rows and columns, in batches of at most 8192; and the schema that they have
    /// with the table's partition columns.
    pub(super) fn of<T>(
        self,
        builder: ArrowReaderBuilder<T>,
        table: &Table,
    ) -> (ArrowReaderBuilder<T>, SchemaRef) {
        let all = table.arrow_schema();
        let selected = all
            .fields()
            .iter()
            .filter(|field| self.columns.is_none_or(|columns| columns.contains(&field.name().as_str())));
        let schema = Arc::new(Schema::new(selected.cloned().collect::<Vec<_>>()));
        let wanted = builder.schema().fields().iter().enumerate();
        let wanted = wanted.filter(|(_, field)| schema.field_with_name(field.name()).is_ok());
        let wanted: Vec<usize> = wanted.map(|(at, _)| at).collect();
        let mask = ProjectionMask::roots(builder.parquet_schema(), wanted);
        let mut builder = builder.with_batch_size(8192).with_projection(mask);
        if let Some(workloads) = self.workloads {
            let key = ProjectionMask::columns(builder.parquet_schema(), ["workload_key"]);
            let workloads = workloads.clone();
            let predicate = ArrowPredicateFn::new(key, move |batch: RecordBatch| {
                let keys = batch.column(0).as_string_opt::<i32>().ok_or_else(|| {
                    arrow::error::ArrowError::SchemaError("`workload_key` is no text".to_owned())
                })?;
                let wanted = |key: Option<&str>| key.is_some_and(|key| workloads.contains(key));
                Ok(keys.iter().map(|key| Some(wanted(key))).collect::<BooleanArray>())
            });
            builder = builder.with_row_filter(RowFilter::new(vec![Box::new(predicate)]));
        }
        (builder, schema)
    }
}

pub(super) fn with_partition_columns(
    batch: &RecordBatch,
    schema: &SchemaRef,
    values: &HashMap<String, Option<String>>,
) -> Result<RecordBatch, String> {
    let rows = batch.num_rows();
    let mut columns: Vec<ArrayRef> = Vec::with_capacity(schema.fields().len());
    for field in schema.fields() {
        let name = field.name().as_str();
        columns.push(match (batch.column_by_name(name), values.get(name), field.data_type()) {
            (Some(column), _, _) => Arc::clone(column),
            (None, Some(Some(value)), DataType::Int32) => {
                let value: i32 =
                    value.parse().map_err(|_| format!("partition value `{value}` of `{name}`"))?;
                Arc::new(Int32Array::from(vec![value; rows]))
            }
            (None, Some(Some(value)), DataType::Utf8) => {
                Arc::new(StringArray::from(vec![value.as_str(); rows]))
            }
            (None, _, kind) if field.is_nullable() => arrow::array::new_null_array(kind, rows),
            (None, ..) => return Err(format!("column `{name}` is missing")),
        });
    }
    let options = arrow::array::RecordBatchOptions::new().with_row_count(Some(rows));
    RecordBatch::try_new_with_options(Arc::clone(schema), columns, &options)
        .map_err(|error| error.to_string())
}

/// A data file that is ready to be written.
#[derive(Debug)]
pub struct Encoded {
    table: &'static Table,
    partition: Vec<(String, Option<String>)>,
    path: String,
    bytes: Vec<u8>,
    stats: String,
}

impl Encoded {
    /// Rows of a table, all of one partition. No I/O, and some work: where there are many, for threads that may block.
    pub fn of(
        table: &'static Table,
        partition: Vec<(String, Option<String>)>,
        batch: &RecordBatch,
    ) -> Result<Self, TableError> {
        let folder: Vec<String> = partition
            .iter()
            .map(|(name, value)| format!("{name}={}", value.as_deref().unwrap_or_default()))
            .collect();
        let path = format!("{}/part-{}.zstd.parquet", folder.join("/"), Uuid::new_v4());
        let bytes = encode(table.partitions, batch).map_err(|reason| TableError::File {
            table: table.name,
            path: path.clone(),
            reason,
        })?;
        Ok(Self { table, partition, path, bytes, stats: stats(table.partitions, batch).to_string() })
    }

    /// Writes it; it belongs to the table when a commit adds it.
    pub async fn write(self, table: &OpenTable) -> Result<Written, TableError> {
        let Self { table: declared, partition, path, bytes, stats } = self;
        let size = i64::try_from(bytes.len()).unwrap_or(i64::MAX);
        let target = Path::from(path.as_str());
        let put = table.delta.object_store().put(&target, PutPayload::from(bytes)).await;
        put.map_err(|source| TableError::Write { table: declared.name, path: path.clone(), source })?;
        Ok(Written(Add {
            path,
            partition_values: partition.into_iter().collect(),
            size,
            modification_time: Utc::now().timestamp_millis(),
            data_change: true,
            stats: Some(stats),
            ..Add::default()
        }))
    }
}

impl OpenTable {
    /// Writes files of the table, some at a time: encoded on threads that may block.
    pub async fn write_all(
        &self,
        files: Vec<(Vec<(String, Option<String>)>, RecordBatch)>,
        at_once: usize,
    ) -> Result<Vec<Written>, TableError> {
        let table = self.declared;
        let failed = |error: tokio::task::JoinError| TableError::File {
            table: table.name,
            path: "part".to_owned(),
            reason: error.to_string(),
        };
        stream::iter(files)
            .map(|(partition, rows)| tokio::task::spawn_blocking(move || Encoded::of(table, partition, &rows)))
            .map(async |encoded| encoded.await.map_err(failed)??.write(self).await)
            .buffered(at_once.max(1))
            .try_collect()
            .await
    }
}

/// A data file that stands in the store, and in no version of a table yet.
#[derive(Debug)]
pub struct Written(pub(super) Add);

/// Statistics as Delta's log has them.
fn stats(partitions: &[&str], batch: &RecordBatch) -> Value {
    let (mut least, mut greatest) = (Map::new(), Map::new());
    for name in PRUNED_BY.iter().filter(|name| !partitions.contains(name)) {
        let Some(column) = batch.column_by_name(name) else { continue };
        let range = match column.data_type() {
            DataType::Utf8 => {
                let texts: &StringArray = column.as_string();
                min_string(texts).zip(max_string(texts)).map(|(min, max)| (json!(min), json!(max)))
            }
            DataType::Int32 => {
                let numbers = column.as_primitive::<Int32Type>();
                min(numbers).zip(max(numbers)).map(|(min, max)| (json!(min), json!(max)))
            }
            DataType::Int64 => {
                let numbers = column.as_primitive::<Int64Type>();
                min(numbers).zip(max(numbers)).map(|(min, max)| (json!(min), json!(max)))
            }
            _ => None,
        };
        if let Some((min, max)) = range {
            least.insert((*name).to_owned(), min);
            greatest.insert((*name).to_owned(), max);
        }
    }
    json!({ "numRecords": batch.num_rows(), "minValues": least, "maxValues": greatest })
}

fn encode(partitions: &[&str], batch: &RecordBatch) -> Result<Vec<u8>, String> {
    let data: Vec<usize> = (0..batch.num_columns())
        .filter(|at| !partitions.contains(&batch.schema().field(*at).name().as_str()))
        .collect();
    let batch = batch.project(&data).map_err(|error| error.to_string())?;
    let mut bytes = Vec::new();
    let mut writer = ArrowWriter::try_new(&mut bytes, batch.schema(), Some(properties(&batch.schema())))
        .map_err(|error| error.to_string())?;
    writer.write(&batch).map_err(|error| error.to_string())?;
    writer.close().map_err(|error| error.to_string())?;
    Ok(bytes)
}

fn properties(schema: &Schema) -> WriterProperties {
    let mut properties = WriterProperties::builder()
        .set_created_by(concat!("wsp ", env!("CARGO_PKG_VERSION")).to_owned())
        // Files are small and left out whole, by what stands in the log.
        .set_statistics_enabled(EnabledStatistics::None)
        .set_offset_index_disabled(true);
    let zstd = Compression::ZSTD(ZstdLevel::try_new(1).unwrap_or_default());
    for field in schema.fields() {
        let name = field.name().as_str();
        // Hashes and bitsets: a dictionary of them is as long as they are.
        if matches!(name, "node_id" | "members" | "content_hash" | "object_key" | "snapshot_id") {
            properties = properties.set_column_dictionary_enabled(name.into(), false);
        }
        // Numbers, flags and hashes gain little, and a compressor for each takes its time.
        let path = match field.data_type() {
            DataType::Utf8 => ColumnPath::from(name),
            DataType::List(item) => ColumnPath::new(vec![name.to_owned(), "list".to_owned(), item.name().clone()]),
            DataType::Map(..) => ColumnPath::new(vec![name.to_owned(), "key_value".to_owned(), "value".to_owned()]),
            _ => continue,
        };
        properties = properties.set_column_compression(path, zstd);
    }
    properties.build()
}
