use deltalake_core::kernel::{ArrayType, DataType, MapType, PrimitiveType, StructField};
use wsp_schemas::table::{Table, Type};

/// The columns of a table as Delta declares them.
pub(super) fn delta_columns(table: &Table) -> Vec<StructField> {
    table
        .columns
        .iter()
        .map(|column| StructField::new(column.name, data_type(column.kind), column.nullable))
        .collect()
}

fn data_type(kind: Type) -> DataType {
    let primitive = DataType::Primitive;
    let list = |items| DataType::Array(Box::new(ArrayType::new(primitive(items), true)));
    let map = |values| {
        DataType::Map(Box::new(MapType::new(primitive(PrimitiveType::String), primitive(values), true)))
    };
    match kind {
        Type::Text => primitive(PrimitiveType::String),
        Type::NodeId | Type::Bytes => primitive(PrimitiveType::Binary),
        Type::Bool => primitive(PrimitiveType::Boolean),
        Type::Int32 => primitive(PrimitiveType::Integer),
        Type::Int64 => primitive(PrimitiveType::Long),
        Type::Float64 => primitive(PrimitiveType::Double),
        Type::Timestamp => primitive(PrimitiveType::Timestamp),
        Type::TextList => list(PrimitiveType::String),
        Type::IntList => list(PrimitiveType::Long),
        Type::TextMap => map(PrimitiveType::String),
        Type::IntMap => map(PrimitiveType::Long),
        Type::FloatMap => map(PrimitiveType::Double),
    }
}

/// Values of the partition columns, by name.
pub type Partition = Vec<(String, Option<String>)>;

/// A partition column and its value, as Delta's log writes it.
pub fn partition_value(column: &str, value: &impl ToString) -> (String, Option<String>) {
    (column.to_owned(), Some(value.to_string()))
}
