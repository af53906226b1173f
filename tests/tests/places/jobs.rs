//! The demo and every job, on object stores and in a folder: the same answers.

use serde_json::Value;
use wsp_tests::s3::Gate;

use super::Place;
use crate::demo::split;

/// What the demo leaves, as queries see it.
const PROFILES: &str = "select image_name, image_tag, revision, status, snapshot_count, container_count, content_hash \
                        from profiles order by image_name, image_tag, revision";
const NODES: &str = "select image_name, image_tag, kind, count(*) as nodes, sum(events) as events, avg(commonality) as commonality \
                     from nodes group by image_name, image_tag, kind order by image_name, image_tag, kind";

fn sql(place: &Place, store: &str, query: &str) -> String {
    place.wsp(&["sql", query, "--store", store, "--format", "csv"]).ok()
}

/// Runs the demo as the README has it, with what it says to try next; what it shows, and what is stored.
fn demo(place: &Place, option: &str) -> Vec<String> {
    let store = place.at("demo");
    let first = place.wsp(&["demo", option, &store]).ok();
    assert!(first.contains("119 snapshots admitted"), "{first}");
    let next: Vec<Vec<String>> =
        first.lines().filter_map(|line| line.strip_prefix("#   wsp ")).map(split).collect();
    assert!(next.len() >= 3, "{first}");
    let mut told = Vec::new();
    for words in next {
        let answer = place.wsp(&words.iter().map(String::as_str).collect::<Vec<_>>()).ok();
        // The rows of a query without an order come in any.
        let mut lines: Vec<&str> = answer.lines().collect();
        lines.sort_unstable();
        told.push(lines.join("\n"));
    }
    let second = place.wsp(&["demo", option, &store]);
    assert!(second.stdout.contains("0 snapshots admitted"), "{second:?}");
    let second = second.ok();
    let shown = |text: &str| {
        text.split("$ wsp profiles")
            .nth(1)
            .unwrap()
            .split("# The store is")
            .next()
            .unwrap()
            .replace(&store, "STORE")
    };
    assert_eq!(shown(&first), shown(&second));
    told.push(shown(&first));
    told.extend([PROFILES, NODES].map(|query| sql(place, &store, query)));
    assert!(told.last().unwrap().lines().count() > 20, "{told:?}");
    let verified = place.wsp(&["store", "verify", &store, "--deep"]).ok();
    assert!(verified.contains("nothing differs"), "{verified}");
    told
}

/// Every job over a simulated fleet, one after the other; what each answers, without times and places.
fn jobs(place: &Place) -> Vec<(&'static str, String)> {
    let store = place.at("fleet");
    let wsp = |arguments: &[&str]| place.wsp(&[arguments, &["--store", store.as_str()]].concat());
    let json = |arguments: &[&str]| -> Value { serde_json::from_str(&wsp(arguments).ok()).unwrap() };
    let generate = "generate --images 1 --versions 1 --containers 30 --snapshots 3 --attack-share 0.2 --lossy-share 0 --late-share 0 \
                    --blind-share 0 --spread 6h --seed 7 --no-truth";
    let words: Vec<&str> = generate.split_whitespace().chain(["--store", &store]).collect();
    let _ = place.run("wsp-datasets", &words).ok();

    let mut told = Vec::new();
    let mut tell = |what: &'static str, text: String| told.push((what, text));
    let merged = json(&["merge", "--json", "--max-snapshots", "60"]);
    tell("merged", format!("{} {} {}", merged["admitted"], merged["profiles"], merged["nodes"]));
    let detected = json(&["detect", "--json"]);
    tell("detected", format!("{} {}", detected["judged"], detected["signals"]));
    tell(
        "signals",
        sql(
            place,
            &store,
            "select signal_id, rule, severity, profile_context from signals order by signal_id",
        ),
    );
    let suggested = json(&["suppress", "suggest", "--json", "--min-coverage", "0.5"]);
    let suggestions = suggested["suggestions"].as_array().unwrap();
    let ids = |rows: &[Value]| {
        let mut ids: Vec<String> = rows.iter().map(|one| format!("{} {}", one["id"], one["rule"])).collect();
        ids.sort();
        ids.join("\n")
    };
    assert!(!suggestions.is_empty(), "{suggested}");
    tell("suggested", ids(suggestions));
    let id = suggestions.iter().filter_map(|one| one["id"].as_str()).min().unwrap();
    let _ = wsp(&["suppress", "accept", id, "--reason", "known"]).ok();
    tell("suppressed", sql(place, &store, "select count(*) from signals where suppressed_by is not null"));
    let again = json(&["detect", "--json", "--rescan"]);
    tell("judged again", again["judged"].to_string());
    let compacted = json(&["compact", "--keep-raw", "0s", "--json"]);
    assert!(
        compacted["raw"]["moved"].as_u64().or_else(|| compacted["moved"].as_u64()).unwrap_or(1) > 0,
        "{compacted}"
    );
    tell("activity", sql(place, &store, "select count(*), count(distinct snapshot_id) from activity"));
    let idle = json(&["merge", "--json", "--max-snapshots", "60"]);
    tell("idle", idle["admitted"].to_string());
    tell("profiles", sql(place, &store, PROFILES));
    tell("nodes", sql(place, &store, NODES));
    tell("verified", wsp(&["store", "verify"]).ok());
    told
}

fn same(expected: Vec<(&'static str, String)>, found: Vec<(&'static str, String)>) {
    for ((what, expected), (_, found)) in expected.into_iter().zip(found) {
        assert_eq!(expected, found, "{what}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_demo_on_s3_is_the_demo() {
    assert_eq!(demo(&Place::s3(Gate::Honest).await, "--store"), demo(&Place::folder(), "--dir"));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_demo_on_azure_is_the_demo() {
    assert_eq!(demo(&Place::azure(), "--store"), demo(&Place::folder(), "--store"));
}

#[tokio::test(flavor = "multi_thread")]
async fn all_jobs_on_s3_do_what_they_do_in_a_folder() {
    same(jobs(&Place::folder()), jobs(&Place::s3(Gate::Honest).await));
}

#[tokio::test(flavor = "multi_thread")]
async fn all_jobs_on_azure_do_what_they_do_in_a_folder() {
    same(jobs(&Place::folder()), jobs(&Place::azure()));
}
