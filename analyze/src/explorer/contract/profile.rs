//! One profile.

use std::collections::BTreeMap;

use serde::Serialize;

use super::{Attribute, Profile, Signal};

/// One profile.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
pub struct ProfilePage {
    /// The profile.
    pub profile: Profile,
    /// Its other revisions, and profiles of the image's other tags, newest first.
    pub versions: Vec<Profile>,
    /// Its nodes, in no order.
    pub nodes: Vec<Node>,
    /// Nodes beyond the bound of a page.
    pub nodes_left_out: usize,
    /// Containers of its snapshots.
    pub containers: Vec<Container>,
    /// What merges decided on: those that were admitted by ordinal, then others.
    pub snapshots: Vec<Snapshot>,
    /// Snapshots beyond the bound of a page.
    pub snapshots_left_out: usize,
    /// Snapshots that came after it was stable; they are not listed.
    pub later_snapshots: i64,
    /// Hours in which those were uploaded.
    pub later_hours: i64,
    /// Signals of the image, the newest first.
    pub signals: Vec<Signal>,
    /// Signals beyond the bound of a page.
    pub signals_left_out: usize,
    /// Containers of the newest snapshots in the store.
    pub running: Vec<Running>,
    /// What it knew after so many snapshots.
    pub curve: Vec<CurvePoint>,
    /// It beside others.
    pub diffs: Vec<Diff>,
}

/// A node, and how common it is.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
pub struct NodeSummary {
    /// 32 hex digits.
    pub id: String,
    /// The parent process, or the process that did it; null at a root. It may name a node that is not there.
    pub parent: Option<String>,
    /// The kind.
    #[cfg_attr(test, ts(type = "Kind"))]
    pub kind: String,
    /// What it is, in one text.
    pub target: String,
    /// `init` or `exec_session`, at a root.
    pub root_kind: Option<String>,
    /// Share of the containers that could have shown it.
    pub commonality: Option<f64>,
    /// Containers that have it …
    pub containers: i32,
    /// … of those that could have shown it.
    pub eligible: i32,
    /// When it is seen: `startup` or `steady`.
    #[cfg_attr(test, ts(type = "Phase"))]
    pub phase: String,
    /// Its commonality is known well, and does not change; null below six containers.
    pub stable: Option<bool>,
    /// In one container.
    pub rare: bool,
    /// First seen in the last quarter of the containers; null below five.
    pub late: Option<bool>,
    /// What the names of the nodes that it stands for look like.
    pub pattern: Option<String>,
}

/// A node of the profile.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
pub struct Node {
    /// What it is.
    #[serde(flatten)]
    pub summary: NodeSummary,
    /// Executable of the process.
    pub exe: Option<String>,
    /// Lower end of the Wilson 95 % interval of its commonality.
    pub low: Option<f64>,
    /// Upper end.
    pub high: Option<f64>,
    /// Snapshots that have it.
    pub snapshots: i32,
    /// Share of the snapshots that could have.
    pub snapshot_commonality: Option<f64>,
    /// Hosts that have it.
    pub hosts: i32,
    /// Lossy snapshots that have it.
    pub lossy: i32,
    /// False below an ancestor that could only be guessed.
    pub lineage_complete: bool,
    /// How often.
    pub events: i64,
    /// First time.
    pub first_seen: Option<String>,
    /// Last time.
    pub last_seen: Option<String>,
    /// Ordinals of the snapshots that have it: a bitset, little-endian bytes, base64.
    pub members: String,
    /// Of the first and second half of the containers; null below six.
    pub halves: Option<Halves>,
    /// How many nodes a pattern stands for.
    pub collapsed_nodes: Option<i32>,
    /// The pattern that stands for it.
    pub collapsed_into: Option<String>,
    /// What else is known of it.
    pub attributes: Vec<Attribute>,
}

/// Containers of both halves that have a node.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
pub struct Halves {
    /// Of the first half that have it …
    pub first: u32,
    /// … of how many.
    pub first_of: u32,
    /// Of the second half …
    pub second: u32,
    /// … of how many.
    pub second_of: u32,
    /// Fisher's exact p that both halves are alike.
    pub p: f64,
}

/// A container.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
pub struct Container {
    /// Its id.
    pub id: String,
    /// Its name.
    pub name: Option<String>,
    /// Its host.
    pub host: String,
    /// When it started.
    pub started: Option<String>,
    /// Labels that the capture may keep.
    pub labels: BTreeMap<String, String>,
}

/// A snapshot that a merge decided on.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
pub struct Snapshot {
    /// Its place among those admitted; null for others.
    pub ordinal: Option<i32>,
    /// Its id.
    pub id: String,
    /// `admitted`, `duplicate`, `conflict`, `damaged`, …
    pub outcome: String,
    /// Why it was not admitted.
    pub reason: Option<String>,
    /// Place of its container in `containers`.
    pub container: Option<usize>,
    /// Start of its window.
    pub window_start: Option<String>,
    /// End of its window.
    pub window_end: Option<String>,
    /// The container started in it.
    pub covers_start: bool,
    /// By kind: `complete`, `joined_late`, `lossy`; a kind without a live sensor is absent.
    pub completeness: BTreeMap<String, String>,
    /// Rows of its file.
    pub rows: Option<i32>,
    /// Bytes of its file.
    pub size: Option<i64>,
    /// Digest of the image.
    pub digest: Option<String>,
    /// Key of its file.
    pub object_key: String,
}

/// A container with a snapshot among the newest.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
pub struct Running {
    /// Its id.
    pub id: String,
    /// Its name.
    pub name: Option<String>,
    /// Its host.
    pub host: String,
    /// When it started.
    pub started: Option<String>,
    /// Labels that the capture may keep.
    pub labels: BTreeMap<String, String>,
    /// Its newest snapshot.
    pub snapshot: String,
    /// When that one ended.
    pub window_end: String,
    /// Digest of its image.
    pub digest: Option<String>,
    /// The profile has seen the digest; null where one of them is not known.
    pub digest_known: Option<bool>,
}

/// What a profile knew after so many snapshots.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
pub struct CurvePoint {
    /// Snapshots.
    pub snapshots: u32,
    /// Their containers.
    pub containers: u32,
    /// Their hosts.
    pub hosts: u32,
    /// Nodes that they showed.
    pub nodes: u32,
    /// Hours from the start of the first window to the end of the last.
    pub hours: f64,
    /// Coverage as it was known then.
    pub coverage: Option<f64>,
}

/// A profile beside another one.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
pub struct Diff {
    /// The other one.
    pub with: Profile,
    /// Nodes that only this one has.
    pub gained: Vec<DiffNode>,
    /// Nodes that only the other one has.
    pub lost: Vec<DiffNode>,
    /// Nodes that both have, in other shares of their containers.
    pub changed: Vec<DiffNode>,
    /// Nodes beyond the bound of a page.
    pub left_out: usize,
}

/// A node that differs.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
pub struct DiffNode {
    /// 32 hex digits.
    pub id: String,
    /// The process that it is of.
    pub parent: Option<String>,
    /// The kind.
    #[cfg_attr(test, ts(type = "Kind"))]
    pub kind: String,
    /// What it is, in one text.
    pub target: String,
    /// Executable of the process.
    pub exe: Option<String>,
    /// Containers of the other profile that have it …
    pub before: u32,
    /// … of how many.
    pub before_of: u32,
    /// Containers of this one that have it …
    pub after: u32,
    /// … of how many.
    pub after_of: u32,
    /// How probable it is that nothing changed.
    pub chance: f64,
    /// That is below 5 %.
    pub certain: bool,
}
