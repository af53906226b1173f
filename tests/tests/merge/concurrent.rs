//! Several merges of one store at the same time: all end well, and the store is as one merge would have left it.

use std::sync::Arc;

use object_store::ObjectStore;
use object_store::memory::InMemory;
use url::Url;
use wsp_schemas::store::{Missing, Store, open};
use wsp_tests::delta::Tables;
use wsp_tests::oracle::{Object, Settings};
use wsp_tests::s3::Gate;

use super::fleets::{Shot, at};
use super::{faulty, merge, options, upload};
use crate::places::Place;

fn settings() -> Settings {
    Settings {
        max_snapshots: 6,
        learning_time: chrono::TimeDelta::hours(24),
        buckets: 4,
        ..Settings::DEFAULT
    }
}

/// Snapshots of six workloads that arrive before one round of merges; the fourth round fills the profiles up.
fn arrivals(round: u8) -> Vec<Object> {
    (0..6)
        .flat_map(|app| {
            (0..2_u8).map(move |container| {
                let start = i64::from(round) * 60 + i64::from(container);
                Shot::plain(app, round * 2 + container, start, &[1, 2, round + 3, 16]).object()
            })
        })
        .collect()
}

/// Rounds of `merges` at a time over one store, opened anew by each.
async fn race(open: impl Fn() -> Store, merges: usize, rounds: u8) {
    let alone = faulty().store();
    for round in 0..rounds {
        for object in arrivals(round) {
            upload(&open(), &object).await;
            upload(&alone, &object).await;
        }
        let told = options(&settings(), at(i64::from(round) * 60));
        let runs = (0..merges).map(|_| {
            let (store, told) = (open(), told.clone());
            tokio::spawn(async move { merge(&store, &told).await })
        });
        let mut admitted = 0;
        for (number, ended) in futures::future::join_all(runs).await.into_iter().enumerate() {
            let report = ended.unwrap();
            let report = report.unwrap_or_else(|error| panic!("round {round}, merge {number}: {error}"));
            assert!(report.quarantined.is_empty() && report.unavailable.is_empty(), "{report:?}");
            admitted += report.admitted;
        }
        assert_eq!(
            admitted,
            if round < 3 { 12 } else { 0 },
            "round {round}: each snapshot once, whoever admits it"
        );
        let idle = merge(&open(), &told).await.unwrap();
        assert_eq!((idle.admitted, idle.profiles, idle.nodes), (0, 0, 0), "{idle:?}");
        merge(&alone, &told).await.unwrap();
        let [expected, found] = [Tables::read(&alone).await.unwrap(), Tables::read(&open()).await.unwrap()];
        if let Some(text) = expected.differences(&found, &[]) {
            panic!("round {round}\n{text}");
        }
    }
}

fn in_memory() -> impl Fn() -> Store {
    let objects: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    move || Store {
        objects: Arc::clone(&objects),
        root: Arc::clone(&objects),
        url: Url::parse("memory:///").unwrap(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_merges_of_one_memory() {
    race(in_memory(), 2, 4).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn four_merges_of_one_memory() {
    race(in_memory(), 4, 4).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn merges_of_one_folder() {
    for merges in [2, 4] {
        let folder = tempfile::tempdir().unwrap();
        race(|| open(folder.path().to_str().unwrap(), Missing::Create).unwrap(), merges, 3).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn merges_of_one_bucket_on_s3() {
    for merges in [2, 4] {
        let place = Place::s3(Gate::Honest).await;
        race(|| place.open("fleet"), merges, 2).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn merges_of_one_container_on_azure() {
    let place = Place::azure();
    for merges in [2, 4] {
        race(|| place.open(&format!("fleet-{merges}")), merges, 2).await;
    }
}
