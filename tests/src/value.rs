//! Table rows as plain values, and where two tables differ.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{self, Write as _};

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{DataType, Float64Type, Int32Type, Int64Type, TimestampMicrosecondType};

/// A cell.
#[derive(Debug, Clone, PartialEq, PartialOrd)]
pub enum Value {
    /// No value.
    Null,
    /// A boolean.
    Bool(bool),
    /// Any integer; of a timestamp, its microseconds.
    Int(i64),
    /// A float.
    Float(f64),
    /// A text.
    Text(String),
    /// Bytes.
    Bytes(Vec<u8>),
    /// A list.
    List(Vec<Value>),
    /// A map; its keys are texts.
    Map(BTreeMap<String, Value>),
}

/// A row, by column name.
pub type Row = BTreeMap<String, Value>;

impl Value {
    /// The text; none where it is another value.
    pub fn text(&self) -> Option<&str> {
        if let Self::Text(text) = self { Some(text) } else { None }
    }

    /// The integer; none where it is another value.
    pub fn int(&self) -> Option<i64> {
        if let Self::Int(number) = self { Some(*number) } else { None }
    }

    /// The bytes; none where it is another value.
    pub fn bytes(&self) -> Option<&[u8]> {
        if let Self::Bytes(bytes) = self { Some(bytes) } else { None }
    }

    /// Equal, but for the last bits of a float: two ways to sum give them differently.
    fn agrees(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Float(a), Self::Float(b)) => (a - b).abs() <= 1e-9 * a.abs().max(b.abs()).max(1e-3),
            (Self::Map(a), Self::Map(b)) => {
                a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.0 == b.0 && a.1.agrees(b.1))
            }
            _ => self == other,
        }
    }
}

impl<T: Into<Self>> From<Option<T>> for Value {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Null, Into::into)
    }
}

impl From<bool> for Value {
    fn from(value: bool) -> Self {
        Self::Bool(value)
    }
}

impl From<i32> for Value {
    fn from(value: i32) -> Self {
        Self::Int(value.into())
    }
}

impl From<usize> for Value {
    fn from(value: usize) -> Self {
        Self::Int(i64::try_from(value).unwrap_or(i64::MAX))
    }
}

impl From<i64> for Value {
    fn from(value: i64) -> Self {
        Self::Int(value)
    }
}

impl From<f64> for Value {
    fn from(value: f64) -> Self {
        Self::Float(value)
    }
}

impl From<&str> for Value {
    fn from(value: &str) -> Self {
        Self::Text(value.to_owned())
    }
}

impl From<String> for Value {
    fn from(value: String) -> Self {
        Self::Text(value)
    }
}

impl From<chrono::DateTime<chrono::Utc>> for Value {
    fn from(value: chrono::DateTime<chrono::Utc>) -> Self {
        Self::Int(value.timestamp_micros())
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bytes(bytes) => bytes.iter().try_for_each(|byte| write!(f, "{byte:02x}")),
            Self::Text(text) => write!(f, "{text:?}"),
            Self::Int(number) => number.fmt(f),
            Self::Float(number) => number.fmt(f),
            other => write!(f, "{other:?}"),
        }
    }
}

/// The rows of a batch.
pub fn rows(batch: &RecordBatch) -> Vec<Row> {
    let schema = batch.schema();
    (0..batch.num_rows())
        .map(|row| {
            let cells = schema.fields().iter().zip(batch.columns());
            cells.map(|(field, column)| (field.name().clone(), cell(column, row))).collect()
        })
        .collect()
}

fn cell(column: &dyn Array, row: usize) -> Value {
    if column.is_null(row) {
        return Value::Null;
    }
    match column.data_type() {
        DataType::Utf8 => column.as_string::<i32>().value(row).into(),
        DataType::Utf8View => column.as_string_view().value(row).into(),
        DataType::Binary => Value::Bytes(column.as_binary::<i32>().value(row).to_vec()),
        DataType::FixedSizeBinary(_) => Value::Bytes(column.as_fixed_size_binary().value(row).to_vec()),
        DataType::Boolean => column.as_boolean().value(row).into(),
        DataType::Int32 => column.as_primitive::<Int32Type>().value(row).into(),
        DataType::Int64 => column.as_primitive::<Int64Type>().value(row).into(),
        DataType::Float64 => column.as_primitive::<Float64Type>().value(row).into(),
        DataType::Timestamp(..) => column.as_primitive::<TimestampMicrosecondType>().value(row).into(),
        DataType::List(_) => {
            let items = column.as_list::<i32>().value(row);
            Value::List((0..items.len()).map(|at| cell(&items, at)).collect())
        }
        DataType::Map(..) => {
            let entries = column.as_map().value(row);
            let (keys, values) = (entries.column(0), entries.column(1));
            let pairs =
                (0..entries.len()).map(|at| (keys.as_string::<i32>().value(at).to_owned(), cell(values, at)));
            Value::Map(pairs.collect())
        }
        other => Value::Text(format!("a column of {other}")),
    }
}

/// How many differences are worth reading.
const SHOWN: usize = 12;

/// Where two tables differ: a line a cell, the first of them; none where they do not. `key` names a row for people and
/// is the same for no two rows of a table; `ignored` columns are not compared.
pub fn differences(
    table: &str,
    expected: &[Row],
    found: &[Row],
    key: impl Fn(&Row) -> String,
    ignored: &[&str],
) -> Option<String> {
    let index = |rows: &'_ [Row]| -> BTreeMap<String, Row> {
        rows.iter().map(|row| (key(row), row.clone())).collect()
    };
    let (wanted, had) = (index(expected), index(found));
    let mut lines = Vec::new();
    for (what, rows, index) in [("expected", expected, &wanted), ("found", found, &had)] {
        if rows.len() != index.len() {
            lines.push(format!("{what}: {} rows, but only {} keys", rows.len(), index.len()));
        }
    }
    for key in wanted.keys().chain(had.keys()).collect::<BTreeSet<_>>() {
        match (wanted.get(key), had.get(key)) {
            (Some(_), None) => lines.push(format!("{key}: missing")),
            (None, Some(_)) => lines.push(format!("{key}: not expected")),
            (Some(wanted), Some(had)) => {
                let columns: BTreeSet<&String> = wanted.keys().chain(had.keys()).collect();
                for column in columns.into_iter().filter(|name| !ignored.contains(&name.as_str())) {
                    let (wanted, had) = (cell_of(wanted, column), cell_of(had, column));
                    if !wanted.agrees(had) {
                        lines.push(format!("{key}: {column}: expected {wanted}, found {had}"));
                    }
                }
            }
            (None, None) => {}
        }
    }
    if lines.is_empty() {
        return None;
    }
    let mut text = format!("{table}: {} differences\n", lines.len());
    for line in lines.iter().take(SHOWN) {
        let _ = writeln!(text, "  {line}");
    }
    Some(text)
}

/// A column that a row does not have is null.
pub fn cell_of<'a>(row: &'a Row, column: &str) -> &'a Value {
    row.get(column).unwrap_or(&Value::Null)
}
