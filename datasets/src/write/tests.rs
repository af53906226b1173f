use std::collections::BTreeMap;

use wsp_schemas::store::{Missing, open};

use super::*;
use crate::spec::FleetSpec;
use crate::truth::Truth;

fn fleet(seed: u64) -> Fleet {
    let spec = FleetSpec { seed, images: 3, containers: 2, snapshots: 18, nodes: 1, ..FleetSpec::default() };
    Fleet::new(spec).unwrap()
}

async fn objects(store: &Store) -> BTreeMap<String, Bytes> {
    let mut found = BTreeMap::new();
    for object in store.objects.list(None).try_collect::<Vec<_>>().await.unwrap() {
        let bytes = store.objects.get(&object.location).await.unwrap().bytes().await.unwrap();
        found.insert(object.location.to_string(), bytes);
    }
    found
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_store_is_the_same_whatever_the_number_of_jobs() {
    let fleet = fleet(1);
    let mut stores = Vec::new();
    for jobs in [1, 7] {
        let store = open("memory:///", Missing::Create).unwrap();
        let options = WriteOptions { jobs, truth: TruthOption::Write };
        let written = write_fleet(&fleet, &store, &options, |_| {}).await.unwrap();
        assert_eq!((written.workloads, written.snapshots), (6, 216));
        let first = objects(&store).await;
        assert_eq!(write_fleet(&fleet, &store, &options, |_| {}).await.unwrap(), written);
        assert_eq!(objects(&store).await, first);
        stores.push(first);
    }
    assert_eq!(stores[0], stores[1]);
    let snapshots: Vec<_> = stores[0].iter().filter(|(key, _)| key.starts_with("snapshots/")).collect();
    assert_eq!(snapshots.len(), 216);
    for snapshot in fleet.snapshots() {
        assert_eq!(stores[0][&snapshot.key.path()], snapshot.encode().unwrap());
    }
    for workload in fleet.workloads() {
        let [catalogue, containers] = WorkloadTruth::keys(&workload.key().to_string());
        let read = Truth::from_json(&stores[0][&catalogue], &stores[0][&containers]).unwrap();
        assert_eq!(read, Truth::of(&workload));
    }
    let index: FleetTruth = serde_json::from_slice(&stores[0]["truth/fleet.json"]).unwrap();
    assert_eq!((&index.spec, index.workloads.len()), (fleet.spec(), 6));
}

#[tokio::test]
async fn two_fleets_are_not_mixed() {
    let store = open("memory:///", Missing::Create).unwrap();
    let options = WriteOptions { jobs: 1, truth: TruthOption::Write };
    write_fleet(&fleet(1), &store, &options, |_| {}).await.unwrap();
    let before = objects(&store).await;
    let error = write_fleet(&fleet(2), &store, &options, |_| {}).await.unwrap_err();
    assert!(error.to_string().contains("give another store"), "{error}");
    assert_eq!(objects(&store).await, before);
}
