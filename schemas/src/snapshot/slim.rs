//! Leaves out of a footer what the Parquet writer always puts there and no reader needs: how many pages have which
//! encoding (a chunk's encodings stand beside it), logical types where the converted type of the same meaning is there,
//! and the order of statistics that there are none of. Together they are a quarter of a footer.

use super::thrift::{LIST, STRUCT, Thrift};

/// Fields of Parquet's structs, by their ids.
mod id {
    pub(super) const SCHEMA: i64 = 2;
    pub(super) const ROW_GROUPS: i64 = 4;
    pub(super) const COLUMN_ORDERS: i64 = 7;
    pub(super) const CONVERTED_TYPE: i64 = 6;
    pub(super) const LOGICAL_TYPE: i64 = 10;
    pub(super) const COLUMNS: i64 = 1;
    pub(super) const META_DATA: i64 = 3;
    pub(super) const ENCODING_STATS: i64 = 13;
}

/// The file with a smaller footer; none where the footer is not as the writer leaves it.
pub(super) fn slim(file: &[u8]) -> Option<Vec<u8>> {
    let (rest, b"PAR1") = file.split_last_chunk::<4>()? else { return None };
    let (rest, length) = rest.split_last_chunk::<4>()?;
    let (pages, footer) =
        rest.split_at_checked(rest.len().checked_sub(u32::from_le_bytes(*length) as usize)?)?;
    let footer = slim_footer(footer)?;
    let length = u32::try_from(footer.len()).ok()?.to_le_bytes();
    Some([pages, &footer, &length, b"PAR1"].concat())
}

fn slim_footer(footer: &[u8]) -> Option<Vec<u8>> {
    let mut cuts = Cuts { whole: footer.len(), cuts: Vec::new() };
    let mut thrift = Thrift::new(footer);
    cuts.fields(&mut thrift, |cuts, thrift, field, kind| match field {
        id::SCHEMA => cuts.structs(thrift, kind, |cuts, thrift| {
            let mut converted = false;
            cuts.fields(thrift, |_, thrift, field, kind| {
                converted |= field == id::CONVERTED_TYPE;
                thrift.skip(kind, 0)?;
                Some(field == id::LOGICAL_TYPE && converted)
            })
        }),
        id::ROW_GROUPS => cuts.structs(thrift, kind, |cuts, thrift| {
            cuts.fields(thrift, |cuts, thrift, field, kind| match field {
                id::COLUMNS => cuts.structs(thrift, kind, Cuts::chunk),
                _ => thrift.skip(kind, 0).map(|()| false),
            })
        }),
        _ => thrift.skip(kind, 0).map(|()| field == id::COLUMN_ORDERS),
    })?;
    thrift.rest.is_empty().then_some(())?;
    let mut out = Vec::with_capacity(footer.len());
    let mut from = 0;
    for (start, end) in cuts.cuts {
        out.extend_from_slice(footer.get(from..start)?);
        from = end;
    }
    out.extend_from_slice(footer.get(from..)?);
    Some(out)
}

/// What is left out, as places in the footer.
struct Cuts {
    whole: usize,
    cuts: Vec<(usize, usize)>,
}

impl Cuts {
    fn at(&self, thrift: &Thrift<'_>) -> usize {
        self.whole - thrift.rest.len()
    }

    /// Walks the fields of a struct. A field that is to go must be the last one: ids are told as differences.
    fn fields<'a>(
        &mut self,
        thrift: &mut Thrift<'a>,
        mut goes: impl FnMut(&mut Self, &mut Thrift<'a>, i64, u8) -> Option<bool>,
    ) -> Option<()> {
        let mut before = self.at(thrift);
        let mut cut = None;
        thrift.fields(|thrift, field, kind| {
            cut.is_none().then_some(())?;
            if goes(self, thrift, field, kind)? {
                cut = Some((before, self.at(thrift)));
            }
            before = self.at(thrift);
            Some(())
        })?;
        self.cuts.extend(cut);
        Some(())
    }

    fn structs<'a>(
        &mut self,
        thrift: &mut Thrift<'a>,
        kind: u8,
        mut each: impl FnMut(&mut Self, &mut Thrift<'a>) -> Option<()>,
    ) -> Option<bool> {
        (kind == LIST).then_some(())?;
        let count = thrift.structs()?;
        (0..count).try_for_each(|_| each(self, thrift))?;
        Some(false)
    }

    fn chunk(&mut self, thrift: &mut Thrift<'_>) -> Option<()> {
        self.fields(thrift, |cuts, thrift, field, kind| {
            if field != id::META_DATA {
                return thrift.skip(kind, 0).map(|()| false);
            }
            (kind == STRUCT).then_some(())?;
            cuts.fields(thrift, |_, thrift, field, kind| {
                thrift.skip(kind, 0).map(|()| field == id::ENCODING_STATS)
            })?;
            Some(false)
        })
    }
}
