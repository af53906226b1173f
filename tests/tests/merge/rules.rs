//! Snapshots and profiles of earlier path rules: merged, they are what snapshots of the present rules give.

use std::collections::BTreeMap;
use std::path::{Path as FilePath, PathBuf};

use bytes::Bytes;
use chrono::{DateTime, TimeDelta};
use wsp_schemas::identity::{Kind, RootKind};
use wsp_schemas::image::Workload;
use wsp_schemas::keys::{SnapshotId, SnapshotKey};
use wsp_schemas::paths::{RULES_VERSION, normalise_as};
use wsp_schemas::snapshot::{
    Completeness, Container, Fact, File, Image, Limits, Node, Phase, Process, SeenBy, SnapshotMeta, Socket,
    decode, encode,
};
use wsp_schemas::store::{Missing, Store, open};
use wsp_schemas::text::RawText;
use wsp_tests::delta::Tables;
use wsp_tests::oracle::{Object, Settings};
use wsp_tests::value::{Row, cell_of};

use super::fleets::at;
use super::{faulty, merge, options, upload};

/// A store with a learning profile of three snapshots, which [`snapshot`] gives (the test compares them): made by
/// `wsp merge --as-of 2021-01-01T02:00:00Z --buckets 2` of commit 44843eb, whose path rules were of version 1.
const STORE_V1: &str = "data/store-rules-v1";

const CONTAINERS: u8 = 6;
/// Of those, the ones in the store of version 1.
const LEARNED: u8 = 3;

/// A snapshot of one of some containers, by a recorder with rules of some version. What the rules of version 2 make alike
/// is different in each.
fn snapshot(container: u8, rules: i32) -> Object {
    let window_start = at(30 * i64::from(container));
    let window_end = window_start + TimeDelta::minutes(30);
    let id = format!("0198b5a2-7c1e-7d55-9a3c-{container:012x}");
    let workload = Workload::parse("app:1.0").unwrap();
    let meta = SnapshotMeta {
        id: SnapshotId::parse(&id).unwrap(),
        image: Image { workload: Some(workload.clone()), digest: None },
        container: Container {
            id: format!("{container:064x}"),
            name: None,
            started: Some(window_start),
            labels: BTreeMap::new(),
        },
        host: format!("host-{container}"),
        window_start,
        window_end,
        covers_start: true,
        writer: "test".to_owned(),
        kernel: "6.1".to_owned(),
        path_rules: rules,
        sensors: Vec::new(),
        completeness: Kind::ALL.map(|kind| (kind.as_str().to_owned(), Completeness::Complete)).into(),
        lost: Vec::new(),
        limits_hit: Vec::new(),
    };
    let key = SnapshotKey {
        uploaded: DateTime::from_timestamp(window_end.timestamp().div_euclid(3600) * 3600, 0).unwrap(),
        workload: workload.key(),
        window_end_ms: window_end.timestamp_millis(),
        id: meta.id,
    };
    let bytes = Bytes::from(encode(&meta, &Recorder { rules, container }.nodes()).unwrap());
    Object { key: key.path(), bytes, stored: window_end }
}

struct Recorder {
    rules: i32,
    container: u8,
}

impl Recorder {
    fn normal(&self, raw: &str) -> RawText {
        normalise_as(self.rules, raw.as_bytes()).into_owned().into()
    }

    fn node(&self, fact: Fact, owner: Option<&Node>, exe: RawText) -> Node {
        Node {
            fact,
            parent: owner.map(Node::id),
            exe: Some(exe),
            phase: Phase::Startup,
            seen_by: SeenBy::Runtime,
            lineage_complete: true,
            events: i64::from(self.container) + 1,
            first_seen_ms: 1000 - i32::from(self.container),
            last_seen_ms: 2000,
        }
    }

    fn process(&self, parent: Option<&Node>, exe: &str, script: Option<&str>) -> Node {
        let process = Process {
            root_kind: parent.is_none().then_some(RootKind::Init),
            script: script.map(|script| self.normal(script)),
            shebang: script.is_some(),
            cwd: self.normal(&format!("/dev/pts/{}", self.container)),
            comm: "x".into(),
            processes: 1,
            ..Process::default()
        };
        self.node(Fact::Process(Box::new(process)), parent, self.normal(exe))
    }

    fn file(&self, owner: &Node, raw: &str) -> Node {
        let path = self.normal(raw);
        let path_raw = (path != RawText::from(raw)).then(|| raw.into());
        let file = File { path, path_raw, path_source: "kernel", file_origin: "pseudo", ..File::default() };
        self.node(Fact::File(file), Some(owner), owner.exe.clone().unwrap())
    }

    fn nodes(&self) -> Vec<Node> {
        let n = self.container;
        let init = self.process(None, "/usr/bin/app", None);
        let below = self.process(Some(&init), &format!("/proc/{n}/fd/{n}"), None);
        let script = self.process(Some(&below), "/bin/sh", Some(&format!("/proc/self/fd/{n}")));
        let mut nodes = Vec::new();
        for owner in [&init, &below, &script] {
            nodes.push(self.file(owner, &format!("/dev/pts/{n}")));
            nodes.push(self.file(owner, "/etc/passwd"));
            let exe = || owner.exe.clone().unwrap();
            let dns = Fact::Dns { name: "db".into(), rtype: "A".to_owned() };
            nodes.push(self.node(dns, Some(owner), exe()));
            let address = self.normal(&format!("/tmp/hsperfdata_app/{n}"));
            let socket = Socket { protocol: "unix".to_owned(), address, ..Socket::default() };
            nodes.push(self.node(Fact::Connect(socket), Some(owner), exe()));
        }
        nodes.extend([init, below, script]);
        nodes
    }
}

fn settings() -> Settings {
    Settings { buckets: 2, ..Settings::DEFAULT }
}

/// Merges snapshots as they come, and gives the tables.
async fn merged(store: &Store, batches: &[Vec<Object>]) -> Tables {
    let mut containers = 0;
    for batch in batches {
        for object in batch {
            upload(store, object).await;
        }
        containers += i64::try_from(batch.len()).unwrap();
        merge(store, &options(&settings(), at(30 * (containers + 1)))).await.unwrap();
    }
    Tables::read(store).await.unwrap()
}

/// Of the ledger: what differs since the files do.
const OF_FILES: [&str; 3] =
    ["profile_snapshots.content_hash", "profile_snapshots.object_size", "profile_snapshots.path_rules"];

fn assert_same(found: &Tables, expected: &Tables, ignored: &[&str]) {
    if let Some(text) = expected.differences(found, ignored) {
        panic!("{text}");
    }
}

fn versions(rows: &[Row]) -> Vec<i64> {
    rows.iter().filter_map(|row| cell_of(row, "path_rules").int()).collect()
}

/// What every container shows is one node, whatever its number was.
fn assert_alike(tables: &Tables) {
    assert_eq!(tables.nodes.len(), 15);
    for node in &tables.nodes {
        assert_eq!(cell_of(node, "snapshot_count").int(), Some(i64::from(CONTAINERS)), "{node:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn snapshots_of_earlier_rules_are_brought_to_the_present_ones() {
    let batches = |rules: fn(u8) -> i32| -> Vec<Vec<Object>> {
        let shots = |range: std::ops::Range<u8>| range.map(|n| snapshot(n, rules(n))).collect();
        vec![shots(0..2), shots(2..LEARNED), shots(LEARNED..CONTAINERS)]
    };
    let new = merged(&faulty().store(), &batches(|_| RULES_VERSION)).await;
    assert_alike(&new);
    let old = merged(&faulty().store(), &batches(|_| 1)).await;
    assert_same(&old, &new, &OF_FILES);
    assert_eq!(
        (versions(&old.ledger), versions(&old.profiles)),
        (vec![1; 6], vec![i64::from(RULES_VERSION)])
    );
    // A fleet whose recorders are replaced one by one.
    let mixed = merged(&faulty().store(), &batches(|n| 1 + i32::from(n % 2))).await;
    assert_same(&mixed, &new, &OF_FILES);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_profile_of_earlier_rules_that_learns_is_brought_to_the_present_ones() {
    let dir = tempfile::tempdir().unwrap();
    copy(&PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(STORE_V1), dir.path());
    let store = open(dir.path().to_str().unwrap(), Missing::Refuse).unwrap();
    let before = Tables::read(&store).await.unwrap();
    assert_eq!(versions(&before.profiles), [1]);
    assert_eq!(before.nodes.len(), 15 + 2 * 12, "what the rules make alike now is apart in it");
    // As they were written then, which is not how they are written now.
    let kept = |object: Object| {
        let bytes = Bytes::from(std::fs::read(dir.path().join(&object.key)).unwrap());
        let of = |bytes: &Bytes| decode(bytes.clone(), &Limits::default()).unwrap().rows.num_rows();
        assert_eq!(of(&bytes), of(&object.bytes), "{}", object.key);
        Object { bytes, ..object }
    };
    let learned: Vec<Object> = (0..LEARNED).map(|n| kept(snapshot(n, 1))).collect();
    let later = |rules| (LEARNED..CONTAINERS).map(|n| snapshot(n, rules)).collect::<Vec<_>>();
    for object in later(RULES_VERSION) {
        upload(&store, &object).await;
    }
    merge(&store, &options(&settings(), at(300))).await.unwrap();
    let found = Tables::read(&store).await.unwrap();
    assert_alike(&found);
    assert_eq!(versions(&found.profiles), [i64::from(RULES_VERSION)]);
    // As if there never had been other rules; when the first merge ran is another matter.
    let expected = merged(&faulty().store(), &[learned, later(RULES_VERSION)]).await;
    let times = ["profile_snapshots.decided_at", "profiles.updated_at"];
    assert_same(&found, &expected, &times);
}

fn copy(from: &FilePath, to: &FilePath) {
    for entry in std::fs::read_dir(from).unwrap_or_else(|error| panic!("{}: {error}", from.display())) {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            std::fs::create_dir_all(&target).unwrap();
            copy(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}
