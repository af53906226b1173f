//! Two profiles, node by node: what the second one gained, lost and does more or less often.

mod change;
mod eligible;

use datafusion::common::ScalarValue;
use datafusion::error::Result;
use datafusion::prelude::SessionContext;
use wsp_schemas::image::Workload;

use crate::rows::Reader;
use crate::views;
pub(crate) use change::{Change, Kind, Seen};
use eligible::Eligible;

const NODES: &str = include_str!("nodes.sql");
const SNAPSHOTS: &str = include_str!("snapshots.sql");

/// A change in commonality below this share is not worth showing, unless chance alone would hardly bring it.
pub(crate) const MIN_CHANGE: f64 = 0.2;

/// One of the two profiles.
pub(crate) struct Side {
    pub(crate) workload: Workload,
    pub(crate) revision: i32,
    eligible: Eligible,
}

/// One node, with what both profiles say of it.
pub(crate) struct Node {
    pub(crate) id: String,
    pub(crate) parent: Option<String>,
    pub(crate) kind: String,
    pub(crate) target: String,
    pub(crate) exe: Option<String>,
    pub(crate) root_kind: Option<String>,
    pub(crate) a: Seen,
    pub(crate) b: Seen,
    /// None where both agree.
    pub(crate) change: Option<Change>,
}

impl Side {
    pub(crate) async fn open(context: &SessionContext, workload: Workload, revision: i32) -> Result<Self> {
        let parameters = vec![
            ("name", ScalarValue::from(workload.name())),
            ("tag", ScalarValue::from(workload.tag())),
            ("revision", ScalarValue::from(revision)),
        ];
        let frame = views::query(context, SNAPSHOTS).await?.with_param_values(parameters)?;
        let eligible = Eligible::of(&frame.collect().await?);
        Ok(Self { workload, revision, eligible })
    }

    /// Whether any of its containers could have shown a node of a kind.
    pub(crate) fn could_show(&self, kind: &str) -> bool {
        self.eligible.containers(kind, false) > 0
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

/// All nodes of either profile, by kind and target.
pub(crate) async fn compare(
    context: &SessionContext,
    a: &Side,
    b: &Side,
    min_change: f64,
) -> Result<Vec<Node>> {
    let parameters = vec![
        ("name_a", ScalarValue::from(a.workload.name())),
        ("tag_a", ScalarValue::from(a.workload.tag())),
        ("revision_a", ScalarValue::from(a.revision)),
        ("name_b", ScalarValue::from(b.workload.name())),
        ("tag_b", ScalarValue::from(b.workload.tag())),
        ("revision_b", ScalarValue::from(b.revision)),
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
