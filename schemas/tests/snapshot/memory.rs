//! Small files that would be large in memory.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arrow::array::{
    ArrayRef, AsArray, Int32Array, Int64Array, ListArray, RecordBatch, StringArray, UInt32Array,
};
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::{DataType, Field};
use bytes::Bytes;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::WriterProperties;
use wsp_schemas::snapshot::{Limits, decode, encode};

use crate::forge::Forged;
use crate::nodes;

fn zstd() -> WriterProperties {
    WriterProperties::builder()
        .set_compression(Compression::ZSTD(ZstdLevel::try_new(9).unwrap()))
        .set_dictionary_page_size_limit(1 << 30)
        .build()
}

/// All rows of a file so many times. The rows are no valid tree then; bounds come first.
fn repeated(forged: &Forged, times: u32) -> RecordBatch {
    let rows = u32::try_from(forged.rows.num_rows()).unwrap();
    let indices = UInt32Array::from_iter_values((0..rows * times).map(|n| n % rows));
    arrow::compute::take_record_batch(&forged.rows, &indices).unwrap()
}

/// Peak of the process's memory in this run so far, in MB.
fn peak_mb() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() / 1024
}

/// Held by each test that makes or measures much memory.
static ALONE: Mutex<()> = Mutex::new(());

fn alone() -> MutexGuard<'static, ()> {
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Refused, and without the process ever holding more than the bounds allow.
#[track_caller]
fn refused_within(file: Bytes, limits: &Limits, grows_by_mb: u64) -> String {
    // Starts the count of the peak anew. The other tests of this process take little.
    std::fs::write("/proc/self/clear_refs", "5").unwrap();
    let before = peak_mb();
    let error = decode(file, limits).unwrap_err().to_string();
    let grown = peak_mb().saturating_sub(before);
    assert!(grown < grows_by_mb, "grew by {grown} MB");
    error
}

#[test]
fn a_long_value_in_every_row() {
    let _alone = alone();
    let mut forged = Forged::hostile();
    forged.rows = repeated(&forged, 200);
    let rows = forged.rows.num_rows();
    // A megabyte of text, once in the dictionary, which zstd makes small, and in every row by its number: 2 GB.
    let long = StringArray::from(vec!["x".repeat(1 << 20)]);
    let dictionary = arrow::array::DictionaryArray::new(Int32Array::from(vec![0; rows]), Arc::new(long));
    let file = forged.set("cwd", Arc::new(dictionary)).write(zstd());
    assert!(file.len() < 100 << 10, "{} bytes", file.len());
    let error = refused_within(file, &Limits::default(), 50);
    assert!(error.starts_with("the decoded size in bytes of "), "{error}");
}

#[test]
fn a_list_without_end() {
    let _alone = alone();
    let forged = Forged::hostile();
    let rows = forged.rows.num_rows();
    // One row has thirty million times the same element.
    let element = Arc::new(Field::new("element", DataType::Int64, true));
    let values: ArrayRef = Arc::new(Int64Array::from(vec![0; 30_000_000]));
    let offsets =
        OffsetBuffer::from_lengths(std::iter::once(30_000_000).chain(std::iter::repeat_n(0, rows - 1)));
    let list = ListArray::new(element, offsets, values, None);
    let file = forged.set("uids", Arc::new(list)).write(zstd());
    assert!(file.len() < 1 << 20, "{} bytes", file.len());
    let error = refused_within(file, &Limits::default(), 20);
    assert!(error.starts_with("the size of the values in bytes of "), "{error}");
}

#[test]
fn a_page_that_unpacks_to_more_than_there_may_be() {
    let _alone = alone();
    let forged = Forged::hostile();
    let rows = forged.rows.num_rows();
    let long =
        StringArray::from(vec!["y".repeat(12 << 20); 1].into_iter().cycle().take(rows).collect::<Vec<_>>());
    let properties = WriterProperties::builder()
        .set_compression(Compression::ZSTD(ZstdLevel::try_new(9).unwrap()))
        .set_dictionary_enabled(false)
        .build();
    let file = forged.set("cwd", Arc::new(long)).write(properties);
    let limits = Limits { decompressed_bytes: 50 << 20, ..Limits::default() };
    let error = refused_within(file, &limits, 20);
    assert!(error.starts_with("the decompressed size in bytes of "), "{error}");
}

#[test]
fn bounds_are_the_callers() {
    let file = Bytes::from(encode(&nodes::meta(1), &nodes::hostile()).unwrap());
    let error = |limits: Limits| decode(file.clone(), &limits).unwrap_err().to_string();
    let all = Limits::default();
    assert!(error(Limits { file_bytes: 1000, ..all }).starts_with("the file's size in bytes of "));
    assert_eq!(error(Limits { rows: 9, ..all }), "the number of rows of 10 exceeds the limit of 9");
    assert!(error(Limits { decompressed_bytes: 1000, ..all }).ends_with(" exceeds the limit of 1000"));
    assert!(decode(file.clone(), &Limits { rows: 10, ..all }).is_ok());
}

/// Every number in the footer and the page headers, larger than it can be: an error, not an end of the process.
#[test]
fn counts_that_cannot_be() {
    let forged = Forged::hostile();
    let file = forged.write(WriterProperties::default());
    // A varint that says two billion, over each byte of the file in turn: whichever is a count says it now.
    let huge = [0xfe, 0xff, 0xff, 0xff, 0x0f];
    let mut accepted = 0;
    for at in (4..file.len() - 13).step_by(3) {
        let mut file = file.to_vec();
        file[at..at + 5].copy_from_slice(&huge);
        if let Ok(back) = decode(Bytes::from(file), &Limits::default()) {
            assert_eq!(
                back.rows["node_id"].as_fixed_size_binary(),
                forged.rows["node_id"].as_fixed_size_binary()
            );
            accepted += 1;
        }
    }
    assert!(accepted < file.len());
}
