//! The row of a profile revision, from its snapshots and its node rows.

use std::collections::{BTreeMap, BTreeSet};

use wsp_schemas::identity::Kind;
use wsp_schemas::paths::RULES_VERSION;

use super::stats::{coverage, float, jaccard};
use super::{Revision, nodes};
use crate::value::{Row, Value, cell_of};

/// Numbers of nodes count what is not folded into another one.
pub(super) fn row_of(place: &Row, revision: &Revision, rows: &[Row]) -> Row {
    let metas = || revision.admitted.iter().map(|snapshot| &snapshot.meta);
    let shown: Vec<&Row> = rows.iter().filter(|row| *cell_of(row, "collapsed_into") == Value::Null).collect();
    let count = |row: &Row, name: &str| -> usize {
        cell_of(row, name).int().and_then(|n| usize::try_from(n).ok()).unwrap_or_default()
    };
    let mut by_kind: BTreeMap<String, Vec<(usize, usize)>> = BTreeMap::new();
    for row in &shown {
        let kind = cell_of(row, "kind").text().unwrap_or_default().to_owned();
        by_kind
            .entry(kind)
            .or_default()
            .push((count(row, "container_count"), count(row, "eligible_containers")));
    }
    let all: Vec<(usize, usize)> = by_kind.values().flatten().copied().collect();
    let containers = nodes::containers(&revision.admitted);
    let hosts: BTreeSet<&str> = metas().map(|meta| meta.host.as_str()).collect();
    let digests: BTreeSet<&str> = metas().filter_map(|meta| meta.image.digest.as_deref()).collect();
    let live = |kind: &&str| metas().any(|meta| meta.completeness.contains_key(*kind));
    let completeness = Kind::ALL.into_iter().map(Kind::as_str).filter(live).map(|kind| {
        let whole: BTreeSet<(&str, &str)> = metas()
            .filter(|meta| nodes::lossless(meta, kind))
            .map(|meta| (meta.host.as_str(), meta.container.id.as_str()))
            .collect();
        (kind.to_owned(), (float(whole.len()) / float(containers.len())).into())
    });
    let incidences: Vec<usize> = all.iter().map(|(n, _)| *n).collect();
    let estimate = coverage(&incidences, containers.len());
    let similar =
        by_kind.iter().filter_map(|(kind, nodes)| Some((kind.clone(), jaccard(nodes)?.into()))).collect();
    let mut row = place.clone();
    row.extend(super::row([
        ("stable_reason", revision.frozen.map(|(reason, _)| reason).into()),
        ("stable_at", revision.frozen.map(|(_, at)| at).into()),
        ("digests", Value::List(digests.iter().map(|digest| (*digest).into()).collect())),
        ("tag_reused", (digests.len() > 1).into()),
        ("snapshot_count", revision.admitted.len().into()),
        ("container_count", containers.len().into()),
        ("host_count", hosts.len().into()),
        ("first_window_start", metas().next().map(|first| first.window_start).into()),
        ("last_window_end", revision.last_end().into()),
        ("nodes", shown.len().into()),
        (
            "nodes_by_kind",
            Value::Map(by_kind.iter().map(|(kind, nodes)| (kind.clone(), nodes.len().into())).collect()),
        ),
        ("commonality", jaccard(&all).into()),
        ("commonality_by_kind", Value::Map(similar)),
        ("coverage", estimate.map(|(coverage, _)| coverage).into()),
        ("expected_novel_nodes", estimate.map(|(_, novel)| novel).into()),
        ("completeness", Value::Map(completeness.collect())),
        ("path_rules", RULES_VERSION.into()),
        ("batch", revision.changed.0.into()),
        ("updated_at", revision.changed.1.into()),
    ]));
    row
}
