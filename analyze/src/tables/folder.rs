use std::collections::HashMap;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use arrow::array::RecordBatch;
use futures::FutureExt;
use futures::stream::{Stream, StreamExt};
use object_store::path::Path;
use object_store::prefix::PrefixStore;
use object_store::{ObjectMeta, ObjectStore, ObjectStoreExt};
use parquet::arrow::ParquetRecordBatchStreamBuilder;
use parquet::arrow::arrow_reader::ArrowReaderOptions;
use serde::{Deserialize, Serialize};
use wsp_schemas::keys;
use wsp_schemas::table::Table;

use super::file::{decode_rows, with_partition_columns};
use super::object::ParquetObject;
use super::{Selection, TableError};

/// A panic in a decoder must cost one file only.
const PANICKED: &str = "it makes the Parquet decoder fail";

/// The folder of a table: what reads and writes data files that somebody who knows the log named.
#[derive(Debug, Clone)]
pub struct Folder {
    pub(super) declared: &'static Table,
    pub(super) objects: Arc<dyn ObjectStore>,
}

/// A data file, as far as one must know it to read its rows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileRef {
    /// Its key, from the table's folder.
    pub(super) path: String,
    /// Values of the partition columns.
    pub(super) partition: HashMap<String, Option<String>>,
}

impl FileRef {
    /// The partition columns and their values, in the order of their names.
    pub fn partition_values(&self) -> Vec<(String, Option<String>)> {
        let mut values: Vec<_> =
            self.partition.iter().map(|(name, value)| (name.clone(), value.clone())).collect();
        values.sort();
        values
    }
}

impl Folder {
    /// Of a table, below the root of a store.
    pub fn of(objects: Arc<dyn ObjectStore>, declared: &'static Table) -> Self {
        Self { declared, objects: Arc::new(PrefixStore::new(objects, keys::table(declared.name))) }
    }

    /// Its table.
    pub fn table(&self) -> &'static Table {
        self.declared
    }

    /// What the store has of a data file.
    pub async fn look(&self, file: &FileRef) -> Result<ObjectMeta, TableError> {
        self.objects.head(&self.path(file)?).await.map_err(|error| self.unusable(file, &error))
    }

    /// Rows of one file, partition columns included, in batches of at most 8192 rows.
    ///
    /// Jobs read so instead of through a query: they need known rows of known files, and no plan.
    pub async fn read(&self, file: &FileRef, select: Selection<'_>) -> Result<Vec<RecordBatch>, TableError> {
        let object = self.objects.get(&self.path(file)?).await;
        let object = object.map_err(|error| self.unusable(file, &error))?;
        let bytes = object.bytes().await.map_err(|error| self.unusable(file, &error))?;
        decode_rows(self.declared, bytes, &file.partition, select)
            .map_err(|reason| self.unusable(file, &reason))
    }

    /// Rows of one data file as they are read, in batches of at most 8192. `size` is that of the object, which may not be the one
    /// that the log says.
    pub async fn stream(
        &self,
        file: &FileRef,
        size: u64,
        select: Selection<'_>,
    ) -> Result<impl Stream<Item = Result<RecordBatch, TableError>> + Send + use<>, TableError> {
        let reader = ParquetObject { store: Arc::clone(&self.objects), path: self.path(file)?, size };
        let options = ArrowReaderOptions::new().with_skip_arrow_metadata(true);
        let opened = ParquetRecordBatchStreamBuilder::new_with_options(reader, options);
        let opened = AssertUnwindSafe(opened).catch_unwind().await;
        let builder = opened
            .map_err(|_| self.unusable(file, &PANICKED))?
            .map_err(|error| self.unusable(file, &error))?;
        let (builder, schema) = select.of(builder, self.declared);
        let rows = builder.build().map_err(|error| self.unusable(file, &error))?;
        let (table, file) = (self.declared.name, file.clone());
        Ok(AssertUnwindSafe(rows).catch_unwind().map(move |batch| {
            let batch = batch.map_err(|_| PANICKED.to_owned());
            let batch = batch.and_then(|batch| batch.map_err(|error| error.to_string()));
            let batch = batch.and_then(|batch| with_partition_columns(&batch, &schema, &file.partition));
            batch.map_err(|reason| TableError::File { table, path: file.path.clone(), reason })
        }))
    }

    /// Paths of the log keep what is percent-encoded in them.
    fn path(&self, file: &FileRef) -> Result<Path, TableError> {
        Path::parse(&file.path).map_err(|error| self.unusable(file, &error))
    }

    fn unusable(&self, file: &FileRef, error: &impl ToString) -> TableError {
        TableError::File { table: self.declared.name, path: file.path.clone(), reason: error.to_string() }
    }
}
