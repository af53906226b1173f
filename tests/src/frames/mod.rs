//! What merges must make of the snapshots that they admitted, as dataframe queries: the second oracle.
//!
//! Which snapshots were admitted, in which order, is taken from the ledger; the other oracle computes that. Everything else
//! comes from the snapshot files, read by polars' own Parquet reader, and every count, flag and score is a polars expression.
//! Which rows were folded into which pattern is taken from the tables, too; what patterns must then be is computed.

mod nodes;
mod profiles;
mod read;
mod rows;
mod stats;

use std::collections::HashMap;

use bytes::Bytes;
use polars::prelude::{Expr, IntoLazy, JoinArgs, JoinType, LazyFrame, PolarsResult, UnionArgs, col, concat};

use crate::delta::{Tables, node_key, profile_key};
use crate::value::{Row, Value, cell_of, differences};

/// What the tables must say beside the ledger.
#[derive(Debug, Default)]
pub struct Expected {
    nodes: Vec<Row>,
    patterns: Vec<Row>,
    profiles: Vec<Row>,
}

impl Expected {
    /// From what the tables of a store say was admitted and folded. `objects`: at least those that were admitted, by key.
    pub fn of(found: &Tables, objects: &HashMap<String, Bytes>) -> PolarsResult<Self> {
        if !found.ledger.iter().any(|row| cell_of(row, "outcome").text() == Some("admitted")) {
            // Without a file there are no columns to compute with.
            return Ok(Self::default());
        }
        let admitted = read::Admitted::read(&found.ledger, objects)?;
        let made = nodes::make(&admitted, &read::folds(&found.nodes)?)?;
        Ok(Self {
            profiles: profiles::rows(&admitted, &made)?,
            nodes: rows::of(&made.nodes)?,
            patterns: rows::of(&made.patterns)?,
        })
    }

    /// Where tables differ from that, for people: workload, node and column; none where they do not.
    pub fn differences(&self, found: &Tables) -> Option<String> {
        let is_pattern = |row: &&Row| *cell_of(row, "pattern") != Value::Null;
        let (patterns, nodes): (Vec<&Row>, Vec<&Row>) = found.nodes.iter().partition(is_pattern);
        let [nodes, patterns] =
            [nodes, patterns].map(|rows| -> Vec<Row> { rows.into_iter().map(with_ordinals).collect() });
        let all = [
            compare("profile_nodes", &self.nodes, &nodes, node_key),
            // What a pattern is called stands in the tables alone.
            compare("profile_nodes, patterns", &self.patterns, &patterns, |row| {
                format!("{} {}", profile_key(row), cell_of(row, "node_id"))
            }),
            compare("profiles", &self.profiles, &found.profiles, profile_key),
        ];
        let all: Vec<String> = all.into_iter().flatten().collect();
        (!all.is_empty()).then(|| all.concat())
    }
}

/// Compares the columns that were computed.
fn compare(table: &str, expected: &[Row], found: &[Row], key: impl Fn(&Row) -> String) -> Option<String> {
    let computed = expected.first().map(|row| row.keys().cloned().collect::<Vec<_>>()).unwrap_or_default();
    let others: Vec<&str> = found
        .first()
        .into_iter()
        .flat_map(|row| row.keys())
        .filter(|name| !computed.contains(*name))
        .map(String::as_str)
        .collect();
    differences(table, expected, found, key, &others)
}

/// The row with its members as the list of their ordinals.
fn with_ordinals(row: &Row) -> Row {
    let mut row = row.clone();
    if let Some(bytes) = cell_of(&row, "members").bytes() {
        let ordinals = (0..bytes.len() * 8).filter(|at| bytes[at / 8] & (1 << (at % 8)) != 0);
        let ordinals = Value::List(ordinals.map(Value::from).collect());
        row.insert("members".to_owned(), ordinals);
    }
    row
}

/// What names a profile revision.
const REVISION: [&str; 2] = ["workload_key", "revision"];

fn with<'a>(names: &[&'a str], more: &[&'a str]) -> Vec<&'a str> {
    names.iter().chain(more).copied().collect()
}

fn cols(names: &[&str]) -> Vec<Expr> {
    names.iter().map(|name| col(*name)).collect()
}

/// Joins by columns that both have.
fn join(left: LazyFrame, right: &LazyFrame, on: &[&str], how: JoinType) -> LazyFrame {
    left.join(right.clone(), cols(on), cols(on), JoinArgs::new(how))
}

/// Computes a frame that several queries go on from.
fn computed(frame: LazyFrame) -> PolarsResult<LazyFrame> {
    Ok(frame.collect()?.lazy())
}

fn stacked(frames: Vec<LazyFrame>) -> PolarsResult<LazyFrame> {
    concat(frames, UnionArgs::default())
}
