//! A store that lies about conditional writes is refused before it has a table.

use futures::TryStreamExt as _;
use object_store::path::Path;
use object_store::{ObjectStore as _, ObjectStoreExt as _};
use wsp_tests::program::Ended;
use wsp_tests::s3::Gate;

use super::Place;

fn refused(ended: &Ended, store: &str, found: &str) {
    assert_eq!(ended.code, 1, "{}\n{}", ended.stdout, ended.stderr);
    for part in [
        store,
        "cannot be used as a store",
        found,
        "no table was made",
        "profiles would lose snapshots",
        "If-None-Match",
        &format!("wsp store check {store}"),
    ] {
        assert!(ended.stderr.contains(part), "{part} is not in: {}", ended.stderr);
    }
}

async fn below(place: &Place, store: &str, prefix: &str) -> Vec<String> {
    let store = place.open(store);
    let listed = store.objects.list(Some(&Path::from(prefix))).map_ok(|object| object.location.to_string());
    listed.try_collect().await.unwrap()
}

async fn writers_refuse(gate: Gate, found: &str) {
    let place = Place::s3(gate).await;
    let store = place.at("fleet/one");
    let words = [
        "generate",
        "--images",
        "1",
        "--versions",
        "1",
        "--containers",
        "2",
        "--snapshots",
        "2",
        "--no-truth",
    ];
    let _ = place.run("wsp-datasets", &[&words[..], &["--store", &store]].concat()).ok();
    let snapshots = below(&place, "fleet/one", "snapshots").await;
    assert!(!snapshots.is_empty());
    for job in [&["merge"][..], &["merge", "--json"]] {
        refused(&place.wsp(&[job, &["--store", &store]].concat()), &store, found);
    }
    assert_eq!(below(&place, "fleet/one", "tables").await, Vec::<String>::new());
    assert_eq!(below(&place, "fleet/one", "trials").await, Vec::<String>::new());
    assert_eq!(below(&place, "fleet/one", "snapshots").await, snapshots);

    let demo = place.at("demo");
    refused(&place.wsp(&["demo", "--store", &demo]), &demo, found);
    assert_eq!(below(&place, "demo", "tables").await, Vec::<String>::new());

    // A detection needs profiles: those of a store that was copied from a better place.
    let profiles = Place::folder();
    let _ = profiles.wsp(&["demo", "--dir", &profiles.at("moved")]).ok();
    let (from, to) = (profiles.open("moved"), place.open("moved"));
    let copied: Vec<_> = from.objects.list(None).try_collect().await.unwrap();
    for object in copied {
        let content = from.objects.get(&object.location).await.unwrap().bytes().await.unwrap();
        to.objects.put(&object.location, content.into()).await.unwrap();
    }
    let tables = below(&place, "moved", "tables").await;
    let moved = place.at("moved");
    refused(&place.wsp(&["detect", "--store", &moved]), &moved, found);
    assert_eq!(below(&place, "moved", "tables").await, tables);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_ignores_conditions_gets_no_table() {
    writers_refuse(Gate::IgnoresConditions, "it wrote over the first").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_looks_first_and_writes_later_gets_no_table() {
    writers_refuse(Gate::Open, "several writers were told that they won").await;
}

/// Afterwards it costs nothing.
#[test]
fn a_store_is_tried_when_it_gets_a_table_only() {
    let place = Place::folder();
    let store = place.at("demo");
    let _ = place.wsp(&["demo", "--dir", &store]).ok();
    let folder = std::path::Path::new(&store);
    assert!(!folder.join("trials").exists(), "the trial is taken out again");
    let _ = place.wsp(&["detect", "--store", &store]).ok();
    // Where nothing can be written below it, a trial would fail.
    std::fs::write(folder.join("trials"), "in the way").unwrap();
    let _ = place.wsp(&["merge", "--store", &store]).ok();
    let _ = place.wsp(&["detect", "--rescan", "--store", &store]).ok();
    std::fs::remove_dir_all(folder.join("tables")).unwrap();
    let failed = place.wsp(&["merge", "--store", &store]);
    assert_eq!(failed.code, 1, "{}", failed.stdout);
    assert!(failed.stderr.contains("cannot be tried before it gets a table"), "{}", failed.stderr);
    assert!(!folder.join("tables").exists(), "nothing was made");
}
