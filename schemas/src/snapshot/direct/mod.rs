//! Reads files of exactly the layout that this version writes, without building what the general reader needs for any
//! other: schema, column readers, page indexes. Whatever is not as expected is left to the general reader ([`None`]).
//!
//! What a file claims is believed only as far as its bytes go: rows and pages are bounded before anything is reserved.

mod hybrid;

use std::cell::RefCell;
use std::sync::LazyLock;

use arrow::array::RecordBatch;
use chrono::{DateTime, Utc};

use self::hybrid::Stretch;
use super::columns::{Column, Columns, Keys, NULL, Texts, Values};
use super::meta::SnapshotMeta;
use super::read::Limits;
use super::thrift::{BINARY, I32, I64, LIST, STRUCT, Thrift};
use super::write;
use crate::table::Type;
use crate::tables::{CONSTANT_COLUMNS, SNAPSHOT};

/// Values that a list column may have for each row; one of ours has few, and a run can claim any number.
const ELEMENTS_PER_ROW: usize = 64;

/// What the footer says, as far as it is needed.
pub(super) struct Footer<'a> {
    /// Entries of the metadata, by key.
    pub(super) entries: Vec<(&'a str, &'a str)>,
    rows: usize,
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

struct Layout {
    /// The schema as Thrift has it.
    schema: Vec<u8>,
    leaves: Vec<Leaf>,
}

static LAYOUT: LazyLock<Option<Layout>> = LazyLock::new(|| {
    let empty =
        write::write_batch(&RecordBatch::new_empty(SNAPSHOT.arrow_schema().into()), Vec::new()).ok()?;
    let mut schema = Vec::new();
    footer_thrift(&empty)?.fields(|thrift, id, kind| {
        let before = thrift.rest;
        thrift.skip(kind, 0)?;
        if id == 2 {
            schema = before[..before.len() - thrift.rest.len()].to_vec();
        }
        Some(())
    })?;
    let leaves = SNAPSHOT.columns.iter().flat_map(|column| match column.kind {
        Type::TextList => vec![Leaf::Element(Type::Text)],
        Type::IntList => vec![Leaf::Element(Type::Int64)],
        Type::TextMap => vec![Leaf::MapKey, Leaf::MapValue],
        kind if column.nullable => vec![Leaf::Optional(kind)],
        kind => vec![Leaf::Required(kind)],
    });
    Some(Layout { schema, leaves: leaves.collect() })
});

fn footer_thrift(file: &[u8]) -> Option<Thrift<'_>> {
    let (rest, b"PAR1") = file.split_last_chunk::<4>()? else { return None };
    let (rest, length) = rest.split_last_chunk::<4>()?;
    let start = rest.len().checked_sub(u32::from_le_bytes(*length) as usize)?;
    Some(Thrift::new(&rest[start..]))
}

/// Reads the footer of a file of the present layout with at most one row group.
pub(super) fn footer(file: &[u8]) -> Option<Footer<'_>> {
    let layout = LAYOUT.as_ref()?;
    let mut found =
        Footer { entries: Vec::with_capacity(4), rows: 0, chunks: Vec::with_capacity(layout.leaves.len()) };
    let mut same_schema = false;
    let mut group_rows = 0;
    footer_thrift(file)?.fields(|thrift, id, kind| match id {
        2 => {
            let before = thrift.rest;
            same_schema = before.starts_with(&layout.schema);
            same_schema.then_some(())?;
            thrift.rest = &before[layout.schema.len()..];
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
                    _ => thrift.skip(kind, 0),
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
        _ => thrift.skip(kind, 0),
    })?;
    let whole =
        if found.rows == 0 { found.chunks.is_empty() } else { found.chunks.len() == layout.leaves.len() };
    (same_schema && whole && group_rows == found.rows).then_some(found)
}

fn chunk(thrift: &mut Thrift<'_>) -> Option<Chunk> {
    let (mut codec, mut values, mut size, mut data, mut dictionary) = (None, 0, 0, 0, None);
    thrift.fields(|thrift, id, kind| {
        if id != 3 {
            return thrift.skip(kind, 0);
        }
        (kind == STRUCT).then_some(())?;
        thrift.fields(|thrift, id, kind| {
            match id {
                4 => codec = Some(thrift.int32(kind)?),
                5 => values = thrift.int64(kind)?,
                7 => size = thrift.int64(kind)?,
                9 => data = thrift.int64(kind)?,
                11 => dictionary = Some(thrift.int64(kind)?),
                _ => thrift.skip(kind, 0)?,
            }
            Some(())
        })
    })?;
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

/// Reads all columns, and makes sure that the constant ones say what the footer says.
pub(super) fn columns(
    file: &[u8],
    footer: &Footer<'_>,
    meta: &SnapshotMeta,
    limits: &Limits,
) -> Option<Columns> {
    let layout = LAYOUT.as_ref()?;
    (footer.rows <= limits.rows).then_some(())?;
    let mut budget = Budget(usize::try_from(limits.decompressed_bytes).ok()?);
    let mut columns = Vec::with_capacity(SNAPSHOT.columns.len() - CONSTANT_COLUMNS.len());
    let mut leaves = layout.leaves.iter().zip(&footer.chunks);
    for (at, declared) in SNAPSHOT.columns.iter().enumerate() {
        let constant = at < CONSTANT_COLUMNS.len();
        if footer.rows == 0 {
            if !constant {
                columns.push(nothing(declared.kind));
            }
            continue;
        }
        let (leaf, chunk) = leaves.next()?;
        let read = leaf_column(file, *leaf, chunk, footer.rows, &mut budget)?;
        if *leaf == Leaf::MapKey {
            let (leaf, chunk) = leaves.next()?;
            let values = leaf_column(file, *leaf, chunk, footer.rows, &mut budget)?;
            same_labels(&read, &values, meta, footer.rows).then_some(())?;
        } else if constant {
            is_constant(declared.name, &read, meta).then_some(())?;
        } else {
            read.is_sound(footer.rows).then_some(())?;
            columns.push(read);
        }
    }
    Some(Columns { rows: footer.rows, columns })
}

fn nothing(kind: Type) -> Column {
    let (values, ends) = match kind {
        Type::TextList => (Values::Text(Texts::default()), Some(Vec::new())),
        Type::IntList => (Values::Int64(Vec::new()), Some(Vec::new())),
        Type::Text => (Values::Text(Texts::default()), None),
        Type::NodeId => (Values::Id(Vec::new()), None),
        Type::Int32 => (Values::Int32(Vec::new()), None),
        Type::Bool => (Values::Bool, None),
        _ => (Values::Int64(Vec::new()), None),
    };
    Column { keys: Keys::By(Vec::new()), values, ends }
}

/// Bytes that may still be decompressed or reserved.
struct Budget(usize);

impl Budget {
    fn take(&mut self, bytes: usize) -> Option<()> {
        self.0 = self.0.checked_sub(bytes)?;
        Some(())
    }
}

#[derive(Default)]
struct Scratch {
    levels: Vec<u32>,
    repeats: Vec<u32>,
    keys: Vec<u32>,
    plain: Vec<u8>,
    zstd: Option<zstd::bulk::Decompressor<'static>>,
}

thread_local! {
    static SCRATCH: RefCell<Scratch> = RefCell::default();
}

fn leaf_column(file: &[u8], leaf: Leaf, chunk: &Chunk, rows: usize, budget: &mut Budget) -> Option<Column> {
    let pages = file.get(chunk.start..chunk.end)?;
    SCRATCH.with_borrow_mut(|scratch| pages_of(pages, leaf, chunk, rows, budget, scratch))
}

/// A dictionary page, if there is one, and one data page.
fn pages_of(
    pages: &[u8],
    leaf: Leaf,
    chunk: &Chunk,
    rows: usize,
    budget: &mut Budget,
    scratch: &mut Scratch,
) -> Option<Column> {
    let (kind, most) = match leaf {
        Leaf::Required(kind) | Leaf::Optional(kind) => (kind, rows),
        Leaf::Element(kind) => (kind, rows.checked_mul(ELEMENTS_PER_ROW)?),
        Leaf::MapKey | Leaf::MapValue => (Type::Text, rows.checked_mul(ELEMENTS_PER_ROW)?),
    };
    (chunk.values <= most && chunk.values >= rows).then_some(())?;
    budget.take(chunk.values.checked_mul(8)?)?;
    let mut thrift = Thrift::new(pages);
    let mut header = Page::read(&mut thrift)?;
    let mut dictionary = None;
    if header.kind == Page::DICTIONARY {
        let (page, rest) = thrift.rest.split_at_checked(header.compressed)?;
        (header.encoding == PLAIN).then_some(())?;
        let plain = unpacked(page, header.plain, chunk.zstd, budget, &mut scratch.plain, &mut scratch.zstd)?;
        dictionary = Some(plain_values(kind, plain, header.values)?);
        thrift = Thrift::new(rest);
        header = Page::read(&mut thrift)?;
    }
    (header.kind == Page::DATA_V2 && header.values == chunk.values && header.rows == rows).then_some(())?;
    (thrift.rest.len() == header.compressed).then_some(())?;
    let (repeats, rest) = thrift.rest.split_at_checked(header.repeat_bytes)?;
    let (levels, values) = rest.split_at_checked(header.level_bytes)?;
    let plain_bytes = header.plain.checked_sub(header.repeat_bytes + header.level_bytes)?;

    let (deepest, width) = match leaf {
        Leaf::Required(_) => (0, 0),
        Leaf::Optional(_) | Leaf::MapKey => (1, 1),
        Leaf::MapValue => (2, 2),
        Leaf::Element(_) => (3, 2),
    };
    let present = header.values.checked_sub(header.nulls)?;
    (deepest > 0 || header.nulls == 0).then_some(())?;

    let compressed = chunk.zstd && header.is_compressed;
    let values = unpacked(values, plain_bytes, compressed, budget, &mut scratch.plain, &mut scratch.zstd)?;
    let (keys, values) = match (header.encoding, dictionary, kind) {
        // Without values there is not even a width.
        (RLE_DICTIONARY, Some(dictionary), _) if present == 0 => (Stretch::Of(NULL), dictionary),
        (RLE_DICTIONARY, Some(dictionary), _) => {
            let (width, keys) = values.split_first()?;
            (hybrid::decode(keys, u32::from(*width), present, &mut scratch.keys)?, dictionary)
        }
        (RLE, None, Type::Bool) => {
            let (length, keys) = values.split_first_chunk::<4>()?;
            (u32::from_le_bytes(*length) as usize == keys.len()).then_some(())?;
            (hybrid::decode(keys, 1, present, &mut scratch.keys)?, Values::Bool)
        }
        (PLAIN, None, Type::NodeId | Type::Int32 | Type::Int64) if leaf == Leaf::Required(kind) => {
            let values = plain_values(kind, values, present)?;
            return Some(Column { keys: Keys::Each, values, ends: None });
        }
        _ => return None,
    };
    let as_keys = |stretch, values: &[u32]| match stretch {
        Stretch::Of(key) => Keys::All(key),
        Stretch::Mixed => Keys::By(values.to_vec()),
    };
    let Scratch { levels: level_values, repeats: repeat_values, keys: key_values, .. } = scratch;
    match leaf {
        Leaf::Required(_) => Some(Column { keys: as_keys(keys, key_values), values, ends: None }),
        Leaf::Optional(_) => {
            let spread =
                hybrid::spread(levels, header.values, keys, key_values, present, NULL, level_values)?;
            Some(Column { keys: as_keys(spread, level_values), values, ends: None })
        }
        Leaf::Element(_) | Leaf::MapKey | Leaf::MapValue => {
            let level = hybrid::decode(levels, width, header.values, level_values)?;
            let repeat = hybrid::decode(repeats, 1, header.values, repeat_values)?;
            if (level, repeat) == (Stretch::Of(0), Stretch::Of(0)) {
                (header.values == rows && present == 0).then_some(())?;
                // No list at all, or no entry in any map.
                let end = if matches!(leaf, Leaf::Element(_)) { NULL } else { 0 };
                return Some(Column { keys: Keys::All(NULL), values, ends: Some(vec![end; rows]) });
            }
            write_out(level, header.values, level_values);
            write_out(repeat, header.values, repeat_values);
            write_out(keys, present, key_values);
            let at_deepest = level_values.iter().filter(|level| **level == deepest).count();
            let sound = at_deepest == present && level_values.iter().all(|level| *level <= deepest);
            (sound && repeat_values.first() == Some(&0)).then_some(())?;
            let (keys, ends) = match level {
                Stretch::Of(level) if level == deepest => whole_lists(repeat_values, key_values)?,
                _ => lists(leaf, deepest, scratch)?,
            };
            (ends.len() == rows).then_some(())?;
            Some(Column { keys, values, ends: Some(ends) })
        }
    }
}

fn write_out(stretch: Stretch, count: usize, values: &mut Vec<u32>) {
    if let Stretch::Of(value) = stretch {
        values.clear();
        values.resize(count, value);
    }
}

/// Keys of the elements, and where each row's end. Level 0 of a list is a null one, of a map an empty one; the next level of
/// a list is an empty one.
fn lists(leaf: Leaf, deepest: u32, scratch: &Scratch) -> Option<(Keys, Vec<u32>)> {
    let mut keys = scratch.keys.iter();
    let list = matches!(leaf, Leaf::Element(_));
    let empty = u32::from(list);
    let mut elements = Vec::with_capacity(scratch.levels.len());
    let mut ends: Vec<u32> = Vec::new();
    for (level, repeat) in scratch.levels.iter().zip(&scratch.repeats) {
        let holds = *level > empty;
        if *repeat == 0 {
            ends.push(if list && *level == 0 { NULL } else { u32::try_from(elements.len()).ok()? });
        } else if !holds {
            return None;
        }
        if holds {
            elements.push(if *level == deepest { *keys.next()? } else { NULL });
            let end = ends.last_mut().filter(|end| **end != NULL)?;
            *end = u32::try_from(elements.len()).ok()?;
        }
    }
    Some((Keys::By(elements), ends))
}

/// The same where no list is null or empty, and no element null.
fn whole_lists(repeats: &[u32], keys: &[u32]) -> Option<(Keys, Vec<u32>)> {
    let starts = repeats.iter().zip(0..).skip(1).filter(|(repeat, _)| **repeat == 0);
    let mut ends: Vec<u32> = starts.map(|(_, at)| at).collect();
    ends.push(u32::try_from(repeats.len()).ok()?);
    (keys.len() == repeats.len()).then(|| (Keys::By(keys.to_vec()), ends))
}

/// The bytes of a page as they were before compression.
fn unpacked<'a>(
    page: &'a [u8],
    plain: usize,
    compressed: bool,
    budget: &mut Budget,
    buffer: &'a mut Vec<u8>,
    zstd: &mut Option<zstd::bulk::Decompressor<'static>>,
) -> Option<&'a [u8]> {
    if !compressed {
        return (page.len() == plain).then_some(page);
    }
    budget.take(plain)?;
    buffer.clear();
    buffer.reserve_exact(plain);
    if zstd.is_none() {
        *zstd = zstd::bulk::Decompressor::new().ok();
    }
    // Writes no more than the buffer's capacity, which the budget allowed for.
    zstd.as_mut()?.decompress_to_buffer(page, buffer).ok().filter(|size| *size == plain)?;
    Some(buffer)
}

fn plain_values(kind: Type, bytes: &[u8], count: usize) -> Option<Values> {
    Some(match kind {
        Type::Text => Values::Text(plain_texts(bytes, count)?),
        Type::NodeId => {
            let (ids, []) = bytes.as_chunks::<16>() else { return None };
            (ids.len() == count).then_some(())?;
            Values::Id(ids.to_vec())
        }
        Type::Int32 => {
            let (words, []) = bytes.as_chunks::<4>() else { return None };
            (words.len() == count).then_some(())?;
            Values::Int32(words.iter().map(|word| i32::from_le_bytes(*word)).collect())
        }
        Type::Int64 | Type::Timestamp => {
            let (words, []) = bytes.as_chunks::<8>() else { return None };
            (words.len() == count).then_some(())?;
            Values::Int64(words.iter().map(|word| i64::from_le_bytes(*word)).collect())
        }
        _ => return None,
    })
}

fn plain_texts(mut bytes: &[u8], count: usize) -> Option<Texts> {
    // Every text takes its length's four bytes.
    let size = bytes.len().checked_sub(count.checked_mul(4)?)?;
    let mut text = Vec::with_capacity(size);
    let mut ends = Vec::with_capacity(count);
    for _ in 0..count {
        let (length, rest) = bytes.split_first_chunk::<4>()?;
        let (value, rest) = rest.split_at_checked(u32::from_le_bytes(*length) as usize)?;
        text.extend_from_slice(value);
        ends.push(u32::try_from(text.len()).ok()?);
        bytes = rest;
    }
    bytes.is_empty().then_some(())?;
    Texts::new(String::from_utf8(text).ok()?, ends)
}

/// Encodings, as the format numbers them.
const PLAIN: i64 = 0;
const RLE: i64 = 3;
const RLE_DICTIONARY: i64 = 8;

/// A page header.
#[derive(Default)]
struct Page {
    kind: i64,
    plain: usize,
    compressed: usize,
    values: usize,
    nulls: usize,
    rows: usize,
    encoding: i64,
    level_bytes: usize,
    repeat_bytes: usize,
    is_compressed: bool,
}

impl Page {
    const DICTIONARY: i64 = 2;
    const DATA_V2: i64 = 3;

    fn read(thrift: &mut Thrift<'_>) -> Option<Self> {
        let mut page = Self { is_compressed: true, encoding: -1, ..Self::default() };
        let mut parts = 0;
        thrift.fields(|thrift, id, kind| {
            match id {
                1 => page.kind = thrift.int32(kind)?,
                2 => page.plain = thrift.size(kind)?,
                3 => page.compressed = thrift.size(kind)?,
                // Dictionary page, data page of version 2. A header with both would be read by one reader as this, by another as that.
                7 | 8 => {
                    (kind == STRUCT).then_some(())?;
                    parts += 1;
                    page.part(thrift, id)?;
                }
                _ => return None,
            }
            Some(())
        })?;
        (parts == 1).then_some(page)
    }

    fn part(&mut self, thrift: &mut Thrift<'_>, part: i64) -> Option<()> {
        thrift.fields(|thrift, id, kind| {
            match (part, id) {
                (_, 1) => self.values = thrift.size(kind)?,
                (7, 2) | (8, 4) => self.encoding = thrift.int32(kind)?,
                (8, 2) => self.nulls = thrift.size(kind)?,
                (8, 3) => self.rows = thrift.size(kind)?,
                (8, 5) => self.level_bytes = thrift.size(kind)?,
                (8, 6) => self.repeat_bytes = thrift.size(kind)?,
                // Booleans stand in the type of the field.
                (8, 7) => self.is_compressed = kind == 1,
                _ => thrift.skip(kind, 0)?,
            }
            Some(())
        })
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

/// Whether all rows of a constant column have the footer's value.
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

/// Whether every row has the footer's labels, in their order.
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
