use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, BooleanArray, Int32Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Schema, SchemaRef};
use bytes::Bytes;
use deltalake_core::kernel::Remove;
use futures::Stream;
use object_store::path::Path;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{
    ArrowPredicateFn, ArrowReaderBuilder, ArrowReaderOptions, ParquetRecordBatchReaderBuilder, RowFilter,
};
use serde_json::Value;
use wsp_schemas::keys;
use wsp_schemas::table::Table;

use super::{FileRef, Folder, OpenTable, TableError};

/// A data file of a table at its opened version.
#[derive(Debug, Clone)]
pub struct DataFile {
    path: Path,
    /// What it takes to read it.
    pub file: FileRef,
    /// Bytes.
    pub size: u64,
    /// Rows, where the log says.
    pub rows: Option<u64>,
    stats: Value,
    remove: Remove,
}

impl DataFile {
    /// Its bucket.
    pub fn bucket(&self) -> Option<i32> {
        self.file.partition.get("bucket")?.as_deref()?.parse().ok()
    }

    /// Its partition of revisions: `learning` or `stable`.
    pub fn status(&self) -> Option<&str> {
        self.file.partition.get("status")?.as_deref()
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

    /// The least value of a text column, where it is known.
    pub fn least(&self, column: &str) -> Option<&str> {
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
                file: FileRef {
                    path: file.object_store_path().to_string(),
                    partition: file.partition_values_map(),
                },
                size: u64::try_from(file.size()).unwrap_or_default(),
                rows: file.num_records().and_then(|rows| u64::try_from(rows).ok()),
                stats: file.stats().and_then(|stats| serde_json::from_str(&stats).ok()).unwrap_or_default(),
                remove: file.remove_action(true),
            })
            .collect())
    }

    /// The table's folder.
    pub fn folder(&self) -> Folder {
        Folder { declared: self.declared, objects: self.delta.object_store() }
    }

    /// The key of a data file, from the store's root.
    pub fn key(&self, file: &DataFile) -> String {
        format!("{}/{}", keys::table(self.declared.name), file.path())
    }

    /// Rows of one file: [`Folder::read`].
    pub async fn read(&self, file: &DataFile, select: Selection<'_>) -> Result<Vec<RecordBatch>, TableError> {
        self.folder().read(&file.file, select).await
    }

    /// Rows of one file as they are read: [`Folder::stream`].
    pub async fn stream(
        &self,
        file: &DataFile,
        size: u64,
        select: Selection<'_>,
    ) -> Result<impl Stream<Item = Result<RecordBatch, TableError>> + Send + use<>, TableError> {
        self.folder().stream(&file.file, size, select).await
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
