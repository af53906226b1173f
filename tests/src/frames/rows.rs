//! Frames as plain values.

use polars::prelude::{AnyValue, DataFrame, PolarsError, PolarsResult, Series};

use crate::value::{Row, Value};

/// The rows of a frame.
pub(super) fn of(frame: &DataFrame) -> PolarsResult<Vec<Row>> {
    let mut rows = vec![Row::new(); frame.height()];
    for column in frame.columns() {
        let name = column.name().to_string();
        for (at, row) in rows.iter_mut().enumerate() {
            row.insert(name.clone(), value(column.get(at)?)?);
        }
    }
    Ok(rows)
}

fn value(cell: AnyValue<'_>) -> PolarsResult<Value> {
    Ok(match cell {
        AnyValue::Null => Value::Null,
        AnyValue::Boolean(yes) => yes.into(),
        AnyValue::Int32(number) => number.into(),
        AnyValue::Int64(number) => number.into(),
        AnyValue::Float64(number) => number.into(),
        AnyValue::String(text) => text.into(),
        AnyValue::StringOwned(text) => text.as_str().into(),
        AnyValue::Binary(bytes) => Value::Bytes(bytes.to_vec()),
        AnyValue::BinaryOwned(bytes) => Value::Bytes(bytes),
        AnyValue::List(items) => list(&items)?,
        other => return Err(PolarsError::ComputeError(format!("a cell of type {}", other.dtype()).into())),
    })
}

fn list(items: &Series) -> PolarsResult<Value> {
    (0..items.len()).map(|at| value(items.get(at)?)).collect::<PolarsResult<Vec<_>>>().map(Value::List)
}
