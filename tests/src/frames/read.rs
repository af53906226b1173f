//! Frames of what there is: the ledger's rows, the snapshot files, the folds.

use std::collections::HashMap;
use std::io::Cursor;

use bytes::Bytes;
use polars::df;
use polars::prelude::{
    DataFrame, DataType, Expr, IntoLazy, JoinType, LazyFrame, NULL, PolarsError, PolarsResult,
    UniqueKeepStrategy, col, lit,
};
use polars_io::SerReader;
use polars_io::parquet::read::ParquetReader;
use wsp_schemas::table::Type;
use wsp_schemas::tables::{PROFILE_NODES, SNAPSHOT};

use super::{REVISION, cols, computed, join, stacked, with};
use crate::value::{Row, Value, cell_of};

/// A startup node is first seen within this of the container's start.
const STARTUP_MICROS: i64 = 180_000_000;

/// Everything that was admitted.
pub(super) struct Admitted {
    /// A row a profile revision, with its name.
    pub(super) revisions: LazyFrame,
    /// A row an admitted snapshot, by ordinal.
    pub(super) snapshots: LazyFrame,
    /// A row a snapshot and kind whose sensor was live: `lossless`.
    pub(super) sensors: LazyFrame,
    /// A row a row of their files, as they are; with ordinal, and times in microseconds.
    pub(super) sightings: LazyFrame,
}

impl Admitted {
    /// Reads what the ledger names.
    pub(super) fn read(ledger: &[Row], objects: &HashMap<String, Bytes>) -> PolarsResult<Self> {
        let with_outcome = |outcomes: &'static [&str]| -> Vec<&Row> {
            let outcome =
                |row: &&Row| cell_of(row, "outcome").text().is_some_and(|is| outcomes.contains(&is));
            ledger.iter().filter(outcome).collect()
        };
        let admitted = with_outcome(&["admitted"]);
        let frozen = with_outcome(&["frozen"]);
        let named = with_outcome(&["admitted", "frozen", "opened"]);
        let frozen =
            named_frame(&frozen)?.lazy().select(cols(&REVISION)).with_column(lit("stable").alias("status"));
        let revisions = named_frame(&named)?.lazy().unique(None, UniqueKeepStrategy::Any);
        let revisions = join(revisions, &frozen, &REVISION, JoinType::Left)
            .with_column(col("status").fill_null(lit("learning")));
        let snapshots = snapshots(&admitted)?;
        let snapshots = snapshots.lazy().with_column(
            col("covers_start")
                .or((col("container_started") + lit(STARTUP_MICROS))
                    .gt(col("window_start"))
                    .fill_null(lit(false)))
                .alias("reaches_start"),
        );
        let snapshots = computed(snapshots)?;
        Ok(Self {
            sightings: computed(sightings(&admitted, objects, &snapshots)?)?,
            revisions: computed(revisions)?,
            snapshots,
            sensors: sensors(&admitted)?.lazy(),
        })
    }
}

fn text(row: &Row, column: &str) -> Option<String> {
    cell_of(row, column).text().map(str::to_owned)
}

fn texts(rows: &[&Row], column: &str) -> Vec<Option<String>> {
    rows.iter().map(|row| text(row, column)).collect()
}

fn ints(rows: &[&Row], column: &str) -> Vec<Option<i64>> {
    rows.iter().map(|row| cell_of(row, column).int()).collect()
}

/// The names of revisions, a row for every row of the ledger.
fn named_frame(rows: &[&Row]) -> PolarsResult<DataFrame> {
    df![
        "workload_key" => texts(rows, "workload_key"),
        "revision" => ints(rows, "revision"),
        "image_name" => texts(rows, "image_name"),
        "image_tag" => texts(rows, "image_tag"),
    ]
}

fn snapshots(rows: &[&Row]) -> PolarsResult<DataFrame> {
    // A container is one of its host.
    let containers: Vec<String> =
        rows.iter().map(|row| format!("{} {}", cell_of(row, "host"), cell_of(row, "container_id"))).collect();
    let covers: Vec<bool> =
        rows.iter().map(|row| *cell_of(row, "covers_start") == Value::Bool(true)).collect();
    df![
        "workload_key" => texts(rows, "workload_key"),
        "revision" => ints(rows, "revision"),
        "ordinal" => ints(rows, "ordinal"),
        "snapshot_id" => texts(rows, "snapshot_id"),
        "container" => containers,
        "host" => texts(rows, "host"),
        "digest" => texts(rows, "image_digest"),
        "covers_start" => covers,
        "container_started" => ints(rows, "container_started"),
        "window_start" => ints(rows, "window_start"),
        "window_end" => ints(rows, "window_end"),
    ]
}

fn sensors(rows: &[&Row]) -> PolarsResult<DataFrame> {
    let mut live: Vec<(&Row, String, bool)> = Vec::new();
    for row in rows {
        if let Value::Map(states) = cell_of(row, "completeness") {
            live.extend(
                states.iter().map(|(kind, state)| (*row, kind.clone(), state.text() != Some("lossy"))),
            );
        }
    }
    let rows: Vec<&Row> = live.iter().map(|(row, ..)| *row).collect();
    df![
        "workload_key" => texts(&rows, "workload_key"),
        "revision" => ints(&rows, "revision"),
        "ordinal" => ints(&rows, "ordinal"),
        "kind" => live.iter().map(|(_, kind, _)| kind.clone()).collect::<Vec<_>>(),
        "lossless" => live.iter().map(|(.., lossless)| *lossless).collect::<Vec<_>>(),
    ]
}

/// Columns that a node has from the file of its first sighting.
pub(super) fn attributes() -> Vec<&'static str> {
    const MERGED: [&str; 6] = ["node_id", "image_name", "image_tag", "phase", "lineage_complete", "events"];
    let columns = PROFILE_NODES.columns.iter().map(|column| column.name);
    columns.filter(|name| SNAPSHOT.column(name).is_some() && !MERGED.contains(name)).collect()
}

/// These columns of a file, which leaves out those of nulls.
fn whole(bytes: &Bytes, columns: &[String]) -> PolarsResult<LazyFrame> {
    let mut reader = ParquetReader::new(Cursor::new(bytes));
    let schema = reader.schema()?;
    let (there, absent): (Vec<String>, Vec<String>) =
        columns.iter().cloned().partition(|name| schema.contains(name));
    let nulls = absent.iter().map(|name| {
        let kind = SNAPSHOT.column(name).map_or(DataType::Null, |column| data_type(column.kind));
        lit(NULL).cast(kind).alias(name.as_str())
    });
    let nulls: Vec<Expr> = nulls.collect();
    let file = reader.with_columns(Some(there)).finish()?;
    // All in one order, so that they can be stacked.
    Ok(file
        .lazy()
        .with_columns(nulls)
        .select(columns.iter().map(|name| col(name.as_str())).collect::<Vec<_>>()))
}

/// What polars reads a column as.
fn data_type(kind: Type) -> DataType {
    match kind {
        Type::Text => DataType::String,
        Type::NodeId | Type::Bytes => DataType::Binary,
        Type::Bool => DataType::Boolean,
        Type::Int32 => DataType::Int32,
        Type::Int64 => DataType::Int64,
        Type::Float64 => DataType::Float64,
        Type::TextList => DataType::List(Box::new(DataType::String)),
        Type::IntList => DataType::List(Box::new(DataType::Int64)),
        // No attribute of a node is one of these.
        Type::Timestamp | Type::TextMap | Type::IntMap | Type::FloatMap => DataType::Null,
    }
}

fn sightings(
    rows: &[&Row],
    objects: &HashMap<String, Bytes>,
    snapshots: &LazyFrame,
) -> PolarsResult<LazyFrame> {
    const COUNTED: [&str; 6] =
        ["node_id", "phase", "lineage_complete", "events", "first_seen_ms", "last_seen_ms"];
    let columns: Vec<String> = with(&attributes(), &COUNTED).into_iter().map(str::to_owned).collect();
    let mut files = Vec::with_capacity(rows.len());
    for row in rows {
        let key = cell_of(row, "object_key").text().unwrap_or_default();
        let missing = || PolarsError::ComputeError(format!("{key} was admitted and is not there").into());
        let bytes = objects.get(key).ok_or_else(missing)?;
        files.push(whole(bytes, &columns)?.with_columns([
            lit(text(row, "workload_key").unwrap_or_default()).alias("workload_key"),
            lit(cell_of(row, "revision").int().unwrap_or_default()).alias("revision"),
            lit(cell_of(row, "ordinal").int().unwrap_or_default()).alias("ordinal"),
        ]));
    }
    // So that there are columns where nothing was admitted.
    let time = |name: &str| -> Expr { col("window_start") + col(name).cast(DataType::Int64) * lit(1000_i64) };
    let about = snapshots.clone().select(cols(&with(&REVISION, &["ordinal", "snapshot_id", "window_start"])));
    Ok(join(stacked(files)?, &about, &with(&REVISION, &["ordinal"]), JoinType::Inner).with_columns([
        time("first_seen_ms").alias("first_seen"),
        time("last_seen_ms").alias("last_seen"),
        col("phase").eq(lit("startup")).alias("startup"),
    ]))
}

/// Which node is folded into which pattern.
pub(super) fn folds(nodes: &[Row]) -> PolarsResult<LazyFrame> {
    let folded: Vec<&Row> =
        nodes.iter().filter(|row| *cell_of(row, "collapsed_into") != Value::Null).collect();
    let bytes = |name: &str| -> Vec<Vec<u8>> {
        folded.iter().map(|row| cell_of(row, name).bytes().unwrap_or_default().to_vec()).collect()
    };
    let frame = df![
        "workload_key" => texts(&folded, "workload_key"),
        "revision" => ints(&folded, "revision"),
        "node_id" => bytes("node_id"),
        "collapsed_into" => bytes("collapsed_into"),
    ]?;
    Ok(frame.lazy())
}
