use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, BooleanArray, Int32Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Schema, SchemaRef};
use bytes::Bytes;
use deltalake_core::kernel::Remove;
use object_store::ObjectStoreExt;
use object_store::path::Path;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{
    ArrowPredicateFn, ArrowReaderBuilder, ArrowReaderOptions, ParquetRecordBatchReaderBuilder, RowFilter,
};
use serde_json::Value;
use wsp_schemas::table::Table;

use super::{OpenTable, TableError};

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

    /// The partition columns and their values, in the order of their names.
    pub fn partition_values(&self) -> Vec<(String, Option<String>)> {
        let mut values: Vec<_> =
            self.partition.iter().map(|(name, value)| (name.clone(), value.clone())).collect();
        values.sort();
        values
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
