//! What a merge must find, computed from the truth alone.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use super::{ContainerTruth, SnapshotTruth, Truth};
use crate::catalogue::Class;

/// What a merge of some snapshots of one workload must find.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Expected {
    /// Snapshots.
    pub snapshot_count: usize,
    /// Different containers.
    pub container_count: usize,
    /// Different hosts.
    pub host_count: usize,
    /// Nodes, by id in hex. Before any folding.
    pub nodes: BTreeMap<String, ExpectedNode>,
}

/// One node of a profile.
#[derive(Debug, Clone, PartialEq)]
pub struct ExpectedNode {
    /// Kind.
    pub kind: String,
    /// Class that it was generated with.
    pub class: Class,
    /// Every sighting had the phase `startup`.
    pub startup: bool,
    /// Lossless snapshots (of its kind) that had it.
    pub snapshot_count: usize,
    /// Containers of those: n.
    pub container_count: usize,
    /// Hosts of those.
    pub host_count: usize,
    /// Containers that could have shown it: N.
    pub eligible_containers: usize,
    /// n / N; none where N is 0.
    pub commonality: Option<f64>,
    /// Snapshots that had it and were lossy for its kind.
    pub lossy_count: usize,
}

/// Where a node was seen, while counting.
#[derive(Debug)]
struct Sightings<'a> {
    kind: &'a str,
    class: Class,
    startup: bool,
    snapshots: usize,
    containers: BTreeSet<&'a str>,
    hosts: BTreeSet<&'a str>,
    lossy: usize,
}

impl Truth {
    /// What a merge of the snapshots that `admitted` chooses must find.
    pub fn expected(&self, admitted: impl Fn(&ContainerTruth, &SnapshotTruth) -> bool) -> Expected {
        let mut seen: HashMap<&str, Sightings<'_>> = HashMap::new();
        let (mut containers, mut hosts, mut snapshots) = (BTreeSet::new(), BTreeSet::new(), 0);
        let mut eligible = Eligible::default();
        let catalogue = Catalogue::new(self);
        for container in &self.containers {
            for snapshot in container.snapshots.iter().filter(|snapshot| admitted(container, snapshot)) {
                snapshots += 1;
                containers.insert(container.container_id.as_str());
                hosts.insert(container.host.as_str());
                eligible.add(container, snapshot);
                for sighting in catalogue.shown(container, snapshot) {
                    let node = seen.entry(sighting.id).or_insert_with(|| Sightings {
                        kind: sighting.kind,
                        class: sighting.class,
                        startup: true,
                        snapshots: 0,
                        containers: BTreeSet::new(),
                        hosts: BTreeSet::new(),
                        lossy: 0,
                    });
                    node.startup &= sighting.startup;
                    if lossless(container, snapshot, sighting.kind) {
                        node.snapshots += 1;
                        node.containers.insert(&container.container_id);
                        node.hosts.insert(&container.host);
                    } else {
                        node.lossy += 1;
                    }
                }
            }
        }
        let nodes = seen.into_iter().map(|(id, node)| (id.to_owned(), eligible.judge(&node))).collect();
        Expected {
            snapshot_count: snapshots,
            container_count: containers.len(),
            host_count: hosts.len(),
            nodes,
        }
    }
}

struct Sighting<'a> {
    id: &'a str,
    kind: &'a str,
    class: Class,
    startup: bool,
}

/// The truth's nodes, by group.
struct Catalogue<'a> {
    truth: &'a Truth,
    by_group: Vec<Vec<usize>>,
    always: Vec<usize>,
}

impl<'a> Catalogue<'a> {
    fn new(truth: &'a Truth) -> Self {
        let mut by_group = vec![Vec::new(); truth.workload.groups.len()];
        for (index, node) in truth.workload.nodes.iter().enumerate() {
            by_group[node.group].push(index);
        }
        let groups = truth.workload.groups.iter().enumerate();
        let always =
            groups.filter(|(_, group)| group.class == Class::Always).map(|(index, _)| index).collect();
        Self { truth, by_group, always }
    }

    /// What the file of a snapshot has.
    fn shown(&self, container: &'a ContainerTruth, snapshot: &'a SnapshotTruth) -> Vec<Sighting<'a>> {
        let missing: HashSet<&str> = snapshot.missing.iter().map(String::as_str).collect();
        let workload = &self.truth.workload;
        let mut shown = Vec::new();
        for group in self.always.iter().chain(&snapshot.groups) {
            let startup = workload.groups[*group].early && snapshot.covers_start;
            shown.extend(self.by_group[*group].iter().map(|index| {
                let node = &workload.nodes[*index];
                Sighting { id: &node.id, kind: &node.kind, class: node.class, startup }
            }));
        }
        for names in &snapshot.names {
            let kinds = &workload.crowds[names.crowd].kinds;
            let nodes = names.nodes.iter().zip(kinds.iter().cycle());
            shown.extend(nodes.map(|(id, kind)| Sighting { id, kind, class: Class::Random, startup: false }));
        }
        shown.retain(|sighting| {
            !missing.contains(sighting.id)
                && container.kinds_without_sensor.iter().all(|kind| kind != sighting.kind)
        });
        shown
    }
}

/// Containers that could have shown a node of a kind.
#[derive(Default)]
struct Eligible<'a> {
    steady: HashMap<&'a str, BTreeSet<&'a str>>,
    startup: HashMap<&'a str, BTreeSet<&'a str>>,
}

impl<'a> Eligible<'a> {
    fn add(&mut self, container: &'a ContainerTruth, snapshot: &SnapshotTruth) {
        for kind in ["process", "file", "dns", "connect", "listen", "capability"] {
            if lossless(container, snapshot, kind) {
                self.steady.entry(kind).or_default().insert(&container.container_id);
                if snapshot.covers_start {
                    self.startup.entry(kind).or_default().insert(&container.container_id);
                }
            }
        }
    }

    fn judge(&self, node: &Sightings<'_>) -> ExpectedNode {
        let eligible = if node.startup { &self.startup } else { &self.steady };
        let (n, all) = (node.containers.len(), eligible.get(node.kind).map_or(0, BTreeSet::len));
        ExpectedNode {
            kind: node.kind.to_owned(),
            class: node.class,
            startup: node.startup,
            snapshot_count: node.snapshots,
            container_count: n,
            host_count: node.hosts.len(),
            eligible_containers: all,
            commonality: (all > 0).then(|| crate::catalogue::count(n) / crate::catalogue::count(all)),
            lossy_count: node.lossy,
        }
    }
}

/// The window saw everything of that kind.
fn lossless(container: &ContainerTruth, snapshot: &SnapshotTruth, kind: &str) -> bool {
    let not_in = |kinds: &[String]| kinds.iter().all(|other| other != kind);
    not_in(&container.kinds_without_sensor) && not_in(&snapshot.lossy_kinds)
}
