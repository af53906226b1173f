//! One profile's page.

use std::collections::HashMap;

use datafusion::error::DataFusionError;
use wsp_schemas::image::{Workload, WorkloadKey};

use super::{Gatherer, Row, of, rfc3339, rows};
use crate::compare::{self, Change, MIN_CHANGE, compare};
use crate::explorer::ExplorerError;
use crate::explorer::contract::{Container, Diff, DiffNode, Profile, ProfilePage, Running, Snapshot};
use crate::views::AFTER_FREEZE;

const SNAPSHOTS: &str = include_str!("snapshots.sql");

/// Snapshots of a page: more than a profile learns from, unless merges say so.
const MOST_SNAPSHOTS: usize = 2_000;
/// Signals of a page.
const MOST_SIGNALS: usize = 500;
/// Other profiles that one is compared with.
const MOST_DIFFS: usize = 3;
/// Nodes of one comparison.
const MOST_DIFFERENCES: usize = 2_000;
/// Other versions that are linked.
const MOST_VERSIONS: usize = 200;

impl Gatherer {
    /// The page of a profile; none where it has none.
    pub(in crate::explorer) async fn profile_page(
        &self,
        key: &str,
        revision: i32,
    ) -> Result<Option<ProfilePage>, ExplorerError> {
        let found = self.profiles().find(|profile| profile.key == key && profile.revision == revision);
        let Some(profile) = found.cloned() else { return Ok(None) };
        let nodes = self.nodes(&profile).await?;
        let (snapshots, snapshots_left_out, containers) = self.snapshots(&profile).await?;
        let later = self.query(AFTER_FREEZE, of(&profile)).await?;
        let later = rows(&later, |row| (row.long("snapshots"), row.long("hours")));
        let (later_snapshots, later_hours) = later.first().copied().unwrap_or_default();
        let (signals, signals_left_out) = self.signals_of(&profile, MOST_SIGNALS).await?;
        let versions = self.versions(&profile);
        let mut diffs = Vec::new();
        let mut own = None;
        for other in versions.iter().take(MOST_DIFFS) {
            let own = match &own {
                Some(own) => own,
                None => own.insert(self.side(&profile).await?),
            };
            diffs.push(self.diff(other, own).await?);
        }
        let running = self.running(&profile).await?;
        Ok(Some(ProfilePage {
            profile,
            versions,
            nodes: nodes.nodes,
            nodes_left_out: nodes.left_out,
            containers,
            snapshots,
            snapshots_left_out,
            later_snapshots,
            later_hours,
            signals,
            signals_left_out,
            running,
            curve: nodes.curve,
            diffs,
        }))
    }

    /// Other revisions of the image, then other tags, the newest first.
    fn versions(&self, profile: &Profile) -> Vec<Profile> {
        let others = self.profiles.iter().filter(|other| {
            other.image_name == profile.image_name
                && (other.key.as_str(), other.revision) != (profile.key.as_str(), profile.revision)
                && (other.is_newest || other.key == profile.key)
        });
        let mut others: Vec<Profile> = others.cloned().collect();
        others.sort_by(|a, b| {
            let is_other = |one: &Profile| one.key != profile.key;
            is_other(a).cmp(&is_other(b)).then_with(|| b.last_window_end.cmp(&a.last_window_end))
        });
        others.truncate(MOST_VERSIONS);
        others
    }

    async fn snapshots(
        &self,
        profile: &Profile,
    ) -> Result<(Vec<Snapshot>, usize, Vec<Container>), ExplorerError> {
        let found = self.query(SNAPSHOTS, of(profile)).await?;
        let mut containers: Vec<Container> = Vec::new();
        let mut places: HashMap<(String, String), usize> = HashMap::new();
        let mut snapshots = rows(&found, |row| {
            let container = container(row).map(|container| {
                *places.entry((container.host.clone(), container.id.clone())).or_insert_with(|| {
                    containers.push(container);
                    containers.len() - 1
                })
            });
            snapshot(row, container)
        });
        let left_out = snapshots.len().saturating_sub(MOST_SNAPSHOTS);
        snapshots.truncate(MOST_SNAPSHOTS);
        Ok((snapshots, left_out, containers))
    }

    async fn side(&self, profile: &Profile) -> Result<compare::Side, ExplorerError> {
        let workload = Workload::from_columns(&profile.image_name, &profile.image_tag)
            .map_err(|error| DataFusionError::External(Box::new(error)))?;
        Ok(compare::Side::open(&self.context, workload, profile.revision).await?)
    }

    /// A profile beside another one.
    async fn diff(&self, other: &Profile, own: &compare::Side) -> Result<Diff, ExplorerError> {
        let nodes = compare(&self.context, &self.side(other).await?, own, MIN_CHANGE).await?;
        let changed = nodes.into_iter().filter_map(|node| node.change.map(|change| (node, change)));
        let mut changed: Vec<(compare::Node, Change)> = changed.collect();
        // What is least by chance first: it is the rest that is left out.
        changed.sort_by(|(_, a), (_, b)| a.chance.total_cmp(&b.chance));
        let left_out = changed.len().saturating_sub(MOST_DIFFERENCES);
        changed.truncate(MOST_DIFFERENCES);
        let mut diff =
            Diff { with: other.clone(), gained: Vec::new(), lost: Vec::new(), changed: Vec::new(), left_out };
        for (node, change) in changed {
            match change.kind {
                compare::Kind::Gained => &mut diff.gained,
                compare::Kind::Lost => &mut diff.lost,
                compare::Kind::Changed => &mut diff.changed,
            }
            .push(diff_node(node, change));
        }
        Ok(diff)
    }

    async fn running(&self, profile: &Profile) -> Result<Vec<Running>, ExplorerError> {
        let Some(key) = WorkloadKey::parse(&profile.key) else { return Ok(Vec::new()) };
        let newest = self.newest.containers(&self.store, key).await;
        Ok(newest
            .into_iter()
            .map(|meta| Running {
                digest_known: meta
                    .image
                    .digest
                    .as_ref()
                    .filter(|_| !profile.digests.is_empty())
                    .map(|digest| profile.digests.contains(digest)),
                id: meta.container.id,
                name: meta.container.name,
                host: meta.host,
                started: meta.container.started.map(rfc3339),
                labels: meta.container.labels,
                snapshot: meta.id.to_string(),
                window_end: rfc3339(meta.window_end),
                digest: meta.image.digest,
            })
            .collect())
    }
}

fn container(row: Row<'_>) -> Option<Container> {
    Some(Container {
        id: row.text("container_id")?,
        name: row.text("container_name"),
        host: row.word("host"),
        started: row.time("container_started"),
        labels: row.read.text_map("labels", row.row),
    })
}

fn snapshot(row: Row<'_>, container: Option<usize>) -> Snapshot {
    Snapshot {
        ordinal: row.read.int32("ordinal", row.row),
        id: row.word("snapshot_id"),
        outcome: row.word("outcome"),
        reason: row.text("reason"),
        container,
        window_start: row.time("window_start"),
        window_end: row.time("window_end"),
        covers_start: row.flag("covers_start") == Some(true),
        completeness: row.read.text_map("completeness", row.row),
        rows: row.read.int32("rows", row.row),
        size: row.read.int64("object_size", row.row),
        digest: row.text("image_digest"),
        object_key: row.word("object_key"),
    }
}

fn diff_node(node: compare::Node, change: Change) -> DiffNode {
    DiffNode {
        id: node.id,
        parent: node.parent,
        kind: node.kind,
        target: node.target,
        exe: node.exe,
        before: node.a.n,
        before_of: node.a.total,
        after: node.b.n,
        after_of: node.b.total,
        chance: change.chance,
        certain: change.is_certain(),
    }
}
