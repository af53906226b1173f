//! Writes data files of a partition, rows as they come.

use std::collections::BTreeMap;

use arrow::array::{AsArray, RecordBatch, StringArray};
use arrow::compute::{max, max_string, min, min_string};
use arrow::datatypes::{DataType, Int32Type, Int64Type, Schema, SchemaRef};
use chrono::Utc;
use deltalake_core::kernel::Add;
use object_store::path::Path;
use object_store::{ObjectStoreExt, PutPayload};
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use serde_json::{Map, Value, json};
use uuid::Uuid;
use wsp_schemas::table::Table;
use wsp_schemas::tables::ACTIVITY;

use super::{OpenTable, TableError};

/// Columns whose least and greatest value stand with a file in the log: by them readers leave files out.
const PRUNED_BY: [&str; 7] =
    ["workload_key", "image_name", "image_tag", "revision", "object_key", "batch", "snapshot_id"];

/// Rows of a row group of `activity`: few enough that what a query does not want is left out, many enough that pages are
/// worth their headers.
const ACTIVITY_GROUP_ROWS: usize = 128 * 1024;

/// Files of one partition: a file ends with the batch that makes it as large as the target. They belong to the table when a
/// commit adds them.
///
/// Holds what was encoded of one file, and one row group that is not.
#[derive(Debug)]
pub struct PartitionWriter<'a> {
    table: &'a OpenTable,
    partition: Vec<(String, Option<String>)>,
    target_bytes: u64,
    open: Option<OpenFile>,
    written: Vec<Add>,
    rows: u64,
}

#[derive(Debug)]
struct OpenFile {
    writer: ArrowWriter<Vec<u8>>,
    ranges: Ranges,
}

impl<'a> PartitionWriter<'a> {
    /// A writer that has written nothing.
    pub fn new(table: &'a OpenTable, partition: Vec<(String, Option<String>)>, target_bytes: u64) -> Self {
        Self { table, partition, target_bytes, open: None, written: Vec::new(), rows: 0 }
    }

    /// Adds rows, with or without the partition columns; all of a batch go to one file.
    pub async fn write(&mut self, batch: &RecordBatch) -> Result<(), TableError> {
        if batch.num_rows() == 0 {
            return Ok(());
        }
        let batch = without(batch, self.table.declared.partitions).map_err(|error| self.bad(&error))?;
        let mut file = match self.open.take() {
            Some(file) => file,
            None => OpenFile::new(self.table.declared, batch.schema()).map_err(|error| self.bad(&error))?,
        };
        file.writer.write(&batch).map_err(|error| self.bad(&error))?;
        file.ranges.add(&batch);
        self.rows += batch.num_rows() as u64;
        let bytes = (file.writer.bytes_written() + file.writer.in_progress_size()) as u64;
        self.open = Some(file);
        if bytes >= self.target_bytes {
            self.close().await?;
        }
        Ok(())
    }

    /// Rows that were given to it.
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// Stores what is left, and gives the files.
    pub(super) async fn finish(mut self) -> Result<Vec<Add>, TableError> {
        self.close().await?;
        Ok(self.written)
    }

    async fn close(&mut self) -> Result<(), TableError> {
        let Some(OpenFile { writer, ranges }) = self.open.take() else { return Ok(()) };
        let bytes = writer.into_inner().map_err(|error| self.bad(&error))?;
        let size = i64::try_from(bytes.len()).unwrap_or(i64::MAX);
        let folder = self.partition.iter();
        let folder: Vec<String> =
            folder.map(|(name, value)| format!("{name}={}", value.as_deref().unwrap_or_default())).collect();
        let path = format!("{}/part-{}.zstd.parquet", folder.join("/"), Uuid::new_v4());
        let target = Path::from(path.as_str());
        let put = self.table.delta.object_store().put(&target, PutPayload::from(bytes)).await;
        put.map_err(|source| TableError::Write {
            table: self.table.declared.name,
            path: path.clone(),
            source,
        })?;
        self.written.push(Add {
            path,
            partition_values: self.partition.iter().cloned().collect(),
            size,
            modification_time: Utc::now().timestamp_millis(),
            data_change: true,
            stats: Some(ranges.stats().to_string()),
            ..Add::default()
        });
        Ok(())
    }

    fn bad(&self, error: &impl ToString) -> TableError {
        let partition: Vec<&str> = self.partition.iter().filter_map(|(_, value)| value.as_deref()).collect();
        TableError::File {
            table: self.table.declared.name,
            path: partition.join("/"),
            reason: error.to_string(),
        }
    }
}

impl OpenFile {
    fn new(table: &Table, schema: SchemaRef) -> Result<Self, ParquetError> {
        let properties = properties(table, &schema);
        let writer = ArrowWriter::try_new(Vec::new(), schema, Some(properties))?;
        Ok(Self { writer, ranges: Ranges::default() })
    }
}

fn without(batch: &RecordBatch, partitions: &[&str]) -> Result<RecordBatch, arrow::error::ArrowError> {
    let schema = batch.schema();
    let data = (0..batch.num_columns()).filter(|at| !partitions.contains(&schema.field(*at).name().as_str()));
    batch.project(&data.collect::<Vec<_>>())
}

/// What the log says of a file.
#[derive(Debug, Default)]
struct Ranges {
    rows: usize,
    texts: BTreeMap<&'static str, (String, String)>,
    numbers: BTreeMap<&'static str, (i64, i64)>,
}

impl Ranges {
    fn add(&mut self, batch: &RecordBatch) {
        self.rows += batch.num_rows();
        for name in PRUNED_BY {
            let Some(column) = batch.column_by_name(name) else { continue };
            match column.data_type() {
                DataType::Utf8 => {
                    let texts: &StringArray = column.as_string();
                    if let Some((min, max)) = min_string(texts).zip(max_string(texts)) {
                        self.text(name, min, max);
                    }
                }
                DataType::Int32 => {
                    let numbers = column.as_primitive::<Int32Type>();
                    self.number(name, min(numbers).map(i64::from), max(numbers).map(i64::from));
                }
                DataType::Int64 => {
                    let numbers = column.as_primitive::<Int64Type>();
                    self.number(name, min(numbers), max(numbers));
                }
                _ => {}
            }
        }
    }

    fn text(&mut self, name: &'static str, min: &str, max: &str) {
        let (least, greatest) = self.texts.entry(name).or_insert_with(|| (min.to_owned(), max.to_owned()));
        if min < least.as_str() {
            min.clone_into(least);
        }
        if max > greatest.as_str() {
            max.clone_into(greatest);
        }
    }

    fn number(&mut self, name: &'static str, min: Option<i64>, max: Option<i64>) {
        let Some((min, max)) = min.zip(max) else { return };
        let (least, greatest) = self.numbers.entry(name).or_insert((min, max));
        (*least, *greatest) = ((*least).min(min), (*greatest).max(max));
    }

    /// Statistics as Delta's log has them.
    fn stats(&self) -> Value {
        let (mut least, mut greatest) = (Map::new(), Map::new());
        for (name, (min, max)) in &self.texts {
            least.insert((*name).to_owned(), json!(min));
            greatest.insert((*name).to_owned(), json!(max));
        }
        for (name, (min, max)) in &self.numbers {
            least.insert((*name).to_owned(), json!(min));
            greatest.insert((*name).to_owned(), json!(max));
        }
        json!({ "numRecords": self.rows, "minValues": least, "maxValues": greatest })
    }
}

fn properties(table: &Table, schema: &Schema) -> WriterProperties {
    let properties = WriterProperties::builder()
        .set_compression(Compression::ZSTD(ZstdLevel::try_new(1).unwrap_or_default()))
        .set_created_by(concat!("wsp ", env!("CARGO_PKG_VERSION")).to_owned())
        .set_offset_index_disabled(true);
    if table.name == ACTIVITY.name {
        // Large files, in the order of their workloads: row groups are left out by their statistics. What a snapshot has
        // once stands in each of its rows, and is a dictionary's best case.
        return properties
            .set_statistics_enabled(EnabledStatistics::Chunk)
            .set_max_row_group_row_count(Some(ACTIVITY_GROUP_ROWS))
            .set_column_dictionary_enabled("node_id".into(), false)
            .build();
    }
    // Files are small and left out whole, by what stands in the log.
    let mut properties = properties.set_statistics_enabled(EnabledStatistics::None);
    // Hashes and bitsets: a dictionary of them is as long as they are.
    for name in ["node_id", "members", "content_hash", "object_key", "snapshot_id"] {
        if schema.field_with_name(name).is_ok() {
            properties = properties.set_column_dictionary_enabled(name.into(), false);
        }
    }
    properties.build()
}
