//! How a table is declared: the one place from which Arrow schemas, Parquet field ids, encodings, checks and the
//! documentation page follow.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field as ArrowField, Fields, Schema, TimeUnit};
use parquet::arrow::PARQUET_FIELD_ID_META_KEY;

/// A table of the store.
#[derive(Debug, Clone, Copy)]
pub struct Table {
    /// Name, as SQL and object keys use it.
    pub name: &'static str,
    /// What one row is, and who writes it.
    pub doc: &'static str,
    /// Columns by which the table is partitioned, in order.
    pub partitions: &'static [&'static str],
    /// Columns. Only ever added, nullable; never renamed, retyped or reused.
    pub columns: &'static [Column],
}

/// A column.
#[derive(Debug, Clone, Copy)]
pub struct Column {
    /// Parquet field id, unique in its table and never reused.
    pub id: i32,
    /// Name.
    pub name: &'static str,
    /// Type.
    pub kind: Type,
    /// Whether a value may be missing; [`Column::doc`] says what that means.
    pub nullable: bool,
    /// How it is stored.
    pub storage: Storage,
    /// Unit, clock, meaning of null, and where needed who writes it.
    pub doc: &'static str,
}

/// Type of a column. Signed integers only, so that every Delta reader has them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Type {
    /// UTF-8; kernel strings in the escape of [`crate::text`].
    Text,
    /// 16 bytes in a snapshot file.
    NodeId,
    /// Bytes of any length.
    Bytes,
    /// True or false.
    Bool,
    /// 32-bit signed.
    Int32,
    /// 64-bit signed.
    Int64,
    /// 64-bit float.
    Float64,
    /// Microseconds since the epoch, UTC.
    Timestamp,
    /// Several texts.
    TextList,
    /// Several 64-bit integers.
    IntList,
    /// Text to text.
    TextMap,
    /// Text to 64-bit integer.
    IntMap,
    /// Text to 64-bit float.
    FloatMap,
}

/// How a column of a snapshot file is stored, where it has more than a few bytes. Chosen by measuring: see
/// `benches/RESULTS.md`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Storage {
    /// Dictionary, not compressed: constants, enumerations. Their pages are so small that setting up a decompressor costs
    /// more than it saves.
    Dictionary,
    /// Dictionary and zstd: text with many different values, that readers look at once a value.
    Text,
    /// Plain and zstd: values that repeat in an order which zstd finds, and a dictionary hides.
    Packed,
    /// The bytes of the values in streams of their own, and zstd: numbers, whose high bytes are mostly alike.
    Split,
    /// Plain and uncompressed: hashes.
    Plain,
    /// Runs: a flag that hardly changes from row to row.
    Runs,
}

impl Column {
    const fn new(id: i32, name: &'static str, kind: Type, doc: &'static str) -> Self {
        Self { id, name, kind, nullable: false, storage: Storage::Dictionary, doc }
    }

    const fn null(mut self) -> Self {
        self.nullable = true;
        self
    }

    /// The same column, stored in another way.
    pub(crate) const fn stored(mut self, storage: Storage) -> Self {
        self.storage = storage;
        self
    }

    /// Path of the column's values in the Parquet schema; of a map, there are two.
    pub(crate) fn leaves(&self) -> Vec<Vec<String>> {
        let path = |parts: &[&str]| parts.iter().map(|part| (*part).to_owned()).collect();
        match self.kind {
            Type::TextList | Type::IntList => vec![path(&[self.name, "list", "element"])],
            Type::TextMap | Type::IntMap | Type::FloatMap => {
                vec![path(&[self.name, "key_value", "key"]), path(&[self.name, "key_value", "value"])]
            }
            _ => vec![path(&[self.name])],
        }
    }
}

/// A required column.
pub(crate) const fn required(id: i32, name: &'static str, kind: Type, doc: &'static str) -> Column {
    Column::new(id, name, kind, doc)
}

/// A nullable column.
pub(crate) const fn optional(id: i32, name: &'static str, kind: Type, doc: &'static str) -> Column {
    Column::new(id, name, kind, doc).null()
}

impl Type {
    /// The Arrow type.
    pub fn arrow(self) -> DataType {
        let map = |values: DataType| {
            let entries = Fields::from(vec![
                ArrowField::new("key", DataType::Utf8, false),
                ArrowField::new("value", values, true),
            ]);
            DataType::Map(Arc::new(ArrowField::new("key_value", DataType::Struct(entries), false)), false)
        };
        let list = |items| DataType::List(Arc::new(ArrowField::new("element", items, true)));
        match self {
            Self::Text => DataType::Utf8,
            Self::NodeId => DataType::FixedSizeBinary(16),
            Self::Bytes => DataType::Binary,
            Self::Bool => DataType::Boolean,
            Self::Int32 => DataType::Int32,
            Self::Int64 => DataType::Int64,
            Self::Float64 => DataType::Float64,
            Self::Timestamp => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
            Self::TextList => list(DataType::Utf8),
            Self::IntList => list(DataType::Int64),
            Self::TextMap => map(DataType::Utf8),
            Self::IntMap => map(DataType::Int64),
            Self::FloatMap => map(DataType::Float64),
        }
    }

    const fn shown(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::NodeId => "16 bytes",
            Self::Bytes => "bytes",
            Self::Bool => "bool",
            Self::Int32 => "int32",
            Self::Int64 => "int64",
            Self::Float64 => "float64",
            Self::Timestamp => "timestamp (µs, UTC)",
            Self::TextList => "list of text",
            Self::IntList => "list of int64",
            Self::TextMap => "map text → text",
            Self::IntMap => "map text → int64",
            Self::FloatMap => "map text → float64",
        }
    }
}

impl Table {
    /// The column of that name.
    pub fn column(&self, name: &str) -> Option<&'static Column> {
        self.columns.iter().find(|column| column.name == name)
    }

    /// The Arrow schema, with Parquet field ids.
    pub fn arrow_schema(&self) -> Schema {
        let field = |column: &Column| {
            let metadata = HashMap::from([(PARQUET_FIELD_ID_META_KEY.to_owned(), column.id.to_string())]);
            ArrowField::new(column.name, column.kind.arrow(), column.nullable).with_metadata(metadata)
        };
        Schema::new(self.columns.iter().map(field).collect::<Fields>())
    }

    /// The documentation of the table, as Markdown.
    pub fn markdown(&self) -> String {
        let mut page = format!("## `{}`\n\n{}\n\n", self.name, self.doc);
        if !self.partitions.is_empty() {
            page += &format!("Partitioned by `{}`.\n\n", self.partitions.join("`, `"));
        }
        page += "| id | column | type | null | meaning |\n|---|---|---|---|---|\n";
        for column in self.columns {
            let null = if column.nullable { "yes" } else { "" };
            page += &format!(
                "| {} | `{}` | {} | {null} | {} |\n",
                column.id,
                column.name,
                column.kind.shown(),
                column.doc.replace('|', "\\|")
            );
        }
        page
    }
}
