//! Writes data files of a partition, rows as they come.

use std::collections::BTreeMap;

use arrow::array::{AsArray, RecordBatch, StringArray};
use arrow::compute::{max, max_string, min, min_string};
use arrow::datatypes::{DataType, Int32Type, Int64Type, Schema};
use chrono::Utc;
use deltalake_core::kernel::Add;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use object_store::path::Path;
use object_store::{ObjectStoreExt, PutPayload};
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::schema::types::ColumnPath;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use uuid::Uuid;
use wsp_schemas::table::Table;
use wsp_schemas::tables::ACTIVITY;

use super::{Folder, OpenTable, Partition, TableError};

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
    folder: &'a Folder,
    partition: Partition,
    target_bytes: u64,
    open: Option<OpenFile>,
    written: Vec<Written>,
    rows: u64,
}

impl<'a> PartitionWriter<'a> {
    /// A writer that has written nothing.
    pub fn new(folder: &'a Folder, partition: Partition, target_bytes: u64) -> Self {
        Self { folder, partition, target_bytes, open: None, written: Vec::new(), rows: 0 }
    }

    /// Adds rows, with or without the partition columns; all of a batch go to one file.
    pub async fn write(&mut self, batch: &RecordBatch) -> Result<(), TableError> {
        if batch.num_rows() == 0 {
            return Ok(());
        }
        let mut file = match self.open.take() {
            Some(file) => file,
            None => OpenFile::new(self.folder.declared, self.partition.clone(), batch)?,
        };
        file.write(batch)?;
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
    pub async fn finish(mut self) -> Result<Vec<Written>, TableError> {
        self.close().await?;
        Ok(self.written)
    }

    async fn close(&mut self) -> Result<(), TableError> {
        if let Some(file) = self.open.take() {
            self.written.push(file.close()?.write(self.folder).await?);
        }
        Ok(())
    }
}

#[derive(Debug)]
struct OpenFile {
    table: &'static Table,
    partition: Partition,
    path: String,
    writer: ArrowWriter<Vec<u8>>,
    ranges: Ranges,
}

impl OpenFile {
    /// A file for rows like these.
    fn new(table: &'static Table, partition: Partition, like: &RecordBatch) -> Result<Self, TableError> {
        // Below the table's folder: a path that begins with a slash would be one below the store's root.
        let folder: String = partition
            .iter()
            .map(|(name, value)| format!("{name}={}/", value.as_deref().unwrap_or_default()))
            .collect();
        let path = format!("{folder}part-{}.zstd.parquet", Uuid::new_v4());
        let writer = without(like, table.partitions).map_err(ParquetError::from).and_then(|like| {
            ArrowWriter::try_new(Vec::new(), like.schema(), Some(properties(table, &like.schema())))
        });
        match writer {
            Ok(writer) => Ok(Self { table, partition, path, writer, ranges: Ranges::default() }),
            Err(error) => Err(bad(table, path, &error)),
        }
    }

    fn write(&mut self, batch: &RecordBatch) -> Result<(), TableError> {
        let batch = without(batch, self.table.partitions)
            .map_err(|error| bad(self.table, self.path.clone(), &error))?;
        self.writer.write(&batch).map_err(|error| bad(self.table, self.path.clone(), &error))?;
        self.ranges.add(&batch);
        Ok(())
    }

    fn close(self) -> Result<Encoded, TableError> {
        let Self { table, partition, path, writer, ranges } = self;
        match writer.into_inner() {
            Ok(bytes) => Ok(Encoded { table, partition, path, bytes, stats: ranges.stats().to_string() }),
            Err(error) => Err(bad(table, path, &error)),
        }
    }
}

fn bad(table: &Table, path: String, error: &impl ToString) -> TableError {
    TableError::File { table: table.name, path, reason: error.to_string() }
}

/// A data file that is ready to be stored.
#[derive(Debug)]
pub struct Encoded {
    table: &'static Table,
    partition: Partition,
    path: String,
    bytes: Vec<u8>,
    stats: String,
}

impl Encoded {
    /// Rows of a table, all of one partition. No I/O, and some work: where there are many, for threads that may block.
    pub fn of(table: &'static Table, partition: Partition, batch: &RecordBatch) -> Result<Self, TableError> {
        let mut file = OpenFile::new(table, partition, batch)?;
        file.write(batch)?;
        file.close()
    }

    /// Stores it; it belongs to the table when a commit adds it.
    pub async fn write(self, folder: &Folder) -> Result<Written, TableError> {
        let Self { table: declared, partition, path, bytes, stats } = self;
        let size = i64::try_from(bytes.len()).unwrap_or(i64::MAX);
        let target = Path::from(path.as_str());
        let put = folder.objects.put(&target, PutPayload::from(bytes)).await;
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
        files: Vec<(Partition, RecordBatch)>,
        at_once: usize,
    ) -> Result<Vec<Written>, TableError> {
        let (table, folder) = (self.declared, &self.folder());
        stream::iter(files)
            .map(|(partition, rows)| {
                tokio::task::spawn_blocking(move || Encoded::of(table, partition, &rows))
            })
            .map(async |encoded| {
                encoded.await.map_err(|error| bad(table, "part".to_owned(), &error))??.write(folder).await
            })
            .buffered(at_once.max(1))
            .try_collect()
            .await
    }
}

/// A data file that stands in the store, and in no version of a table yet.
#[derive(Debug, Serialize, Deserialize)]
pub struct Written(pub(super) Add);

impl Written {
    /// Fails where it is not in a table's folder as it was written: whoever wrote it may have another store.
    #[cfg(feature = "distributed")]
    pub async fn check(&self, folder: &Folder) -> Result<(), TableError> {
        let found = folder.objects.head(&Path::from(self.0.path.as_str())).await;
        let reason = match found {
            Ok(found) if found.size == self.bytes() => return Ok(()),
            Ok(found) => format!("an executor wrote {} bytes, and it has {}", self.bytes(), found.size),
            Err(object_store::Error::NotFound { .. }) => {
                "an executor wrote it, and it is not there: the executor's store is another one".to_owned()
            }
            Err(error) => error.to_string(),
        };
        Err(TableError::File { table: folder.declared.name, path: self.0.path.clone(), reason })
    }

    /// Its bytes.
    pub fn bytes(&self) -> u64 {
        u64::try_from(self.0.size).unwrap_or_default()
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
    let zstd = Compression::ZSTD(ZstdLevel::try_new(1).unwrap_or_default());
    let properties = WriterProperties::builder()
        .set_compression(zstd)
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
    let mut properties =
        properties.set_statistics_enabled(EnabledStatistics::None).set_compression(Compression::UNCOMPRESSED);
    for field in schema.fields() {
        let name = field.name().as_str();
        // Hashes and bitsets: a dictionary of them is as long as they are.
        if matches!(name, "node_id" | "members" | "content_hash" | "object_key" | "snapshot_id") {
            properties = properties.set_column_dictionary_enabled(name.into(), false);
        }
        // Numbers, flags and hashes gain little, and a compressor for each takes its time.
        let below = |parts: &[&str]| ColumnPath::new(parts.iter().map(|part| (*part).to_owned()).collect());
        let path = match field.data_type() {
            DataType::Utf8 => ColumnPath::from(name),
            DataType::List(item) => below(&[name, "list", item.name()]),
            DataType::Map(..) => below(&[name, "key_value", "value"]),
            _ => continue,
        };
        properties = properties.set_column_compression(path, zstd);
    }
    properties.build()
}
