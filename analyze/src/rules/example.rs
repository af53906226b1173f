//! Examples of a rule: a few processes and what they did, as a snapshot would have them.
//!
//! They are encoded as a snapshot file, read back, and looked at as a detection does: what an example shows is what a
//! recording would.

use std::collections::{BTreeMap, HashMap};

use chrono::{DateTime, TimeDelta};
use serde::Deserialize;
use uuid::Uuid;
use wsp_schemas::identity::{NodeId, RootKind};
use wsp_schemas::image::Workload;
use wsp_schemas::keys::SnapshotId;
use wsp_schemas::paths::{RULES_VERSION, normalise};
use wsp_schemas::snapshot::{
    Container, Fact, File, Image, Limits, Node, Phase, Process, Scanner, SeenBy, SnapshotMeta, Socket, encode,
};
use wsp_schemas::text::RawText;

use super::Rule;
use crate::behaviour::{Behaviour, Context, Said};

/// Nodes of an example.
const MOST_NODES: usize = 10_000;

/// An example.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Example {
    /// What it shows.
    pub says: String,
    /// Whether the rule must match one of its nodes; else it may match none.
    pub raises: bool,
    #[serde(default)]
    digest_is_new: Option<bool>,
    /// The profile is stable, and has all nodes, or none; this common.
    #[serde(default)]
    in_profile: Option<bool>,
    #[serde(default)]
    commonality: Option<f64>,
    #[serde(default)]
    labels: BTreeMap<String, String>,
    process: Vec<Program>,
}

/// A process of an example; keys are named as the columns of a snapshot.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Program {
    exe: String,
    /// Executable of an earlier process: the nearest one.
    parent: Option<String>,
    root: Option<String>,
    argv0: Option<String>,
    script: Option<String>,
    shebang: bool,
    args: Vec<String>,
    comm: Option<String>,
    cwd: Option<String>,
    uids: Vec<u32>,
    gids: Vec<u32>,
    cred_change: bool,
    tty: bool,
    stdio: Vec<String>,
    ns_changed: bool,
    written_in_window: bool,
    origin: Option<String>,
    exec_from: Option<String>,
    phase: Option<String>,
    processes: Option<i64>,
    files: Vec<Opened>,
    dns: Vec<Asked>,
    dns_generated: Option<Names>,
    connects: Vec<Peer>,
    connects_generated: Option<Peers>,
    listens: Vec<Peer>,
    syscalls: Vec<String>,
    capabilities: Vec<String>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Opened {
    path: String,
    #[serde(default)]
    access: Vec<String>,
    mode: Option<i32>,
    origin: Option<String>,
    path_raw: Option<String>,
    source: Option<String>,
    phase: Option<String>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Asked {
    name: String,
    #[serde(rename = "type")]
    rtype: Option<String>,
}

/// So many names below one domain, with labels of so many bytes.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Names {
    count: usize,
    below: String,
    label_bytes: usize,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Peer {
    protocol: Option<String>,
    address: String,
    #[serde(default)]
    port: u16,
    #[serde(default)]
    remote_ips: Vec<String>,
    #[serde(default)]
    by_name: bool,
}

/// So many addresses at one port; at as many ports of one address where none is given.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Peers {
    count: usize,
    port: Option<u16>,
}

/// An example that does not do what it says.
#[derive(Debug, thiserror::Error)]
pub enum ExampleError {
    /// It is not matched, or is although it should not be.
    #[error("the rule `{rule}` {what} the example `{says}`")]
    Wrong {
        /// The rule.
        rule: String,
        /// `does not match`, or `matches <targets> of`.
        what: String,
        /// The example.
        says: String,
    },
    /// It cannot be made.
    #[error("the example `{says}` of the rule `{rule}` is no snapshot: {reason}")]
    NoSnapshot {
        /// The rule.
        rule: String,
        /// The example.
        says: String,
        /// Why.
        reason: String,
    },
}

impl Example {
    /// Says what is wrong with it, before anything is made of it.
    pub(super) fn check(&self) -> Result<(), String> {
        let generated = self.process.iter().map(|process| {
            process.dns_generated.as_ref().map_or(0, |names| names.count)
                + process.connects_generated.as_ref().map_or(0, |peers| peers.count)
        });
        if generated.fold(0_usize, usize::saturating_add) > MOST_NODES {
            return Err(format!("makes more than {MOST_NODES} nodes"));
        }
        if let Some(names) = self.process.iter().find_map(|process| process.dns_generated.as_ref())
            && !(1..=63).contains(&names.label_bytes)
        {
            return Err("has labels of other than 1 to 63 bytes".to_owned());
        }
        self.nodes().map(drop)
    }

    fn nodes(&self) -> Result<Vec<Node>, String> {
        let mut nodes = Vec::new();
        let mut known: HashMap<&str, NodeId> = HashMap::new();
        for (at, program) in self.process.iter().enumerate() {
            let parent = match &program.parent {
                Some(exe) => Some(*known.get(exe.as_str()).ok_or_else(|| {
                    format!("has no process `{}` before the one whose parent it is", exe.escape_debug())
                })?),
                None => None,
            };
            let root = match (program.root.as_deref(), parent) {
                (Some(_), Some(_)) => return Err("has a process with both a parent and a root".to_owned()),
                (Some(root), None) => {
                    Some(RootKind::parse(root).ok_or("has a root that is neither init nor exec_session")?)
                }
                (None, None) if at == 0 => Some(RootKind::Init),
                (None, None) => Some(RootKind::ExecSession),
                (None, Some(_)) => None,
            };
            let process = program.node(parent, root)?;
            let id = process.id();
            known.insert(&program.exe, id);
            nodes.push(process);
            program.facts(id, &mut nodes)?;
        }
        // A file has a node once.
        let mut seen = std::collections::HashSet::new();
        nodes.retain(|node| seen.insert(node.id()));
        Ok(nodes)
    }

    fn meta(&self) -> Result<SnapshotMeta, String> {
        let start = DateTime::from_timestamp(1_793_491_200, 0).ok_or("has no time")?;
        let workload = Workload::parse("example.com/example:1").map_err(|error| error.to_string())?;
        Ok(SnapshotMeta {
            id: SnapshotId::new(Uuid::nil()),
            image: Image { workload: Some(workload), digest: Some(format!("sha256:{}", "0".repeat(64))) },
            container: Container {
                id: "0".repeat(64),
                name: Some("example".to_owned()),
                started: Some(start),
                labels: self.labels.clone(),
            },
            host: "host".to_owned(),
            window_start: start,
            window_end: start + TimeDelta::minutes(30),
            covers_start: true,
            writer: "example".to_owned(),
            kernel: String::new(),
            path_rules: RULES_VERSION,
            sensors: Vec::new(),
            completeness: BTreeMap::new(),
            lost: Vec::new(),
            limits_hit: Vec::new(),
        })
    }
}

/// Runs the examples of a rule.
pub fn run(rule: &Rule) -> Vec<ExampleError> {
    rule.examples.iter().filter_map(|example| run_one(rule, example).err()).collect()
}

fn run_one(rule: &Rule, example: &Example) -> Result<(), ExampleError> {
    let no_snapshot = |reason: String| ExampleError::NoSnapshot {
        rule: rule.id.clone(),
        says: example.says.clone(),
        reason,
    };
    let meta = example.meta().map_err(no_snapshot)?;
    let nodes = example.nodes().map_err(no_snapshot)?;
    let bytes = encode(&meta, &nodes).map_err(|error| no_snapshot(error.to_string()))?;
    let scan = Scanner::default().scan(&bytes.into(), &Limits::default());
    let scan = scan.map_err(|error| no_snapshot(error.to_string()))?;
    let context = Context { digest_is_new: example.digest_is_new };
    let said = example.in_profile.map(|in_profile| Said { in_profile, commonality: example.commonality });
    let behaviour =
        Behaviour::whole(&scan, &context, said).map_err(|error| no_snapshot(error.to_string()))?;
    let found = rule.predicate.holds(behaviour.rows()).map_err(|error| no_snapshot(error.to_string()))?;
    let wrong =
        |what: String| ExampleError::Wrong { rule: rule.id.clone(), what, says: example.says.clone() };
    let targets: Vec<String> = (0..found.len())
        .filter(|row| found.value(*row))
        .map(|row| behaviour.target(row).unwrap_or("the container").to_owned())
        .collect();
    match (example.raises, targets.is_empty()) {
        (true, true) => Err(wrong("does not match".to_owned())),
        (false, false) => Err(wrong(format!("matches `{}` of", targets.join("`, `")))),
        _ => Ok(()),
    }
}

/// Words that nodes hold as constants, from those that the format has.
fn word(text: &str, words: &[&'static str], what: &str) -> Result<&'static str, String> {
    let found = words.iter().find(|word| **word == text);
    found.copied().ok_or_else(|| format!("has the {what} `{}`, which no recording has", text.escape_debug()))
}

const ORIGINS: [&str; 9] =
    ["image", "copied_up", "upper", "volume", "tmpfs", "memfd", "pseudo", "deleted", "unknown"];
const STDIO: [&str; 6] = ["none", "tty", "pipe", "socket", "null", "file"];
const SOURCES: [&str; 3] = ["kernel", "argument", "truncated"];
const ACCESS: [&str; 18] = [
    "read",
    "write",
    "create",
    "append",
    "truncate",
    "lookup",
    "exec",
    "unlink",
    "rmdir",
    "rename_from",
    "rename_to",
    "link_from",
    "link_to",
    "symlink",
    "mkdir",
    "mknod",
    "chmod",
    "chown",
];

fn phase(text: Option<&str>) -> Result<Phase, String> {
    match text {
        Some("startup") => Ok(Phase::Startup),
        None | Some("steady") => Ok(Phase::Steady),
        Some(_) => Err("has a phase that is neither startup nor steady".to_owned()),
    }
}

fn path(text: &str) -> RawText {
    RawText::new(normalise(text.as_bytes()).into_owned())
}

impl Program {
    fn of(&self, fact: Fact, parent: Option<NodeId>, when: Option<&str>) -> Result<Node, String> {
        let phase = phase(when.or(self.phase.as_deref()))?;
        let first_seen_ms = if phase == Phase::Startup { 1000 } else { 600_000 };
        Ok(Node {
            fact,
            parent,
            exe: Some(path(&self.exe)),
            phase,
            seen_by: SeenBy::Runtime,
            lineage_complete: true,
            events: 1,
            first_seen_ms,
            last_seen_ms: first_seen_ms,
        })
    }

    fn node(&self, parent: Option<NodeId>, root: Option<RootKind>) -> Result<Node, String> {
        let text = |text: &Option<String>| text.as_deref().map(RawText::from);
        let stdio = self.stdio.iter().map(|text| word(text, &STDIO, "stdio")).collect::<Result<_, _>>()?;
        let name = self.exe.rsplit('/').next().unwrap_or_default();
        let process = Process {
            root_kind: root,
            exec_from: text(&self.exec_from),
            script: self.script.as_deref().map(path),
            shebang: self.shebang,
            argv0: text(&self.argv0),
            args: self.args.iter().map(|args| args.as_str().into()).collect(),
            args_overflow: 0,
            comm: self.comm.as_deref().unwrap_or(name).into(),
            cwd: self.cwd.as_deref().unwrap_or("/").into(),
            uids: if self.uids.is_empty() { vec![0] } else { self.uids.clone() },
            gids: if self.gids.is_empty() { vec![0] } else { self.gids.clone() },
            cred_change: self.cred_change,
            tty: self.tty,
            stdio,
            ns_changed: self.ns_changed,
            written_in_window: self.written_in_window,
            file_origin: Some(word(self.origin.as_deref().unwrap_or("image"), &ORIGINS, "origin")?),
            processes: self.processes.unwrap_or(1),
        };
        self.of(Fact::Process(Box::new(process)), parent, None)
    }

    fn facts(&self, owner: NodeId, nodes: &mut Vec<Node>) -> Result<(), String> {
        let owner = Some(owner);
        for file in &self.files {
            let access = file.access.iter().map(|text| word(text, &ACCESS, "access"));
            let fact = Fact::File(File {
                path: path(&file.path),
                path_raw: file.path_raw.as_deref().map(RawText::from),
                access: if file.access.is_empty() {
                    vec!["read"]
                } else {
                    access.collect::<Result<_, _>>()?
                },
                mode: file.mode,
                path_source: word(file.source.as_deref().unwrap_or("kernel"), &SOURCES, "source")?,
                file_origin: word(file.origin.as_deref().unwrap_or("image"), &ORIGINS, "origin")?,
            });
            nodes.push(self.of(fact, owner, file.phase.as_deref())?);
        }
        let generated = self.dns_generated.iter().flat_map(|names| {
            (0..names.count).map(|at| {
                // Looks like what it is: an encoded message, cut into labels.
                let label = blake3::hash(&at.to_le_bytes()).to_hex().to_string().repeat(2);
                format!("{}.{}", label.get(..names.label_bytes).unwrap_or(&label), names.below)
            })
        });
        let asked = self.dns.iter().map(|asked| (asked.name.clone(), asked.rtype.clone()));
        for (name, rtype) in asked.chain(generated.map(|name| (name, None))) {
            let rtype = rtype.unwrap_or_else(|| "A".to_owned());
            nodes.push(self.of(Fact::Dns { name: name.as_str().into(), rtype }, owner, None)?);
        }
        let generated = self.connects_generated.iter().flat_map(|peers| {
            (0..peers.count).map(|at| match peers.port {
                Some(port) => (format!("10.{}.{}.{}", at >> 16 & 255, at >> 8 & 255, at & 255), port),
                None => ("10.0.0.1".to_owned(), u16::try_from(at + 1).unwrap_or(u16::MAX)),
            })
        });
        for (address, port) in generated {
            let fact = Fact::Connect(Socket {
                protocol: "tcp".to_owned(),
                address: address.as_str().into(),
                port,
                ..Socket::default()
            });
            nodes.push(self.of(fact, owner, None)?);
        }
        for (peers, is_listen) in [(&self.connects, false), (&self.listens, true)] {
            for peer in peers {
                let socket = Socket {
                    protocol: peer.protocol.clone().unwrap_or_else(|| "tcp".to_owned()),
                    address: peer.address.as_str().into(),
                    port: peer.port,
                    remote_ips: peer.remote_ips.clone(),
                    name_source: peer.by_name.then_some("dns"),
                };
                let fact = if is_listen { Fact::Listen(socket) } else { Fact::Connect(socket) };
                nodes.push(self.of(fact, owner, None)?);
            }
        }
        for name in &self.syscalls {
            nodes.push(self.of(Fact::Syscall(name.clone()), owner, None)?);
        }
        for name in &self.capabilities {
            nodes.push(self.of(Fact::Capability(name.clone()), owner, None)?);
        }
        Ok(())
    }
}
