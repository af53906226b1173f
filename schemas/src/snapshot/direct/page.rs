//! The pages of one column.

use std::cell::RefCell;

use super::hybrid::{self, Stretch};
use super::{Budget, Chunk, Leaf, has_all};
use crate::snapshot::columns::{Column, Keys, NULL, Texts, Values};
use crate::snapshot::thrift::{STRUCT, Thrift};
use crate::table::Type;

/// Values that a list column may have for each row; one of ours has few, and a run can claim any number.
const ELEMENTS_PER_ROW: usize = 64;

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

pub(super) fn leaf_column(
    file: &[u8],
    leaf: Leaf,
    chunk: &Chunk,
    rows: usize,
    budget: &mut Budget,
) -> Option<Column> {
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
    (header.values == chunk.values && thrift.rest.len() == header.compressed).then_some(())?;
    let (deepest, width) = match leaf {
        Leaf::Required(_) => (0, 0),
        Leaf::Optional(_) | Leaf::MapKey => (1, 1),
        Leaf::MapValue => (2, 2),
        Leaf::Element(_) => (3, 2),
    };
    let repeated = !matches!(leaf, Leaf::Required(_) | Leaf::Optional(_));
    let Scratch { levels: level_values, repeats: repeat_values, keys: key_values, plain, zstd } = scratch;
    let Parts { repeats, levels, values } = match header.kind {
        Page::DATA => {
            // Everything in one frame; before each kind of level stands its length.
            let mut rest = unpacked(thrift.rest, header.plain, chunk.zstd, budget, plain, zstd)?;
            let repeats = if repeated { counted(&mut rest)? } else { &[] };
            let levels = if deepest > 0 { counted(&mut rest)? } else { &[] };
            Parts { repeats, levels, values: rest }
        }
        Page::DATA_V2 => {
            (header.rows == rows).then_some(())?;
            let (repeats, rest) = thrift.rest.split_at_checked(header.repeat_bytes)?;
            let (levels, values) = rest.split_at_checked(header.level_bytes)?;
            let size = header.plain.checked_sub(header.repeat_bytes + header.level_bytes)?;
            let compressed = chunk.zstd && header.is_compressed;
            Parts { repeats, levels, values: unpacked(values, size, compressed, budget, plain, zstd)? }
        }
        _ => return None,
    };
    // Levels of lists are written out; those of one bit are counted first and spread later.
    let mut list_levels = (Stretch::Of(0), Stretch::Of(0));
    let present = match leaf {
        Leaf::Required(_) => header.values,
        Leaf::Optional(_) => hybrid::ones(levels, header.values)?,
        Leaf::Element(_) | Leaf::MapKey | Leaf::MapValue => {
            let level = hybrid::decode(levels, width, header.values, level_values)?;
            list_levels = (level, hybrid::decode(repeats, 1, header.values, repeat_values)?);
            match level {
                Stretch::Of(level) if level == deepest => header.values,
                Stretch::Of(_) => 0,
                Stretch::Mixed => level_values.iter().filter(|level| **level == deepest).count(),
            }
        }
    };
    (header.nulls.is_none_or(|nulls| nulls + present == header.values)).then_some(())?;

    let (keys, values) = match (header.encoding, dictionary, kind) {
        // Without values there is not even a width.
        (RLE_DICTIONARY, Some(dictionary), _) if present == 0 => (Stretch::Of(NULL), dictionary),
        (RLE_DICTIONARY, Some(dictionary), _) => {
            let (width, keys) = values.split_first()?;
            (hybrid::decode(keys, u32::from(*width), present, key_values)?, dictionary)
        }
        (RLE, None, Type::Bool) => {
            let (length, keys) = values.split_first_chunk::<4>()?;
            (u32::from_le_bytes(*length) as usize == keys.len()).then_some(())?;
            (hybrid::decode(keys, 1, present, key_values)?, Values::Bool)
        }
        (PLAIN, None, Type::Bool) => {
            (values.len() == present.div_ceil(8)).then_some(())?;
            key_values.clear();
            key_values.extend((0..present).map(|at| u32::from(values[at / 8] >> (at % 8) & 1)));
            (Stretch::Mixed, Values::Bool)
        }
        (PLAIN | BYTE_STREAM_SPLIT, None, _) => {
            let values = match (header.encoding, kind) {
                (PLAIN, _) => plain_values(kind, values, present)?,
                (_, Type::Int32) => {
                    Values::Int32(split::<4>(values, present)?.map(i32::from_le_bytes).collect())
                }
                (_, Type::Int64) => {
                    Values::Int64(split::<8>(values, present)?.map(i64::from_le_bytes).collect())
                }
                _ => return None,
            };
            if let Leaf::Required(_) = leaf {
                return Some(Column { keys: Keys::Each, values, ends: None });
            }
            (Stretch::Mixed, numbered(values, present, key_values)?)
        }
        _ => return None,
    };
    let as_keys = |stretch, values: &[u32]| match stretch {
        Stretch::Of(key) => Keys::All(key),
        Stretch::Mixed => Keys::By(values.to_vec()),
    };
    match leaf {
        Leaf::Required(_) => Some(Column { keys: as_keys(keys, key_values), values, ends: None }),
        Leaf::Optional(_) => {
            let spread =
                hybrid::spread(levels, header.values, keys, key_values, present, NULL, level_values)?;
            Some(Column { keys: as_keys(spread, level_values), values, ends: None })
        }
        Leaf::Element(_) | Leaf::MapKey | Leaf::MapValue => {
            let (level, repeat) = list_levels;
            if (level, repeat) == (Stretch::Of(0), Stretch::Of(0)) {
                (header.values == rows && present == 0).then_some(())?;
                // No list at all, or no entry in any map.
                let end = if matches!(leaf, Leaf::Element(_)) { NULL } else { 0 };
                return Some(Column { keys: Keys::All(NULL), values, ends: Some(vec![end; rows]) });
            }
            write_out(level, header.values, level_values);
            write_out(repeat, header.values, repeat_values);
            write_out(keys, present, key_values);
            let sound = level_values.iter().all(|level| *level <= deepest);
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

/// What a data page holds.
struct Parts<'a> {
    repeats: &'a [u8],
    levels: &'a [u8],
    values: &'a [u8],
}

/// Bytes with their length in front.
fn counted<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let (length, after) = rest.split_first_chunk::<4>()?;
    let (bytes, after) = after.split_at_checked(u32::from_le_bytes(*length) as usize)?;
    *rest = after;
    Some(bytes)
}

/// Values whose first bytes stand together, then their second ones, and so on.
fn split<const WIDTH: usize>(bytes: &[u8], count: usize) -> Option<impl Iterator<Item = [u8; WIDTH]>> {
    (bytes.len() == count.checked_mul(WIDTH)?).then_some(())?;
    Some((0..count).map(move |at| std::array::from_fn(|byte| bytes[byte * count + at])))
}

/// Keys for values that stand as they are. Ids that repeat the one before share its key: nodes of one process stand together.
fn numbered(values: Values, present: usize, keys: &mut Vec<u32>) -> Option<Values> {
    keys.clear();
    let Values::Id(mut ids) = values else {
        keys.extend(0..u32::try_from(present).ok()?);
        return Some(values);
    };
    let mut last = None;
    let mut key = NULL;
    for id in &ids {
        if last != Some(*id) {
            key = key.wrapping_add(1);
            last = Some(*id);
        }
        keys.push(key);
    }
    ids.dedup();
    Some(Values::Id(ids))
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
const BYTE_STREAM_SPLIT: i64 = 9;

/// A page header.
#[derive(Default)]
struct Page {
    kind: i64,
    plain: usize,
    compressed: usize,
    values: usize,
    /// Version 1 does not tell.
    nulls: Option<usize>,
    rows: usize,
    encoding: i64,
    level_bytes: usize,
    repeat_bytes: usize,
    is_compressed: bool,
}

impl Page {
    const DATA: i64 = 0;
    const DICTIONARY: i64 = 2;
    const DATA_V2: i64 = 3;

    fn read(thrift: &mut Thrift<'_>) -> Option<Self> {
        let mut page = Self { is_compressed: true, encoding: -1, ..Self::default() };
        let mut part = None;
        let mut seen = 0;
        thrift.fields(|thrift, id, kind| {
            seen |= 1_u32.checked_shl(u32::try_from(id).ok()?)?;
            match id {
                1 => page.kind = thrift.int32(kind)?,
                2 => page.plain = thrift.size(kind)?,
                3 => page.compressed = thrift.size(kind)?,
                // Data page, dictionary page, data page of version 2. A header with two would be read by one reader as this, by
                // another as that.
                5 | 7 | 8 => {
                    (kind == STRUCT && part.is_none()).then_some(())?;
                    part = Some(id);
                    page.part(thrift, id)?;
                }
                _ => return None,
            }
            Some(())
        })?;
        has_all(seen, &[1, 2, 3])?;
        let expected = match page.kind {
            Self::DATA => 5,
            Self::DICTIONARY => 7,
            Self::DATA_V2 => 8,
            _ => return None,
        };
        (part == Some(expected)).then_some(page)
    }

    fn part(&mut self, thrift: &mut Thrift<'_>, part: i64) -> Option<()> {
        let mut seen = 0;
        thrift.fields(|thrift, id, kind| {
            seen |= 1_u32.checked_shl(u32::try_from(id).ok()?)?;
            match (part, id) {
                (_, 1) => self.values = thrift.size(kind)?,
                (5 | 7, 2) | (8, 4) => self.encoding = thrift.int32(kind)?,
                // How levels are encoded.
                (5, 3 | 4) => (thrift.int32(kind)? == RLE).then_some(())?,
                (8, 2) => self.nulls = Some(thrift.size(kind)?),
                (8, 3) => self.rows = thrift.size(kind)?,
                (8, 5) => self.level_bytes = thrift.size(kind)?,
                (8, 6) => self.repeat_bytes = thrift.size(kind)?,
                // Booleans stand in the type of the field.
                (8, 7) => self.is_compressed = kind == 1,
                _ => thrift.skip(kind, 0)?,
            }
            Some(())
        })?;
        match part {
            5 => has_all(seen, &[1, 2, 3, 4]),
            7 => has_all(seen, &[1, 2]),
            _ => has_all(seen, &[1, 2, 3, 4, 5, 6]),
        }
    }
}
