use std::collections::BTreeSet;

use futures::TryStreamExt as _;
use object_store::ObjectStore as _;
use wsp_analyze::jobs::store::Silent;
use wsp_analyze::jobs::store::check::{self, Options, Outcome, Property, Report};
use wsp_schemas::store::{Missing, Store, open};
use wsp_tests::program::{Ended, command, finish, wsp};
use wsp_tests::s3::{Gate, S3Server};

use super::dishonest::{self, Lie};

async fn check(store: &Store) -> Report {
    check::run(store, &Options::default(), &Silent, std::future::pending()).await
}

fn failed(report: &Report) -> BTreeSet<&'static str> {
    let failed = report.checks.iter().filter(|check| check.outcome == Outcome::Failed);
    failed.map(|check| check.property.title()).collect()
}

async fn objects(store: &Store) -> Vec<String> {
    let listed = store.objects.list(None).map_ok(|object| object.location.to_string());
    listed.try_collect().await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn honest_stores_pass_and_are_left_as_they_were() {
    let folder = tempfile::tempdir().unwrap();
    for url in ["memory:///", folder.path().to_str().unwrap()] {
        let store = open(url, Missing::Create).unwrap();
        let report = check(&store).await;
        assert!(report.is_ok(), "{report:?}");
        assert_eq!(report.checks.len(), Property::ALL.len());
        let requests: Vec<_> = report.latency.iter().map(|latency| latency.request).collect();
        assert_eq!(requests, ["put", "create", "get", "list"]);
        assert_eq!(objects(&store).await, Vec::<String>::new());
    }
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "empty folders are left");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_lie_is_found_out() {
    let create = Property::Create.title();
    let race = Property::Race.title();
    for (lie, found) in [
        (Lie::CreateOverwrites, vec![create, race]),
        (Lie::CheckThenWrite, vec![race]),
        (Lie::RefusedButWritten, vec![create, race]),
        (Lie::StaleListing, vec![Property::List.title(), Property::Delete.title()]),
        (Lie::WrongSizes, vec![Property::List.title()]),
        (Lie::KeepsDeleted, vec![Property::Delete.title()]),
        (Lie::IgnoresRanges, vec![Property::Range.title()]),
        (Lie::RenameCopies, vec![Property::Rename.title()]),
        (Lie::ClockAhead, vec![Property::Clock.title()]),
    ] {
        let store = dishonest::store(lie);
        let report = check(&store).await;
        assert!(!report.is_ok(), "{lie:?}");
        let found: BTreeSet<_> = found.into_iter().collect();
        // Two objects of the delete trial are listed at different times: a stale listing may hide that.
        let seen: BTreeSet<_> = failed(&report).into_iter().collect();
        assert!(seen.is_subset(&found) && !seen.is_empty(), "{lie:?}: {seen:?}");
        assert!(seen.contains(found.iter().next().unwrap()) || lie == Lie::StaleListing, "{lie:?}: {seen:?}");
        assert!(lie == Lie::KeepsDeleted || report.left_behind.is_empty(), "{lie:?}: {report:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stale_listing_does_not_hide_trial_objects_from_the_clean_up() {
    let store = dishonest::store(Lie::StaleListing);
    let report = check(&store).await;
    assert_eq!(report.left_behind.len(), 0, "{report:?}");
    let _ = objects(&store).await;
    assert_eq!(objects(&store).await, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_check_that_is_stopped_cleans_up_and_does_not_pass() {
    let store = open("memory:///", Missing::Create).unwrap();
    let report = check::run(&store, &Options::default(), &Silent, std::future::ready(())).await;
    assert!(!report.is_ok());
    assert_eq!(failed(&report), BTreeSet::new());
    assert_eq!(objects(&store).await, Vec::<String>::new());
}

async fn on_s3(gate: Gate) -> Ended {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("bucket")).unwrap();
    let server = S3Server::start_with(folder.path(), gate).await.unwrap();
    let ended = tokio::task::spawn_blocking(move || {
        let mut check = command("wsp");
        check.args(["store", "check", "s3://bucket/fleet/one", "--json"]);
        finish(server.lead(&mut check))
    })
    .await
    .unwrap();
    let report: serde_json::Value = serde_json::from_str(&ended.stdout).unwrap();
    assert_eq!(report["left_behind"], serde_json::json!([]), "{report}");
    ended
}

fn outcome(ended: &Ended, property: &str) -> String {
    let report: serde_json::Value = serde_json::from_str(&ended.stdout).unwrap();
    let checks = report["checks"].as_array().unwrap();
    let check = checks.iter().find(|check| check["property"] == property).unwrap();
    check["outcome"].as_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_honest_s3_server_passes() {
    let ended = on_s3(Gate::Honest).await;
    assert_eq!(ended.code, 0, "{}\n{}", ended.stdout, ended.stderr);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_s3_server_that_checks_and_then_writes_fails_in_races_only() {
    let ended = on_s3(Gate::Open).await;
    assert_eq!(ended.code, 1, "{}\n{}", ended.stdout, ended.stderr);
    assert_eq!(outcome(&ended, "race"), "failed", "{}", ended.stdout);
    assert_eq!(outcome(&ended, "create"), "ok", "{}", ended.stdout);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_s3_server_that_ignores_if_none_match_fails() {
    let ended = on_s3(Gate::IgnoresConditions).await;
    assert_eq!(ended.code, 1, "{}\n{}", ended.stdout, ended.stderr);
    for property in ["create", "race"] {
        assert_eq!(outcome(&ended, property), "failed", "{}", ended.stdout);
    }
    // For the right reason: the server took every write.
    assert!(ended.stdout.contains("it wrote over the first"), "{}", ended.stdout);
}

#[test]
fn the_table_says_what_is_wrong_and_what_it_means() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().to_str().unwrap();
    let said = wsp(["store", "check", "--store", dir]).ok();
    assert!(said.contains("put if absent, in a race") && said.contains("can be used as a store"), "{said}");
    let both = wsp(["store", "check", dir, "--store", "/other"]);
    assert_eq!(both.code, 1);
    assert!(both.stderr.contains("two stores were given"), "{}", both.stderr);
    assert_eq!(wsp(["store", "check"]).code, 2);
    let mut unreachable = command("wsp");
    unreachable.args(["store", "check", "s3://bucket/x"]).envs([
        ("AWS_ENDPOINT_URL", "http://127.0.0.1:9"),
        ("AWS_ACCESS_KEY_ID", "a"),
        ("AWS_SECRET_ACCESS_KEY", "b"),
        ("AWS_REGION", "us-east-1"),
    ]);
    let unreachable = finish(&mut unreachable);
    assert_eq!(unreachable.code, 1);
    assert!(unreachable.stdout.contains("cannot be written to"), "{}", unreachable.stdout);
}
