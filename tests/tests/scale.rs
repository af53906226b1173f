//! Fleets as metadata, through the real merge: what is listed, what is read, and what comes of it.

use serde_json::Value;
use wsp_tests::program::run;

/// The merges of a small fleet: four hours, two merges.
fn merges(more: &[&str]) -> Value {
    #[rustfmt::skip]
    let fleet = [
        "fleet", "--hosts", "6", "--images", "3", "--containers", "4", "--slots", "2", "--interval", "30m", "--release",
        "90d", "--hours", "4", "--every", "2", "--json",
    ];
    let options = ["--", "--max-snapshots", "10"];
    serde_json::from_str(&run("wsp-datasets", fleet.iter().chain(more).chain(&options)).ok()).unwrap()
}

fn number(value: &Value) -> u64 {
    value.as_u64().unwrap()
}

fn sum(replayed: &Value, of: impl Fn(&Value) -> u64) -> u64 {
    replayed["ticks"].as_array().unwrap().iter().map(of).sum()
}

#[test]
fn all_uploads_are_listed_and_no_more_are_read_than_make_the_profiles() {
    let replayed = merges(&["--record-stable"]);
    let ticks = replayed["ticks"].as_array().unwrap();
    assert_eq!(ticks.len(), 2);
    let mut uploaded = 0;
    for tick in ticks {
        uploaded += number(&tick["uploaded"]);
        let merged = &tick["merged"];
        assert_eq!(number(&merged["listed"]), uploaded, "the look-back is longer than the fleet's life");
        let decided = ["known", "admitted", "after_freeze"].map(|what| number(&merged[what]));
        assert_eq!(decided.iter().sum::<u64>(), uploaded, "{merged}");
        assert!(number(&tick["requests"]["snapshot_gets"]) >= number(&merged["admitted"]));
        assert!(tick["cpu_seconds"].as_f64().unwrap() > 0.0 && number(&tick["peak_bytes"]) > 0);
    }
    // Two slots of six hosts, two windows an hour; the first ends within the first hour.
    assert!((6 * 2 * 6..=6 * 2 * 8).contains(&uploaded), "{uploaded}");
    let (stable, workloads) = (number(&replayed["stable"]), number(&replayed["workloads"]));
    assert_eq!(sum(&replayed, |tick| number(&tick["merged"]["frozen"])), stable);
    assert!(stable >= 1 && sum(&replayed, |tick| number(&tick["merged"]["admitted"])) <= 10 * workloads);
    for table in ["profile_snapshots", "profile_nodes", "profiles", "profiles, log"] {
        assert!(number(&replayed["tables"][table]["bytes"]) > 0, "{table}");
    }
}

#[test]
fn hosts_that_know_what_is_stable_upload_less_and_learn_as_much() {
    let (all, some) = (merges(&["--record-stable"]), merges(&[]));
    let uploaded = |replayed: &Value| sum(replayed, |tick| number(&tick["uploaded"]));
    assert!(uploaded(&some) < uploaded(&all), "{} and {}", uploaded(&some), uploaded(&all));
    assert!(number(&some["stable"]) >= number(&all["stable"]));
}
