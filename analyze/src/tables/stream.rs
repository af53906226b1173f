use std::panic::AssertUnwindSafe;

use arrow::array::RecordBatch;
use futures::FutureExt;
use futures::stream::{Stream, StreamExt};
use object_store::{ObjectMeta, ObjectStoreExt};
use parquet::arrow::ParquetRecordBatchStreamBuilder;
use parquet::arrow::arrow_reader::ArrowReaderOptions;
use wsp_schemas::keys;

use super::file::with_partition_columns;
use super::object::ParquetObject;
use super::{DataFile, Selection};
use super::{OpenTable, TableError};

/// A panic in a decoder must cost one file only.
const PANICKED: &str = "it makes the Parquet decoder fail";

impl OpenTable {
    /// The key of a data file, from the store's root.
    pub fn key(&self, file: &DataFile) -> String {
        format!("{}/{}", keys::table(self.declared.name), file.path())
    }

    /// What the store has of a data file.
    pub async fn look(&self, file: &DataFile) -> Result<ObjectMeta, TableError> {
        self.delta.object_store().head(file.path()).await.map_err(|error| self.unusable(file, &error))
    }

    /// Rows of one data file as they are read, in batches of at most 8192. `size` is that of the object, which may not be the one
    /// that the log says.
    pub async fn stream(
        &self,
        file: &DataFile,
        size: u64,
        select: Selection<'_>,
    ) -> Result<impl Stream<Item = Result<RecordBatch, TableError>> + Send + use<>, TableError> {
        let reader = ParquetObject { store: self.delta.object_store(), path: file.path().clone(), size };
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
            let batch = batch.and_then(|batch| with_partition_columns(&batch, &schema, file.partition()));
            batch.map_err(|reason| TableError::File { table, path: file.path().to_string(), reason })
        }))
    }

    fn unusable(&self, file: &DataFile, error: &impl ToString) -> TableError {
        TableError::File {
            table: self.declared.name,
            path: file.path().to_string(),
            reason: error.to_string(),
        }
    }
}
