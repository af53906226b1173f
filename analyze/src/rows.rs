//! Table rows as Rust values, both ways. Columns are known by the names that `wsp_schemas` declares.

use std::borrow::Borrow;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, Float64Array, Int32Array, Int64Array, ListBuilder, MapArray,
    MapBuilder, MapFieldNames, RecordBatch, StringArray, StringBuilder, TimestampMicrosecondArray,
};
use arrow::array::{Float64Builder, Int64Builder};
use arrow::datatypes::{
    ArrowPrimitiveType, DataType, Field, Float64Type, Int32Type, Int64Type, TimestampMicrosecondType,
};
use arrow::error::ArrowError;
use chrono::{DateTime, Utc};
use wsp_schemas::table::Table;

use crate::tables::TableError;

/// Builds a batch column by column, in any order.
#[derive(Debug)]
pub(crate) struct Builder {
    rows: usize,
    columns: HashMap<&'static str, ArrayRef>,
}

impl Builder {
    pub(crate) fn new(rows: usize) -> Self {
        Self { rows, columns: HashMap::new() }
    }

    /// A column that exists already.
    pub(crate) fn array(&mut self, name: &'static str, array: ArrayRef) {
        self.columns.insert(name, array);
    }

    pub(crate) fn text<T: AsRef<str>>(
        &mut self,
        name: &'static str,
        values: impl Iterator<Item = Option<T>>,
    ) {
        self.array(name, Arc::new(values.collect::<StringArray>()));
    }

    pub(crate) fn int32(&mut self, name: &'static str, values: impl Iterator<Item = Option<i32>>) {
        self.array(name, Arc::new(values.collect::<Int32Array>()));
    }

    pub(crate) fn int64(&mut self, name: &'static str, values: impl Iterator<Item = Option<i64>>) {
        self.array(name, Arc::new(values.collect::<Int64Array>()));
    }

    pub(crate) fn float(&mut self, name: &'static str, values: impl Iterator<Item = Option<f64>>) {
        self.array(name, Arc::new(values.collect::<Float64Array>()));
    }

    pub(crate) fn bool(&mut self, name: &'static str, values: impl Iterator<Item = Option<bool>>) {
        self.array(name, Arc::new(values.collect::<BooleanArray>()));
    }

    pub(crate) fn time(&mut self, name: &'static str, values: impl Iterator<Item = Option<DateTime<Utc>>>) {
        let micros = values.map(|time| time.map(|time| time.timestamp_micros()));
        self.array(name, Arc::new(micros.collect::<TimestampMicrosecondArray>().with_timezone("UTC")));
    }

    pub(crate) fn text_list<T: AsRef<str>>(
        &mut self,
        name: &'static str,
        values: impl Iterator<Item = impl IntoIterator<Item = T>>,
    ) {
        let mut list =
            ListBuilder::new(StringBuilder::new()).with_field(Field::new("element", DataType::Utf8, true));
        values.for_each(|texts| list.append_value(texts.into_iter().map(Some)));
        self.array(name, Arc::new(list.finish()));
    }

    pub(crate) fn text_map(
        &mut self,
        name: &'static str,
        values: impl Iterator<Item = Option<impl Borrow<BTreeMap<String, String>>>>,
    ) -> Result<(), ArrowError> {
        let mut map = MapBuilder::new(Some(map_names()), StringBuilder::new(), StringBuilder::new());
        for entries in values {
            for (key, value) in entries.iter().flat_map(Borrow::borrow) {
                map.keys().append_value(key);
                map.values().append_value(value);
            }
            map.append(entries.is_some())?;
        }
        self.array(name, Arc::new(map.finish()));
        Ok(())
    }

    pub(crate) fn int_map(
        &mut self,
        name: &'static str,
        values: impl Iterator<Item = BTreeMap<String, i64>>,
    ) -> Result<(), ArrowError> {
        let mut map = MapBuilder::new(Some(map_names()), StringBuilder::new(), Int64Builder::new());
        for entries in values {
            for (key, value) in entries {
                map.keys().append_value(key);
                map.values().append_value(value);
            }
            map.append(true)?;
        }
        self.array(name, Arc::new(map.finish()));
        Ok(())
    }

    pub(crate) fn float_map(
        &mut self,
        name: &'static str,
        values: impl Iterator<Item = BTreeMap<String, f64>>,
    ) -> Result<(), ArrowError> {
        let mut map = MapBuilder::new(Some(map_names()), StringBuilder::new(), Float64Builder::new());
        for entries in values {
            for (key, value) in entries {
                map.keys().append_value(key);
                map.values().append_value(value);
            }
            map.append(true)?;
        }
        self.array(name, Arc::new(map.finish()));
        Ok(())
    }

    /// The batch, with the declared columns in order; a nullable one that was not given is null.
    pub(crate) fn finish(mut self, table: &Table) -> Result<RecordBatch, ArrowError> {
        let schema = Arc::new(table.arrow_schema());
        let mut columns = Vec::with_capacity(schema.fields().len());
        for field in schema.fields() {
            columns.push(match self.columns.remove(field.name().as_str()) {
                Some(column) => column,
                None if field.is_nullable() => arrow::array::new_null_array(field.data_type(), self.rows),
                None => return Err(ArrowError::SchemaError(format!("`{}` was not built", field.name()))),
            });
        }
        RecordBatch::try_new(schema, columns)
    }
}

fn map_names() -> MapFieldNames {
    MapFieldNames { entry: "key_value".into(), key: "key".into(), value: "value".into() }
}

/// Reads values of a batch by column name; a column that is absent or of another type reads as null.
#[derive(Debug)]
pub(crate) struct Reader<'a> {
    columns: HashMap<&'a str, &'a ArrayRef, foldhash::fast::FixedState>,
}

impl<'a> Reader<'a> {
    pub(crate) fn new(batch: &'a RecordBatch) -> Self {
        let names = batch.schema_ref().fields().iter().map(|field| field.name().as_str());
        Self { columns: names.zip(batch.columns()).collect() }
    }

    fn valid(&self, name: &str, row: usize) -> Option<&'a ArrayRef> {
        self.columns.get(name).copied().filter(|column| column.is_valid(row))
    }

    pub(crate) fn text(&self, name: &str, row: usize) -> Option<&'a str> {
        text_at(self.valid(name, row)?, row)
    }

    pub(crate) fn bytes(&self, name: &str, row: usize) -> Option<&'a [u8]> {
        let column = self.valid(name, row)?;
        match column.as_binary_view_opt() {
            Some(column) => Some(column.value(row)),
            None => Some(column.as_binary_opt::<i32>()?.value(row)),
        }
    }

    pub(crate) fn int32(&self, name: &str, row: usize) -> Option<i32> {
        Some(self.valid(name, row)?.as_primitive_opt::<Int32Type>()?.value(row))
    }

    pub(crate) fn int64(&self, name: &str, row: usize) -> Option<i64> {
        Some(self.valid(name, row)?.as_primitive_opt::<Int64Type>()?.value(row))
    }

    pub(crate) fn float(&self, name: &str, row: usize) -> Option<f64> {
        Some(self.valid(name, row)?.as_primitive_opt::<Float64Type>()?.value(row))
    }

    pub(crate) fn bool(&self, name: &str, row: usize) -> Option<bool> {
        Some(self.valid(name, row)?.as_boolean_opt()?.value(row))
    }

    pub(crate) fn time(&self, name: &str, row: usize) -> Option<DateTime<Utc>> {
        let micros = self.valid(name, row)?.as_primitive_opt::<TimestampMicrosecondType>()?.value(row);
        DateTime::from_timestamp_micros(micros)
    }

    pub(crate) fn text_list(&self, name: &str, row: usize) -> Vec<String> {
        let items =
            self.valid(name, row).and_then(|column| column.as_list_opt::<i32>()).map(|list| list.value(row));
        let Some(items) = items else { return Vec::new() };
        (0..items.len()).filter_map(|at| text_at(&items, at).map(str::to_owned)).collect()
    }

    pub(crate) fn text_map(&self, name: &str, row: usize) -> BTreeMap<String, String> {
        let Some(entries) = self.map(name, row).map(|map| map.value(row)) else { return BTreeMap::new() };
        let (Some(keys), Some(values)) =
            (entries.column(0).as_string_opt::<i32>(), entries.column(1).as_string_opt::<i32>())
        else {
            return BTreeMap::new();
        };
        keys.iter()
            .zip(values)
            .filter_map(|(key, value)| Some((key?.to_owned(), value?.to_owned())))
            .collect()
    }

    pub(crate) fn float_map(&self, name: &str, row: usize) -> BTreeMap<String, f64> {
        self.number_map::<Float64Type>(name, row)
    }

    #[cfg(feature = "explore")]
    pub(crate) fn int_map(&self, name: &str, row: usize) -> BTreeMap<String, i64> {
        self.number_map::<Int64Type>(name, row)
    }

    fn number_map<T: ArrowPrimitiveType>(&self, name: &str, row: usize) -> BTreeMap<String, T::Native> {
        let Some(entries) = self.map(name, row).map(|map| map.value(row)) else { return BTreeMap::new() };
        let (Some(keys), Some(values)) =
            (entries.column(0).as_string_opt::<i32>(), entries.column(1).as_primitive_opt::<T>())
        else {
            return BTreeMap::new();
        };
        keys.iter().zip(values).filter_map(|(key, value)| Some((key?.to_owned(), value?))).collect()
    }

    fn map(&self, name: &str, row: usize) -> Option<&'a MapArray> {
        self.valid(name, row)?.as_map_opt()
    }

    /// A value that a later version may have written.
    pub(crate) fn unknown(&self, table: &'static str, column: &str, value: &str) -> TableError {
        let reason = format!(
            "`{column}` has the value `{}`, which this version does not know: upgrade wsp",
            value.escape_debug()
        );
        TableError::File { table, path: String::new(), reason }
    }
}

/// Tables hold strings, query results often views of them.
fn text_at(column: &ArrayRef, row: usize) -> Option<&str> {
    if column.is_null(row) {
        return None;
    }
    match column.as_string_view_opt() {
        Some(column) => Some(column.value(row)),
        None => Some(column.as_string_opt::<i32>()?.value(row)),
    }
}
