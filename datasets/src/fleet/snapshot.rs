//! One window of one container: what is in it, and what is true of it.

use std::collections::{BTreeMap, HashSet};

use chrono::{DateTime, TimeDelta, Timelike, Utc};
use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use wsp_schemas::identity::{Kind, NodeId};
use wsp_schemas::keys::{SnapshotId, SnapshotKey};
use wsp_schemas::paths::RULES_VERSION;
use wsp_schemas::snapshot::{
    Completeness, Container, EncodeError, Fact, Image, Loss, Node, Phase, SeenBy, Sensor, SnapshotMeta,
    encode,
};

use super::container::{FleetContainer, millis};
use crate::catalogue::{Class, Group, Scope};
use crate::seed;
use crate::truth::{NamesTruth, SnapshotTruth};

/// Sensors of the simulated hosts. There is none for syscalls, as by default.
const SENSORS: [(Kind, &str); 6] = [
    (Kind::Process, "tp_btf/sched_process_exec"),
    (Kind::File, "lsm/file_open"),
    (Kind::Dns, "cgroup_skb/egress"),
    (Kind::Connect, "cgroup/connect4"),
    (Kind::Listen, "tp_btf/inet_sock_set_state"),
    (Kind::Capability, "kprobe/cap_capable"),
];
/// What a recorder under pressure gives up, first to last: the first `n` of these are lossy together.
const SHED: [Kind; 6] = [Kind::Connect, Kind::Listen, Kind::Dns, Kind::Capability, Kind::File, Kind::Process];
/// Start-up lasts 180 s; nothing that is `startup` is drawn close to that limit.
const STARTUP_MS: i32 = 180_000;

/// One snapshot, not encoded yet.
#[derive(Debug, Clone)]
pub struct Snapshot {
    /// Its object key.
    pub key: SnapshotKey,
    /// Its footer.
    pub meta: SnapshotMeta,
    /// Its rows, parents before children.
    pub nodes: Vec<Node>,
    /// What is true of it.
    pub truth: SnapshotTruth,
}

impl Snapshot {
    /// The bytes of its file.
    pub fn encode(&self) -> Result<Vec<u8>, EncodeError> {
        encode(&self.meta, &self.nodes)
    }
}

/// The part of a window in which the nodes of one group are first seen.
struct Slot {
    /// Of the next node.
    at: i32,
    step: i32,
    end: i32,
}

/// Rows as they are being made, with the group class that each came from.
struct Rows {
    nodes: Vec<(NodeId, Class, Node)>,
    covers_start: bool,
    length: i32,
}

impl FleetContainer {
    /// One of its windows; `window` counts up to [`FleetSpec::snapshots`](crate::FleetSpec::snapshots).
    pub fn snapshot(&self, window: usize) -> Snapshot {
        let mut rng = self.rng("window", window);
        let (start, end) = self.window(window);
        let covers_start = window == 0 && !self.late;
        let length = i32::try_from((end - start).num_milliseconds()).unwrap_or(i32::MAX);
        let mut rows = Rows { nodes: Vec::with_capacity(self.spec.nodes * 5 / 4), covers_start, length };

        let mut groups = Vec::new();
        for index in &self.has {
            let group = &self.catalogue.groups[*index];
            let shown = rng.random_bool(group.p_window);
            if group.class != Class::Always && shown && (covers_start || !group.start_only()) {
                groups.push(*index);
            }
        }
        groups.extend(self.attack.filter(|(_, when)| *when == window).map(|(group, _)| group));
        let always = (0..self.catalogue.groups.len()).filter(|group| self.is_always(*group));
        for index in always.chain(groups.iter().copied()) {
            self.add_group(&mut rows, &mut rng, &self.catalogue.groups[index], window);
        }
        let names = self.add_crowds(&mut rows, &mut rng);
        let lossy = if rng.random_bool(self.spec.lossy_share) { self.lossy(&mut rng) } else { Vec::new() };
        let mut gone = HashSet::new();
        let mut missing = lose(&mut rows, &lossy, &mut rng, &mut gone);
        if let Some(group) = self.drift_in(window) {
            // From a stream of its own and last: all other rows are as they are without it.
            let mut rng = self.rng("drift rows", window);
            let mut drift = Rows { nodes: Vec::new(), covers_start, length };
            self.add_group(&mut drift, &mut rng, &self.catalogue.groups[group], window);
            missing.extend(lose(&mut drift, &lossy, &mut rng, &mut gone));
            rows.nodes.append(&mut drift.nodes);
            groups.push(group);
        }
        if self.blind {
            rows.nodes.retain(|(_, _, node)| node.fact.kind() != Kind::Dns);
            missing.retain(|(_, kind, _)| *kind != Kind::Dns);
        }

        let meta = self.meta(window, (start, end), covers_start, &lossy, &missing);
        let uploaded = end + TimeDelta::milliseconds(rng.random_range(500..20_000));
        let uploaded = uploaded
            .with_minute(0)
            .and_then(|t| t.with_second(0))
            .and_then(|t| t.with_nanosecond(0))
            .unwrap_or(end);
        let key = SnapshotKey {
            uploaded,
            workload: self.workload.key(),
            window_end_ms: end.timestamp_millis(),
            id: meta.id,
        };
        let truth = SnapshotTruth {
            id: meta.id.to_string(),
            key: key.path(),
            window_start: start,
            window_end: end,
            covers_start,
            groups,
            names,
            lossy_kinds: lossy.iter().map(|kind| kind.as_str().to_owned()).collect(),
            missing: missing.iter().map(|(id, _, _)| id.to_string()).collect(),
        };
        let nodes = rows.nodes.into_iter().map(|(_, _, node)| node).collect();
        Snapshot { key, meta, nodes, truth }
    }

    /// The group of the drift, where the window shows it: the first one does, later ones with the group's probability.
    pub(super) fn drift_in(&self, window: usize) -> Option<usize> {
        let (group, first) = self.drift?;
        let again = || self.rng("drift shown", window).random_bool(self.catalogue.groups[group].p_window);
        (window == first || (window > first && again())).then_some(group)
    }

    /// A UUIDv7 of the window's start.
    pub(super) fn snapshot_id(&self, window: usize) -> SnapshotId {
        let ms = u64::try_from(self.window(window).0.timestamp_millis()).unwrap_or(0);
        let random: [u8; 10] = self.rng("snapshot id", window).random();
        SnapshotId::new(uuid::Builder::from_unix_timestamp_millis(ms, &random).into_uuid())
    }

    fn rng(&self, domain: &str, window: usize) -> ChaCha8Rng {
        let [image, version, container] = self.place;
        seed::rng(self.spec.seed, domain, &[image, version, container, window])
    }

    /// Windows follow each other; each may end up to 5 % early.
    fn window(&self, window: usize) -> (DateTime<Utc>, DateTime<Utc>) {
        let interval = millis(self.spec.interval);
        let start =
            self.first_window + TimeDelta::milliseconds(interval * i64::try_from(window).unwrap_or(0));
        let early = self.rng("window end", window).random_range(0..=interval / 20);
        (start, start + TimeDelta::milliseconds(interval - early))
    }

    fn add_group(&self, rows: &mut Rows, rng: &mut ChaCha8Rng, group: &Group, window: usize) {
        let startup = group.early && rows.covers_start;
        let mut slot = rows.slot(rng, startup, group.nodes.len());
        // What ran before the window opened stands in it as known from then; /proc shows what is open besides.
        let known = group.class == Class::Always && group.early && !rows.covers_start;
        for template in &group.nodes {
            let mut node = template.node.clone();
            let initial = known && (node.fact.kind() == Kind::Process || (self.late && window == 0));
            node.seen_by = if initial { SeenBy::Initial } else { SeenBy::Runtime };
            node.lineage_complete = !(self.late && group.guessed);
            if let (Fact::File(file), Some(raw)) = (&mut node.fact, &template.raw) {
                file.path_raw = Some(self.names.apply(raw).as_str().into());
            }
            slot.place(&mut node, rng, startup, initial);
            rows.nodes.push((template.id, group.class, node));
        }
    }

    fn add_crowds(&self, rows: &mut Rows, rng: &mut ChaCha8Rng) -> Vec<NamesTruth> {
        let mut truths = Vec::new();
        for (index, own) in &self.crowds {
            let crowd = &self.catalogue.crowds[*index];
            if !rng.random_bool(crowd.p_window) {
                continue;
            }
            let drawn;
            let names = if crowd.scope == Scope::Container {
                own
            } else {
                drawn = crowd.draw(rng);
                &drawn
            };
            let mut slot = rows.slot(rng, false, names.len() * crowd.width());
            let mut nodes = Vec::with_capacity(names.len());
            for name in names {
                for mut node in crowd.nodes(name) {
                    let id = node.id();
                    slot.place(&mut node, rng, false, false);
                    nodes.push(id.to_string());
                    rows.nodes.push((id, Class::Random, node));
                }
            }
            truths.push(NamesTruth { crowd: *index, names: names.clone(), nodes });
        }
        truths
    }

    /// The kinds that lose events in a lossy window: mostly what is given up first.
    fn lossy(&self, rng: &mut ChaCha8Rng) -> Vec<Kind> {
        let kinds = match rng.random_range(0..100_u8) {
            0..45 => 2,
            45..65 => 3,
            65..90 => 5,
            _ => 6,
        };
        SHED[..kinds].iter().copied().filter(|kind| !(self.blind && *kind == Kind::Dns)).collect()
    }

    fn meta(
        &self,
        window: usize,
        (window_start, window_end): (DateTime<Utc>, DateTime<Utc>),
        covers_start: bool,
        lossy: &[Kind],
        missing: &[(NodeId, Kind, u64)],
    ) -> SnapshotMeta {
        let live = || SENSORS.iter().filter(|(kind, _)| !(self.blind && *kind == Kind::Dns));
        let seen = if covers_start { Completeness::Complete } else { Completeness::JoinedLate };
        let completeness = |kind: &Kind| if lossy.contains(kind) { Completeness::Lossy } else { seen };
        let mut lost: BTreeMap<Kind, u64> = lossy.iter().map(|kind| (*kind, 1)).collect();
        for (_, kind, events) in missing {
            *lost.entry(*kind).or_default() += events;
        }
        let loss = |(kind, events): (Kind, u64)| Loss {
            kind: kind.as_str().to_owned(),
            cause: "ring_full".to_owned(),
            events,
        };
        SnapshotMeta {
            id: self.snapshot_id(window),
            image: Image { workload: Some(self.workload.clone()), digest: Some(self.digest.clone()) },
            container: Container {
                id: self.names.container.clone(),
                name: Some(self.name.clone()),
                started: Some(self.started),
                labels: self.labels.clone(),
            },
            host: self.host.clone(),
            window_start,
            window_end,
            covers_start,
            writer: concat!("wsp-datasets ", env!("CARGO_PKG_VERSION")).to_owned(),
            kernel: if self.blind { "6.1.0-amd64" } else { "6.12.0-amd64" }.to_owned(),
            path_rules: RULES_VERSION,
            sensors: live()
                .map(|(kind, hook)| Sensor { kind: kind.as_str().to_owned(), hook: (*hook).to_owned() })
                .collect(),
            completeness: live().map(|(kind, _)| (kind.as_str().to_owned(), completeness(kind))).collect(),
            lost: lost.into_iter().map(loss).collect(),
            limits_hit: Vec::new(),
        }
    }
}

impl Rows {
    fn slot(&self, rng: &mut ChaCha8Rng, startup: bool, nodes: usize) -> Slot {
        let nodes = i32::try_from(nodes).unwrap_or(i32::MAX - 1);
        if startup {
            return Slot {
                at: rng.random_range(0..5_000),
                step: (STARTUP_MS - 15_000) / (nodes + 1),
                end: self.length,
            };
        }
        // In a window that covers the start, what does not belong to it comes after it.
        let from = if self.covers_start { STARTUP_MS + 1 } else { 0 };
        let at = rng.random_range(from..from + (self.length - from) / 2);
        Slot { at, step: (self.length - at) / (nodes + 1), end: self.length }
    }
}

impl Slot {
    fn place(&mut self, node: &mut Node, rng: &mut ChaCha8Rng, startup: bool, initial: bool) {
        node.phase = if startup { Phase::Startup } else { Phase::Steady };
        node.first_seen_ms = if initial { 0 } else { self.at };
        node.last_seen_ms = rng.random_range(node.first_seen_ms..=self.end);
        node.events = 1 << rng.random_range(0..8_u8);
        if self.step > 0 {
            self.at += rng.random_range(0..=self.step);
        }
    }
}

/// Takes nodes of the lossy kinds out, with all that hangs from a lost process: id, kind and lost events of each.
/// Attacks stay, so that what is injected is there. `gone`: the lost nodes of the window so far.
fn lose(
    rows: &mut Rows,
    lossy: &[Kind],
    rng: &mut ChaCha8Rng,
    gone: &mut HashSet<NodeId>,
) -> Vec<(NodeId, Kind, u64)> {
    if lossy.is_empty() {
        return Vec::new();
    }
    let mut lost = Vec::new();
    rows.nodes.retain(|(id, class, node)| {
        let kind = node.fact.kind();
        let share = match kind {
            Kind::Process if node.parent.is_none() => 0.0,
            Kind::Process => 0.1,
            _ => 0.3,
        };
        let orphan = node.parent.is_some_and(|parent| gone.contains(&parent));
        let dropped = lossy.contains(&kind) && rng.random_bool(share) && *class != Class::Attack;
        if dropped || orphan {
            gone.insert(*id);
            lost.push((*id, kind, u64::try_from(node.events).unwrap_or(0)));
        }
        !(dropped || orphan)
    });
    lost
}
