//! Small crafted snapshots, described so that proptest can make and shrink them.

use std::collections::BTreeMap;

use bytes::Bytes;
use chrono::{DateTime, TimeDelta, Utc};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::subsequence;
use wsp_schemas::identity::{Kind, NodeId, RootKind};
use wsp_schemas::image::{Workload, WorkloadKey};
use wsp_schemas::keys::{SnapshotId, SnapshotKey};
use wsp_schemas::snapshot::{
    Completeness, Container, Fact, File, Image, Node, Phase, Process, SeenBy, SnapshotMeta, Socket, encode,
};
use wsp_tests::oracle::Object;

/// Minutes count from here.
pub(crate) fn epoch() -> DateTime<Utc> {
    DateTime::from_timestamp(1_609_459_200, 0).unwrap()
}

pub(crate) fn at(minutes: i64) -> DateTime<Utc> {
    epoch() + TimeDelta::minutes(minutes)
}

/// The workload of an app.
pub(super) fn app(number: u8) -> Workload {
    Workload::parse(&format!("app-{number}:1.0")).unwrap()
}

/// A snapshot.
#[derive(Debug, Clone)]
pub(crate) struct Shot {
    /// Its workload; none is unkeyed.
    pub(crate) app: Option<u8>,
    pub(crate) container: u8,
    pub(crate) host: u8,
    /// Minutes from [`epoch`].
    pub(crate) start: i64,
    pub(crate) minutes: i64,
    /// Minutes that the container had run when the window opened; 0 where the window covers its start.
    pub(crate) ran: i64,
    pub(crate) lossy: Vec<Kind>,
    pub(crate) blind: Vec<Kind>,
    pub(crate) digest: u8,
    pub(crate) nodes: Vec<Seen>,
    /// Tells snapshots apart that are alike in everything else.
    pub(crate) salt: u32,
    /// Minutes from the window's end until the store had it; below 0 where the host's clock is ahead.
    pub(crate) stored: i64,
}

/// A node in a snapshot.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    /// Which, of [`NODES`].
    pub(super) what: u8,
    pub(super) startup: bool,
    pub(super) first_ms: i32,
    pub(super) events: i64,
    /// Which attributes it has.
    pub(super) look: u8,
    pub(super) lineage_complete: bool,
}

/// Files of the init process, files of its child, names, connections, a listening socket, a capability, a system call, and a
/// file that no other container has.
pub(super) const NODES: u8 = 17;

impl Shot {
    /// A container that is watched from its start, whose init process uses some files.
    pub(crate) fn plain(app: u8, container: u8, start: i64, nodes: &[u8]) -> Self {
        Self {
            app: Some(app),
            container,
            host: container,
            start,
            minutes: 30,
            ran: 0,
            lossy: Vec::new(),
            blind: Vec::new(),
            digest: 0,
            nodes: nodes.iter().map(|what| Seen::plain(*what)).collect(),
            salt: 0,
            stored: 1,
        }
    }

    fn id(&self) -> SnapshotId {
        let Self { app, container, host, start, minutes, salt, .. } = self;
        let name = format!("{app:?} {container} {host} {start} {minutes} {salt}");
        let hash = wsp_schemas::content_hash(name.as_bytes());
        let text = [&hash[..8], &hash[8..12], &hash[12..16], &hash[16..20], &hash[20..32]].join("-");
        SnapshotId::parse(&text).unwrap()
    }

    fn meta(&self) -> SnapshotMeta {
        let window_start = at(self.start);
        let covers_start = self.ran == 0;
        let state = |kind: &Kind| match (self.lossy.contains(kind), covers_start) {
            (true, _) => Completeness::Lossy,
            (false, true) => Completeness::Complete,
            (false, false) => Completeness::JoinedLate,
        };
        let workload = self.app.map(app);
        SnapshotMeta {
            id: self.id(),
            image: Image { workload, digest: self.app.map(|_| format!("sha256:{:064}", self.digest)) },
            container: Container {
                id: format!("{:064x}", self.container),
                name: (self.container > 0).then(|| format!("c{}", self.container)),
                started: (self.container < 4).then(|| at(self.start - self.ran)),
                labels: (0..self.container % 3).map(|n| (format!("label{n}"), format!("v{n}"))).collect(),
            },
            host: format!("host-{}", self.host),
            window_start,
            window_end: window_start + TimeDelta::minutes(self.minutes),
            covers_start,
            writer: "test".to_owned(),
            kernel: format!("6.1.{}", self.salt),
            path_rules: wsp_schemas::paths::RULES_VERSION,
            sensors: Vec::new(),
            completeness: Kind::ALL
                .iter()
                .filter(|kind| !self.blind.contains(kind))
                .map(|kind| (kind.as_str().to_owned(), state(kind)))
                .collect(),
            lost: Vec::new(),
            limits_hit: Vec::new(),
        }
    }

    fn nodes(&self) -> Vec<Node> {
        let mut nodes: BTreeMap<NodeId, Node> = BTreeMap::new();
        let (init, shell) = (Seen::plain(0).process(None), Seen::plain(0).process(Some("/bin/sh")));
        let mut order = vec![init.id()];
        nodes.insert(init.id(), init.clone());
        let last = i32::try_from(self.minutes * 60_000).unwrap();
        for seen in &self.nodes {
            let owner = if (6..9).contains(&seen.what) { &shell } else { &init };
            if owner.id() == shell.id() && !nodes.contains_key(&shell.id()) {
                order.push(shell.id());
                nodes.insert(shell.id(), seen.process(Some("/bin/sh")));
            }
            let node = Node {
                fact: seen.fact(self),
                parent: Some(owner.id()),
                exe: owner.exe.clone(),
                phase: if seen.startup { Phase::Startup } else { Phase::Steady },
                seen_by: SeenBy::Runtime,
                lineage_complete: seen.lineage_complete,
                events: seen.events,
                first_seen_ms: seen.first_ms,
                last_seen_ms: last.min(seen.first_ms + 1000 * i32::from(seen.look)),
            };
            if nodes.insert(node.id(), node.clone()).is_none() {
                order.push(node.id());
            }
        }
        order.iter().map(|id| nodes[id].clone()).collect()
    }

    /// The object, as its first upload made it.
    pub(crate) fn object(&self) -> Object {
        self.uploaded(0, &self.meta())
    }

    /// The same file once more, under the key of a later hour.
    pub(crate) fn repeated(&self, hours: i64) -> Object {
        self.uploaded(hours, &self.meta())
    }

    /// Another file that claims to be the same snapshot.
    pub(crate) fn forged(&self, hours: i64) -> Object {
        self.uploaded(hours, &SnapshotMeta { kernel: "6.6.6".to_owned(), ..self.meta() })
    }

    fn uploaded(&self, hours: i64, meta: &SnapshotMeta) -> Object {
        let hour = meta.window_end.timestamp().div_euclid(3600) + hours;
        let key = SnapshotKey {
            uploaded: DateTime::from_timestamp(hour * 3600, 0).unwrap(),
            workload: meta.image.workload.as_ref().map_or(WorkloadKey::UNKEYED, Workload::key),
            window_end_ms: meta.window_end.timestamp_millis(),
            id: meta.id,
        };
        let stored = meta.window_end + TimeDelta::minutes(self.stored) + TimeDelta::hours(hours);
        Object { key: key.path(), bytes: Bytes::from(encode(meta, &self.nodes()).unwrap()), stored }
    }
}

impl Seen {
    fn plain(what: u8) -> Self {
        Self { what, startup: false, first_ms: 1000, events: 1, look: 0, lineage_complete: true }
    }

    /// The init process, or a child of it.
    fn process(&self, child: Option<&str>) -> Node {
        let init = || Seen::plain(0).process(None).id();
        Node {
            fact: Fact::Process(Box::new(Process {
                root_kind: child.is_none().then_some(RootKind::Init),
                args: vec![format!("app --look {}", self.look).as_str().into()],
                comm: format!("comm{}", self.look).as_str().into(),
                cwd: "/".into(),
                uids: vec![0, u32::from(self.look)],
                gids: vec![0],
                stdio: vec!["null", "pipe", "pipe"],
                file_origin: Some("image"),
                processes: 1,
                ..Process::default()
            })),
            parent: child.map(|_| init()),
            exe: Some(child.unwrap_or("/usr/bin/app").into()),
            phase: if child.is_none() || self.startup { Phase::Startup } else { Phase::Steady },
            seen_by: SeenBy::Runtime,
            lineage_complete: self.lineage_complete,
            events: self.events,
            first_seen_ms: if child.is_none() { 0 } else { self.first_ms },
            last_seen_ms: self.first_ms,
        }
    }

    fn fact(&self, shot: &Shot) -> Fact {
        let name = format!("n{}", self.what);
        let file = |path: String| {
            let access = if self.look.is_multiple_of(2) { vec!["read"] } else { vec!["read", "write"] };
            Fact::File(File {
                path: path.as_str().into(),
                path_raw: None,
                access,
                mode: (self.look > 1).then_some(0o600 + i32::from(self.look)),
                path_source: "kernel",
                file_origin: if self.look == 3 { "volume" } else { "image" },
            })
        };
        let socket = || Socket {
            protocol: "tcp".to_owned(),
            address: name.as_str().into(),
            port: 443,
            remote_ips: (0..self.look).map(|n| format!("192.0.2.{n}")).collect(),
            name_source: Some("dns"),
        };
        match self.what {
            0..9 => file(format!("/data/{name}")),
            9..11 => Fact::Dns { name: name.as_str().into(), rtype: "A".to_owned() },
            11..13 => Fact::Connect(socket()),
            13 => Fact::Listen(Socket { name_source: None, remote_ips: Vec::new(), ..socket() }),
            14 => Fact::Capability("CAP_NET_BIND_SERVICE".to_owned()),
            15 => Fact::Syscall("ptrace".to_owned()),
            _ => file(format!("/data/only-{}-{}", shot.host, shot.container)),
        }
    }
}

fn seen() -> impl Strategy<Value = Seen> {
    // Few values each: sightings that are equal in all but one thing are what goes wrong.
    (
        0..NODES,
        any::<bool>(),
        prop_oneof![Just(0), Just(1000), Just(2000)],
        1..4_i64,
        0..4_u8,
        prop::bool::weighted(0.8),
    )
        .prop_map(|(what, startup, first_ms, events, look, lineage_complete)| Seen {
            what,
            startup,
            first_ms,
            events,
            look,
            lineage_complete,
        })
}

fn some_kinds(share: f64) -> impl Strategy<Value = Vec<Kind>> {
    prop::option::weighted(share, subsequence(Kind::ALL.to_vec(), 1..4)).prop_map(Option::unwrap_or_default)
}

fn shot() -> impl Strategy<Value = Shot> {
    let place = (prop::option::weighted(0.95, 0..3_u8), 0..7_u8, 0..3_u8, 0..2_u8);
    // Windows start on a grid of ten minutes and overlap; some snapshots differ in nothing but their id.
    let time = (0..20_i64, 2..6_i64, prop_oneof![3 => Just(0), 1 => Just(2), 1 => Just(60)]);
    let loss = (some_kinds(0.2), some_kinds(0.1), prop_oneof![8 => Just(1), 1 => Just(-120), 1 => Just(600)]);
    // Clocks that are two years behind, or three days ahead of the store's.
    let clock = prop_oneof![28 => Just(0), 1 => Just(-730 * 1440), 1 => Just(3 * 1440)];
    (place, time, loss, clock, vec(seen(), 0..12)).prop_map(
        |((app, container, host, digest), (start, minutes, ran), (lossy, blind, stored), clock, nodes)| {
            Shot {
                app,
                container,
                host,
                start: start * 10 + clock,
                minutes: minutes * 10,
                ran,
                lossy,
                blind,
                digest,
                nodes,
                salt: 0,
                stored: stored - clock,
            }
        },
    )
}

/// Some snapshots, each with something of its own: where two are alike in all else, their ids must differ.
pub(super) fn shots<T: std::fmt::Debug>(
    count: std::ops::Range<usize>,
    with: impl Strategy<Value = T>,
) -> impl Strategy<Value = Vec<(Shot, T)>> {
    vec((shot(), with), count).prop_map(|mut shots| {
        (0..).zip(&mut shots).for_each(|(number, (shot, _))| shot.salt = number);
        shots
    })
}
