//! Snapshots for tests, small enough that every expected number can be counted by hand.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};
use object_store::path::Path;
use object_store::{ObjectStoreExt, PutPayload};
use uuid::Uuid;
use wsp_schemas::identity::{Kind, NodeId, RootKind};
use wsp_schemas::image::Workload;
use wsp_schemas::keys::{SnapshotId, SnapshotKey};
use wsp_schemas::snapshot::{
    Completeness, Container, Fact, File, Image, Node, Phase, Process, SeenBy, SnapshotMeta, encode,
};
use wsp_schemas::store::{Missing, Store, open};

/// A snapshot, described.
#[derive(Clone)]
pub(super) struct Shot {
    pub(super) image: &'static str,
    pub(super) container: u32,
    pub(super) host: u32,
    /// Minutes from [`epoch`].
    pub(super) start: i64,
    /// Length of the window.
    pub(super) minutes: i64,
    /// Start of the container, minutes from [`epoch`]; that of the window where none is given.
    pub(super) started: Option<i64>,
    pub(super) covers_start: bool,
    pub(super) lossy: bool,
    pub(super) files: Vec<&'static str>,
    pub(super) startup_files: Vec<&'static str>,
    pub(super) digest: Option<&'static str>,
}

pub(super) fn shot(image: &'static str, container: u32, start: i64, files: &[&'static str]) -> Shot {
    Shot {
        image,
        container,
        host: container,
        start,
        minutes: 30,
        started: None,
        covers_start: true,
        lossy: false,
        files: files.to_vec(),
        startup_files: Vec::new(),
        digest: Some("sha256:00"),
    }
}

pub(super) fn epoch() -> DateTime<Utc> {
    DateTime::from_timestamp(1_795_000_000, 0).unwrap()
}

pub(crate) fn store() -> Store {
    open("memory:///", Missing::Create).unwrap()
}

impl Shot {
    pub(super) fn id(&self) -> SnapshotId {
        let mut name = blake3::Hasher::new();
        name.update(format!("{} {} {}", self.image, self.container, self.start).as_bytes());
        let mut bytes = [0; 16];
        name.finalize_xof().fill(&mut bytes);
        SnapshotId::new(Uuid::from_bytes(bytes))
    }

    pub(super) fn meta(&self) -> SnapshotMeta {
        let window_start = epoch() + TimeDelta::minutes(self.start);
        let state = match (self.lossy, self.covers_start) {
            (true, _) => Completeness::Lossy,
            (false, true) => Completeness::Complete,
            (false, false) => Completeness::JoinedLate,
        };
        SnapshotMeta {
            id: self.id(),
            image: Image {
                workload: (!self.image.is_empty()).then(|| Workload::parse(self.image).unwrap()),
                digest: self.digest.map(str::to_owned),
            },
            container: Container {
                id: format!("{:064x}", self.container),
                name: Some(format!("c{}", self.container)),
                started: Some(epoch() + TimeDelta::minutes(self.started.unwrap_or(self.start))),
                labels: BTreeMap::new(),
            },
            host: format!("host-{}", self.host),
            window_start,
            window_end: window_start + TimeDelta::minutes(self.minutes),
            covers_start: self.covers_start,
            writer: "test".to_owned(),
            kernel: "6.1".to_owned(),
            path_rules: wsp_schemas::paths::RULES_VERSION,
            sensors: Vec::new(),
            completeness: [Kind::Process, Kind::File]
                .into_iter()
                .map(|kind| (kind.as_str().to_owned(), state))
                .collect(),
            lost: Vec::new(),
            limits_hit: Vec::new(),
        }
    }

    pub(super) fn nodes(&self) -> Vec<Node> {
        let mut nodes = vec![process()];
        let files = self.files.iter().map(|path| (path, Phase::Steady));
        let startup = self.startup_files.iter().map(|path| (path, Phase::Startup));
        nodes.extend(files.chain(startup).map(|(path, phase)| file(path, phase)));
        nodes
    }

    pub(super) fn key(&self) -> SnapshotKey {
        let meta = self.meta();
        SnapshotKey {
            uploaded: DateTime::from_timestamp(meta.window_end.timestamp() / 3600 * 3600, 0).unwrap(),
            workload: meta
                .image
                .workload
                .map_or(wsp_schemas::image::WorkloadKey::UNKEYED, |workload| workload.key()),
            window_end_ms: meta.window_end.timestamp_millis(),
            id: meta.id,
        }
    }

    pub(super) async fn put(&self, store: &Store) -> String {
        let bytes = encode(&self.meta(), &self.nodes()).unwrap();
        let key = self.key().path();
        put(store, &key, bytes).await;
        key
    }
}

pub(super) async fn put(store: &Store, key: &str, bytes: Vec<u8>) {
    store.objects.put(&Path::from(key), PutPayload::from(bytes)).await.unwrap();
}

pub(super) fn process() -> Node {
    Node {
        fact: Fact::Process(Box::new(Process {
            root_kind: Some(RootKind::Init),
            args: vec!["app --serve".into()],
            comm: "app".into(),
            cwd: "/".into(),
            uids: vec![0],
            gids: vec![0],
            stdio: vec!["null", "pipe", "pipe"],
            file_origin: Some("image"),
            processes: 1,
            ..Process::default()
        })),
        parent: None,
        exe: Some("/usr/bin/app".into()),
        phase: Phase::Startup,
        seen_by: SeenBy::Runtime,
        lineage_complete: true,
        events: 1,
        first_seen_ms: 0,
        last_seen_ms: 0,
    }
}

pub(super) fn file(path: &str, phase: Phase) -> Node {
    Node {
        fact: Fact::File(File {
            path: path.into(),
            path_raw: None,
            access: vec!["read"],
            mode: None,
            path_source: "kernel",
            file_origin: "image",
        }),
        parent: Some(process().id()),
        exe: Some("/usr/bin/app".into()),
        phase,
        seen_by: SeenBy::Runtime,
        lineage_complete: true,
        events: 2,
        first_seen_ms: 1000,
        last_seen_ms: 2000,
    }
}

pub(super) fn file_id(path: &str) -> NodeId {
    file(path, Phase::Steady).id()
}
