//! `wsp diff`: two profiles, node by node.

mod change;
mod eligible;
mod report;
mod rows;

use arrow::array::RecordBatch;
use datafusion::common::ScalarValue;
use datafusion::prelude::SessionContext;
use wsp_schemas::image::Workload;

use super::output::{Format, print, say};
use super::profile::find;
use super::show::parse_share;
use super::{Ending, Failure, StoreArgs};
use crate::rows::Reader;
use crate::views;
use change::{Change, Seen};
use eligible::Eligible;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The first profile, as in nginx:1.25
    #[arg(value_name = "IMAGE:TAG-A")]
    first: String,
    /// The second one [default: the first, with --revisions]
    #[arg(value_name = "IMAGE:TAG-B", required_unless_present = "revisions")]
    second: Option<String>,
    #[command(flatten)]
    store: StoreArgs,
    /// Compare these revisions [default: the newest of each]
    #[arg(long, value_name = "A,B", value_parser = parse_revisions)]
    revisions: Option<(i32, i32)>,
    /// Show commonalities that differ by at least this share, or with p below 0.01
    #[arg(long, value_name = "SHARE", default_value_t = 0.2, value_parser = parse_share)]
    min_change: f64,
    /// Nodes shown under one process, in a table; 0 for all
    #[arg(long, value_name = "N", default_value_t = 25)]
    limit: usize,
    /// Form of the output; all but the table have one row a node that differs
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

const NODES: &str = include_str!("nodes.sql");
const SNAPSHOTS: &str = include_str!("snapshots.sql");

/// One of the two profiles.
struct Side {
    workload: Workload,
    /// Its row of the view `profiles`.
    head: RecordBatch,
    eligible: Eligible,
}

/// One node, with what both profiles say of it.
struct Node {
    id: String,
    parent: Option<String>,
    kind: String,
    target: String,
    exe: Option<String>,
    root_kind: Option<String>,
    a: Seen,
    b: Seen,
    /// None where both agree.
    change: Option<Change>,
}

pub(super) async fn run(args: Args) -> Result<Ending, Failure> {
    let first = Workload::parse(&args.first).map_err(Failure::new)?;
    let second = args.second.as_deref().map_or_else(|| Ok(first.clone()), Workload::parse);
    let second = second.map_err(Failure::new)?;
    let (revision_a, revision_b) = args.revisions.unzip();
    let store = args.store.open()?;
    let context = views::open(&store).await?;
    let a = Side::open(&context, first, revision_a).await?;
    let b = Side::open(&context, second, revision_b).await?;
    if a.workload == b.workload && a.revision() == b.revision() {
        return Err(Failure::new(format!(
            "both are revision {} of the profile {}: there is nothing to compare",
            a.revision(),
            a.workload
        ))
        .hint("name another image, or two of its revisions, as in --revisions 1,2"));
    }
    let nodes = compare(&context, &a, &b, args.min_change).await?;
    if args.format == Format::Table {
        say(&report::text(&a, &b, &nodes, args.limit))?;
    } else {
        let batch = rows::batch(&nodes)?;
        print(&batch.schema(), std::slice::from_ref(&batch), args.format)?;
    }
    Ok(Ending::Done)
}

fn parse_revisions(text: &str) -> Result<(i32, i32), String> {
    let number = |text: &str| text.trim().parse().ok().filter(|number: &i32| *number > 0);
    text.split_once(',')
        .and_then(|(a, b)| Some((number(a)?, number(b)?)))
        .ok_or_else(|| "two revisions are numbers with a comma between them, as in 1,2".to_owned())
}

impl Side {
    async fn open(
        context: &SessionContext,
        workload: Workload,
        revision: Option<i32>,
    ) -> Result<Self, Failure> {
        let head = find(context, &workload, revision).await?;
        let parameters = vec![
            ("name", ScalarValue::from(workload.name())),
            ("tag", ScalarValue::from(workload.tag())),
            ("revision", ScalarValue::Int32(Reader::new(&head).int32("revision", 0))),
        ];
        let frame = views::query(context, SNAPSHOTS).await?.with_param_values(parameters)?;
        let eligible = Eligible::of(&frame.collect().await?);
        Ok(Self { workload, head, eligible })
    }

    fn count(&self, name: &str) -> i32 {
        Reader::new(&self.head).int32(name, 0).unwrap_or_default()
    }

    fn revision(&self) -> i32 {
        self.count("revision")
    }

    /// What this profile saw of a node of a joined row; `other_startup` is how the other one saw it.
    fn seen(&self, read: &Reader<'_>, row: usize, side: &Columns, kind: &str, other_startup: bool) -> Seen {
        let count = |name: &str| read.int32(name, row).and_then(|n| u32::try_from(n).ok());
        if read.bool(side.present, row) == Some(true) {
            let (n, total) = (count(side.containers), count(side.eligible));
            Seen { present: true, n: n.unwrap_or_default(), total: total.unwrap_or_default() }
        } else {
            Seen { present: false, n: 0, total: self.eligible.containers(kind, other_startup) }
        }
    }
}

/// Names of one side's columns in a joined row.
struct Columns {
    present: &'static str,
    phase: &'static str,
    containers: &'static str,
    eligible: &'static str,
}

const A: Columns =
    Columns { present: "in_a", phase: "phase_a", containers: "containers_a", eligible: "eligible_a" };
const B: Columns =
    Columns { present: "in_b", phase: "phase_b", containers: "containers_b", eligible: "eligible_b" };

/// All nodes of either profile.
async fn compare(
    context: &SessionContext,
    a: &Side,
    b: &Side,
    min_change: f64,
) -> Result<Vec<Node>, Failure> {
    let parameters = vec![
        ("name_a", ScalarValue::from(a.workload.name())),
        ("tag_a", ScalarValue::from(a.workload.tag())),
        ("revision_a", ScalarValue::Int32(Some(a.revision()))),
        ("name_b", ScalarValue::from(b.workload.name())),
        ("tag_b", ScalarValue::from(b.workload.tag())),
        ("revision_b", ScalarValue::Int32(Some(b.revision()))),
    ];
    let frame = views::query(context, NODES).await?.with_param_values(parameters)?;
    let mut nodes = Vec::new();
    for batch in frame.collect().await? {
        let read = Reader::new(&batch);
        nodes.extend((0..batch.num_rows()).map(|row| {
            let text = |name: &str| read.text(name, row).map(str::to_owned);
            let startup = |side: &Columns| read.text(side.phase, row) == Some("startup");
            let kind = text("kind").unwrap_or_default();
            let seen_a = a.seen(&read, row, &A, &kind, startup(&B));
            let seen_b = b.seen(&read, row, &B, &kind, startup(&A));
            Node {
                id: text("node_id").unwrap_or_default(),
                parent: text("parent_id"),
                target: text("target").unwrap_or_default(),
                exe: text("exe"),
                root_kind: text("root_kind"),
                a: seen_a,
                b: seen_b,
                change: Change::between(seen_a, seen_b, min_change),
                kind,
            }
        }));
    }
    // A join gives no order.
    nodes.sort_by(|x, y| (&x.kind, &x.target, &x.id).cmp(&(&y.kind, &y.target, &y.id)));
    Ok(nodes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn revisions_are_two_numbers() {
        assert_eq!(parse_revisions("1,2"), Ok((1, 2)));
        for text in ["", "1", "1,", "0,1", "1,2,3", "a,b", "-1,2"] {
            assert!(parse_revisions(text).unwrap_err().contains("as in 1,2"), "{text}");
        }
    }
}
