use std::collections::{BTreeMap, BTreeSet, HashMap};

use arrow::array::AsArray;
use bytes::Bytes;
use wsp_schemas::identity::NodeId;
use wsp_schemas::keys::SnapshotKey;
use wsp_schemas::snapshot::{Completeness, Limits, Verified, decode};

use super::*;
use crate::catalogue::Class;
use crate::truth::{ContainerTruth, ExpectedNode, Truth};

mod injected;

fn small() -> FleetSpec {
    FleetSpec {
        images: 7,
        versions: 2,
        containers: 8,
        snapshots: 3,
        hosts: 5,
        nodes: 120,
        late_share: 0.3,
        lossy_share: 0.3,
        attack_share: 0.3,
        drift_share: 0.4,
        drift_from: 1,
        blind_share: 0.3,
        tag_reuse: true,
        ..FleetSpec::default()
    }
}

fn read(snapshot: &Snapshot) -> Verified {
    decode(Bytes::from(snapshot.encode().unwrap()), &Limits::default())
        .unwrap_or_else(|error| panic!("{}: {error}", snapshot.key.path()))
}

#[test]
fn every_snapshot_is_a_valid_file_under_its_own_key() {
    let fleet = Fleet::new(small()).unwrap();
    let (mut ids, mut containers) = (BTreeSet::new(), BTreeSet::new());
    let mut count = 0;
    for snapshot in fleet.snapshots() {
        let file = read(&snapshot);
        assert_eq!(file.meta, snapshot.meta);
        assert_eq!(file.rows.num_rows(), snapshot.nodes.len());
        assert_eq!(SnapshotKey::parse(&snapshot.key.path()).unwrap(), snapshot.key);
        assert_eq!(snapshot.key.path(), snapshot.truth.key);
        assert!(ids.insert(file.meta.id));
        containers.insert(file.meta.container.id);
        count += 1;
    }
    assert_eq!(count, small().total_snapshots());
    assert_eq!(containers.len(), 7 * 2 * 8);
}

#[test]
fn a_range_of_images_is_that_part_of_the_larger_fleet() {
    let names = |first_image, images| -> Vec<(Workload, Vec<u8>)> {
        let spec = FleetSpec { images, first_image, versions: 1, containers: 1, ..FleetSpec::default() };
        let fleet = Fleet::new(spec).unwrap();
        let first = |workload: FleetWorkload| {
            (workload.workload().clone(), workload.container(0).snapshot(0).encode().unwrap())
        };
        fleet.workloads().map(first).collect()
    };
    let all = names(0, 4);
    assert_eq!(names(1, 3), all[1..]);
}

#[test]
fn the_same_spec_gives_the_same_bytes_in_any_order() {
    let fleet = Fleet::new(FleetSpec { images: 2, containers: 3, ..small() }).unwrap();
    let all: Vec<Vec<u8>> = fleet.snapshots().map(|snapshot| snapshot.encode().unwrap()).collect();
    let again = Fleet::new(fleet.spec().clone()).unwrap();
    let mut at = all.len();
    for workload in again.workloads().collect::<Vec<_>>().iter().rev() {
        for container in (0..3).rev() {
            for window in (0..3).rev() {
                at -= 1;
                assert_eq!(workload.container(container).snapshot(window).encode().unwrap(), all[at]);
            }
        }
    }
    let other = Fleet::new(FleetSpec { seed: 2, ..fleet.spec().clone() }).unwrap();
    assert_ne!(other.snapshots().next().unwrap().encode().unwrap(), all[0]);
}

/// A plain merge over files, knowing nothing of the truth.
fn naive_merge(workload: &FleetWorkload) -> BTreeMap<String, ExpectedNode> {
    #[derive(Default)]
    struct Seen {
        kind: String,
        steady: bool,
        snapshots: usize,
        containers: BTreeSet<String>,
        hosts: BTreeSet<String>,
        lossy: usize,
    }
    let (mut nodes, mut eligible) =
        (BTreeMap::<String, Seen>::new(), HashMap::<(String, bool), BTreeSet<String>>::new());
    for container in workload.containers() {
        for window in 0..3 {
            let file = read(&container.snapshot(window));
            let lossless =
                |kind: &str| file.meta.completeness.get(kind).is_some_and(|c| *c != Completeness::Lossy);
            for kind in file.meta.completeness.keys().filter(|kind| lossless(kind)) {
                for startup in [false, true] {
                    if !startup || file.meta.covers_start {
                        eligible
                            .entry((kind.clone(), startup))
                            .or_default()
                            .insert(file.meta.container.id.clone());
                    }
                }
            }
            let text = |name: &str, row| file.rows[name].as_string::<i32>().value(row).to_owned();
            for row in 0..file.rows.num_rows() {
                let id = file.rows["node_id"].as_fixed_size_binary().value(row).try_into().unwrap();
                let seen = nodes.entry(NodeId::from_bytes(id).to_string()).or_default();
                seen.kind = text("kind", row);
                seen.steady |= text("phase", row) == "steady";
                if lossless(&seen.kind) {
                    seen.snapshots += 1;
                    seen.containers.insert(file.meta.container.id.clone());
                    seen.hosts.insert(file.meta.host.clone());
                } else {
                    seen.lossy += 1;
                }
            }
        }
    }
    let judge = |seen: Seen| {
        let all = eligible.get(&(seen.kind.clone(), !seen.steady)).map_or(0, BTreeSet::len);
        let n = seen.containers.len();
        ExpectedNode {
            kind: seen.kind,
            class: Class::Random,
            startup: !seen.steady,
            snapshot_count: seen.snapshots,
            container_count: n,
            host_count: seen.hosts.len(),
            eligible_containers: all,
            commonality: (all > 0).then(|| n as f64 / all as f64),
            lossy_count: seen.lossy,
        }
    };
    nodes.into_iter().map(|(id, seen)| (id, judge(seen))).collect()
}

#[test]
fn the_truth_alone_gives_what_the_files_give() {
    let fleet = Fleet::new(small()).unwrap();
    let mut lossy = 0;
    for workload in fleet.workloads() {
        let found = naive_merge(&workload);
        let truth = Truth::of(&workload);
        let mut expected = truth.expected(|_, _| true).nodes;
        lossy += expected.values().filter(|node| node.lossy_count > 0).count();
        expected.values_mut().for_each(|node| node.class = Class::Random);
        assert_eq!(found, expected, "{}", workload.workload());
    }
    assert!(lossy > 100);
}

#[test]
fn disturbances_are_as_the_truth_says() {
    let fleet = Fleet::new(small()).unwrap();
    let (mut late, mut attacked, mut blind, mut missing) = (0, 0, 0, 0);
    for workload in fleet.workloads() {
        let nodes = workload.truth().nodes;
        let names: BTreeSet<_> =
            nodes.iter().filter(|node| node.kind == "dns").map(|node| node.id.clone()).collect();
        for container in workload.containers() {
            let truth = container.truth();
            late += usize::from(!truth.covers_start);
            attacked += truth.attacks.len();
            blind += usize::from(!truth.kinds_without_sensor.is_empty());
            for (window, told) in truth.snapshots.iter().enumerate() {
                let snapshot = container.snapshot(window);
                missing += told.missing.len();
                check_loss(&snapshot, &truth);
                let ids: BTreeSet<String> = snapshot.nodes.iter().map(|node| node.id().to_string()).collect();
                assert!(told.missing.iter().all(|id| !ids.contains(id)));
                for attack in &truth.attacks {
                    let there = attack.nodes.iter().filter(|id| ids.contains(*id)).count();
                    let unseen = |id: &&String| container.blind && names.contains(*id);
                    let seen = attack.nodes.iter().filter(|id| !unseen(id)).count();
                    let expected = if attack.window == window { seen } else { 0 };
                    assert_eq!(there, expected, "{}", attack.name);
                }
            }
        }
    }
    assert!(late > 10 && attacked > 10 && blind > 5 && missing > 100, "{late} {attacked} {blind} {missing}");
}

fn check_loss(snapshot: &Snapshot, container: &ContainerTruth) {
    let lossy: BTreeSet<&String> = snapshot
        .meta
        .completeness
        .iter()
        .filter(|(_, c)| **c == Completeness::Lossy)
        .map(|(kind, _)| kind)
        .collect();
    assert_eq!(lossy, snapshot.truth.lossy_kinds.iter().collect());
    assert_eq!(lossy, snapshot.meta.lost.iter().map(|loss| &loss.kind).collect());
    assert!(container.kinds_without_sensor.iter().all(|kind| !snapshot.meta.completeness.contains_key(kind)));
    assert!(snapshot.meta.covers_start || snapshot.nodes.iter().all(|node| node.phase.as_str() == "steady"));
}

#[test]
fn frequencies_follow_the_probabilities() {
    let spec =
        FleetSpec { images: 1, versions: 1, containers: 2_000, snapshots: 3, ..FleetSpec::undisturbed() };
    let fleet = Fleet::new(spec).unwrap();
    let truth = Truth::of(&fleet.workloads().next().unwrap());
    let expected = truth.expected(|_, _| true);
    let mut checked = 0;
    for node in &truth.workload.nodes {
        let found = expected.nodes.get(&node.id).map_or(0.0, |node| node.commonality.unwrap());
        let sigma = (node.p_shown * (1.0 - node.p_shown) / 2_000.0).sqrt();
        assert!(
            (found - node.p_shown).abs() <= 4.5 * sigma + 1e-9,
            "{}: {found} for {}",
            node.label,
            node.p_shown
        );
        checked += usize::from(node.p_shown > 0.0 && node.p_shown < 1.0);
    }
    assert!(checked > 100);
    // A group comes all or none.
    for group in 0..truth.workload.groups.len() {
        let nodes = truth.workload.nodes.iter().filter(|node| node.group == group);
        let counts: BTreeSet<_> =
            nodes.map(|node| expected.nodes.get(&node.id).map(|node| node.snapshot_count)).collect();
        assert_eq!(counts.len(), 1);
    }
}

#[test]
fn snapshots_have_about_the_nodes_that_were_asked_for() {
    let spec = FleetSpec { images: 7, versions: 1, containers: 10, snapshots: 4, ..FleetSpec::default() };
    let fleet = Fleet::new(spec).unwrap();
    let sizes: Vec<usize> = fleet
        .snapshots()
        .filter(|snapshot| !snapshot.meta.covers_start)
        .map(|snapshot| snapshot.nodes.len())
        .collect();
    let mean = sizes.iter().sum::<usize>() / sizes.len();
    assert!((300..360).contains(&mean), "{mean}");
}

#[test]
fn a_tag_is_reused_where_asked() {
    let fleet = Fleet::new(small()).unwrap();
    for (index, workload) in fleet.workloads().enumerate() {
        let digests: BTreeSet<String> =
            workload.containers().map(|container| container.truth().image_digest).collect();
        assert_eq!(digests.len(), if index == 1 { 2 } else { 1 });
        assert_eq!(digests, workload.truth().digests.into_iter().collect());
    }
}

#[test]
fn the_form_of_the_truth() {
    let spec = FleetSpec {
        images: 2,
        versions: 1,
        containers: 1,
        snapshots: 1,
        nodes: 1,
        attack_share: 1.0,
        drift_share: 1.0,
        lossy_share: 1.0,
        ..FleetSpec::default()
    };
    let truth = Truth::of(&Fleet::new(spec).unwrap().workloads().nth(1).unwrap());
    let [workload, container] = [
        serde_json::to_vec_pretty(&truth.workload).unwrap(),
        serde_json::to_vec(&truth.containers[0]).unwrap(),
    ];
    assert_eq!(Truth::from_json(&workload, &container).unwrap(), truth);
    let mut short = truth;
    short.workload.nodes.truncate(4);
    let container = serde_json::to_string_pretty(&short.containers[0]).unwrap();
    insta::assert_snapshot!("truth_workload", serde_json::to_string_pretty(&short.workload).unwrap());
    insta::assert_snapshot!("truth_container", container);
}
