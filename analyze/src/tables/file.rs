use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, Int32Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, SchemaRef};
use bytes::Bytes;
use chrono::Utc;
use deltalake_core::kernel::Add;
use object_store::path::Path;
use object_store::{ObjectStoreExt, PutPayload};
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::{ArrowReaderOptions, ParquetRecordBatchReaderBuilder};
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::WriterProperties;
use uuid::Uuid;

use super::{OpenTable, TableError};

type PartitionValues = HashMap<String, Option<String>>;

/// Rows of one partition, partition columns included, in batches of at most 8192 rows.
///
/// The merge reads so instead of through a query: it needs whole files of known partitions, and no plan.
pub async fn read_partition(
    table: &OpenTable,
    select: impl Fn(&PartitionValues) -> bool,
) -> Result<Vec<RecordBatch>, TableError> {
    let mut batches = Vec::new();
    let state = table.state()?;
    for file in state.log_data().iter() {
        let values = file.partition_values_map();
        if !select(&values) {
            continue;
        }
        let path = file.object_store_path();
        let bad =
            |reason: String| TableError::File { table: table.declared.name, path: path.to_string(), reason };
        let objects = table.delta.object_store();
        let object = objects.get(&path).await.map_err(|error| bad(error.to_string()))?;
        let bytes = object.bytes().await.map_err(|error| bad(error.to_string()))?;
        batches.extend(decode(table, bytes, &values).map_err(bad)?);
    }
    Ok(batches)
}

fn decode(table: &OpenTable, bytes: Bytes, values: &PartitionValues) -> Result<Vec<RecordBatch>, String> {
    let options = ArrowReaderOptions::new().with_skip_arrow_metadata(true);
    let reader = ParquetRecordBatchReaderBuilder::try_new_with_options(bytes, options)
        .and_then(|builder| builder.with_batch_size(8192).build())
        .map_err(|error| error.to_string())?;
    let schema = Arc::new(table.declared.arrow_schema());
    reader
        .map(|batch| with_partition_columns(&batch.map_err(|error| error.to_string())?, &schema, values))
        .collect()
}

pub(super) fn with_partition_columns(
    batch: &RecordBatch,
    schema: &SchemaRef,
    values: &PartitionValues,
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
    RecordBatch::try_new(Arc::clone(schema), columns).map_err(|error| error.to_string())
}

/// Writes one data file; it belongs to the table when a commit adds it.
pub(super) async fn write(
    table: &OpenTable,
    partition: Vec<(String, Option<String>)>,
    batch: &RecordBatch,
) -> Result<Add, TableError> {
    let folder: Vec<String> = partition
        .iter()
        .map(|(name, value)| format!("{name}={}", value.as_deref().unwrap_or_default()))
        .collect();
    let path = format!("{}/part-{}.zstd.parquet", folder.join("/"), Uuid::new_v4());
    let bad = |reason: String| TableError::File { table: table.declared.name, path: path.clone(), reason };
    let bytes = encode(table, batch).map_err(bad)?;
    let size = i64::try_from(bytes.len()).unwrap_or(i64::MAX);
    let target = Path::from(path.as_str());
    table
        .delta
        .object_store()
        .put(&target, PutPayload::from(bytes))
        .await
        .map_err(|source| TableError::Write { table: table.declared.name, path: path.clone(), source })?;
    Ok(Add {
        path,
        partition_values: partition.into_iter().collect(),
        size,
        modification_time: Utc::now().timestamp_millis(),
        data_change: true,
        stats: Some(serde_json::json!({ "numRecords": batch.num_rows() }).to_string()),
        ..Add::default()
    })
}

fn encode(table: &OpenTable, batch: &RecordBatch) -> Result<Vec<u8>, String> {
    let data: Vec<usize> = (0..batch.num_columns())
        .filter(|at| !table.declared.partitions.contains(&batch.schema().field(*at).name().as_str()))
        .collect();
    let batch = batch.project(&data).map_err(|error| error.to_string())?;
    let properties = WriterProperties::builder()
        .set_compression(Compression::ZSTD(ZstdLevel::try_new(3).unwrap_or_default()))
        .set_created_by(concat!("wsp ", env!("CARGO_PKG_VERSION")).to_owned())
        .build();
    let mut bytes = Vec::new();
    let mut writer = ArrowWriter::try_new(&mut bytes, batch.schema(), Some(properties))
        .map_err(|error| error.to_string())?;
    writer.write(&batch).map_err(|error| error.to_string())?;
    writer.close().map_err(|error| error.to_string())?;
    Ok(bytes)
}
