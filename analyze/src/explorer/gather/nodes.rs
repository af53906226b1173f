//! Nodes of one profile.

use std::sync::LazyLock;

use arrow::array::RecordBatch;
use arrow::array::{Array as _, AsArray as _};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use wsp_schemas::image::WorkloadKey;
use wsp_schemas::tables::PROFILE_NODES;

use super::curve::{Point, curve};
use super::{Gatherer, Row, of};
use crate::explorer::ExplorerError;
use crate::explorer::contract::{Attribute, CurvePoint, Halves, Node, NodeSummary, Profile};
use crate::jobs::merge::{Course, Earlier, Scorer};
use crate::node::{Identity, target};
use crate::rows::Reader;
use crate::stats::fisher_exact;

const NODES: &str = include_str!("nodes.sql");

/// Nodes of a page; patterns come first, so that it is what stands behind them that is left out.
const MOST: usize = 50_000;
/// Containers below which halves say nothing.
const HALVES_FROM: u32 = 6;
/// Columns that the contract has by themselves.
const FIRST_ATTRIBUTE: i32 = 30;
const AFTER_ATTRIBUTES: i32 = 100;

/// Names of the columns that people read as attributes: as in the snapshot file, without identity and place in the tree.
static ATTRIBUTES: LazyLock<Vec<&'static str>> = LazyLock::new(|| {
    let columns = PROFILE_NODES.columns.iter();
    let attributes = columns.filter(|column| (FIRST_ATTRIBUTE..AFTER_ATTRIBUTES).contains(&column.id));
    attributes.map(|column| column.name).filter(|name| *name != "root_kind").collect()
});

/// The nodes of a page, and what follows from their members.
pub(super) struct Nodes {
    pub(super) nodes: Vec<Node>,
    pub(super) left_out: usize,
    pub(super) curve: Vec<CurvePoint>,
}

impl Gatherer {
    /// The nodes of a profile.
    pub(super) async fn nodes(&self, profile: &Profile) -> Result<Nodes, ExplorerError> {
        let found = self.query(NODES, of(profile)).await?;
        let course = match (WorkloadKey::parse(&profile.key), &self.ledger) {
            (Some(key), Some(ledger)) => Some(Course::read(ledger, key, profile.revision).await?),
            _ => None,
        };
        let now = course.as_ref().map(|course| course.first(u32::MAX));
        let mut scorer = now.as_ref().map(Earlier::scorer);
        let (mut nodes, mut points) = (Vec::new(), Vec::new());
        for batch in &found {
            points.extend(read_points(batch));
            let shown = batch.slice(0, batch.num_rows().min(MOST - nodes.len()));
            read_nodes(&shown, scorer.as_mut(), &mut nodes)?;
        }
        let left_out = found.iter().map(RecordBatch::num_rows).sum::<usize>() - nodes.len();
        let curve = course.map(|course| curve(&course, &points)).unwrap_or_default();
        Ok(Nodes { nodes, left_out, curve })
    }
}

/// What a curve is made of.
fn read_points(batch: &RecordBatch) -> Vec<Point> {
    let read = Reader::new(batch);
    let is_shown = |row: &usize| read.bytes("collapsed_into", *row).is_none();
    let point = |row: usize| {
        let row = Row { read: &read, row };
        Some(Point { kind: row.kind()?, is_startup: row.is_startup(), members: row.members()? })
    };
    (0..batch.num_rows()).filter(is_shown).filter_map(point).collect()
}

fn read_nodes(
    batch: &RecordBatch,
    mut scorer: Option<&mut Scorer<'_>>,
    nodes: &mut Vec<Node>,
) -> Result<(), ExplorerError> {
    let read = Reader::new(batch);
    let options = FormatOptions::new();
    let attributes = attributes(batch, &options)?;
    for row in 0..batch.num_rows() {
        let of = |formatters: &[(&str, Values<'_>)]| {
            let all = formatters.iter().map(|(name, values)| (*name, values.at(row)));
            let known = all.filter(|(_, values)| !values.is_empty());
            known.map(|(name, values)| Attribute { name: name.to_owned(), values }).collect()
        };
        let mut node = node(Row { read: &read, row }, of(&attributes));
        if let Some(scorer) = scorer.as_deref_mut() {
            node.halves = halves(scorer, Row { read: &read, row });
        }
        nodes.push(node);
    }
    Ok(())
}

fn node(row: Row<'_>, attributes: Vec<Attribute>) -> Node {
    let id = |name: &str| row.read.bytes(name, row.row).map(hex);
    let identity = row.kind().map(|kind| {
        let is_shebang = row.flag("shebang") == Some(true);
        Identity::read(kind, |name| row.read.text(name, row.row), is_shebang, row.read.int32("port", row.row))
    });
    let summary = summary(
        row,
        id("node_id").unwrap_or_default(),
        id("parent_id"),
        identity.as_ref().map(target).unwrap_or_default(),
    );
    Node {
        summary,
        exe: row.text("exe"),
        low: row.share("commonality_low"),
        high: row.share("commonality_high"),
        snapshots: row.int("snapshot_count"),
        snapshot_commonality: row.share("snapshot_commonality"),
        hosts: row.int("host_count"),
        lossy: row.int("lossy_count"),
        lineage_complete: row.flag("lineage_complete") == Some(true),
        events: row.long("events"),
        first_seen: row.time("first_seen"),
        last_seen: row.time("last_seen"),
        members: BASE64.encode(row.read.bytes("members", row.row).unwrap_or_default()),
        halves: None,
        collapsed_nodes: row.read.int32("collapsed_nodes", row.row),
        collapsed_into: id("collapsed_into"),
        attributes,
    }
}

/// What rows of nodes say in every view and table; ids and text stand in them in several forms.
pub(super) fn summary(row: Row<'_>, id: String, parent: Option<String>, target: String) -> NodeSummary {
    NodeSummary {
        id,
        parent,
        kind: row.word("kind"),
        target,
        root_kind: row.text("root_kind"),
        commonality: row.share("commonality"),
        containers: row.int("container_count"),
        eligible: row.int("eligible_containers"),
        phase: row.word("phase"),
        stable: row.flag("stable"),
        rare: row.flag("rare") == Some(true),
        late: row.flag("late"),
        pattern: row.text("pattern"),
    }
}

/// How many containers of both halves have a node: what its flag `stable` looks at.
fn halves(scorer: &mut Scorer<'_>, row: Row<'_>) -> Option<Halves> {
    let score = scorer.score(row.kind()?, row.is_startup(), &row.members()?)?;
    let (first, first_of) = score.first_half;
    let (second, second_of) = (score.container_count - first, score.eligible_containers - first_of);
    (score.eligible_containers >= HALVES_FROM).then(|| Halves {
        first,
        first_of,
        second,
        second_of,
        p: fisher_exact(first, first_of, second, second_of),
    })
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Values of a column as texts.
enum Values<'a> {
    One(ArrayFormatter<'a>, &'a dyn arrow::array::Array),
    List(ArrayFormatter<'a>, &'a arrow::array::ListArray),
}

impl Values<'_> {
    fn at(&self, row: usize) -> Vec<String> {
        match self {
            Self::One(texts, column) if column.is_valid(row) => vec![texts.value(row).to_string()],
            Self::List(texts, list) if list.is_valid(row) => {
                let offsets = list.value_offsets();
                let items = offsets[row]..offsets[row + 1];
                items.filter_map(|at| Some(texts.value(usize::try_from(at).ok()?).to_string())).collect()
            }
            _ => Vec::new(),
        }
    }
}

fn attributes<'a>(
    batch: &'a RecordBatch,
    options: &'a FormatOptions<'a>,
) -> Result<Vec<(&'static str, Values<'a>)>, ExplorerError> {
    let named = ATTRIBUTES.iter().filter_map(|name| Some((*name, batch.column_by_name(name)?)));
    named
        .map(|(name, column)| {
            let values = match column.as_list_opt::<i32>() {
                Some(list) => Values::List(ArrayFormatter::try_new(list.values(), options)?, list),
                None => Values::One(ArrayFormatter::try_new(column, options)?, column),
            };
            Ok((name, values))
        })
        .collect::<Result<_, arrow::error::ArrowError>>()
        .map_err(ExplorerError::from)
}
