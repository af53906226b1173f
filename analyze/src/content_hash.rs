//! A hash over node rows that depends on nothing but the rows: not on files, row groups, engines or versions.

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{
    ArrowPrimitiveType, DataType, Float64Type, Int32Type, Int64Type, TimestampMicrosecondType,
};
use arrow::error::ArrowError;

/// Columns that say where a row is kept, not what it is.
const PLACE: [&str; 2] = ["bucket", "status"];

/// BLAKE3 over all rows in their order, which is that of their node ids; hex.
pub(crate) fn of(rows: &RecordBatch) -> Result<String, ArrowError> {
    let mut hash = blake3::Hasher::new();
    hash.update(b"wsp.profile.v1");
    let schema = rows.schema();
    // A column at a time: the hash is much faster over many bytes than over few.
    let mut bytes = Vec::new();
    for (field, column) in schema.fields().iter().zip(rows.columns()) {
        if PLACE.contains(&field.name().as_str()) {
            continue;
        }
        bytes.clear();
        put_bytes(&mut bytes, field.name().as_bytes());
        put_column(&mut bytes, column)?;
        hash.update(&bytes);
    }
    Ok(hash.finalize().to_hex().to_string())
}

fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend_from_slice(&(bytes.len() as u64).to_le_bytes());
    out.extend_from_slice(bytes);
}

/// Null is one byte 0; a value is one byte 1 and its bytes, with their length where it varies.
fn put_column(out: &mut Vec<u8>, column: &dyn Array) -> Result<(), ArrowError> {
    match column.data_type() {
        DataType::Utf8 => {
            let texts = column.as_string::<i32>();
            put_values(out, column, |out, row| put_bytes(out, texts.value(row).as_bytes()));
        }
        DataType::Binary => {
            let values = column.as_binary::<i32>();
            put_values(out, column, |out, row| put_bytes(out, values.value(row)));
        }
        DataType::Boolean => {
            let flags = column.as_boolean();
            put_values(out, column, |out, row| out.push(u8::from(flags.value(row))));
        }
        DataType::Int32 => put_numbers::<Int32Type, 4>(out, column, i32::to_le_bytes),
        DataType::Int64 => put_numbers::<Int64Type, 8>(out, column, i64::to_le_bytes),
        DataType::Float64 => put_numbers::<Float64Type, 8>(out, column, f64::to_le_bytes),
        DataType::Timestamp(..) => {
            put_numbers::<TimestampMicrosecondType, 8>(out, column, i64::to_le_bytes);
        }
        DataType::List(_) => {
            let lists = column.as_list::<i32>();
            for row in 0..column.len() {
                out.push(u8::from(column.is_valid(row)));
                if column.is_valid(row) {
                    let items = lists.value(row);
                    out.extend_from_slice(&(items.len() as u64).to_le_bytes());
                    put_column(out, &items)?;
                }
            }
        }
        other => return Err(ArrowError::NotYetImplemented(format!("hashing a column of {other}"))),
    }
    Ok(())
}

fn put_values(out: &mut Vec<u8>, column: &dyn Array, put: impl Fn(&mut Vec<u8>, usize)) {
    let nulls = column.nulls();
    for row in 0..column.len() {
        let valid = nulls.is_none_or(|nulls| nulls.is_valid(row));
        out.push(u8::from(valid));
        if valid {
            put(out, row);
        }
    }
}

fn put_numbers<T: ArrowPrimitiveType, const N: usize>(
    out: &mut Vec<u8>,
    column: &dyn Array,
    bytes: impl Fn(T::Native) -> [u8; N],
) {
    let numbers = column.as_primitive::<T>();
    put_values(out, column, |out, row| out.extend_from_slice(&bytes(numbers.value(row))));
}
