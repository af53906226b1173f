//! Thrift's compact protocol, as far as Parquet's footers and page headers need it: read without allocating.

/// Elements of the schema, row groups: what one of ours has is below 100 and 2.
const ELEMENTS: usize = 4096;
/// Nesting of the schema; a map has four levels.
const SCHEMA_DEPTH: usize = 16;
/// Nesting of values; Parquet's deepest is below 10.
const DEPTH: usize = 24;

/// What a page header says that costs its reader memory.
#[derive(Default)]
pub(super) struct PageHeader {
    pub(super) uncompressed_bytes: i64,
    pub(super) compressed_bytes: i64,
    pub(super) dictionary: bool,
    pub(super) values: Option<i64>,
}

/// The types of Thrift's compact protocol.
const BYTE: u8 = 3;
const I16: u8 = 4;
pub(super) const I32: u8 = 5;
pub(super) const I64: u8 = 6;
const DOUBLE: u8 = 7;
pub(super) const BINARY: u8 = 8;
pub(super) const LIST: u8 = 9;
const SET: u8 = 10;
const MAP: u8 = 11;
pub(super) const STRUCT: u8 = 12;
const UUID: u8 = 13;

/// A place in a value. None of any reader is malformed input.
pub(super) struct Thrift<'a> {
    pub(super) rest: &'a [u8],
}

impl<'a> Thrift<'a> {
    pub(super) const fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// The metadata of a file: field 2 is the schema, field 4 the row groups.
    pub(super) fn footer(&mut self) -> Option<()> {
        self.fields(|thrift, id, kind| match id {
            2 => {
                (kind == LIST).then_some(())?;
                thrift.schema()
            }
            4 => {
                (kind == LIST).then_some(())?;
                let len = thrift.structs()?;
                (0..len).try_for_each(|_| thrift.skip(STRUCT, 0))
            }
            _ => thrift.skip(kind, 0),
        })
    }

    /// Elements of the schema are a tree in depth-first order; field 5 is how many children one has.
    fn schema(&mut self) -> Option<()> {
        let len = self.structs()?;
        let mut open = [0_usize; SCHEMA_DEPTH];
        let mut depth = 0;
        for _ in 0..len {
            let mut children = 0;
            self.fields(|thrift, id, kind| {
                if id != 5 {
                    return thrift.skip(kind, 0);
                }
                children = usize::try_from(thrift.int32(kind)?).ok().filter(|n| *n <= ELEMENTS)?;
                Some(())
            })?;
            while depth > 0 && open[depth - 1] == 0 {
                depth -= 1;
            }
            if depth > 0 {
                open[depth - 1] -= 1;
            }
            if children > 0 {
                *open.get_mut(depth)? = children;
                depth += 1;
            }
        }
        Some(())
    }

    pub(super) fn page_header(&mut self) -> Option<PageHeader> {
        let mut page = PageHeader::default();
        self.fields(|thrift, id, kind| {
            match id {
                2 => page.uncompressed_bytes = thrift.int32(kind)?,
                3 => page.compressed_bytes = thrift.int32(kind)?,
                // Data page, dictionary page, data page of version 2: field 1 of each is its number of values.
                5 | 7 | 8 => {
                    (kind == STRUCT).then_some(())?;
                    page.dictionary |= id == 7;
                    thrift.fields(|thrift, id, kind| {
                        if id != 1 {
                            return thrift.skip(kind, 1);
                        }
                        // The larger one, should a header hold two kinds of page.
                        page.values = page.values.max(Some(thrift.int32(kind)?));
                        Some(())
                    })?;
                }
                _ => thrift.skip(kind, 0)?,
            }
            Some(())
        })?;
        Some(page)
    }

    /// Calls for every field of a struct with its id and type. Ids must rise, so that no field can be there twice, with
    /// one value for us and another for the reader.
    pub(super) fn fields(&mut self, mut each: impl FnMut(&mut Self, i64, u8) -> Option<()>) -> Option<()> {
        let mut id: i64 = 0;
        loop {
            let byte = self.byte()?;
            let (delta, kind) = (byte >> 4, byte & 0x0f);
            if byte == 0 {
                return Some(());
            }
            let next = if delta > 0 { id + i64::from(delta) } else { self.zigzag()? };
            (next > id).then_some(())?;
            id = next;
            each(self, id, kind)?;
        }
    }

    pub(super) fn skip(&mut self, kind: u8, depth: usize) -> Option<()> {
        (depth < DEPTH).then_some(())?;
        match kind {
            // Booleans stand in the type of a field.
            1 | 2 => Some(()),
            BYTE => self.byte().map(drop),
            I16 | I32 | I64 => self.varint().map(drop),
            DOUBLE => self.take(8),
            UUID => self.take(16),
            BINARY => {
                let len = usize::try_from(self.varint()?).ok()?;
                self.take(len)
            }
            LIST | SET => {
                let (len, element) = self.list()?;
                (0..len).try_for_each(|_| self.skip_element(element, depth))
            }
            MAP => {
                let len = self.count()?;
                if len == 0 {
                    return Some(());
                }
                let kinds = self.byte()?;
                (0..len).try_for_each(|_| {
                    self.skip_element(kinds >> 4, depth)?;
                    self.skip_element(kinds & 0x0f, depth)
                })
            }
            STRUCT => self.fields(|thrift, _, kind| thrift.skip(kind, depth + 1)),
            _ => None,
        }
    }

    /// In collections, booleans are bytes.
    fn skip_element(&mut self, kind: u8, depth: usize) -> Option<()> {
        if matches!(kind, 1 | 2) { self.byte().map(drop) } else { self.skip(kind, depth + 1) }
    }

    /// Length and type of the elements of a list.
    pub(super) fn list(&mut self) -> Option<(usize, u8)> {
        let byte = self.byte()?;
        let short = usize::from(byte >> 4);
        let len = if short == 15 { self.count()? } else { short };
        (len <= self.rest.len()).then_some((len, byte & 0x0f))
    }

    /// Length of a list of structs that are bounded in number.
    pub(super) fn structs(&mut self) -> Option<usize> {
        let (len, kind) = self.list()?;
        (len <= ELEMENTS && kind == STRUCT).then_some(len)
    }

    /// A number that must be declared as 32 bits: the reader does not look at the type, so any other is refused.
    pub(super) fn int32(&mut self, kind: u8) -> Option<i64> {
        (kind == I32).then_some(())?;
        self.zigzag()
    }

    /// A number of elements: each takes at least a byte.
    fn count(&mut self) -> Option<usize> {
        usize::try_from(self.varint()?).ok().filter(|n| *n <= self.rest.len())
    }

    pub(super) fn zigzag(&mut self) -> Option<i64> {
        let n = self.varint()?;
        Some((n >> 1).cast_signed() ^ -(n & 1).cast_signed())
    }

    pub(super) fn varint(&mut self) -> Option<u64> {
        let mut out = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            out |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Some(out);
            }
        }
        None
    }

    fn byte(&mut self) -> Option<u8> {
        let (byte, rest) = self.rest.split_first()?;
        self.rest = rest;
        Some(*byte)
    }

    fn take(&mut self, len: usize) -> Option<()> {
        self.rest = self.rest.get(len..)?;
        Some(())
    }
}
