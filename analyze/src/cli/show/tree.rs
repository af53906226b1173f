use std::collections::{HashMap, HashSet};
use std::fmt::Write as _;

use wsp_schemas::text::for_display;

use crate::rows::Reader;

/// What is left out.
#[derive(Debug, Clone, Copy)]
pub(in crate::cli) struct Limits {
    pub(in crate::cli) min_commonality: f64,
    /// Facts of one kind under one process; 0 for all.
    pub(in crate::cli) facts: usize,
}

/// A node row, as far as the tree shows it.
#[derive(Debug)]
pub(super) struct Node {
    id: String,
    parent: Option<String>,
    kind: String,
    target: String,
    commonality: Option<f64>,
    containers: i32,
    eligible: i32,
    startup: bool,
    rare: bool,
    lineage_complete: bool,
    lossy_only: bool,
    access: Vec<String>,
    root_kind: Option<String>,
    exec_from: Option<String>,
    args: Vec<String>,
    args_overflow: i64,
}

impl Node {
    pub(super) fn read(read: &Reader<'_>, row: usize) -> Self {
        let text = |name: &str| read.text(name, row).map(str::to_owned);
        Self {
            id: text("node_id").unwrap_or_default(),
            parent: text("parent_id"),
            kind: text("kind").unwrap_or_default(),
            target: text("target").unwrap_or_default(),
            commonality: read.float("commonality", row),
            containers: read.int32("container_count", row).unwrap_or_default(),
            eligible: read.int32("eligible_containers", row).unwrap_or_default(),
            startup: read.text("phase", row) == Some("startup"),
            rare: read.bool("rare", row) == Some(true),
            lineage_complete: read.bool("lineage_complete", row) != Some(false),
            lossy_only: read.int32("snapshot_count", row) == Some(0)
                && read.int32("lossy_count", row) > Some(0),
            access: read.text_list("access", row),
            root_kind: text("root_kind"),
            exec_from: text("exec_from"),
            args: read.text_list("args", row),
            args_overflow: read.int64("args_overflow", row).unwrap_or_default(),
        }
    }

    /// `1.00  9/9`, in a column of its own.
    fn share(&self) -> String {
        let share = self.commonality.map_or_else(|| "   –".to_owned(), |share| format!("{share:.2}"));
        format!("{share} {:>9}", format!("{}/{}", self.containers, self.eligible))
    }

    fn marks(&self) -> String {
        let marks = [
            (self.startup, "at start"),
            (self.rare, "rare"),
            (self.lossy_only, "seen in lossy snapshots only"),
            (!self.lineage_complete, "lineage guessed"),
        ];
        let marks: Vec<&str> = marks.into_iter().filter(|(on, _)| *on).map(|(_, mark)| mark).collect();
        if marks.is_empty() { String::new() } else { format!("  ({})", marks.join(", ")) }
    }

    fn line(&self) -> String {
        let target = for_display(&self.target);
        match self.kind.as_str() {
            "file" => format!("{:<3} {target}", letters(&self.access)),
            "process" => target.into_owned(),
            kind => format!("{kind} {target}"),
        }
    }
}

/// `rwc`: read, write, create, as `ls` would shorten it; `l` for a lookup without either.
fn letters(access: &[String]) -> String {
    let known = [("read", 'r'), ("write", 'w'), ("create", 'c'), ("lookup", 'l')];
    known
        .iter()
        .filter(|(word, _)| access.iter().any(|other| other == word))
        .map(|(_, letter)| *letter)
        .collect()
}

/// Kinds in the order in which they stand under a process, with their heading.
const FACTS: [(&str, &[&str]); 4] = [
    ("network", &["listen", "connect", "dns"]),
    ("files", &["file"]),
    ("syscalls", &["syscall"]),
    ("capabilities", &["capability"]),
];

/// Nodes by their owners.
pub(super) struct Tree {
    nodes: Vec<Node>,
    children: HashMap<Option<String>, Vec<usize>>,
}

impl Tree {
    /// The order of the nodes stays among siblings.
    pub(super) fn new(nodes: Vec<Node>) -> Self {
        let ids: HashSet<String> = nodes.iter().map(|node| node.id.clone()).collect();
        let mut children: HashMap<Option<String>, Vec<usize>> = HashMap::new();
        for (at, node) in nodes.iter().enumerate() {
            // A parent outside the profile would hide its subtree.
            let parent = node.parent.clone().filter(|parent| ids.contains(parent));
            children.entry(parent).or_default().push(at);
        }
        Self { nodes, children }
    }

    pub(super) fn render(&self, limits: &Limits) -> String {
        let mut out = String::new();
        self.facts(None, "", limits, &mut out);
        for node in self.processes(None, limits) {
            self.process(node, "", "", limits, &mut out);
        }
        out.pop();
        out
    }

    fn of(&self, owner: Option<&str>) -> impl Iterator<Item = &Node> {
        let children = self.children.get(&owner.map(str::to_owned));
        children.into_iter().flatten().map(|at| &self.nodes[*at])
    }

    fn processes(&self, owner: Option<&str>, limits: &Limits) -> Vec<&Node> {
        let keep = |node: &&Node| node.kind == "process" && is_shown(node, limits);
        let mut processes: Vec<_> = self.of(owner).filter(keep).collect();
        // The entrypoint first, then what was executed from outside.
        processes.sort_by_key(|node| node.root_kind.as_deref() == Some("exec_session"));
        processes
    }

    fn process(&self, node: &Node, lead: &str, below: &str, limits: &Limits, out: &mut String) {
        let root = match node.root_kind.as_deref() {
            Some("init") => "[init] ",
            Some(_) => "[exec session] ",
            None => "",
        };
        line(out, &node.share(), lead, &format!("{root}{}{}", node.line(), node.marks()));
        if let Some(from) = &node.exec_from {
            line(out, "", below, &format!("    replaced {}", for_display(from)));
        }
        for args in &node.args {
            line(out, "", below, &format!("    $ {}", shorten(&for_display(args), 160)));
        }
        if node.args_overflow > 0 {
            line(out, "", below, &format!("    and {} other command lines", node.args_overflow));
        }
        self.facts(Some(&node.id), below, limits, out);
        let children = self.processes(Some(&node.id), limits);
        for (at, child) in children.iter().enumerate() {
            let last = at + 1 == children.len();
            let lead = format!("{below}{}", if last { "└─ " } else { "├─ " });
            let further = format!("{below}{}", if last { "   " } else { "│  " });
            self.process(child, &lead, &further, limits, out);
        }
    }

    fn facts(&self, owner: Option<&str>, below: &str, limits: &Limits, out: &mut String) {
        for (heading, kinds) in FACTS {
            let facts = kinds.iter().flat_map(|kind| self.of(owner).filter(move |node| node.kind == *kind));
            let (shown, hidden): (Vec<_>, Vec<_>) = facts.partition(|node| is_shown(node, limits));
            if shown.is_empty() {
                continue;
            }
            let most = if limits.facts == 0 { shown.len() } else { limits.facts };
            line(out, "", below, &format!("    {heading}"));
            for node in shown.iter().take(most) {
                line(out, &node.share(), below, &format!("      {}{}", node.line(), node.marks()));
            }
            let more = shown.len().saturating_sub(most) + hidden.len();
            if more > 0 {
                line(out, "", below, &format!("      … and {more} more (--limit 0 shows all)"));
            }
        }
    }
}

fn is_shown(node: &Node, limits: &Limits) -> bool {
    limits.min_commonality <= 0.0 || node.commonality.is_some_and(|share| share >= limits.min_commonality)
}

fn line(out: &mut String, share: &str, lead: &str, text: &str) {
    // Writing to a String cannot fail.
    let _ = writeln!(out, "{share:<14}  {lead}{text}");
}

fn shorten(text: &str, most: usize) -> String {
    if text.chars().count() <= most {
        return text.to_owned();
    }
    text.chars().take(most).chain(['…']).collect()
}
