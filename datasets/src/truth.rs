//! The truth beside the data: what the containers of a fleet really did, and how likely each of it was.
//!
//! Written as JSON below `truth/` of the store; `datasets/README.md` describes every field. From it alone
//! [`Truth::expected`] computes what a merge must find, without looking into a snapshot file.

mod coverage;
mod expected;

use std::collections::HashSet;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use wsp_schemas::image::Workload;

use crate::catalogue::{Alphabet, Catalogue, Class, Scope};
use crate::fleet::FleetWorkload;
use crate::spec::FleetSpec;

pub use expected::{Expected, ExpectedNode};

/// Folder of the truth in a store.
pub const TRUTH: &str = "truth";
/// Version of these forms.
pub const TRUTH_VERSION: u32 = 1;

/// `truth/fleet.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FleetTruth {
    /// Version of the form of all truth files.
    pub version: u32,
    /// What was asked for: the same spec makes the same store.
    pub spec: FleetSpec,
    /// The workloads, in order.
    pub workloads: Vec<WorkloadEntry>,
}

/// A workload, as `fleet.json` lists it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkloadEntry {
    /// Image name.
    pub image_name: String,
    /// Image tag.
    pub image_tag: String,
    /// Names its two truth files: `<key>.json` and `<key>.containers.jsonl`.
    pub workload_key: String,
}

/// `truth/<workload_key>.json`: one image and tag.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct WorkloadTruth {
    /// Image name.
    pub image_name: String,
    /// Image tag.
    pub image_tag: String,
    /// Key in object names.
    pub workload_key: String,
    /// Kind of image.
    pub archetype: String,
    /// Digests under the tag; two where the tag was reused.
    pub digests: Vec<String>,
    /// What the version before did otherwise; none for the first.
    pub change: Option<Change>,
    /// Groups: their nodes come all or none. Snapshots and nodes refer to them by position.
    pub groups: Vec<GroupTruth>,
    /// Crowds of randomly named nodes. Snapshots refer to them by position.
    pub crowds: Vec<CrowdTruth>,
    /// Nodes of all groups.
    pub nodes: Vec<NodeTruth>,
}

/// From one version of an image to the next.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// Tag of the version before.
    pub from_tag: String,
    /// Catalogue nodes that the version before did not have: ids.
    pub gained: Vec<String>,
    /// Catalogue nodes that only the version before had: ids.
    pub lost: Vec<String>,
}

/// A group of the catalogue.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct GroupTruth {
    /// Name, unique in the image and the same in all its versions that have the group.
    pub name: String,
    /// Why its nodes are there.
    pub class: Class,
    /// Probability that a container has the group.
    pub p_container: f64,
    /// Probability that a window of a container that has it shows it (of a `startup` group: a window that covers the start).
    pub p_window: f64,
    /// Its nodes have the phase `startup` in windows that cover the start; else always `steady`.
    pub early: bool,
    /// Its rows have `lineage_complete` false in containers that were running when their first window opened.
    pub guessed_when_late: bool,
}

/// A crowd of the catalogue.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CrowdTruth {
    /// Name.
    pub name: String,
    /// Path, name or address of its nodes, with `{name}` for the random part.
    pub pattern: String,
    /// What the random part is made of.
    pub alphabet: Alphabet,
    /// What its nodes hang from: id.
    pub parent: Option<String>,
    /// Probability that a container has it.
    pub p_container: f64,
    /// Probability that a window of such a container shows it.
    pub p_window: f64,
    /// Fewest and most names in a window that shows it, evenly drawn.
    pub names_per_window: (usize, usize),
    /// Whether a container keeps its names.
    pub scope: Scope,
    /// Kinds of the nodes that each name makes, in the order of [`NamesTruth::nodes`].
    pub kinds: Vec<String>,
}

/// A node of the catalogue.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NodeTruth {
    /// Id, hex.
    pub id: String,
    /// Kind.
    pub kind: String,
    /// Parent or owner: id.
    pub parent: Option<String>,
    /// For humans.
    pub label: String,
    /// Position of its group.
    pub group: usize,
    /// Class of its group.
    pub class: Class,
    /// Probability that a container shows it in at least one of [`FleetSpec::snapshots`] windows, without loss and with its
    /// sensor (of a `startup` node: a container whose start is covered); 0 for attacks and drift.
    pub p_shown: f64,
}

/// A line of `truth/<workload_key>.containers.jsonl`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContainerTruth {
    /// The runtime's id.
    pub container_id: String,
    /// Where it ran.
    pub host: String,
    /// Digest of its image.
    pub image_digest: String,
    /// When it started.
    pub started: DateTime<Utc>,
    /// Its first window covers its start; false where it was joined late.
    pub covers_start: bool,
    /// Kinds that its host cannot see.
    pub kinds_without_sensor: Vec<String>,
    /// Positions of the groups that it has, but for `always` ones, which all have.
    pub has_groups: Vec<usize>,
    /// Positions of the crowds that it has.
    pub has_crowds: Vec<usize>,
    /// What was injected.
    pub attacks: Vec<AttackTruth>,
    /// What is new and harmless in its windows: a line for each window that shows it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub drifts: Vec<DriftTruth>,
    /// Its windows.
    pub snapshots: Vec<SnapshotTruth>,
}

/// An injected attack.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AttackTruth {
    /// Name of its group.
    pub name: String,
    /// Position of its window.
    pub window: usize,
    /// Its snapshot.
    pub snapshot_id: String,
    /// Ids of its nodes (those of kinds without a sensor are not in the snapshot).
    pub nodes: Vec<String>,
}

/// Drift in one window.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DriftTruth {
    /// Name of its group.
    pub name: String,
    /// Position of the window.
    pub window: usize,
    /// Its snapshot.
    pub snapshot_id: String,
    /// Ids of its nodes (those of kinds without a sensor, and [`SnapshotTruth::missing`] ones, are not in the snapshot).
    pub nodes: Vec<String>,
}

/// A window.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SnapshotTruth {
    /// Snapshot id.
    pub id: String,
    /// Object key.
    pub key: String,
    /// Window.
    pub window_start: DateTime<Utc>,
    /// Window.
    pub window_end: DateTime<Utc>,
    /// It covers the container's start.
    pub covers_start: bool,
    /// Positions of the groups that it shows, attacks and drift among them, but for `always` ones, which all windows show.
    pub groups: Vec<usize>,
    /// Random names that it shows.
    pub names: Vec<NamesTruth>,
    /// Kinds that lost events.
    pub lossy_kinds: Vec<String>,
    /// Nodes that happened, by groups or names, and are not in the file because their events were lost: ids.
    pub missing: Vec<String>,
}

/// Names of one crowd in one window.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NamesTruth {
    /// Position of the crowd.
    pub crowd: usize,
    /// The names.
    pub names: Vec<String>,
    /// Ids of their nodes, name by name.
    pub nodes: Vec<String>,
}

/// One workload's whole truth.
#[derive(Debug, Clone, PartialEq)]
pub struct Truth {
    /// The catalogue.
    pub workload: WorkloadTruth,
    /// What each container did.
    pub containers: Vec<ContainerTruth>,
}

impl Truth {
    /// Of one workload of a fleet, without any store.
    pub fn of(workload: &FleetWorkload) -> Self {
        Self {
            workload: workload.truth(),
            containers: workload.containers().map(|container| container.truth()).collect(),
        }
    }

    /// Reads the two files of a workload.
    pub fn from_json(workload: &[u8], containers: &[u8]) -> Result<Self, serde_json::Error> {
        let lines = containers.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
        Ok(Self {
            workload: serde_json::from_slice(workload)?,
            containers: lines.map(serde_json::from_slice).collect::<Result<_, _>>()?,
        })
    }
}

impl Change {
    pub(crate) fn between(from_tag: String, old: &Catalogue, new: &Catalogue) -> Self {
        let ids = |catalogue: &Catalogue| -> Vec<String> {
            catalogue
                .groups
                .iter()
                .flat_map(|group| group.nodes.iter().map(|node| node.id.to_string()))
                .collect()
        };
        let (old, new) = (ids(old), ids(new));
        let without = |all: &[String], others: &[String]| {
            let others: HashSet<&String> = others.iter().collect();
            all.iter().filter(|id| !others.contains(id)).cloned().collect()
        };
        Self { from_tag, gained: without(&new, &old), lost: without(&old, &new) }
    }
}

impl WorkloadTruth {
    pub(crate) fn new(
        spec: &FleetSpec,
        workload: &Workload,
        archetype: &str,
        digests: Vec<String>,
        change: Option<Change>,
        catalogue: &Catalogue,
    ) -> Self {
        let windows = i32::try_from(spec.snapshots).unwrap_or(i32::MAX);
        let mut nodes = Vec::new();
        for (index, group) in catalogue.groups.iter().enumerate() {
            let windows = if group.start_only() { 1 } else { windows };
            let p_shown = group.p_container * (1.0 - (1.0 - group.p_window).powi(windows));
            nodes.extend(group.nodes.iter().map(|template| NodeTruth {
                id: template.id.to_string(),
                kind: template.node.fact.kind().as_str().to_owned(),
                parent: template.node.parent.map(|id| id.to_string()),
                label: template.label.clone(),
                group: index,
                class: group.class,
                p_shown,
            }));
        }
        let groups = catalogue.groups.iter().map(|group| GroupTruth {
            name: group.name.clone(),
            class: group.class,
            p_container: group.p_container,
            p_window: group.p_window,
            early: group.early,
            guessed_when_late: group.guessed,
        });
        let crowds = catalogue.crowds.iter().map(|crowd| CrowdTruth {
            name: crowd.name.clone(),
            pattern: crowd.pattern(),
            alphabet: crowd.alphabet,
            parent: crowd.parent().map(|id| id.to_string()),
            p_container: crowd.p_container,
            p_window: crowd.p_window,
            names_per_window: crowd.names,
            scope: crowd.scope,
            kinds: crowd.kinds().map(|kind| kind.as_str().to_owned()).collect(),
        });
        Self {
            image_name: workload.name().to_owned(),
            image_tag: workload.tag().to_owned(),
            workload_key: workload.key().to_string(),
            archetype: archetype.to_owned(),
            digests,
            change,
            groups: groups.collect(),
            crowds: crowds.collect(),
            nodes,
        }
    }

    /// Object keys of the two truth files of a workload.
    pub fn keys(workload_key: &str) -> [String; 2] {
        [format!("{TRUTH}/{workload_key}.json"), format!("{TRUTH}/{workload_key}.containers.jsonl")]
    }
}
