//! Reads files as this version and version 1 write them, without building what the general reader needs for any other:
//! schema, column readers, page indexes. Whatever is not as expected is left to the general reader ([`None`]).
//!
//! What a file claims is believed only as far as its bytes go: rows and pages are bounded before anything is reserved.

mod hybrid;
mod page;

use std::sync::LazyLock;

use arrow::array::RecordBatch;
use chrono::{DateTime, Utc};

use self::page::leaf_column;
use super::columns::{Column, Columns, Keys, NULL, Texts, Values};
use super::meta::{Constants, Said, SnapshotMeta, millis};
use super::read::Limits;
use super::thrift::{BINARY, I32, I64, LIST, STRUCT, Thrift};
use super::write;
use crate::table::{self, Type};
use crate::tables::{CONSTANT_COLUMNS, LABELS, SNAPSHOT};

/// What the footer says, as far as it is needed.
pub(super) struct Footer<'a> {
    /// Entries of the metadata, by key.
    pub(super) entries: Vec<(&'a str, &'a str)>,
    rows: usize,
    /// Which of the declared columns are there.
    present: Vec<bool>,
    chunks: Vec<Chunk>,
}

/// One column in the file.
struct Chunk {
    zstd: bool,
    values: usize,
    start: usize,
    end: usize,
}

/// Where a value sits in the layout.
#[derive(Clone, Copy, PartialEq)]
enum Leaf {
    Required(Type),
    Optional(Type),
    Element(Type),
    MapKey,
    MapValue,
}

/// The elements of each declared column in a schema, as Thrift has them.
type Elements = Vec<Vec<u8>>;

/// Schemas of the present version, and of version 1.
static SCHEMAS: LazyLock<Option<[Elements; 2]>> = LazyLock::new(|| {
    let empty = RecordBatch::new_empty(SNAPSHOT.arrow_schema().into());
    let present = write::write_batch(&empty, Vec::new()).ok()?;
    let earlier = write::write_unslimmed(&empty, Vec::new()).ok()?;
    Some([elements(&present)?, elements(&earlier)?])
});

/// Cuts the schema of a file that has all declared columns.
fn elements(file: &[u8]) -> Option<Elements> {
    let mut found = Vec::new();
    footer_thrift(file)?.fields(|thrift, id, kind| {
        if id != 2 {
            return thrift.skip(kind, 0);
        }
        thrift.structs()?;
        thrift.skip(STRUCT, 0)?;
        for column in SNAPSHOT.columns {
            let before = thrift.rest;
            // Groups of a list: itself, `list`, `element`; of a map: itself, `key_value`, key, value.
            let count = match column.kind {
                Type::TextList | Type::IntList => 3,
                Type::TextMap => 4,
                _ => 1,
            };
            (0..count).try_for_each(|_| thrift.skip(STRUCT, 0))?;
            found.push(before[..before.len() - thrift.rest.len()].to_vec());
        }
        Some(())
    })?;
    Some(found)
}

/// Which declared columns a schema has, in their order; none where it has any other.
fn present(thrift: &mut Thrift<'_>) -> Option<Vec<bool>> {
    let count = thrift.structs()?;
    thrift.skip(STRUCT, 0)?;
    let start = thrift.rest;
    for elements in SCHEMAS.as_ref()? {
        let mut rest = start;
        let mut take = |column: &Vec<u8>| {
            let after = rest.strip_prefix(column.as_slice());
            rest = after.unwrap_or(rest);
            after.is_some()
        };
        let found: Vec<bool> = elements.iter().map(&mut take).collect();
        let leaves = SNAPSHOT.columns.iter().zip(&found).filter(|(_, there)| **there);
        let structs: usize = leaves
            .map(|(column, _)| match column.kind {
                Type::TextList | Type::IntList => 3,
                Type::TextMap => 4,
                _ => 1,
            })
            .sum();
        if structs + 1 == count {
            thrift.rest = rest;
            return Some(found);
        }
    }
    None
}

fn leaves(column: &table::Column) -> Vec<Leaf> {
    match column.kind {
        Type::TextList => vec![Leaf::Element(Type::Text)],
        Type::IntList => vec![Leaf::Element(Type::Int64)],
        Type::TextMap => vec![Leaf::MapKey, Leaf::MapValue],
        kind if column.nullable => vec![Leaf::Optional(kind)],
        kind => vec![Leaf::Required(kind)],
    }
}

fn footer_thrift(file: &[u8]) -> Option<Thrift<'_>> {
    let (rest, b"PAR1") = file.split_last_chunk::<4>()? else { return None };
    let (rest, length) = rest.split_last_chunk::<4>()?;
    let start = rest.len().checked_sub(u32::from_le_bytes(*length) as usize)?;
    Some(Thrift::new(&rest[start..]))
}

/// Reads the footer of a file of a known layout with at most one row group.
pub(super) fn footer(file: &[u8]) -> Option<Footer<'_>> {
    let mut found = Footer {
        entries: Vec::with_capacity(4),
        rows: 0,
        present: Vec::new(),
        chunks: Vec::with_capacity(SNAPSHOT.columns.len() + 1),
    };
    let mut group_rows = 0;
    footer_thrift(file)?.fields(|thrift, id, kind| match id {
        2 => {
            (kind == LIST).then_some(())?;
            found.present = present(thrift)?;
            Some(())
        }
        3 => {
            found.rows = usize::try_from(thrift.int64(kind)?).ok()?;
            Some(())
        }
        4 => {
            (kind == LIST).then_some(())?;
            let groups = thrift.structs()?;
            (groups <= 1).then_some(())?;
            (0..groups).try_for_each(|_| {
                thrift.fields(|thrift, id, kind| match id {
                    1 => {
                        (kind == LIST).then_some(())?;
                        let columns = thrift.structs()?;
                        (0..columns).try_for_each(|_| chunk(thrift).map(|chunk| found.chunks.push(chunk)))
                    }
                    3 => {
                        group_rows = usize::try_from(thrift.int64(kind)?).ok()?;
                        Some(())
                    }
                    // Sizes, offset and number of the group.
                    2 | 5 | 6 | 7 => thrift.skip(kind, 0),
                    _ => None,
                })
            })
        }
        5 => {
            (kind == LIST).then_some(())?;
            let entries = thrift.structs()?;
            (0..entries).try_for_each(|_| {
                let (mut key, mut value) = (None, None);
                thrift.fields(|thrift, id, kind| match id {
                    1 => thrift.text(kind).map(|text| key = Some(text)),
                    2 => thrift.text(kind).map(|text| value = Some(text)),
                    _ => thrift.skip(kind, 0),
                })?;
                found.entries.push((key?, value?));
                Some(())
            })
        }
        // The version and who wrote it; the order of statistics, which version 1 has.
        1 => thrift.int32(kind).map(drop),
        6 => thrift.text(kind).map(drop),
        7 => orders(thrift, kind),
        _ => None,
    })?;
    let columns = SNAPSHOT.columns.iter().zip(&found.present).filter(|(_, there)| **there);
    let leaves: usize = columns.map(|(column, _)| if column.kind == Type::TextMap { 2 } else { 1 }).sum();
    let lacks =
        |(column, there): (&table::Column, &bool)| !(column.nullable || *there || column.name == LABELS);
    if SNAPSHOT.columns.iter().zip(&found.present).any(lacks) {
        return None;
    }
    let whole = if found.rows == 0 { found.chunks.is_empty() } else { found.chunks.len() == leaves };
    (!found.present.is_empty() && whole && group_rows == found.rows).then_some(found)
}

/// A list of unions, each of which names the order of the type.
fn orders(thrift: &mut Thrift<'_>, kind: u8) -> Option<()> {
    (kind == LIST).then_some(())?;
    let count = thrift.structs()?;
    (0..count).try_for_each(|_| {
        let mut named = 0;
        thrift.fields(|thrift, id, kind| {
            named += 1;
            (id == 1 && kind == STRUCT).then_some(())?;
            thrift.fields(|_, _, _| None)
        })?;
        (named == 1).then_some(())
    })
}

/// How many pages have which encoding, which version 1 has.
fn encoding_stats(thrift: &mut Thrift<'_>, kind: u8) -> Option<()> {
    (kind == LIST).then_some(())?;
    let count = thrift.structs()?;
    (0..count).try_for_each(|_| {
        let mut seen = 0;
        thrift.fields(|thrift, id, kind| {
            seen |= 1_u32.checked_shl(u32::try_from(id).ok()?)?;
            let most = match id {
                1 => 3,
                2 => 9,
                3 => i64::from(i32::MAX),
                _ => return None,
            };
            (0..=most).contains(&thrift.int32(kind)?).then_some(())
        })?;
        has_all(seen, &[1, 2, 3])
    })
}

/// Fields that a struct must have.
fn has_all(seen: u32, fields: &[i64]) -> Option<()> {
    fields.iter().all(|id| seen >> id & 1 == 1).then_some(())
}

fn chunk(thrift: &mut Thrift<'_>) -> Option<Chunk> {
    let (mut codec, mut values, mut size, mut data, mut dictionary) = (None, 0, 0, 0, None);
    let (mut seen, mut seen_outside) = (0_u32, 0_u32);
    thrift.fields(|thrift, id, kind| {
        seen_outside |= 1_u32.checked_shl(u32::try_from(id).ok()?)?;
        match (id, kind) {
            (2, I64) => return thrift.zigzag().map(drop),
            (3, STRUCT) => {}
            // Indexes, or a column in another file.
            _ => return None,
        }
        thrift.fields(|thrift, id, kind| {
            seen |= 1_u32.checked_shl(u32::try_from(id).ok()?)?;
            match id {
                1 => (0..=7).contains(&thrift.int32(kind)?).then_some(())?,
                2 => {
                    let (count, element) = thrift.list()?;
                    (kind == LIST && element == I32).then_some(())?;
                    (0..count).try_for_each(|_| (0..=9).contains(&thrift.zigzag()?).then_some(()))?;
                }
                4 => codec = Some(thrift.int32(kind)?),
                5 => values = thrift.int64(kind)?,
                7 => size = thrift.int64(kind)?,
                9 => data = thrift.int64(kind)?,
                11 => dictionary = Some(thrift.int64(kind)?),
                // The path, which the schema has too, and the size before compression.
                3 | 6 => thrift.skip(kind, 0)?,
                13 => encoding_stats(thrift, kind)?,
                _ => return None,
            }
            Some(())
        })
    })?;
    has_all(seen_outside, &[2, 3])?;
    has_all(seen, &[1, 2, 4, 5, 6, 7, 9])?;
    // UNCOMPRESSED and ZSTD, as the format numbers its codecs.
    let zstd = match codec? {
        0 => false,
        6 => true,
        _ => return None,
    };
    let start = usize::try_from(dictionary.unwrap_or(data)).ok()?;
    let end = start.checked_add(usize::try_from(size).ok()?)?;
    Some(Chunk { zstd, values: usize::try_from(values).ok()?, start, end })
}

/// Reads all columns, and makes sure that the constant ones say what the metadata says.
pub(super) fn columns(
    file: &[u8],
    footer: &Footer<'_>,
    said: Said,
    limits: &Limits,
) -> Option<(SnapshotMeta, Columns)> {
    let rows = footer.rows;
    (rows <= limits.rows).then_some(())?;
    let mut budget = Budget(usize::try_from(limits.decompressed_bytes).ok()?);
    let mut chunks = footer.chunks.iter();
    let mut read = |declared: &'static table::Column, there: bool| -> Option<Vec<Column>> {
        if rows == 0 || !there {
            (rows == 0 || declared.nullable || declared.name == LABELS).then_some(())?;
            return Some(leaves(declared).into_iter().map(|leaf| nothing(leaf, rows)).collect());
        }
        let leaves = leaves(declared).into_iter();
        leaves.map(|leaf| leaf_column(file, leaf, chunks.next()?, rows, &mut budget)).collect()
    };
    let mut declared = SNAPSHOT.columns.iter().zip(footer.present.iter().copied());
    let constant: Vec<Column> = declared
        .by_ref()
        .take(CONSTANT_COLUMNS.len())
        .map(|(column, there)| read(column, there))
        .collect::<Option<Vec<_>>>()?
        .into_iter()
        .flatten()
        .collect();
    let meta = said.with(|| first_row(&constant, rows)).ok()?;
    (rows == 0 || are_constant(&constant, &meta, rows)).then_some(())?;
    let mut columns = Vec::with_capacity(SNAPSHOT.columns.len() - CONSTANT_COLUMNS.len());
    for (column, there) in declared {
        columns.extend(read(column, there)?);
    }
    columns.iter().all(|column| column.is_sound(rows)).then_some(())?;
    Some((meta, Columns { rows, columns }))
}

/// A column that says nothing.
fn nothing(leaf: Leaf, rows: usize) -> Column {
    let (kind, end) = match leaf {
        Leaf::Required(kind) | Leaf::Optional(kind) => (kind, None),
        Leaf::Element(kind) => (kind, Some(NULL)),
        Leaf::MapKey | Leaf::MapValue => (Type::Text, Some(0)),
    };
    let values = match kind {
        Type::Text => Values::Text(Texts::default()),
        Type::NodeId => Values::Id(Vec::new()),
        Type::Int32 => Values::Int32(Vec::new()),
        Type::Bool => Values::Bool,
        _ => Values::Int64(Vec::new()),
    };
    let keys = if rows == 0 { Keys::By(Vec::new()) } else { Keys::All(NULL) };
    Column { keys, values, ends: end.map(|end| vec![end; rows]) }
}

/// Bytes that may still be decompressed or reserved.
struct Budget(usize);

impl Budget {
    fn take(&mut self, bytes: usize) -> Option<()> {
        self.0 = self.0.checked_sub(bytes)?;
        Some(())
    }
}

impl<'a> Thrift<'a> {
    fn int64(&mut self, kind: u8) -> Option<i64> {
        (kind == I64).then_some(())?;
        self.zigzag()
    }

    fn size(&mut self, kind: u8) -> Option<usize> {
        (kind == I32).then_some(())?;
        usize::try_from(self.zigzag()?).ok()
    }

    fn text(&mut self, kind: u8) -> Option<&'a str> {
        (kind == BINARY).then_some(())?;
        let length = usize::try_from(self.varint()?).ok()?;
        let (text, rest) = self.rest.split_at_checked(length)?;
        self.rest = rest;
        std::str::from_utf8(text).ok()
    }
}

/// The constant columns of the first row: one column each, but two for the labels.
fn first_row(columns: &[Column], rows: usize) -> Result<Constants, String> {
    let column = |name: &str| {
        let at = CONSTANT_COLUMNS.iter().position(|column| *column == name).filter(|_| rows > 0);
        let after_labels = CONSTANT_COLUMNS.iter().position(|column| *column == LABELS);
        at.and_then(|at| columns.get(at + usize::from(Some(at) > after_labels)))
    };
    let text = |name: &str| column(name).and_then(|column| column.text(0)).map(str::to_owned);
    let need = |name: &str| text(name).ok_or_else(|| format!("`{name}` is null"));
    let time = |name: &str| {
        let micros = column(name).and_then(|column| column.int64(0));
        micros.map(|micros| millis(name, micros)).transpose()
    };
    let need_time = |name: &str| time(name)?.ok_or_else(|| format!("`{name}` is null"));
    let labels = CONSTANT_COLUMNS.iter().position(|column| *column == LABELS).unwrap_or_default();
    let labels = columns.get(labels).zip(columns.get(labels + 1)).and_then(|(keys, values)| {
        let end = *keys.ends.as_ref()?.first()? as usize;
        (0..end).map(|at| Some((keys.text(at)?.to_owned(), values.text(at)?.to_owned()))).collect()
    });
    Ok(Constants {
        snapshot_id: need("snapshot_id")?,
        image_name: text("image_name"),
        image_tag: text("image_tag"),
        image_digest: text("image_digest"),
        container_id: need("container_id")?,
        container_name: text("container_name"),
        container_started_ms: time("container_started")?,
        labels: labels.ok_or("`labels` has a null")?,
        host: need("host")?,
        window_start_ms: need_time("window_start")?,
        window_end_ms: need_time("window_end")?,
        covers_start: column("covers_start")
            .and_then(|column| column.bool(0))
            .ok_or("`covers_start` is null")?,
    })
}

/// Whether all rows have what the metadata says.
fn are_constant(columns: &[Column], meta: &SnapshotMeta, rows: usize) -> bool {
    let mut columns = columns.iter();
    CONSTANT_COLUMNS.iter().all(|name| {
        let Some(column) = columns.next() else { return false };
        if *name == LABELS {
            return columns.next().is_some_and(|values| same_labels(column, values, meta, rows));
        }
        is_constant(name, column, meta)
    })
}

/// Whether all rows of a constant column have the value of the metadata.
fn is_constant(name: &str, column: &Column, meta: &SnapshotMeta) -> bool {
    let first = match &column.keys {
        Keys::All(key) => key,
        Keys::By(keys) => match keys.split_first() {
            None => return true,
            Some((first, rest)) if rest.iter().all(|key| key == first) => first,
            Some(_) => return false,
        },
        Keys::Each => return false,
    };
    let workload = meta.image.workload.as_ref();
    let text = |expected: Option<&str>| column.text(0) == expected && (*first == NULL) == expected.is_none();
    let time = |expected: Option<DateTime<Utc>>| {
        let expected = expected.map(|time| time.timestamp_micros());
        column.int64(0) == expected && (*first == NULL) == expected.is_none()
    };
    match name {
        "snapshot_id" => text(Some(&meta.id.to_string())),
        "image_name" => text(workload.map(|workload| workload.name())),
        "image_tag" => text(workload.map(|workload| workload.tag())),
        "image_digest" => text(meta.image.digest.as_deref()),
        "container_id" => text(Some(&meta.container.id)),
        "container_name" => text(meta.container.name.as_deref()),
        "host" => text(Some(&meta.host)),
        "container_started" => time(meta.container.started),
        "window_start" => time(Some(meta.window_start)),
        "window_end" => time(Some(meta.window_end)),
        "covers_start" => column.bool(0) == Some(meta.covers_start),
        _ => false,
    }
}

/// Whether every row has the labels of the metadata, in their order.
fn same_labels(keys: &Column, values: &Column, meta: &SnapshotMeta, rows: usize) -> bool {
    let labels = &meta.container.labels;
    let (Some(key_ends), Some(value_ends)) = (&keys.ends, &values.ends) else { return false };
    let ends = (1..=rows).map(|row| u32::try_from(row * labels.len()).unwrap_or(NULL));
    let is = |row: usize| {
        labels.iter().zip(row * labels.len()..).all(|((key, value), at)| {
            keys.text(at) == Some(key.as_str()) && values.text(at) == Some(value.as_str())
        })
    };
    // Mostly all rows name the very entries of the first one.
    let repeats = |column: &Column| match &column.keys {
        Keys::By(keys) => keys.get(labels.len()..).is_some_and(|rest| *rest == keys[..rest.len()]),
        Keys::All(_) => true,
        Keys::Each => false,
    };
    let checked = if repeats(keys) && repeats(values) { rows.min(1) } else { rows };
    key_ends == value_ends && ends.eq(key_ends.iter().copied()) && (0..checked).all(is)
}
