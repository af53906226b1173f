//! Node rows: counted sighting by sighting.

use std::collections::{BTreeMap, BTreeSet};

use chrono::TimeDelta;
use wsp_schemas::snapshot::{Completeness, STARTUP, SnapshotMeta, Verified};
use wsp_schemas::tables::{PROFILE_NODES, SNAPSHOT};

use super::stats::{fisher, float, wilson};
use crate::delta::Tables;
use crate::value::{self, Row, Value, cell_of};

/// Columns that both files and profiles have, and that are merged instead of kept from the first sighting.
const MERGED: [&str; 6] = ["node_id", "image_name", "image_tag", "phase", "lineage_complete", "events"];

struct Sighting<'a> {
    first_seen: i64,
    last_seen: i64,
    snapshot: &'a SnapshotMeta,
    ordinal: usize,
    row: Row,
}

/// The rows of a revision, unfolded, by node id.
pub(super) fn rows(place: &Row, admitted: &[Verified]) -> BTreeMap<Vec<u8>, Row> {
    let mut sightings: BTreeMap<Vec<u8>, Vec<Sighting<'_>>> = BTreeMap::new();
    for (ordinal, snapshot) in admitted.iter().enumerate() {
        let start = snapshot.meta.window_start.timestamp_micros();
        for row in value::rows(&snapshot.rows) {
            let time = |name: &str| start + cell_of(&row, name).int().unwrap_or_default() * 1000;
            let (first_seen, last_seen) = (time("first_seen_ms"), time("last_seen_ms"));
            let id = cell_of(&row, "node_id").bytes().unwrap_or_default().to_vec();
            let sighting = Sighting { first_seen, last_seen, snapshot: &snapshot.meta, ordinal, row };
            sightings.entry(id).or_default().push(sighting);
        }
    }
    sightings.into_iter().map(|(id, seen)| (id, merged(place, &seen, admitted))).collect()
}

fn merged(place: &Row, seen: &[Sighting<'_>], admitted: &[Verified]) -> Row {
    let mut row = place.clone();
    let Some(first) = seen.iter().min_by_key(|sighting| (sighting.first_seen, sighting.snapshot.id)) else {
        return row;
    };
    let kept = PROFILE_NODES.columns.iter().map(|column| column.name);
    for name in kept.filter(|name| SNAPSHOT.column(name).is_some() && !MERGED.contains(name)) {
        row.insert(name.to_owned(), cell_of(&first.row, name).clone());
    }
    let every = |name: &str, value: Value| seen.iter().all(|sighting| *cell_of(&sighting.row, name) == value);
    let startup = every("phase", "startup".into());
    let members: BTreeSet<usize> = seen.iter().map(|sighting| sighting.ordinal).collect();
    let events: i64 = seen.iter().filter_map(|sighting| cell_of(&sighting.row, "events").int()).sum();
    row.extend(super::row([
        ("node_id", cell_of(&first.row, "node_id").clone()),
        ("phase", if startup { "startup" } else { "steady" }.into()),
        ("lineage_complete", (!every("lineage_complete", false.into())).into()),
        ("members", Value::Bytes(bits(&members))),
        ("events", events.into()),
        ("first_seen", first.first_seen.into()),
        ("last_seen", seen.iter().map(|sighting| sighting.last_seen).max().into()),
        ("first_snapshot_id", first.snapshot.id.to_string().into()),
    ]));
    let kind = cell_of(&first.row, "kind").text().unwrap_or_default();
    row.extend(score(kind, startup, &members, admitted));
    row
}

/// A bitset as the table has it: little-endian, without trailing zeros.
fn bits(members: &BTreeSet<usize>) -> Vec<u8> {
    let mut bytes = vec![0_u8; members.last().map_or(0, |last| last / 8 + 1)];
    members.iter().for_each(|ordinal| bytes[ordinal / 8] |= 1 << (ordinal % 8));
    bytes
}

fn members_of(bytes: &[u8]) -> BTreeSet<usize> {
    (0..bytes.len() * 8).filter(|ordinal| bytes[ordinal / 8] >> (ordinal % 8) & 1 == 1).collect()
}

/// Containers in the order of their first snapshot.
pub(super) fn containers(admitted: &[Verified]) -> Vec<(&str, &str)> {
    let mut found = Vec::new();
    for snapshot in admitted {
        let container = container(&snapshot.meta);
        if !found.contains(&container) {
            found.push(container);
        }
    }
    found
}

fn container(meta: &SnapshotMeta) -> (&str, &str) {
    (&meta.host, &meta.container.id)
}

/// Nothing of the kind was lost, and its sensor was live.
pub(super) fn lossless(meta: &SnapshotMeta, kind: &str) -> bool {
    meta.completeness.get(kind).is_some_and(|state| *state != Completeness::Lossy)
}

/// Counts and flags of a node that some snapshots have.
fn score(kind: &str, startup: bool, members: &BTreeSet<usize>, admitted: &[Verified]) -> Row {
    let all = containers(admitted);
    let position = |meta: &SnapshotMeta| all.iter().position(|one| *one == container(meta)).unwrap_or(0);
    let metas: Vec<&SnapshotMeta> = admitted.iter().map(|snapshot| &snapshot.meta).collect();
    // Containers that could have shown it, by position; and their snapshots that could have.
    let eligible: BTreeSet<usize> = metas
        .iter()
        .filter(|meta| lossless(meta, kind) && (!startup || meta.covers_start))
        .map(|meta| position(meta))
        .collect();
    let reaches = |meta: &SnapshotMeta| {
        let end = TimeDelta::from_std(STARTUP).unwrap_or_default();
        meta.covers_start || meta.container.started.is_some_and(|start| meta.window_start < start + end)
    };
    let could: BTreeSet<usize> = (0..metas.len())
        .filter(|at| {
            let meta = metas[*at];
            lossless(meta, kind) && eligible.contains(&position(meta)) && (!startup || reaches(meta))
        })
        .collect();

    let shown: Vec<&SnapshotMeta> = members.intersection(&could).map(|at| metas[*at]).collect();
    let having: BTreeSet<usize> = shown.iter().map(|meta| position(meta)).collect();
    let hosts: BTreeSet<&str> = shown.iter().map(|meta| meta.host.as_str()).collect();
    let anywhere: BTreeSet<usize> = members.iter().map(|at| position(metas[*at])).collect();
    let (n, total) = (having.len(), eligible.len());

    // The middle one of an odd number of containers is in the first half.
    let half = all.len().div_ceil(2);
    let before = |set: &BTreeSet<usize>| set.iter().filter(|at| **at < half).count();
    let interval = wilson(n, total);
    let stable = interval.filter(|_| total >= 6).map(|(low, high)| {
        let (first, first_all) = (before(&having), before(&eligible));
        (high - low) / 2.0 <= 0.1 && fisher(first, first_all, n - first, total - first_all) >= 0.01
    });
    let late = (all.len() >= 5)
        .then(|| anywhere.first().is_some_and(|first| float(*first) / float(all.len()) >= 0.75));
    let share = |n: usize, all: usize| (all > 0).then(|| float(n) / float(all));
    super::row([
        ("snapshot_count", shown.len().into()),
        ("container_count", n.into()),
        ("host_count", hosts.len().into()),
        ("eligible_containers", total.into()),
        ("commonality", share(n, total).into()),
        ("commonality_low", interval.map(|(low, _)| low).into()),
        ("commonality_high", interval.map(|(_, high)| high).into()),
        ("snapshot_commonality", share(shown.len(), could.len()).into()),
        ("lossy_count", members.iter().filter(|at| !lossless(metas[**at], kind)).count().into()),
        ("stable", stable.into()),
        ("rare", (anywhere.len() == 1 && all.len() > 1).into()),
        ("late", late.into()),
    ])
}

/// Takes over what the merge folded: `collapsed_into` of ordinary rows, and the pattern rows, whose members and scores must
/// follow from the rows that are folded into them.
pub(super) fn folded(
    mut rows: BTreeMap<Vec<u8>, Row>,
    found: &Tables,
    place: &Row,
    admitted: &[Verified],
) -> Result<Vec<Row>, String> {
    let mut patterns = Vec::new();
    let is_mine = |row: &&Row| {
        ["workload_key", "revision"].iter().all(|name| cell_of(row, name) == cell_of(place, name))
    };
    let mine = || found.nodes.iter().filter(is_mine);
    for row in mine().filter(|row| *cell_of(row, "pattern") == Value::Null) {
        if let Some(row_of_ours) = rows.get_mut(cell_of(row, "node_id").bytes().unwrap_or_default()) {
            row_of_ours.insert("collapsed_into".to_owned(), cell_of(row, "collapsed_into").clone());
        }
    }
    for pattern in mine().filter(|row| *cell_of(row, "pattern") != Value::Null) {
        let id = cell_of(pattern, "node_id");
        let inside: Vec<&Row> = rows.values().filter(|row| cell_of(row, "collapsed_into") == id).collect();
        if inside.is_empty() {
            return Err(format!("nothing is folded into the pattern {id}"));
        }
        let members: BTreeSet<usize> = inside
            .iter()
            .flat_map(|row| members_of(cell_of(row, "members").bytes().unwrap_or_default()))
            .collect();
        let startup = inside.iter().all(|row| cell_of(row, "phase").text() == Some("startup"));
        let kind = cell_of(pattern, "kind").text().unwrap_or_default();
        let mut row = pattern.clone();
        row.insert("members".to_owned(), Value::Bytes(bits(&members)));
        row.extend(score(kind, startup, &members, admitted));
        patterns.push(row);
    }
    let ids: BTreeSet<&[u8]> =
        patterns.iter().filter_map(|pattern| cell_of(pattern, "node_id").bytes()).collect();
    if let Some(row) =
        rows.values().find(|row| cell_of(row, "collapsed_into").bytes().is_some_and(|id| !ids.contains(id)))
    {
        return Err(format!("{} is folded into a pattern that is not there", cell_of(row, "node_id")));
    }
    Ok(rows.into_values().chain(patterns).collect())
}
