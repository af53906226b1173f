//! Snapshot files that the encoder would not write.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch};
use arrow::datatypes::{Field, Schema};
use bytes::Bytes;
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::file::metadata::KeyValue;
use parquet::file::properties::WriterProperties;
use wsp_schemas::snapshot::{DecodeError, Limits, Node, SnapshotMeta, Verified, encode};

use crate::both::decode;
use crate::nodes;

/// Rows and footer of a file, to be changed and written anew, without the proof that it is undamaged.
#[derive(Clone)]
pub struct Forged {
    pub rows: RecordBatch,
    pub footer: Vec<KeyValue>,
}

impl Forged {
    pub fn new(meta: &SnapshotMeta, nodes: &[Node]) -> Self {
        let file = Bytes::from(encode(meta, nodes).unwrap());
        let builder = ParquetRecordBatchReaderBuilder::try_new(file.clone()).unwrap();
        let mut footer = builder.metadata().file_metadata().key_value_metadata().unwrap().clone();
        footer.retain(|entry| entry.key != "wsp.blake3");
        Self { rows: decode(file, &Limits::default()).unwrap().rows, footer }
    }

    /// The tree of hostile strings.
    pub fn hostile() -> Self {
        Self::new(&nodes::meta(1), &nodes::hostile())
    }

    /// Another array in place of a column, of whatever type.
    pub fn set(mut self, name: &str, array: ArrayRef) -> Self {
        let schema = self.rows.schema();
        let at = schema.index_of(name).unwrap();
        let mut fields: Vec<_> = schema.fields().iter().cloned().collect();
        // Nullable, so that a null can be written where none may be.
        fields[at] = Arc::new(Field::new(name, array.data_type().clone(), true));
        let mut columns = self.rows.columns().to_vec();
        columns[at] = array;
        self.rows = RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).unwrap();
        self
    }

    pub fn without(mut self, name: &str) -> Self {
        let at = self.rows.schema().index_of(name).unwrap();
        self.rows.remove_column(at);
        self
    }

    pub fn with(mut self, name: &str, array: ArrayRef) -> Self {
        let schema = self.rows.schema();
        let mut fields: Vec<_> = schema.fields().iter().cloned().collect();
        fields.push(Arc::new(Field::new(name, array.data_type().clone(), true)));
        let columns = self.rows.columns().iter().cloned().chain([array]).collect();
        self.rows = RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).unwrap();
        self
    }

    /// The footer entry of that name with one text in place of another.
    pub fn footer(mut self, key: &str, from: &str, to: &str) -> Self {
        let entry = self.footer.iter_mut().find(|entry| entry.key == key).unwrap();
        let value = entry.value.take().unwrap();
        assert!(value.contains(from), "{from} is not in {value}");
        entry.value = Some(value.replacen(from, to, 1));
        self
    }

    pub fn write(&self, properties: WriterProperties) -> Bytes {
        let mut out = Vec::new();
        let mut writer = ArrowWriter::try_new(&mut out, self.rows.schema(), Some(properties)).unwrap();
        writer.write(&self.rows).unwrap();
        self.footer.iter().for_each(|entry| writer.append_key_value_metadata(entry.clone()));
        writer.close().unwrap();
        Bytes::from(out)
    }

    pub fn decode(&self) -> Result<Verified, DecodeError> {
        decode(self.write(WriterProperties::default()), &Limits::default())
    }

    /// Why it is refused.
    pub fn error(&self) -> String {
        self.decode().unwrap_err().to_string()
    }
}
