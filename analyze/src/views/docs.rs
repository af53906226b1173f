//! The view `docs`, and `DESCRIBE`: what columns mean, their units and nulls, as `schemas` declares them.

use std::sync::Arc;

use arrow::array::{RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema};
use datafusion::catalog::TableProvider;
use datafusion::dataframe::DataFrame;
use datafusion::datasource::MemTable;
use datafusion::error::{DataFusionError, Result};
use datafusion::prelude::{SessionContext, col, lit};
use datafusion::sql::sqlparser::ast::ObjectName;
use wsp_schemas::table::Table;
use wsp_schemas::tables::{ACTIVITY, PROFILE_NODES, PROFILE_SNAPSHOTS, PROFILES, SIGNALS, SUPPRESSIONS};

use super::rules;

/// The table that a view is over.
const OVER: [(&str, &Table); 6] = [
    ("profiles", &PROFILES),
    ("nodes", &PROFILE_NODES),
    ("snapshots", &PROFILE_SNAPSHOTS),
    ("activity", &ACTIVITY),
    ("signals", &SIGNALS),
    ("suppressions", &SUPPRESSIONS),
];

/// Columns of views that are made of others, or say something else; of all views where none is named.
const MADE: [(Option<&str>, &str, &str); 11] = [
    (Some("suppressions"), "image", "Name and tag of the image, as far as `scope` names one."),
    (None, "image", "Name and tag of the image, as people write them: `docker.io/library/nginx:1.25`."),
    (Some("signals"), "target", "What the node is, in one text."),
    (
        None,
        "target",
        "What the node is, in one text: the executable or script of a process, path, DNS name and type, protocol with \
         address and port, system call or capability.",
    ),
    (
        None,
        "node_id",
        "Identity of the node, 32 hexadecimal digits; `node_key` gives the bytes that `raw` has.",
    ),
    (None, "parent_id", "Node id of the parent process, or of the process that did it; null at a root."),
    (None, "process_id", "Node id of the process that did it; null where it is not known."),
    (
        None,
        "profile_node_id",
        "Node of the profile that it was recognised as; null where the profile has none.",
    ),
    (
        None,
        "profile_process_id",
        "Process of the profile that it was recognised as; null where the profile has none.",
    ),
    (None, "snapshot_id", "Id of the snapshot (UUIDv7)."),
    (None, "bucket", "Partition of the tables: a hash of the workload."),
];

/// The columns of `docs` itself.
const OWN: [(&str, &str); 4] = [
    ("view", "Name of the view; `raw.NAME` is a table behind one."),
    ("column", "Name of the column."),
    ("type", "Type, in Arrow's words."),
    ("description", "What it is: unit, clock, and what null means."),
];

/// What a column of a view means.
fn description(view: &str, column: &str) -> Option<&'static str> {
    let listed = |columns: &[(&'static str, &'static str)]| {
        columns.iter().find(|(name, _)| *name == column).map(|(_, text)| *text)
    };
    match view {
        "rules" => return listed(&rules::COLUMNS),
        "docs" => return listed(&OWN),
        _ => {}
    }
    let made = MADE.iter().find(|(of, name, _)| *name == column && of.is_none_or(|of| of == view));
    let raw = view.strip_prefix("raw.");
    let table = OVER.iter().map(|(view, table)| (*view, *table)).find(|(name, _)| *name == view);
    let table = table
        .map(|(_, table)| table)
        .or_else(|| raw.and_then(|raw| wsp_schemas::tables::ALL.into_iter().find(|table| table.name == raw)));
    let declared = table.and_then(|table| table.column(column)).map(|column| column.doc);
    match raw {
        Some(_) => declared,
        None => made.map(|(_, _, text)| *text).or(declared),
    }
}

/// The rows of `docs`: one a column of each view, and of each table in `raw`.
pub(super) async fn table(context: &SessionContext) -> Result<Arc<dyn TableProvider>> {
    let mut rows: [Vec<String>; 4] = Default::default();
    let mut add = |view: &str, schema: &Schema| {
        for field in schema.fields() {
            rows[0].push(view.to_owned());
            rows[1].push(field.name().clone());
            rows[2].push(kind(field.data_type()));
            rows[3].push(description(view, field.name()).unwrap_or_default().to_owned());
        }
    };
    let schema = Arc::new(Schema::new(OWN.map(|(name, _)| Field::new(name, DataType::Utf8, false)).to_vec()));
    for (schema, prefix) in [("public", ""), ("raw", "raw.")] {
        let catalog = context.catalog("datafusion").and_then(|catalog| catalog.schema(schema));
        let Some(catalog) = catalog else { continue };
        let mut names = catalog.table_names();
        names.sort();
        for name in names {
            if let Some(table) = catalog.table(&name).await? {
                add(&format!("{prefix}{name}"), &table.schema());
            }
        }
    }
    add("docs", &schema);
    let columns = rows.map(|column| Arc::new(StringArray::from(column)) as _);
    let rows = RecordBatch::try_new(Arc::clone(&schema), columns.to_vec())?;
    Ok(Arc::new(MemTable::try_new(schema, vec![vec![rows]])?))
}

/// `DESCRIBE view`.
pub(super) async fn describe(context: &SessionContext, name: &ObjectName) -> Result<DataFrame> {
    let name = name.to_string().replace('"', "");
    let name = name.strip_prefix("public.").unwrap_or(&name).to_owned();
    if !context.table_exist(name.as_str())? {
        let views = context.catalog("datafusion").and_then(|catalog| catalog.schema("public"));
        let mut views = views.map(|views| views.table_names()).unwrap_or_default();
        views.sort();
        return Err(DataFusionError::Plan(format!(
            "there is no view `{name}`: there are {}",
            views.join(", ")
        )));
    }
    let docs = context.table("docs").await?.filter(col("view").eq(lit(name)))?;
    docs.select_columns(&["column", "type", "description"])
}

/// A type as people read it.
fn kind(kind: &DataType) -> String {
    match kind {
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => "text".to_owned(),
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView => "bytes".to_owned(),
        DataType::FixedSizeBinary(bytes) => format!("{bytes} bytes"),
        DataType::Timestamp(..) => "timestamp (UTC, microseconds)".to_owned(),
        DataType::List(item) | DataType::LargeList(item) => {
            format!("list of {}", self::kind(item.data_type()))
        }
        DataType::Map(entries, _) => match entries.data_type() {
            DataType::Struct(fields) if fields.len() == 2 => {
                format!("map of text to {}", self::kind(fields[1].data_type()))
            }
            other => other.to_string(),
        },
        DataType::Dictionary(_, values) => self::kind(values),
        other => other.to_string().to_lowercase(),
    }
}
