use std::borrow::Cow;
use std::hash::BuildHasher;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BinaryBuilder, BooleanBuilder, Int32Builder, Int64Builder, ListBuilder,
    RecordBatch, StringBuilder, new_null_array,
};
use arrow::datatypes::{DataType, Field, Int32Type, Int64Type};

use crate::table::Type;
use crate::tables::{CONSTANT_COLUMNS, SNAPSHOT};
use crate::text::{UnescapeError, unescape_cow};

/// What hashes of elements are mixed with: 2⁶⁴ divided by the golden ratio.
const ODD: u64 = 0x9e37_79b9_7f4a_7c15;

/// Key of a null.
pub(super) const NULL: u32 = u32::MAX;

/// The node columns of one snapshot (all but the constant ones): every value once, rows as keys into the values.
///
/// That is how a file stores them. Checks look at a repeated value once, and a merge expands only what it keeps.
#[derive(Debug)]
pub(super) struct Columns {
    pub(super) rows: usize,
    /// In the declared order; see [`place`].
    pub(super) columns: Vec<Column>,
}

/// One column.
#[derive(Debug)]
pub(super) struct Column {
    pub(super) keys: Keys,
    pub(super) values: Values,
    /// Of a column of lists: where the elements of each row end, [`NULL`] where the list is null. Keys are then those of
    /// the elements.
    pub(super) ends: Option<Vec<u32>>,
}

/// Which value each row (or element) has.
#[derive(Debug)]
pub(super) enum Keys {
    /// Row n has value n.
    Each,
    /// All rows have one value; [`NULL`] for none.
    All(u32),
    /// By key; [`NULL`] for none.
    By(Vec<u32>),
}

/// Different values, as far as the writer told them apart.
#[derive(Debug)]
pub(super) enum Values {
    Text(Texts),
    Int32(Vec<i32>),
    Int64(Vec<i64>),
    Id(Vec<[u8; 16]>),
    /// The keys themselves: 0 and 1.
    Bool,
}

/// Texts, one after the other.
#[derive(Debug, Default)]
pub(super) struct Texts {
    text: String,
    ends: Vec<u32>,
    /// Some of them are escaped.
    escaped: bool,
}

/// Position of a node column in [`Columns::columns`]. A name that is not one fails to compile where it is used as a constant.
pub(super) const fn place(name: &str) -> usize {
    let mut at = CONSTANT_COLUMNS.len();
    while at < SNAPSHOT.columns.len() {
        if same(SNAPSHOT.columns[at].name.as_bytes(), name.as_bytes()) {
            return at - CONSTANT_COLUMNS.len();
        }
        at += 1;
    }
    #[expect(clippy::panic, reason = "at compile time")]
    {
        panic!("not a node column")
    }
}

const fn same(a: &[u8], b: &[u8]) -> bool {
    if a.len() != b.len() {
        return false;
    }
    let mut at = 0;
    while at < a.len() {
        if a[at] != b[at] {
            return false;
        }
        at += 1;
    }
    true
}

impl Texts {
    /// Texts that end at these bytes; none where an end lies inside a character.
    pub(super) fn new(text: String, ends: Vec<u32>) -> Option<Self> {
        let mut last = 0;
        for end in &ends {
            let end = *end as usize;
            (end >= last && text.is_char_boundary(end)).then_some(())?;
            last = end;
        }
        let escaped = text.as_bytes().contains(&b'\\');
        Some(Self { text, ends, escaped })
    }

    fn push(&mut self, text: &str) -> Option<u32> {
        let key = u32::try_from(self.ends.len()).ok()?;
        self.escaped |= text.contains('\\');
        self.text.push_str(text);
        self.ends.push(u32::try_from(self.text.len()).ok()?);
        Some(key)
    }

    pub(super) fn len(&self) -> usize {
        self.ends.len()
    }

    pub(super) fn get(&self, key: usize) -> Option<&str> {
        let end = *self.ends.get(key)? as usize;
        let start = if key == 0 { 0 } else { *self.ends.get(key - 1)? as usize };
        self.text.get(start..end)
    }
}

impl Values {
    fn len(&self) -> usize {
        match self {
            Self::Text(texts) => texts.len(),
            Self::Int32(values) => values.len(),
            Self::Int64(values) => values.len(),
            Self::Id(values) => values.len(),
            Self::Bool => 2,
        }
    }
}

impl Keys {
    /// The key of a row or element.
    pub(super) fn get(&self, at: usize) -> Option<usize> {
        match self {
            Self::Each => Some(at),
            Self::All(key) => (*key != NULL).then_some(*key as usize),
            Self::By(keys) => keys.get(at).copied().filter(|key| *key != NULL).map(|key| key as usize),
        }
    }
}

impl Column {
    /// Every key names a value.
    pub(super) fn is_sound(&self, rows: usize) -> bool {
        let values = self.values.len();
        match &self.keys {
            Keys::Each => values == rows && self.ends.is_none(),
            Keys::All(key) => *key == NULL || (*key as usize) < values,
            Keys::By(keys) => {
                // The null key becomes 0, any other its number from 1.
                let most = keys.iter().map(|key| key.wrapping_add(1)).fold(0, u32::max);
                (self.ends.is_some() || keys.len() == rows) && most as usize <= values
            }
        }
    }

    fn memory(&self) -> usize {
        let keys = match &self.keys {
            Keys::By(keys) => keys.len() * size_of::<u32>(),
            Keys::Each | Keys::All(_) => 0,
        };
        let values = match &self.values {
            Values::Text(texts) => texts.text.len() + texts.ends.len() * size_of::<u32>(),
            Values::Int32(values) => values.len() * size_of::<i32>(),
            Values::Int64(values) => values.len() * size_of::<i64>(),
            Values::Id(values) => values.len() * size_of::<[u8; 16]>(),
            Values::Bool => 0,
        };
        keys + values + self.ends.as_ref().map_or(0, |ends| ends.len() * size_of::<u32>())
    }

    fn has_nulls(&self) -> bool {
        match &self.keys {
            Keys::Each => false,
            Keys::All(key) => *key == NULL,
            Keys::By(keys) => keys.contains(&NULL),
        }
    }

    pub(super) fn key(&self, row: usize) -> Option<usize> {
        self.keys.get(row)
    }

    pub(super) fn text(&self, row: usize) -> Option<&str> {
        match &self.values {
            Values::Text(texts) => texts.get(self.keys.get(row)?),
            _ => None,
        }
    }

    /// All different texts.
    pub(super) fn texts(&self) -> impl Iterator<Item = &str> {
        let texts = match &self.values {
            Values::Text(texts) => Some(texts),
            _ => None,
        };
        texts.into_iter().flat_map(|texts| (0..texts.len()).filter_map(|key| texts.get(key)))
    }

    /// The bytes that a text stands for.
    pub(super) fn bytes(&self, row: usize) -> Option<Result<Cow<'_, [u8]>, UnescapeError>> {
        let Values::Text(texts) = &self.values else { return None };
        let text = texts.get(self.keys.get(row)?)?;
        Some(if texts.escaped { unescape_cow(text) } else { Ok(Cow::Borrowed(text.as_bytes())) })
    }

    pub(super) fn id(&self, row: usize) -> Option<[u8; 16]> {
        match &self.values {
            Values::Id(values) => values.get(self.keys.get(row)?).copied(),
            _ => None,
        }
    }

    pub(super) fn int32(&self, row: usize) -> Option<i32> {
        match &self.values {
            Values::Int32(values) => values.get(self.keys.get(row)?).copied(),
            _ => None,
        }
    }

    pub(super) fn int64(&self, row: usize) -> Option<i64> {
        match &self.values {
            Values::Int64(values) => values.get(self.keys.get(row)?).copied(),
            _ => None,
        }
    }

    pub(super) fn bool(&self, row: usize) -> Option<bool> {
        self.keys.get(row).map(|key| key == 1)
    }

    /// Adds a hash of the value, and of which column it is, to those of some rows; of a row without a value, nothing. Each
    /// different value is hashed once.
    pub(super) fn add_hashes(
        &self,
        number: usize,
        state: &impl BuildHasher,
        hashes: &mut [u64],
        is_wanted: impl Fn(usize) -> bool,
    ) {
        if self.ends.is_none() && matches!(self.keys, Keys::All(NULL)) {
            return;
        }
        let of_values: Vec<u64> = match &self.values {
            Values::Text(texts) => {
                (0..texts.len()).map(|key| state.hash_one((number, texts.get(key)))).collect()
            }
            Values::Int32(values) => values.iter().map(|value| state.hash_one((number, value))).collect(),
            Values::Int64(values) => values.iter().map(|value| state.hash_one((number, value))).collect(),
            Values::Id(values) => values.iter().map(|value| state.hash_one((number, value))).collect(),
            Values::Bool => [false, true].map(|value| state.hash_one((number, value))).to_vec(),
        };
        let of_key = |key: usize| of_values.get(key).copied().unwrap_or_default();
        let rows = hashes.iter_mut().enumerate().filter(|(row, _)| is_wanted(*row));
        match (&self.ends, &self.keys) {
            (Some(_), _) => rows.for_each(|(row, sum)| {
                if let Some(elements) = self.elements(row) {
                    let empty = state.hash_one((number, elements.len()));
                    // The order counts, and so do nulls.
                    let hash = elements.fold(empty, |hash, at| {
                        let element = self.keys.get(at).map_or(u64::MAX, of_key);
                        (hash ^ element).wrapping_mul(ODD)
                    });
                    *sum = sum.wrapping_add(hash);
                }
            }),
            (None, Keys::All(key)) => {
                let hash = of_key(*key as usize);
                rows.for_each(|(_, sum)| *sum = sum.wrapping_add(hash));
            }
            // The key of a null is beyond all values.
            (None, Keys::By(keys)) => rows.for_each(|(row, sum)| {
                *sum = sum.wrapping_add(keys.get(row).map_or(0, |key| of_key(*key as usize)));
            }),
            (None, Keys::Each) => rows.for_each(|(row, sum)| *sum = sum.wrapping_add(of_key(row))),
        }
    }

    /// The elements of a row's list; none where it is null.
    pub(super) fn elements(&self, row: usize) -> Option<std::ops::Range<usize>> {
        let ends = self.ends.as_ref()?;
        let end = *ends.get(row)?;
        if end == NULL {
            return None;
        }
        // Ends of null lists say nothing about where the next one starts.
        let start = ends[..row].iter().rev().find(|end| **end != NULL).copied().unwrap_or(0);
        Some(start as usize..end as usize)
    }
}

impl Columns {
    /// The node columns of rows that have the declared schema.
    pub(super) fn from_batch(batch: &RecordBatch) -> Option<Self> {
        let columns = SNAPSHOT.columns[CONSTANT_COLUMNS.len()..]
            .iter()
            .map(|column| from_array(column.kind, batch.column_by_name(column.name)?))
            .collect::<Option<Vec<_>>>()?;
        Some(Self { rows: batch.num_rows(), columns })
    }

    /// Memory that they take, about.
    pub(super) fn memory(&self) -> usize {
        self.columns.iter().map(Column::memory).sum()
    }

    /// Whether a column that may not be null is.
    pub(super) fn lacks_values(&self) -> bool {
        let declared = &SNAPSHOT.columns[CONSTANT_COLUMNS.len()..];
        declared.iter().zip(&self.columns).any(|(declared, column)| !declared.nullable && column.has_nulls())
    }
}

fn from_array(kind: Type, array: &ArrayRef) -> Option<Column> {
    if let Type::TextList | Type::IntList = kind {
        let list = array.as_list_opt::<i32>()?;
        let element = if kind == Type::TextList { Type::Text } else { Type::Int64 };
        let mut column = from_array(element, list.values())?;
        let start = *list.offsets().first()?;
        if start != 0 || column.ends.is_some() {
            return None;
        }
        let end = |row: usize| u32::try_from(list.offsets()[row + 1]).ok();
        let ends = (0..list.len())
            .map(|row| if list.is_null(row) { Some(NULL) } else { end(row) })
            .collect::<Option<_>>();
        column.ends = Some(ends?);
        return Some(column);
    }
    let keys = |key: &mut dyn FnMut(usize) -> Option<u32>| -> Option<Keys> {
        let keys = (0..array.len()).map(|row| if array.is_null(row) { Some(NULL) } else { key(row) });
        keys.collect::<Option<Vec<_>>>().map(Keys::By)
    };
    let each = |row: usize| u32::try_from(row).ok();
    let (keys, values) = match kind {
        Type::Text => {
            let strings = array.as_string_opt::<i32>()?;
            let mut texts = Texts::default();
            (keys(&mut |row| texts.push(strings.value(row)))?, Values::Text(texts))
        }
        Type::NodeId => {
            let ids = array.as_fixed_size_binary_opt()?;
            let values = (0..ids.len())
                .map(|row| ids.value(row).try_into().ok())
                .collect::<Option<Vec<[u8; 16]>>>()?;
            (keys(&mut |row| each(row))?, Values::Id(values))
        }
        Type::Int32 => (
            keys(&mut |row| each(row))?,
            Values::Int32(array.as_primitive_opt::<Int32Type>()?.values().to_vec()),
        ),
        Type::Int64 => (
            keys(&mut |row| each(row))?,
            Values::Int64(array.as_primitive_opt::<Int64Type>()?.values().to_vec()),
        ),
        Type::Bool => {
            let flags = array.as_boolean_opt()?;
            (keys(&mut |row| Some(u32::from(flags.value(row))))?, Values::Bool)
        }
        _ => return None,
    };
    Some(Column { keys, values, ends: None })
}

/// The values of a node column at (snapshot, row) places, as the tables have them: ids as plain bytes.
pub(super) fn gather(at: usize, snapshots: &[&Columns], places: &[(usize, usize)]) -> ArrayRef {
    let Some(declared) = SNAPSHOT.columns.get(at + CONSTANT_COLUMNS.len()) else {
        return new_null_array(&DataType::Null, places.len());
    };
    let cells = || places.iter().map(|(snapshot, row)| (&snapshots[*snapshot].columns[at], *row));
    match declared.kind {
        Type::NodeId => {
            let mut out = BinaryBuilder::with_capacity(places.len(), places.len() * 16);
            cells().for_each(|(column, row)| out.append_option(column.id(row)));
            Arc::new(out.finish())
        }
        Type::Int32 => {
            let mut out = Int32Builder::with_capacity(places.len());
            cells().for_each(|(column, row)| out.append_option(column.int32(row)));
            Arc::new(out.finish())
        }
        Type::Int64 => {
            let mut out = Int64Builder::with_capacity(places.len());
            cells().for_each(|(column, row)| out.append_option(column.int64(row)));
            Arc::new(out.finish())
        }
        Type::Bool => {
            let mut out = BooleanBuilder::with_capacity(places.len());
            cells().for_each(|(column, row)| out.append_option(column.bool(row)));
            Arc::new(out.finish())
        }
        Type::TextList => {
            let field = Field::new("element", DataType::Utf8, true);
            let mut out = ListBuilder::new(StringBuilder::new()).with_field(field);
            for (column, row) in cells() {
                let elements = column.elements(row);
                elements.iter().cloned().flatten().for_each(|at| out.values().append_option(column.text(at)));
                out.append(elements.is_some());
            }
            Arc::new(out.finish())
        }
        Type::IntList => {
            let field = Field::new("element", DataType::Int64, true);
            let mut out = ListBuilder::new(Int64Builder::new()).with_field(field);
            for (column, row) in cells() {
                let elements = column.elements(row);
                elements
                    .iter()
                    .cloned()
                    .flatten()
                    .for_each(|at| out.values().append_option(column.int64(at)));
                out.append(elements.is_some());
            }
            Arc::new(out.finish())
        }
        _ => {
            let mut out = StringBuilder::with_capacity(places.len(), 0);
            cells().for_each(|(column, row)| out.append_option(column.text(row)));
            Arc::new(out.finish())
        }
    }
}
