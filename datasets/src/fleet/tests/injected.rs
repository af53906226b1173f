//! What is injected: every kind of attack and of drift, where the truth says, and nothing else moved by it.

use std::collections::{BTreeMap, BTreeSet};

use arrow::array::AsArray;
use wsp_schemas::identity::NodeId;

use super::{read, small};
use crate::catalogue::Class;
use crate::fleet::{Fleet, Snapshot};
use crate::spec::FleetSpec;
use crate::truth::Truth;

/// Ids of the nodes of a file, as it is read.
fn ids(snapshot: &Snapshot) -> BTreeSet<String> {
    let file = read(snapshot);
    let column = file.rows["node_id"].as_fixed_size_binary();
    column.iter().flatten().map(|id| NodeId::from_bytes(id.try_into().unwrap()).to_string()).collect()
}

fn injected() -> FleetSpec {
    FleetSpec {
        images: 7,
        versions: 1,
        containers: 40,
        snapshots: 4,
        nodes: 120,
        attack_share: 1.0,
        attack_from: 2,
        drift_share: 1.0,
        drift_from: 1,
        ..FleetSpec::undisturbed()
    }
}

#[test]
fn every_kind_is_drawn_about_equally_and_is_in_the_files() {
    let fleet = Fleet::new(injected()).unwrap();
    let (mut attacks, mut drifts) = (BTreeMap::<String, usize>::new(), BTreeMap::<String, usize>::new());
    let (mut kinds, mut harmless) = (BTreeSet::new(), BTreeSet::new());
    for workload in fleet.workloads() {
        for group in workload.truth().groups {
            match group.class {
                Class::Attack => kinds.insert(group.name),
                Class::Drift => harmless.insert(group.name),
                _ => continue,
            };
        }
        for container in workload.containers() {
            let truth = container.truth();
            let files: Vec<_> = (0..4).map(|window| ids(&container.snapshot(window))).collect();
            let [attack] = &truth.attacks[..] else { panic!("{} attacks", truth.attacks.len()) };
            assert!(attack.window >= 2);
            *attacks.entry(attack.name.clone()).or_default() += 1;
            *drifts.entry(truth.drifts[0].name.clone()).or_default() += 1;
            for (window, file) in files.iter().enumerate() {
                let has = |nodes: &[String]| nodes.iter().filter(|id| file.contains(*id)).count();
                let attacked = if attack.window == window { attack.nodes.len() } else { 0 };
                assert_eq!(has(&attack.nodes), attacked, "{}", attack.name);
                let label = truth.drifts.iter().find(|drift| drift.window == window);
                let drifted = label.map_or(0, |drift| drift.nodes.len());
                assert_eq!(has(&truth.drifts[0].nodes), drifted, "{}", truth.drifts[0].name);
                assert!(label.is_none_or(|drift| drift.snapshot_id == truth.snapshots[window].id));
            }
            assert!(truth.drifts.iter().all(|drift| drift.window >= 1 && !drift.nodes.is_empty()));
        }
    }
    assert!(kinds.len() >= 19 && harmless.len() >= 9, "{kinds:?} {harmless:?}");
    assert_eq!(attacks.keys().collect::<Vec<_>>(), kinds.iter().collect::<Vec<_>>());
    assert_eq!(drifts.keys().collect::<Vec<_>>(), harmless.iter().collect::<Vec<_>>());
    let readme = include_str!("../../../README.md");
    for kind in kinds.iter().chain(&harmless) {
        assert!(readme.contains(&format!("| `{kind}` |")), "{kind} is not in the README");
    }
    // 280 containers: a kind that is drawn much less often than others would fall below this.
    let mean = 280 / kinds.len();
    assert!(attacks.values().all(|count| (mean / 4..mean * 3).contains(count)), "{attacks:?}");
}

#[test]
fn drift_only_adds() {
    let plain = FleetSpec { containers: 4, drift_share: 0.0, drift_from: 0, ..small() };
    let without = Fleet::new(plain.clone()).unwrap();
    let with = Fleet::new(FleetSpec { drift_share: 0.7, ..plain }).unwrap();
    let (mut drifted, mut lost) = (0, 0);
    for (before, after) in without.workloads().zip(with.workloads()) {
        for (before, after) in before.containers().zip(after.containers()) {
            let truth = after.truth();
            assert!(before.truth().drifts.is_empty());
            for window in 0..3 {
                let (old, new) = (before.snapshot(window), after.snapshot(window));
                assert_eq!((&old.key, &new.nodes[..old.nodes.len()]), (&new.key, &old.nodes[..]));
                let added: BTreeSet<String> =
                    new.nodes[old.nodes.len()..].iter().map(|node| node.id().to_string()).collect();
                let labels: BTreeSet<String> = (truth.drifts.iter())
                    .filter(|drift| drift.window == window)
                    .flat_map(|drift| drift.nodes.clone())
                    .collect();
                assert!(added.is_subset(&labels));
                assert!(
                    after.blind
                        || labels.iter().all(|id| added.contains(id) || new.truth.missing.contains(id))
                );
                drifted += usize::from(!added.is_empty());
                lost += labels.len() - added.len();
            }
        }
    }
    assert!(drifted > 40 && lost > 0, "{drifted} {lost}");
}

#[test]
fn drift_comes_again_in_later_windows() {
    let spec = FleetSpec { images: 1, containers: 200, snapshots: 6, ..injected() };
    let truth = Truth::of(&Fleet::new(spec).unwrap().workloads().next().unwrap());
    let (mut later, mut shown, mut expected) = (0.0, 0.0, 0.0);
    for container in &truth.containers {
        let first = &container.drifts[0];
        let group = truth.workload.groups.iter().find(|group| group.name == first.name).unwrap();
        let windows = f64::from(5 - u32::try_from(first.window).unwrap());
        later += windows;
        expected += windows * group.p_window;
        shown += (container.drifts.len() - 1) as f64;
    }
    assert!((shown - expected).abs() < 2.0 * later.sqrt(), "{shown} of {later}, for {expected}");
    assert!(later > 200.0 && shown > 50.0 && shown < later);
}

/// What specs without drift always gave: a change here makes other fleets of all seeds.
#[test]
fn fleets_stay_what_they_are() {
    let spec = FleetSpec { attack_share: 0.0, drift_share: 0.0, drift_from: 0, ..small() };
    let mut hash = blake3::Hasher::new();
    for snapshot in Fleet::new(spec).unwrap().snapshots() {
        hash.update(snapshot.key.path().as_bytes());
        for node in &snapshot.nodes {
            hash.update(node.id().as_bytes());
            hash.update(format!("{} {} {}", node.first_seen_ms, node.last_seen_ms, node.events).as_bytes());
        }
        hash.update(serde_json::to_string(&snapshot.truth).unwrap().as_bytes());
    }
    assert_eq!(
        hash.finalize().to_hex().as_str(),
        "705ca6df3faf34fb31e244a21037385e15bdb003c78511ea635a4214a164371a"
    );
}
