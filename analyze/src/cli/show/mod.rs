//! `wsp show`: one profile as people read it.

mod tree;

use arrow::array::{BooleanArray, RecordBatch};
use datafusion::common::ScalarValue;
use datafusion::prelude::SessionContext;
use wsp_schemas::image::Workload;
use wsp_schemas::text::for_display;

use super::output::{Format, print, say};
use super::profile::{find, status};
use super::{Ending, Failure, StoreArgs};
use crate::rows::Reader;
use crate::views;
use tree::{Node, Tree};

pub(super) use tree::Limits;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The image, as in nginx:1.25
    #[arg(value_name = "IMAGE:TAG")]
    image: String,
    #[command(flatten)]
    store: StoreArgs,
    /// Show this revision [default: the newest]
    #[arg(long, value_name = "N")]
    revision: Option<i32>,
    /// Leave out nodes below this commonality, from 0 to 1
    #[arg(long, value_name = "SHARE", default_value_t = 0.0, value_parser = parse_share)]
    min_commonality: f64,
    /// Files, names or connections shown under one process, in a table; 0 for all
    #[arg(long, value_name = "N", default_value_t = 25)]
    limit: usize,
    /// Form of the output; JSON and CSV have one row a node
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

const NODES: &str = include_str!("nodes.sql");
const LEGEND: &str = "\n
first column: commonality, containers that have it / could have shown it; – where none could
at start: only within 3 minutes of a container's start · rare: in one container · $: command lines of the first sighting
files: r read, w written, c created, l looked up · coverage: share of a next container's nodes that is known, from 3 containers on
";

pub(super) async fn run(args: Args) -> Result<Ending, Failure> {
    let store = args.store.open()?;
    let context = views::open(&store).await?;
    let workload = Workload::parse(&args.image).map_err(Failure::new)?;
    let limits = Limits { min_commonality: args.min_commonality, facts: args.limit };
    profile(&context, &workload, args.revision, &limits, args.format).await?;
    Ok(Ending::Done)
}

/// Shows one profile of an opened store.
pub(super) async fn profile(
    context: &SessionContext,
    workload: &Workload,
    revision: Option<i32>,
    limits: &Limits,
    format: Format,
) -> Result<(), Failure> {
    let head = find(context, workload, revision).await?;
    let head = Reader::new(&head);
    let parameters = vec![
        ("name", ScalarValue::from(workload.name())),
        ("tag", ScalarValue::from(workload.tag())),
        ("revision", ScalarValue::Int32(head.int32("revision", 0))),
    ];
    let frame = views::query(context, NODES).await?.with_param_values(parameters.clone())?;
    let schema = frame.schema().as_arrow().clone();
    let batches = frame.collect().await?;
    if format != Format::Table {
        let kept = batches
            .iter()
            .map(|batch| at_least(batch, limits.min_commonality))
            .collect::<Result<Vec<_>, _>>()?;
        return print(&schema, &kept, format);
    }
    let nodes = batches.iter().flat_map(|batch| {
        let read = Reader::new(batch);
        (0..batch.num_rows()).map(move |row| Node::read(&read, row)).collect::<Vec<_>>()
    });
    let late =
        views::query(context, views::AFTER_FREEZE).await?.with_param_values(parameters)?.collect().await?;
    say(&header(&head, workload, late.first().map(Reader::new).as_ref()))?;
    say(&Tree::new(nodes.collect()).render(limits))
}

/// Rows of at least that commonality.
fn at_least(batch: &RecordBatch, least: f64) -> Result<RecordBatch, arrow::error::ArrowError> {
    let read = Reader::new(batch);
    let keep = |row| least <= 0.0 || read.float("commonality", row).is_some_and(|share| share >= least);
    let keep: BooleanArray = (0..batch.num_rows()).map(|row| Some(keep(row))).collect();
    arrow::compute::filter_record_batch(batch, &keep)
}

pub(super) fn parse_share(text: &str) -> Result<f64, String> {
    let share: Option<f64> = text.parse().ok();
    share
        .filter(|share| (0.0..=1.0).contains(share))
        .ok_or_else(|| "a share is a number from 0 to 1".to_owned())
}

fn header(head: &Reader<'_>, workload: &Workload, late: Option<&Reader<'_>>) -> String {
    let count = |name: &str| head.int32(name, 0).unwrap_or_default();
    let share =
        |name: &str| head.float(name, 0).map_or_else(|| "unknown".to_owned(), |share| format!("{share:.2}"));
    let mut text = format!(
        "{}  revision {}, {}\nsnapshots {}, containers {}, hosts {}, nodes {}, commonality {}, coverage {}",
        for_display(&workload.to_string()),
        count("revision"),
        status(head),
        count("snapshot_count"),
        count("container_count"),
        count("host_count"),
        head.int64("nodes", 0).unwrap_or_default(),
        share("commonality"),
        share("coverage"),
    );
    if head.bool("tag_reused", 0) == Some(true) {
        text += "\nthe tag was reused: more than one image digest was seen under it";
    }
    if let Some(overflow) = head.int64("overflow", 0).filter(|overflow| *overflow > 0) {
        text += &format!("\nnot all nodes are kept: {overflow} sightings of siblings beyond --max-siblings");
    }
    let late = |name: &str| late.and_then(|late| late.int64(name, 0)).unwrap_or_default();
    if late("snapshots") > 0 {
        text += &format!(
            "\n{} snapshots of {} hours came after it was stable: not merged",
            late("snapshots"),
            late("hours")
        );
    }
    text + LEGEND
}
