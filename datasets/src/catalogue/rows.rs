//! Rows as catalogues have them: everything but when and how often.

use wsp_schemas::identity::{NodeId, RootKind, multi_call_argv0};
use wsp_schemas::paths::normalise;
use wsp_schemas::snapshot::{Fact, File, Node, Phase, Process, SeenBy};
use wsp_schemas::text::RawText;

use super::builder::{Owner, Program};
use super::raw::Names;

/// A process node; `exe`, `args` and `script` as they are.
pub(super) fn process_node(parent: Option<NodeId>, root: Option<RootKind>, program: Program<'_>) -> Node {
    let args = if program.args.is_empty() { program.exe } else { program.args };
    let argv0 = args.split(' ').next().unwrap_or(args);
    let name = program.script.unwrap_or(program.exe).rsplit('/').next().unwrap_or_default();
    let comm: String = name.chars().take(15).collect();
    let process = Process {
        root_kind: root,
        exec_from: program.exec_from.map(RawText::from),
        script: program.script.map(RawText::from),
        shebang: program.script.is_some(),
        argv0: multi_call_argv0(program.exe.as_bytes(), argv0.as_bytes()),
        args: vec![args.into()],
        comm: comm.as_str().into(),
        cwd: "/".into(),
        uids: vec![program.uid],
        gids: vec![program.uid],
        stdio: vec!["null", "pipe", "pipe"],
        cred_change: program.cred_change,
        ns_changed: program.ns_changed,
        written_in_window: ["upper", "tmpfs"].contains(&program.origin),
        file_origin: Some(if program.origin.is_empty() { "image" } else { program.origin }),
        processes: 1,
        ..Process::default()
    };
    node(Fact::Process(Box::new(process)), parent, program.exe)
}

/// A file node, and whether `raw` has placeholders.
pub(super) fn file_node(
    owner: &Owner,
    raw: &str,
    access: &[&'static str],
    origin: &'static str,
    names: &Names,
) -> (Node, bool) {
    let path = names.apply(raw);
    let templated = path != raw;
    let path = normalise(path.as_bytes()).into_owned();
    let mode = access.contains(&"create").then_some(0o644);
    let fact = Fact::File(File {
        path: path.into(),
        path_raw: None,
        access: access.to_vec(),
        mode,
        path_source: "kernel",
        file_origin: origin,
    });
    (node(fact, Some(owner.id), &owner.exe), templated)
}

pub(super) fn node(fact: Fact, parent: Option<NodeId>, exe: &str) -> Node {
    Node {
        fact,
        parent,
        exe: Some(exe.into()),
        phase: Phase::Steady,
        seen_by: SeenBy::Runtime,
        lineage_complete: true,
        events: 1,
        first_seen_ms: 0,
        last_seen_ms: 0,
    }
}

pub(super) fn text_of(node: &Node) -> String {
    match &node.fact {
        Fact::File(file) => file.path.to_escaped(),
        _ => String::new(),
    }
}

pub(super) fn origin_of(path: &str) -> &'static str {
    let starts = |prefixes: &[&str]| prefixes.iter().any(|prefix| path.starts_with(prefix));
    if starts(&["/proc/", "/sys/", "/dev/"]) {
        "pseudo"
    } else if starts(&[
        "/etc/hosts",
        "/etc/resolv.conf",
        "/etc/hostname",
        "/etc/config/",
        "/var/run/secrets/",
        "/data/",
        "/var/lib/",
    ]) {
        "volume"
    } else if starts(&["/run/", "/tmp/"]) {
        "tmpfs"
    } else {
        "image"
    }
}
