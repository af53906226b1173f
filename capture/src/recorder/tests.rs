//! Sequences of events and the trees that they make.

mod any;
mod facts;
mod lineage;
mod meta;

use std::fmt::Write as _;

use wsp_schemas::identity::{Kind, NodeId};
use wsp_schemas::keys::SnapshotId;
use wsp_schemas::snapshot::{
    Container, Fact, Image, Limits, Node, SeenBy, Sensor, SnapshotMeta, Verified, decode, encode,
};

use super::*;
use crate::event::{Address, CgroupId, Clock, Endpoint, FilePath, Key, Origin, Transport};

pub(super) const CGROUP: CgroupId = CgroupId(7);
/// 2026-01-01T00:00:00Z.
const CLOCK: Clock = Clock { wall_at_boot_ns: 1_767_225_600_000_000_000 };

/// Events of one container, a millisecond apart.
pub(super) struct Script {
    pub(super) events: Vec<Event>,
    ms: u64,
}

pub(super) fn script() -> Script {
    Script { events: Vec::new(), ms: 1000 }
}

pub(super) fn at(ms: u64) -> BootTime {
    BootTime(ms * 1_000_000)
}

pub(super) fn file(path: &str) -> FilePath {
    FilePath { path: path.into(), origin: Origin::Image, ..FilePath::default() }
}

/// An exec in a private pid namespace.
pub(super) fn exec(ns_pid: u32, exe: &str, argv: &str) -> Box<Exec> {
    Box::new(Exec {
        exe: file(exe),
        argv: argv.split_whitespace().map(RawText::from).collect(),
        comm: exe.rsplit('/').next().unwrap_or_default().into(),
        cwd: "/".into(),
        ns_pid,
        pid_ns_level: 1,
        mnt_ns: 42,
        ..Exec::default()
    })
}

impl Script {
    pub(super) fn event(mut self, pid: u32, body: Body) -> Self {
        self.events.push(Event { at: at(self.ms), cgroup: CGROUP, pid: Pid(pid), key: Key::NONE, body });
        self.ms += 1;
        self
    }

    pub(super) fn wait(mut self, ms: u64) -> Self {
        self.ms += ms;
        self
    }

    pub(super) fn fork(self, pid: u32, child: u32) -> Self {
        self.event(pid, Body::Fork { child: Pid(child) })
    }

    pub(super) fn exec(self, pid: u32, exe: &str, argv: &str) -> Self {
        // Pids from 100 on, so that 100 is the init of its namespace.
        self.event(pid, Body::Exec(exec(pid - 99, exe, argv)))
    }

    /// Fork and exec.
    pub(super) fn run(self, pid: u32, child: u32, exe: &str, argv: &str) -> Self {
        self.fork(pid, child).exec(child, exe, argv)
    }

    pub(super) fn exit(self, pid: u32) -> Self {
        self.event(pid, Body::Exit)
    }

    pub(super) fn open(self, pid: u32, path: &str, flags: u32) -> Self {
        self.event(pid, Body::Open { file: file(path), flags })
    }

    pub(super) fn initial(self, pid: u32, parent: Option<u32>, exe: &str, argv: &str) -> Self {
        self.initial_guess(pid, parent, false, exe, argv)
    }

    pub(super) fn initial_guess(
        self,
        pid: u32,
        parent: Option<u32>,
        parent_is_guess: bool,
        exe: &str,
        argv: &str,
    ) -> Self {
        let exec = exec(pid - 99, exe, argv);
        self.event(pid, Body::InitialProcess { parent: parent.map(Pid), parent_is_guess, exec })
    }

    pub(super) fn connect(self, pid: u32, address: &str, port: u16) -> Self {
        let remote =
            Endpoint { protocol: Transport::Tcp, address: Address::Ip(address.parse().unwrap()), port };
        self.event(pid, Body::Connect { remote, result: 0 })
    }

    pub(super) fn lost(self, kind: LostKind, events: u64) -> Self {
        self.event(0, Body::Lost { kind, cause: LostCause::RingFull, events })
    }

    pub(super) fn born(self) -> Snapshot {
        self.window(Met::Unstarted)
    }

    pub(super) fn joined(self) -> Snapshot {
        self.window(Met::Running)
    }

    fn window(self, met: Met) -> Snapshot {
        let mut recorder = Recorder::new(Options::default(), met, None, at(1000));
        self.into_recorder(&mut recorder)
    }

    pub(super) fn into_recorder(self, recorder: &mut Recorder) -> Snapshot {
        for event in &self.events {
            recorder.record(event);
        }
        snapshot(recorder.turn(at(self.ms)))
    }
}

pub(super) struct Snapshot {
    pub(super) meta: SnapshotMeta,
    pub(super) nodes: Vec<Node>,
}

pub(super) fn setting() -> Setting {
    let kinds = ["process", "file", "connect", "listen", "dns"];
    Setting {
        id: SnapshotId::parse("019b7706-6800-7000-8000-000000000001").unwrap(),
        image: Image::default(),
        container: Container { id: "c".to_owned(), ..Container::default() },
        host: "h".to_owned(),
        kernel: "6.1.0".to_owned(),
        sensors: kinds.map(|kind| Sensor { kind: kind.to_owned(), hook: "test".to_owned() }).to_vec(),
        clock: CLOCK,
    }
}

/// The snapshot of a window, after it went through a file: every row is verified.
pub(super) fn snapshot(window: ClosedWindow) -> Snapshot {
    let (meta, nodes) = window.into_snapshot(&setting());
    let Verified { meta: read, rows, .. } =
        decode(encode(&meta, &nodes).unwrap().into(), &Limits::default()).unwrap();
    assert_eq!((&read, rows.num_rows()), (&meta, nodes.len()));
    Snapshot { meta, nodes }
}

impl Snapshot {
    /// The tree as text: two spaces a level.
    pub(super) fn tree(&self) -> String {
        let mut out = String::new();
        for node in &self.nodes {
            let mut depth = 0;
            let mut parent = node.parent;
            while let Some(id) = parent {
                depth += 1;
                parent = self.nodes.iter().find(|node| node.id() == id).unwrap().parent;
            }
            let mut marks = String::new();
            if node.seen_by == SeenBy::Initial {
                marks.push_str(" initial");
            }
            if !node.lineage_complete {
                marks.push_str(" incomplete");
            }
            if node.events != 1 {
                let _ = write!(marks, " x{}", node.events);
            }
            let _ = writeln!(out, "{:1$}{2}{marks}", "", depth * 2, show(node));
        }
        out
    }

    /// Ids of all nodes by what they are.
    pub(super) fn id(&self, shown: &str) -> NodeId {
        let mut found = self.nodes.iter().filter(|node| show(node).starts_with(shown)).map(Node::id);
        let id = found.next().unwrap_or_else(|| panic!("no {shown} in\n{}", self.tree()));
        assert_eq!(found.next(), None, "{shown} is there twice in\n{}", self.tree());
        id
    }

    pub(super) fn process(&self, shown: &str) -> &wsp_schemas::snapshot::Process {
        let id = self.id(shown);
        match &self.nodes.iter().find(|node| node.id() == id).unwrap().fact {
            Fact::Process(process) => process,
            fact => panic!("{fact:?}"),
        }
    }
}

fn show(node: &Node) -> String {
    match &node.fact {
        Fact::Process(process) => {
            let mut out = String::new();
            if let Some(kind) = process.root_kind {
                let _ = write!(out, "[{}] ", kind.as_str());
            }
            out.push_str(&node.exe.as_ref().unwrap().to_escaped());
            for (mark, text) in
                [(" =", &process.argv0), (" #!", &process.script.clone().filter(|_| process.shebang))]
            {
                if let Some(text) = text {
                    let _ = write!(out, "{mark}{}", text.to_escaped());
                }
            }
            if let Some(from) = &process.exec_from {
                let _ = write!(out, " was {}", from.to_escaped());
            }
            if process.processes != 1 {
                let _ = write!(out, " ({} processes)", process.processes);
            }
            out
        }
        Fact::File(file) => format!("file {} {}", file.path.to_escaped(), file.access.join("+")),
        Fact::Dns { name, rtype } => format!("dns {} {rtype}", name.to_escaped()),
        Fact::Connect(s) => {
            format!("connect {} {}:{} {:?}", s.protocol, s.address.to_escaped(), s.port, s.remote_ips)
        }
        Fact::Listen(s) => format!("listen {} {}:{}", s.protocol, s.address.to_escaped(), s.port),
        Fact::Syscall(name) | Fact::Capability(name) => name.clone(),
    }
}
