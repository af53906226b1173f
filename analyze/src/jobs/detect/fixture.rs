//! Snapshots and stores for tests of what follows a merge: trees of processes, each with what it did.

use std::collections::BTreeMap;

use arrow::util::display::{ArrayFormatter, FormatOptions};
use bytes::Bytes;
use chrono::{DateTime, TimeDelta, Utc};
use datafusion::prelude::SessionContext;
use futures::{StreamExt as _, TryStreamExt as _};
use object_store::path::Path;
use object_store::{ObjectStore as _, ObjectStoreExt as _, PutPayload};
use uuid::Uuid;
use wsp_schemas::identity::{Kind, NodeId, RootKind};
use wsp_schemas::image::{Workload, WorkloadKey};
use wsp_schemas::keys::{SnapshotId, SnapshotKey};
use wsp_schemas::snapshot::{
    Completeness, Container, Fact, File, Image, Node, Phase, Process, SeenBy, SnapshotMeta, Socket, encode,
};
use wsp_schemas::store::{Missing, Store, open};

use crate::jobs::{Silent, detect, merge};
use crate::rules::{self, Origin, Rule, Rules};
use crate::{session, views};

/// A process, and what it did.
#[derive(Debug, Clone)]
pub(in crate::jobs) struct Program {
    pub(in crate::jobs) exe: String,
    pub(in crate::jobs) root: RootKind,
    pub(in crate::jobs) args: Vec<String>,
    pub(in crate::jobs) origin: &'static str,
    pub(in crate::jobs) lineage_complete: bool,
    pub(in crate::jobs) facts: Vec<Fact>,
    pub(in crate::jobs) children: Vec<Program>,
}

pub(in crate::jobs) fn program(exe: &str) -> Program {
    Program {
        exe: exe.to_owned(),
        root: RootKind::Init,
        args: Vec::new(),
        origin: "image",
        lineage_complete: true,
        facts: Vec::new(),
        children: Vec::new(),
    }
}

impl Program {
    pub(in crate::jobs) fn entered(mut self) -> Self {
        self.root = RootKind::ExecSession;
        self
    }

    /// Its place in the tree, and that of all below it, is a guess.
    pub(in crate::jobs) fn guessed(mut self) -> Self {
        self.lineage_complete = false;
        self
    }

    pub(in crate::jobs) fn from(mut self, origin: &'static str) -> Self {
        self.origin = origin;
        self
    }

    pub(in crate::jobs) fn args(mut self, args: &str) -> Self {
        self.args.push(args.to_owned());
        self
    }

    pub(in crate::jobs) fn child(mut self, child: Self) -> Self {
        self.children.push(child);
        self
    }

    pub(in crate::jobs) fn did(mut self, fact: Fact) -> Self {
        self.facts.push(fact);
        self
    }

    pub(in crate::jobs) fn reads(self, paths: &[&str]) -> Self {
        paths.iter().fold(self, |program, path| program.did(used(path, "read")))
    }

    pub(in crate::jobs) fn writes(self, path: &str) -> Self {
        self.did(used(path, "write"))
    }

    pub(in crate::jobs) fn asks(self, names: &[&str]) -> Self {
        names.iter().fold(self, |program, name| {
            program.did(Fact::Dns { name: (*name).into(), rtype: "A".to_owned() })
        })
    }

    pub(in crate::jobs) fn connects(self, address: &str, port: u16) -> Self {
        self.did(Fact::Connect(socket(address, port)))
    }

    pub(in crate::jobs) fn listens(self, port: u16) -> Self {
        self.did(Fact::Listen(socket("0.0.0.0", port)))
    }

    pub(in crate::jobs) fn uses(self, capability: &str) -> Self {
        self.did(Fact::Capability(capability.to_owned()))
    }

    fn add(&self, parent: Option<NodeId>, is_sure: bool, nodes: &mut Vec<Node>) {
        let is_sure = is_sure && self.lineage_complete;
        let node = |fact, parent| Node {
            fact,
            parent,
            exe: Some(self.exe.as_str().into()),
            phase: Phase::Steady,
            seen_by: if is_sure { SeenBy::Runtime } else { SeenBy::Initial },
            lineage_complete: is_sure,
            events: 1,
            first_seen_ms: 1000,
            last_seen_ms: 2000,
        };
        let own = node(
            Fact::Process(Box::new(Process {
                root_kind: parent.is_none().then_some(self.root),
                args: self.args.iter().map(|text| text.as_str().into()).collect(),
                comm: self.exe.rsplit('/').next().unwrap_or_default().into(),
                cwd: "/".into(),
                uids: vec![0],
                gids: vec![0],
                stdio: vec!["null", "pipe", "pipe"],
                file_origin: Some(self.origin),
                processes: 1,
                ..Process::default()
            })),
            parent,
        );
        let id = own.id();
        nodes.push(own);
        nodes.extend(self.facts.iter().map(|fact| node(fact.clone(), Some(id))));
        self.children.iter().for_each(|child| child.add(Some(id), is_sure, nodes));
    }
}

pub(in crate::jobs) fn used(path: &str, access: &'static str) -> Fact {
    Fact::File(File {
        path: path.into(),
        path_raw: None,
        access: vec![access],
        mode: None,
        path_source: "kernel",
        file_origin: "image",
    })
}

fn socket(address: &str, port: u16) -> Socket {
    Socket { protocol: "tcp".to_owned(), address: address.into(), port, ..Socket::default() }
}

/// A snapshot, described.
#[derive(Debug, Clone)]
pub(in crate::jobs) struct Shot {
    /// Empty where the runtime told none.
    pub(in crate::jobs) image: &'static str,
    pub(in crate::jobs) container: u32,
    pub(in crate::jobs) host: u32,
    /// Start of the window of 30 minutes, minutes from [`epoch`].
    pub(in crate::jobs) start: i64,
    pub(in crate::jobs) covers_start: bool,
    pub(in crate::jobs) lossy: Vec<Kind>,
    /// Kinds that no sensor saw.
    pub(in crate::jobs) blind: Vec<Kind>,
    pub(in crate::jobs) digest: &'static str,
    pub(in crate::jobs) labels: BTreeMap<String, String>,
    pub(in crate::jobs) roots: Vec<Program>,
}

pub(in crate::jobs) fn shot(image: &'static str, container: u32, start: i64, roots: &[Program]) -> Shot {
    Shot {
        image,
        container,
        host: container,
        start,
        covers_start: true,
        lossy: Vec::new(),
        blind: Vec::new(),
        digest: "sha256:00",
        labels: BTreeMap::new(),
        roots: roots.to_vec(),
    }
}

/// A full hour.
pub(in crate::jobs) fn epoch() -> DateTime<Utc> {
    DateTime::from_timestamp(1_789_999_200, 0).unwrap()
}

pub(in crate::jobs) fn store() -> Store {
    open("memory:///", Missing::Create).unwrap()
}

impl Shot {
    pub(in crate::jobs) fn meta(&self) -> SnapshotMeta {
        let mut name = blake3::Hasher::new();
        name.update(format!("{} {} {}", self.image, self.container, self.start).as_bytes());
        let mut bytes = [0; 16];
        name.finalize_xof().fill(&mut bytes);
        let window_start = epoch() + TimeDelta::minutes(self.start);
        let whole = if self.covers_start { Completeness::Complete } else { Completeness::JoinedLate };
        let state = |kind: &Kind| if self.lossy.contains(kind) { Completeness::Lossy } else { whole };
        SnapshotMeta {
            id: SnapshotId::new(Uuid::from_bytes(bytes)),
            image: Image {
                workload: (!self.image.is_empty()).then(|| Workload::parse(self.image).unwrap()),
                digest: (!self.digest.is_empty()).then(|| self.digest.to_owned()),
            },
            container: Container {
                id: format!("{:064x}", self.container),
                name: Some(format!("c{}", self.container)),
                started: Some(window_start - TimeDelta::minutes(if self.covers_start { 0 } else { 600 })),
                labels: self.labels.clone(),
            },
            host: format!("host-{}", self.host),
            window_start,
            window_end: window_start + TimeDelta::minutes(30),
            covers_start: self.covers_start,
            writer: "test".to_owned(),
            kernel: "6.1".to_owned(),
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

    pub(in crate::jobs) fn bytes(&self) -> Vec<u8> {
        let mut nodes = Vec::new();
        self.roots.iter().for_each(|root| root.add(None, true, &mut nodes));
        encode(&self.meta(), &nodes).unwrap()
    }

    pub(in crate::jobs) fn key(&self) -> SnapshotKey {
        let meta = self.meta();
        SnapshotKey {
            uploaded: DateTime::from_timestamp(meta.window_end.timestamp() / 3600 * 3600, 0).unwrap(),
            workload: meta.image.workload.map_or(WorkloadKey::UNKEYED, |workload| workload.key()),
            window_end_ms: meta.window_end.timestamp_millis(),
            id: meta.id,
        }
    }

    pub(in crate::jobs) async fn put(&self, store: &Store) -> String {
        let key = self.key().path();
        put(store, &key, self.bytes()).await;
        key
    }
}

pub(in crate::jobs) async fn put(store: &Store, key: &str, bytes: Vec<u8>) {
    store.objects.put(&Path::from(key), PutPayload::from(bytes)).await.unwrap();
}

/// A merge after which a profile is stable with so many snapshots.
pub(in crate::jobs) async fn merge_at(store: &Store, snapshots: u32) -> merge::Report {
    let options = merge::Options {
        as_of: epoch() + TimeDelta::hours(1),
        max_snapshots: snapshots,
        ..merge::Options::default()
    };
    merge::run(store, &options, &Silent).await.unwrap()
}

/// A store with a stable profile of `app:1` that was learned from these trees, one container and host each.
pub(in crate::jobs) async fn learned(trees: &[Vec<Program>]) -> Store {
    let shots: Vec<Shot> =
        (1..).zip(trees).map(|(at, roots)| shot("app:1", at, i64::from(at), roots)).collect();
    learned_from(&shots).await
}

pub(in crate::jobs) async fn learned_from(shots: &[Shot]) -> Store {
    let store = store();
    for shot in shots {
        shot.put(&store).await;
    }
    let count = u32::try_from(shots.len()).unwrap();
    let report = merge_at(&store, count).await;
    assert_eq!((report.admitted, report.frozen), (shots.len(), 1), "{report:?}");
    store
}

/// What every container of `app:1` does.
pub(in crate::jobs) fn app() -> Program {
    program("/usr/bin/app").reads(&["/etc/app.conf"]).connects("10.0.0.1", 443)
}

/// A container that was started long after the profile was stable: its number is that of its window, too.
pub(in crate::jobs) fn late(container: u32, roots: &[Program]) -> Shot {
    shot("app:1", container, 60 * i64::from(container), roots)
}

pub(in crate::jobs) fn context() -> SessionContext {
    session::new(&session::Resources::default()).unwrap()
}

pub(in crate::jobs) fn rule(id: &str, severity: &str, predicate: &str) -> Rule {
    let text = format!(
        "id = \"{id}\"\ntitle = \"{id}\"\nseverity = \"{severity}\"\ndescription = \"d\"\npredicate = \"\"\"{predicate}\"\"\"\n"
    );
    rules::parse(&context(), text.as_bytes(), Origin::User("test".to_owned())).unwrap()
}

/// Rules of severity `medium`, by id and predicate.
pub(in crate::jobs) fn rule_set(rules: &[(&str, &str)]) -> Rules {
    let mut set = Rules::default();
    rules.iter().for_each(|(id, predicate)| set.insert(rule(id, "medium", predicate)));
    set
}

pub(in crate::jobs) async fn detect(store: &Store, rules: &Rules) -> detect::Report {
    detect_with(store, rules, &detect::Options::default()).await
}

pub(in crate::jobs) async fn detect_with(
    store: &Store,
    rules: &Rules,
    options: &detect::Options,
) -> detect::Report {
    let rules = std::future::ready(Ok::<_, detect::DetectError>(rules.clone()));
    detect::run(store, rules, options, &Silent).await.unwrap()
}

/// The rows of a query as text, columns separated by a bar.
pub(in crate::jobs) async fn rows(store: &Store, sql: &str) -> Vec<String> {
    let context = views::open(store).await.unwrap();
    let options = FormatOptions::default().with_null("null");
    let mut rows = Vec::new();
    for batch in views::query(&context, sql).await.unwrap().collect().await.unwrap() {
        for row in 0..batch.num_rows() {
            let cell = |column| ArrayFormatter::try_new(column, &options).unwrap().value(row).to_string();
            rows.push(
                batch.columns().iter().map(|column| cell(column.as_ref())).collect::<Vec<_>>().join("|"),
            );
        }
    }
    rows
}

/// Objects below a prefix.
pub(in crate::jobs) async fn saved(store: &Store, prefix: &str) -> Vec<(Path, Bytes)> {
    let listed: Vec<_> = store.objects.list(Some(&Path::from(prefix))).try_collect().await.unwrap();
    futures::stream::iter(listed)
        .then(|object| async move {
            let bytes = store.objects.get(&object.location).await.unwrap().bytes().await.unwrap();
            (object.location, bytes)
        })
        .collect()
        .await
}

/// Puts objects below a prefix back to what they were.
pub(in crate::jobs) async fn restore(store: &Store, prefix: &str, objects: &[(Path, Bytes)]) {
    for (path, _) in saved(store, prefix).await {
        store.objects.delete(&path).await.unwrap();
    }
    for (path, bytes) in objects {
        store.objects.put(path, PutPayload::from(bytes.clone())).await.unwrap();
    }
}

/// Another store of the same objects.
pub(in crate::jobs) async fn copied(from: &Store) -> Store {
    let to = store();
    for (path, bytes) in saved(from, "").await {
        to.objects.put(&path, PutPayload::from(bytes)).await.unwrap();
    }
    to
}
