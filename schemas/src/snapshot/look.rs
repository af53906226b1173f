//! A first look at a file that nobody vouches for, before the Parquet reader sees it.
//!
//! The reader trusts counts and sizes that stand in the file: it reserves memory for them, recurses as deep as the schema
//! says, and decompresses as much as a page header claims. A file of a few kilobytes can make it ask for more memory than
//! there is, which ends the process: no error, no unwinding. So the two Thrift structures that carry counts and sizes, the
//! footer and the page headers, are walked here first, without allocating, and bounded.

use parquet::errors::ParquetError;
use parquet::file::metadata::{ColumnChunkMetaData, ParquetMetaData};

use super::read::{DecodeError, Limits};
use super::thrift::Thrift;

/// What the footer may weigh. One of ours has about 7 KB.
const FOOTER_BYTES: usize = 1 << 20;
/// What a value costs its reader at least: a flat one its place in an array, a nested one levels, view and place.
const FLAT_VALUE_BYTES: u64 = 8;
const NESTED_VALUE_BYTES: u64 = 24;

/// Bounds the footer.
pub(super) fn footer(file: &[u8]) -> Result<(), DecodeError> {
    let bad = |reason: &str| damaged(format!("the footer {reason}"));
    let Some((rest, b"PAR1")) = file.split_last_chunk::<4>() else {
        return Err(damaged(
            "it does not end with the magic bytes of Parquet: cut off, or another format".to_owned(),
        ));
    };
    let (rest, length) = rest.split_last_chunk::<4>().ok_or_else(|| bad("is cut off"))?;
    let length = u32::from_le_bytes(*length) as usize;
    super::read::bound("the footer's size in bytes", length, FOOTER_BYTES)?;
    let start = rest.len().checked_sub(length).ok_or_else(|| bad("is longer than the file"))?;
    let mut thrift = Thrift::new(&rest[start..]);
    thrift.footer().ok_or_else(|| bad("is malformed"))
}

/// Bounds what the pages decompress to and how many values they claim. The sizes in the footer are the writer's word;
/// those in the page headers are what the reader goes by.
pub(super) fn pages(file: &[u8], footer: &ParquetMetaData, limits: &Limits) -> Result<(), DecodeError> {
    let mut totals =
        Totals { bytes: 0, values: 0, limit: u64::try_from(limits.decompressed_bytes).unwrap_or(0) };
    let mut rows: u64 = 0;
    for group in footer.row_groups() {
        let group_rows = u64::try_from(group.num_rows())
            .map_err(|_| damaged("a row group of less than no rows".to_owned()))?;
        rows = rows.saturating_add(group_rows);
        super::read::bound("the number of rows", usize::try_from(rows).unwrap_or(usize::MAX), limits.rows)?;
        for column in group.columns() {
            chunk(file, column, group_rows, &mut totals)?;
        }
    }
    if i64::try_from(rows) != Ok(footer.file_metadata().num_rows()) {
        return Err(damaged("its row groups do not have the rows that its footer says".to_owned()));
    }
    Ok(())
}

struct Totals {
    bytes: u64,
    values: u64,
    limit: u64,
}

impl Totals {
    fn check(&self) -> Result<(), DecodeError> {
        for (what, found) in
            [("the decompressed size in bytes", self.bytes), ("the size of the values in bytes", self.values)]
        {
            if found > self.limit {
                let shown = |n| i64::try_from(n).unwrap_or(i64::MAX);
                return Err(DecodeError::TooLarge { what, found: shown(found), limit: shown(self.limit) });
            }
        }
        Ok(())
    }
}

fn chunk(
    file: &[u8],
    column: &ColumnChunkMetaData,
    rows: u64,
    totals: &mut Totals,
) -> Result<(), DecodeError> {
    let bad = |reason: &str| {
        damaged(format!("column `{}`: {reason}", column.column_path().string().escape_debug()))
    };
    let start = column.dictionary_page_offset().unwrap_or_else(|| column.data_page_offset());
    let end = start.checked_add(column.compressed_size()).filter(|_| column.compressed_size() >= 0);
    let bytes = usize::try_from(start).ok().zip(end.and_then(|end| usize::try_from(end).ok()));
    let mut rest =
        bytes.and_then(|(start, end)| file.get(start..end)).ok_or_else(|| bad("lies outside the file"))?;
    let nested = column.column_descr().max_rep_level() > 0;
    let mut values: u64 = 0;
    while !rest.is_empty() {
        let mut thrift = Thrift::new(rest);
        let page = thrift.page_header().ok_or_else(|| bad("a page header is malformed"))?;
        let body = usize::try_from(page.compressed_bytes).ok().and_then(|bytes| thrift.rest.get(bytes..));
        rest = body.ok_or_else(|| bad("a page ends outside the column"))?;
        let unpacked =
            u64::try_from(page.uncompressed_bytes).map_err(|_| bad("a page of less than no bytes"))?;
        let count =
            page.values.map_or(Ok(0), u64::try_from).map_err(|_| bad("a page of less than no values"))?;
        totals.bytes = totals.bytes.saturating_add(unpacked);
        if page.dictionary {
            // Every physical type that has dictionaries takes at least four bytes a value.
            if count > unpacked / 4 {
                return Err(bad("a dictionary claims more values than it has bytes for"));
            }
        } else {
            values = values.saturating_add(count);
            let cost = if nested { NESTED_VALUE_BYTES } else { FLAT_VALUE_BYTES };
            totals.values = totals.values.saturating_add(count.saturating_mul(cost));
        }
        totals.check()?;
    }
    if !nested && values != rows {
        return Err(bad("does not have as many values as there are rows"));
    }
    Ok(())
}

fn damaged(reason: String) -> DecodeError {
    DecodeError::Parquet(ParquetError::General(reason))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn footer_of(schema: &[u8]) -> Vec<u8> {
        // Field 2, a list of structs; then the end.
        let thrift = [&[0x29][..], schema, &[0]].concat();
        let length = u32::try_from(thrift.len()).unwrap().to_le_bytes();
        [&b"PAR1"[..], &thrift, &length, b"PAR1"].concat()
    }

    #[test]
    fn a_schema_that_says_it_has_more_than_it_has_is_refused() {
        let element = |children: &[u8]| [&[0x55][..], children, &[0]].concat();
        assert!(footer(&footer_of(&[&[0x2c][..], &element(&[2]), &[0]].concat())).is_ok());
        // Two billion children; two billion elements.
        for schema in [
            [&[0x1c][..], &element(&[0xfe, 0xff, 0xff, 0xff, 0x0f])].concat(),
            vec![0xfc, 0xff, 0xff, 0xff, 0xff, 0x07, 0],
        ] {
            assert!(footer(&footer_of(&schema)).unwrap_err().to_string().contains("the footer is malformed"));
        }
        // Each the only child of the one before.
        let chain = [&[0xfc, 100][..], &element(&[2]).repeat(100)].concat();
        assert!(footer(&footer_of(&chain)).is_err());
    }

    #[test]
    fn what_is_no_parquet_says_so() {
        for file in [&b""[..], b"PAR1", b"PAR1PAR1", b"\0\0\0\0PAR1", b"\xff\xff\xff\xffPAR1", b"a,b\n1,2\n"]
        {
            assert!(footer(file).is_err(), "{file:?}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_end(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = Thrift::new(&bytes).footer();
            let _ = Thrift::new(&bytes).page_header();
        }
    }
}
