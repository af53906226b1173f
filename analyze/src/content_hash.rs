//! A hash over node rows that depends on nothing but the rows: not on files, row groups, engines or versions.

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{DataType, Float64Type, Int32Type, Int64Type, TimestampMicrosecondType};
use arrow::error::ArrowError;

/// Columns that say where a row is kept, not what it is.
const PLACE: [&str; 2] = ["bucket", "status"];

/// BLAKE3 over all rows in their order, which is that of their node ids; hex.
pub(crate) fn of(rows: &RecordBatch) -> Result<String, ArrowError> {
    let mut hash = blake3::Hasher::new();
    hash.update(b"wsp.profile.v1");
    let schema = rows.schema();
    for (field, column) in schema.fields().iter().zip(rows.columns()) {
        if PLACE.contains(&field.name().as_str()) {
            continue;
        }
        put_bytes(&mut hash, field.name().as_bytes());
        put_column(&mut hash, column)?;
    }
    Ok(hash.finalize().to_hex().to_string())
}

fn put(hash: &mut blake3::Hasher, bytes: &[u8]) {
    hash.update(bytes);
}

fn put_bytes(hash: &mut blake3::Hasher, bytes: &[u8]) {
    hash.update(&(bytes.len() as u64).to_le_bytes()).update(bytes);
}

/// Null is one byte 0; a value is one byte 1 and its bytes, with their length where it varies.
fn put_column(hash: &mut blake3::Hasher, column: &dyn Array) -> Result<(), ArrowError> {
    for row in 0..column.len() {
        if column.is_null(row) {
            hash.update(&[0]);
            continue;
        }
        hash.update(&[1]);
        match column.data_type() {
            DataType::Utf8 => put_bytes(hash, column.as_string::<i32>().value(row).as_bytes()),
            DataType::Binary => put_bytes(hash, column.as_binary::<i32>().value(row)),
            DataType::Boolean => put(hash, &[u8::from(column.as_boolean().value(row))]),
            DataType::Int32 => put(hash, &column.as_primitive::<Int32Type>().value(row).to_le_bytes()),
            DataType::Int64 => put(hash, &column.as_primitive::<Int64Type>().value(row).to_le_bytes()),
            DataType::Float64 => put(hash, &column.as_primitive::<Float64Type>().value(row).to_le_bytes()),
            DataType::Timestamp(..) => {
                put(hash, &column.as_primitive::<TimestampMicrosecondType>().value(row).to_le_bytes());
            }
            DataType::List(_) => {
                let items = column.as_list::<i32>().value(row);
                hash.update(&(items.len() as u64).to_le_bytes());
                put_column(hash, &items)?;
            }
            other => return Err(ArrowError::NotYetImplemented(format!("hashing a column of {other}"))),
        }
    }
    Ok(())
}
