//! Files that the real writer would not write, made from ones that it wrote.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, StringArray, TimestampMicrosecondArray};
use arrow::compute::concat_batches;
use arrow::datatypes::{Field, Schema};
use bytes::Bytes;
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::file::metadata::KeyValue;
use parquet::file::properties::WriterProperties;
use serde_json::Value;
use wsp_schemas::snapshot::{Fact, File};

use super::{Gallery, GalleryError, Label, Outcome, Specimen};
use crate::fleet::Snapshot;

/// The entries of the footer that a file needs. The writer's check of all bytes is left out: what is crafted must fail for
/// what is wrong with it, and not for having been changed.
const ENTRIES: [&str; 2] = ["wsp.format", "wsp.snapshot"];

/// A file taken apart.
pub(super) struct Parts {
    pub(super) rows: RecordBatch,
    /// Entries of the footer.
    pub(super) footer: Vec<(String, Value)>,
}

impl Parts {
    /// Takes apart what the real writer writes.
    pub(super) fn of(snapshot: &Snapshot) -> Result<Self, GalleryError> {
        let builder = ParquetRecordBatchReaderBuilder::try_new(Bytes::from(snapshot.encode()?))?;
        let entries = builder.metadata().file_metadata().key_value_metadata().cloned().unwrap_or_default();
        let mut footer = Vec::new();
        for entry in entries.into_iter().filter(|entry| ENTRIES.contains(&entry.key.as_str())) {
            footer.push((entry.key, serde_json::from_str(entry.value.as_deref().unwrap_or("null"))?));
        }
        let schema = Arc::clone(builder.schema());
        let batches = builder.build()?.collect::<Result<Vec<_>, _>>()?;
        Ok(Self { rows: concat_batches(&schema, &batches)?, footer })
    }

    /// Changes one value of a footer entry.
    pub(super) fn set(mut self, entry: &str, field: &str, value: impl Into<Value>) -> Self {
        let value = value.into();
        for (_, object) in self.footer.iter_mut().filter(|(key, _)| key == entry) {
            object[field] = value.clone();
        }
        self
    }

    /// Replaces a column, whatever its type; a column that is not there yet is added.
    pub(super) fn column(mut self, name: &str, array: ArrayRef) -> Result<Self, GalleryError> {
        let field = Arc::new(Field::new(name, array.data_type().clone(), true));
        let mut fields = self.rows.schema().fields().to_vec();
        let mut columns = self.rows.columns().to_vec();
        match fields.iter().position(|other| other.name() == name) {
            Some(at) => (fields[at], columns[at]) = (field, array),
            None => (fields.push(field), columns.push(array)).0,
        }
        self.rows = RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)?;
        Ok(self)
    }

    /// Removes a column.
    pub(super) fn without(mut self, name: &str) -> Result<Self, GalleryError> {
        let keep: Vec<usize> =
            (0..self.rows.num_columns()).filter(|at| self.rows.schema().field(*at).name() != name).collect();
        self.rows = self.rows.project(&keep)?;
        Ok(self)
    }

    /// Changes the values of a text column, given row and value.
    pub(super) fn texts(
        self,
        name: &str,
        change: impl Fn(usize, Option<&str>) -> Option<String>,
    ) -> Result<Self, GalleryError> {
        let old: &StringArray = self.rows[name].as_string();
        let new: StringArray = old.iter().enumerate().map(|(row, value)| change(row, value)).collect();
        self.column(name, Arc::new(new))
    }

    /// Gives a time column one value, in microseconds since 1970.
    pub(super) fn time(self, name: &str, micros: i64) -> Result<Self, GalleryError> {
        let times = TimestampMicrosecondArray::from(vec![micros; self.rows.num_rows()]);
        self.column(name, Arc::new(times.with_timezone("UTC")))
    }

    /// The first row of a kind.
    pub(super) fn first(&self, kind: &str) -> usize {
        let kinds: &StringArray = self.rows["kind"].as_string();
        kinds.iter().position(|value| value == Some(kind)).unwrap_or(0)
    }

    /// Puts it together again.
    pub(super) fn write(self) -> Result<Vec<u8>, GalleryError> {
        let entry = |(key, value): (String, Value)| KeyValue::new(key, value.to_string());
        let footer = (!self.footer.is_empty()).then(|| self.footer.into_iter().map(entry).collect());
        let properties = WriterProperties::builder().set_key_value_metadata(footer).build();
        let mut bytes = Vec::new();
        let mut writer = ArrowWriter::try_new(&mut bytes, self.rows.schema(), Some(properties))?;
        writer.write(&self.rows)?;
        writer.close()?;
        Ok(bytes)
    }
}

/// A snapshot of at least `rows` valid rows, to be refused for its size alone. Not part of the gallery: the default limit
/// of a million rows makes a large file.
pub fn oversized(rows: usize) -> Result<Specimen, GalleryError> {
    let mut gallery = Gallery::new()?;
    let mut snapshot = gallery.fresh();
    let Some(owner) = snapshot.nodes.iter().find(|node| matches!(node.fact, Fact::File(_))).cloned() else {
        return Err(arrow::error::ArrowError::SchemaError("the base snapshot has no file".to_owned()).into());
    };
    for number in snapshot.nodes.len()..rows {
        let mut node = owner.clone();
        let path = format!("/srv/upload/{number:09}").as_str().into();
        node.fact = Fact::File(File {
            path,
            access: vec!["read"],
            path_source: "kernel",
            file_origin: "upper",
            ..File::default()
        });
        snapshot.nodes.push(node);
    }
    let label = Label {
        name: "oversized".to_owned(),
        key: snapshot.key.path(),
        what: format!("{rows} rows"),
        error: Some("the number of rows".to_owned()),
        outcome: Outcome::Damaged,
    };
    Ok(Specimen { label, bytes: snapshot.encode()? })
}
