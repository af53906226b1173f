//! What profiles have around the nodes of signals: their processes up to the root, and siblings.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use datafusion::prelude::{col, lit};

use super::nodes::summary;
use super::{Gatherer, Row, rows};
use crate::explorer::ExplorerError;
use crate::explorer::contract::{NodeSummary, Signal};

/// Profiles that are looked at, those of the first signals.
const MOST_PROFILES: usize = 200;
/// Siblings beside a node.
const SIBLINGS: usize = 12;
/// Processes from a node to its root: as deep as a tree can be.
const DEPTH: usize = 65;

const COLUMNS: [&str; 15] = [
    "workload_key",
    "revision",
    "node_id",
    "parent_id",
    "kind",
    "target",
    "root_kind",
    "commonality",
    "container_count",
    "eligible_containers",
    "phase",
    "stable",
    "rare",
    "late",
    "pattern",
];

/// What is looked for in one profile: processes and nodes, and kinds of the nodes beside them.
type Wanted<'a> = BTreeSet<(&'a str, Option<&'a str>, &'a str)>;

impl Gatherer {
    /// By `<key>-<revision>`.
    pub(super) async fn around(
        &self,
        signals: &[Signal],
    ) -> Result<BTreeMap<String, Vec<NodeSummary>>, ExplorerError> {
        let mut wanted: BTreeMap<&str, Wanted<'_>> = BTreeMap::new();
        for signal in signals {
            let (Some(profile), Some(process)) = (&signal.profile, &signal.process) else { continue };
            if wanted.len() < MOST_PROFILES || wanted.contains_key(profile.as_str()) {
                let kind = signal.kind.as_deref().unwrap_or_default();
                wanted.entry(profile).or_default().insert((process, signal.node.as_deref(), kind));
            }
        }
        if wanted.is_empty() {
            return Ok(BTreeMap::new());
        }
        let keys = wanted.keys().filter_map(|profile| profile.rsplit_once('-')).map(|(key, _)| lit(key));
        let nodes = self.context.table("nodes").await?;
        let nodes =
            nodes.filter(col("workload_key").in_list(keys.collect(), false))?.select_columns(&COLUMNS)?;
        let mut of: BTreeMap<String, Vec<NodeSummary>> = BTreeMap::new();
        for (profile, node) in rows(&nodes.collect().await?, node) {
            if wanted.contains_key(profile.as_str()) {
                of.entry(profile).or_default().push(node);
            }
        }
        Ok(of
            .into_iter()
            .map(|(profile, nodes)| {
                let wanted = &wanted[profile.as_str()];
                (profile, near(wanted, nodes))
            })
            .collect())
    }
}

fn node(row: Row<'_>) -> (String, NodeSummary) {
    let node = summary(row, row.word("node_id"), row.text("parent_id"), row.word("target"));
    (format!("{}-{}", row.word("workload_key"), row.int("revision")), node)
}

/// Of all nodes of a profile, those near the wanted ones.
fn near(wanted: &Wanted<'_>, mut nodes: Vec<NodeSummary>) -> Vec<NodeSummary> {
    nodes.sort_by(|a, b| b.containers.cmp(&a.containers).then_with(|| a.target.cmp(&b.target)));
    let places: HashMap<&str, usize> =
        nodes.iter().enumerate().map(|(place, node)| (node.id.as_str(), place)).collect();
    let mut beside: HashMap<(&str, &str), Vec<usize>> = HashMap::new();
    for (place, node) in nodes.iter().enumerate() {
        if let Some(parent) = node.parent.as_deref() {
            let siblings = beside.entry((parent, node.kind.as_str())).or_default();
            if siblings.len() < SIBLINGS {
                siblings.push(place);
            }
        }
    }
    let mut kept = BTreeSet::new();
    for (process, node, kind) in wanted {
        kept.extend(node.and_then(|node| places.get(node)));
        kept.extend(beside.get(&(*process, *kind)).into_iter().flatten());
        let mut next = places.get(process);
        // Bounded: a table may hold anything.
        for _ in 0..DEPTH {
            let Some(place) = next else { break };
            kept.insert(*place);
            next = nodes[*place].parent.as_deref().and_then(|parent| places.get(parent));
        }
    }
    let mut at = 0..nodes.len();
    nodes.retain(|_| at.next().is_some_and(|place| kept.contains(&place)));
    nodes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(id: &str, parent: Option<&str>, kind: &str, containers: i32) -> NodeSummary {
        NodeSummary {
            id: id.to_owned(),
            parent: parent.map(str::to_owned),
            kind: kind.to_owned(),
            target: id.to_owned(),
            root_kind: None,
            commonality: None,
            containers,
            eligible: 9,
            phase: "steady".to_owned(),
            stable: None,
            rare: false,
            late: None,
            pattern: None,
        }
    }

    #[test]
    fn a_node_its_processes_and_some_siblings_of_its_kind() {
        let mut nodes = vec![
            node("root", None, "process", 9),
            node("shell", Some("root"), "process", 9),
            node("other", Some("root"), "process", 9),
            node("dns", Some("shell"), "dns", 9),
            node("file-of-other", Some("other"), "file", 9),
            node("wanted", Some("shell"), "file", 1),
        ];
        nodes.extend((0..40).map(|n| node(&format!("file-{n:02}"), Some("shell"), "file", 5)));
        let wanted = BTreeSet::from([("shell", Some("wanted"), "file")]);
        let found: Vec<String> = near(&wanted, nodes).into_iter().map(|node| node.id).collect();
        assert_eq!(found.len(), 3 + SIBLINGS, "{found:?}");
        assert_eq!(found[..2], ["root", "shell"]);
        assert_eq!(found.last().map(String::as_str), Some("wanted"));
        assert!(found.contains(&"file-00".to_owned()) && !found.contains(&"file-39".to_owned()));
    }

    #[test]
    fn processes_that_are_their_own_ancestors_end() {
        let nodes = vec![node("a", Some("b"), "process", 1), node("b", Some("a"), "process", 1)];
        let wanted = BTreeSet::from([("a", None, "process")]);
        assert_eq!(near(&wanted, nodes).len(), 2);
    }
}
