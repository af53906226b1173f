//! The comparison for people: what both profiles are, how far to trust them, and what differs, by process.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Write as _;

use wsp_schemas::identity;
use wsp_schemas::text::for_display;

use super::Side;
use crate::cli::profile::status;
use crate::compare::{Change, Kind, Node, Seen};
use crate::rows::Reader;

/// Containers below which hardly any single difference can be told from chance.
const FEW: i32 = 5;

const LEGEND: &str = "\
+ gained, only in B · - lost, only in A · ~ in both, in other shares of their containers
counts: containers that have it / could have shown it · chance: how probable this is though nothing changed; certain below 5 %, each
p: Fisher's exact test";

/// At most `limit` nodes of one process, all where it is 0.
pub(super) fn text(a: &Side, b: &Side, nodes: &[Node], limit: usize) -> String {
    let mut text = format!("A  {}\nB  {}\n", heading(a), heading(b));
    for warning in warnings(a, b, nodes) {
        let _ = writeln!(text, "warning: {warning}");
    }
    let _ = writeln!(text, "\n{}", summary(nodes));
    let groups = groups(nodes);
    if !groups.is_empty() {
        let _ = writeln!(text, "\n{LEGEND}");
    }
    for (process, changed) in groups {
        let _ = writeln!(text, "\n{process}");
        let most = if limit == 0 { changed.len() } else { limit };
        for (node, change) in changed.iter().take(most) {
            let _ = writeln!(text, "{}", line(node, *change));
        }
        let more = changed.len().saturating_sub(most);
        if more > 0 {
            let _ = writeln!(text, "  … and {more} more (--limit 0 shows all)");
        }
    }
    text.truncate(text.trim_end().len());
    text
}

fn heading(side: &Side) -> String {
    format!(
        "{}  revision {}, {}, snapshots {}, containers {}, hosts {}, nodes {}",
        for_display(&side.profile.workload.to_string()),
        side.profile.revision,
        status(&Reader::new(&side.head)),
        side.count("snapshot_count"),
        side.count("container_count"),
        side.count("host_count"),
        Reader::new(&side.head).int64("nodes", 0).unwrap_or_default(),
    )
}

fn warnings(a: &Side, b: &Side, nodes: &[Node]) -> Vec<String> {
    let mut warnings = Vec::new();
    for (name, side) in [("A", a), ("B", b)] {
        let read = Reader::new(&side.head);
        if read.text("status", 0) == Some("learning") {
            warnings.push(format!("{name} is still learning: it may yet show what it seems to lack"));
        }
        let containers = side.count("container_count");
        if containers < FEW {
            let plural = if containers == 1 { "" } else { "s" };
            warnings.push(format!(
                "{name} has {containers} container{plural}: most single differences can be chance"
            ));
        }
        if read.bool("tag_reused", 0) == Some(true) {
            warnings.push(format!("the tag of {name} was reused: it is a mix of image digests"));
        }
        let unseen = identity::Kind::ALL.into_iter().map(identity::Kind::as_str).filter(|kind| {
            !side.profile.could_show(kind)
                && nodes.iter().any(|node| node.kind == *kind && node.change.is_some())
        });
        let unseen: Vec<&str> = unseen.collect();
        if !unseen.is_empty() {
            warnings.push(format!(
                "{name} has no lossless snapshot of the kinds {}: it could not have shown them",
                unseen.join(", ")
            ));
        }
    }
    if a.count("path_rules") != b.count("path_rules") {
        warnings.push("their path rules differ: files may differ by name alone".to_owned());
    }
    warnings
}

fn summary(nodes: &[Node]) -> String {
    let mut counts: BTreeMap<Kind, (usize, usize)> = BTreeMap::new();
    for change in nodes.iter().filter_map(|node| node.change) {
        let (all, certain) = counts.entry(change.kind).or_default();
        *all += 1;
        *certain += usize::from(change.is_certain());
    }
    let parts = [Kind::Gained, Kind::Lost, Kind::Changed].map(|kind| {
        let (all, certain) = counts.get(&kind).copied().unwrap_or_default();
        let certain = if all == 0 { String::new() } else { format!(" ({certain} certain)") };
        format!("{} {all}{certain}", kind.as_str())
    });
    let alike = nodes.iter().filter(|node| node.change.is_none()).count();
    format!("{}, alike {alike}", parts.join(", "))
}

type Changed<'a> = (&'a Node, Change);

/// Nodes that differ, by process; the most common first, in a process and among processes.
fn groups(nodes: &[Node]) -> Vec<(String, Vec<Changed<'_>>)> {
    let processes: HashMap<&str, &Node> =
        nodes.iter().filter(|node| node.kind == "process").map(|node| (node.id.as_str(), node)).collect();
    let mut groups: BTreeMap<Option<&str>, Vec<Changed<'_>>> = BTreeMap::new();
    for node in nodes {
        // A process stands at the head of its own group.
        let owner = if node.kind == "process" { Some(node.id.as_str()) } else { node.parent.as_deref() };
        if let Some(change) = node.change {
            groups.entry(owner).or_default().push((node, change));
        }
    }
    let mut groups: Vec<_> = groups
        .into_iter()
        .map(|(owner, mut changed)| {
            changed.sort_by(|(x, _), (y, _)| {
                let first = |node: &Node| node.kind != "process";
                first(x).cmp(&first(y)).then(most(y).total_cmp(&most(x)))
            });
            (lineage(&processes, owner), changed)
        })
        .collect();
    let highest = |changed: &[Changed<'_>]| changed.iter().map(|(node, _)| most(node)).fold(0.0, f64::max);
    groups.sort_by(|x, y| highest(&y.1).total_cmp(&highest(&x.1)).then_with(|| x.0.cmp(&y.0)));
    groups
}

/// The higher of both commonalities.
fn most(node: &Node) -> f64 {
    node.a.commonality().unwrap_or(0.0).max(node.b.commonality().unwrap_or(0.0))
}

/// `[init] /bin/sh › /usr/bin/python3`.
fn lineage(processes: &HashMap<&str, &Node>, owner: Option<&str>) -> String {
    let mut names = Vec::new();
    let mut next = owner;
    let mut root = "";
    // Bounded: a table may hold anything.
    while let Some(process) = next.and_then(|id| processes.get(id)).filter(|_| names.len() <= 64) {
        names.push(for_display(&process.target).into_owned());
        root = match process.root_kind.as_deref() {
            Some("init") => "[init] ",
            Some(_) => "[exec session] ",
            None => root,
        };
        next = process.parent.as_deref();
    }
    if names.is_empty() {
        return "[no process known]".to_owned();
    }
    names.reverse();
    format!("{root}{}", names.join(" › "))
}

fn line(node: &Node, change: Change) -> String {
    let share = |seen: Seen| seen.commonality().map_or_else(|| "–".to_owned(), |share| format!("{share:.2}"));
    let counts = |seen: Seen| format!("{}/{}", seen.n, seen.total);
    let (sign, was, is) = match change.kind {
        Kind::Gained => ('+', "–".to_owned(), share(node.b)),
        Kind::Lost => ('-', share(node.a), "–".to_owned()),
        Kind::Changed => ('~', share(node.a), share(node.b)),
    };
    let counts = format!("{} → {}", counts(node.a), counts(node.b));
    let what = if node.kind == "process" { "this process".to_owned() } else { fact(node) };
    let sure = if change.is_certain() { "certain" } else { "perhaps" };
    let chance = match change.kind {
        Kind::Changed => format!("p {}", small(change.p_value)),
        _ => format!("chance {}, p {}", percent(change.chance), small(change.p_value)),
    };
    format!("  {sign} {was:>4} → {is:<4}  {counts:<15}  {what}  ({sure}: {chance})")
}

fn fact(node: &Node) -> String {
    format!("{} {}", node.kind, for_display(&node.target))
}

fn percent(share: f64) -> String {
    let percent = share * 100.0;
    if percent < 0.1 { "< 0.1 %".to_owned() } else { format!("{percent:.1} %") }
}

fn small(p: f64) -> String {
    if p < 0.001 { "< 0.001".to_owned() } else { format!("{p:.3}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(kind: &str, id: &str, parent: Option<&str>, target: &str, a: (u32, u32), b: (u32, u32)) -> Node {
        let seen = |(n, total)| Seen { present: n > 0, n, total };
        let (a, b) = (seen(a), seen(b));
        Node {
            id: id.to_owned(),
            parent: parent.map(str::to_owned),
            kind: kind.to_owned(),
            target: target.to_owned(),
            exe: None,
            root_kind: (kind == "process" && parent.is_none()).then(|| "init".to_owned()),
            a,
            b,
            change: Change::between(a, b, 0.2),
        }
    }

    #[test]
    fn by_process_and_the_most_common_first() {
        let nodes = [
            node("process", "1", None, "/bin/app", (9, 9), (9, 9)),
            node("file", "2", Some("1"), "/rare", (0, 9), (1, 9)),
            node("file", "3", Some("1"), "/new\u{1b}[0m", (0, 9), (6, 9)),
            node("file", "4", Some("1"), "/same", (9, 9), (9, 9)),
            node("process", "5", Some("1"), "/bin/sh", (9, 9), (0, 9)),
            node("file", "6", Some("5"), "/tmp/x", (9, 9), (0, 9)),
            node("file", "7", Some("gone"), "/orphan", (0, 9), (1, 9)),
        ];
        let found = groups(&nodes);
        let text: Vec<String> = found
            .iter()
            .flat_map(|(process, changed)| {
                std::iter::once(process.clone())
                    .chain(changed.iter().map(|(node, change)| line(node, *change)))
            })
            .collect();
        insta::assert_snapshot!(text.join("\n"), @r"
        [init] /bin/app › /bin/sh
          - 1.00 → –     9/9 → 0/9        this process  (certain: chance < 0.1 %, p < 0.001)
          - 1.00 → –     9/9 → 0/9        file /tmp/x  (certain: chance < 0.1 %, p < 0.001)
        [init] /bin/app
          +    – → 0.67  0/9 → 6/9        file /new\u{1b}[0m  (certain: chance 0.2 %, p 0.009)
          +    – → 0.11  0/9 → 1/9        file /rare  (perhaps: chance 26.3 %, p 1.000)
        [no process known]
          +    – → 0.11  0/9 → 1/9        file /orphan  (perhaps: chance 26.3 %, p 1.000)
        ");
        assert_eq!(summary(&nodes), "gained 3 (1 certain), lost 2 (2 certain), changed 0, alike 2");
    }

    #[test]
    fn a_lineage_that_loops_ends() {
        let loops = [
            node("process", "1", Some("2"), "/a", (1, 1), (1, 1)),
            node("process", "2", Some("1"), "/b", (1, 1), (1, 1)),
        ];
        let processes = loops.iter().map(|node| (node.id.as_str(), node)).collect();
        assert!(lineage(&processes, Some("1")).matches('›').count() <= 64);
    }
}
