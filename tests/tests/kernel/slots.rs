//! More containers than slots: each has its turn, and what a window says is the truth of that window.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::time::Duration;

use wsp_schemas::snapshot::Verified;
use wsp_tests::podman::eventually;
use wsp_tests::program::root;
use wsp_tests::traced::Traced;

use super::facts::{Facts, of_snapshot, of_truth};
use super::{Api, Capture, image, snapshots};

const SLOTS: usize = 5;
const IMAGES: [(&str, &str); 5] = [
    ("tools-1", "fleet.sh"),
    ("busy-1", "fleet-busybox.sh"),
    ("jobs-1", "fleet.sh"),
    ("cache-7", "fleet.sh"),
    ("web-1.24", "fleet.sh"),
];
/// So many run before the daemon; of the others, those with an odd number end within two seconds.
const BEFORE: usize = 3;
const ALL: usize = 12;

fn lives_long(number: usize) -> bool {
    number < BEFORE || number.is_multiple_of(2) || number == ALL - 1
}

#[test]
fn twelve_containers_take_turns_in_five_slots() {
    let folder = tempfile::tempdir().unwrap();
    let api = Api::start(folder.path());
    let store = folder.path().join("store");
    let mut containers: Vec<(Traced, String)> = (0..ALL)
        .map(|number| {
            let (name, script) = IMAGES[number % IMAGES.len()];
            let (image, script) = (image(name), root().join("tests/workloads").join(script));
            let settings: &[&str] = if lives_long(number) { &[] } else { &["-e", "ROUNDS=1"] };
            let name = format!("wsp-slots-{number}");
            (Traced::create(&name, &image, &script, settings, folder.path()), image)
        })
        .collect();
    let (before, after) = containers.split_at_mut(BEFORE);
    before.iter_mut().for_each(|(container, _)| container.start());
    let spool = folder.path().join("spool").display().to_string();
    let capture = Capture::start(
        &[
            "run",
            "--store",
            &store.display().to_string(),
            "--spool",
            &spool,
            "--interval",
            "5s",
            "--max-containers",
            &SLOTS.to_string(),
            "--runtime-socket",
            &api.url,
        ],
        "capturing",
    );
    after.iter_mut().for_each(|(container, _)| container.start());
    eventually("all that live long had their turn twice", || {
        std::thread::sleep(Duration::from_secs(1));
        let all = by_name(&snapshots(&store));
        (0..ALL).filter(|n| lives_long(*n)).all(|n| all.get(&name(n)).is_some_and(|count| *count >= 2))
    });
    capture.terminate();
    let (status, said) = capture.end();
    assert!(status.success(), "{said}");
    containers.iter_mut().for_each(|(container, _)| container.end());

    let all = snapshots(&store);
    let mine = |number: usize| {
        all.iter().filter(move |snapshot| snapshot.meta.container.name.as_deref() == Some(&name(number)))
    };
    let from_start = (BEFORE..ALL).filter(|n| mine(*n).any(|snapshot| snapshot.meta.covers_start)).count();
    let missed = starts_missed(&said);
    println!("{} snapshots; {from_start} starts recorded, {missed} missed", all.len());
    assert_eq!(from_start + missed, ALL - BEFORE, "{said}");
    assert!(most_at_once(&all) <= SLOTS, "{:?}", all.iter().map(span).collect::<Vec<_>>());
    let mut differences = Vec::new();
    let mut facts = 0;
    for (number, (container, image)) in containers.iter().enumerate() {
        for snapshot in mine(number) {
            let name = name(number);
            let workload = snapshot.meta.image.workload.as_ref().map(ToString::to_string);
            assert_eq!(workload.as_ref(), Some(image), "{name}");
            // What a start did before it had a slot nobody saw, and the snapshot says so.
            let lost: Vec<_> = snapshot.meta.lost.iter().filter(|loss| loss.cause != "late").collect();
            assert!(lost.is_empty(), "{name}: {lost:?}");
            let (within, ever) = container.truth(span(snapshot));
            differences.extend(ever.unresolved.iter().map(|what| format!("{name} unresolved {what}")));
            let (within, ever, seen) = (of_truth(&within), of_truth(&ever), of_snapshot(snapshot));
            facts += within.values().map(BTreeSet::len).sum::<usize>();
            differences.extend(beyond(&within, &seen).map(|what| format!("{name} missing {what}")));
            differences.extend(beyond(&seen, &ever).map(|what| format!("{name} foreign {what}")));
        }
    }
    println!("{facts} facts compared");
    differences.iter().for_each(|difference| println!("  {difference}"));
    assert!(facts > 50 * ALL, "the workloads did little");
    assert!(differences.is_empty(), "{} differences", differences.len());
}

fn name(number: usize) -> String {
    format!("wsp-slots-{number}")
}

fn by_name(all: &[Verified]) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for snapshot in all {
        *counts.entry(snapshot.meta.container.name.clone().unwrap_or_default()).or_default() += 1;
    }
    counts
}

/// Whole milliseconds that lie in the window.
fn span(snapshot: &Verified) -> Range<u64> {
    let micros = |ms: i64| u64::try_from(ms).unwrap() * 1000;
    let start = micros(snapshot.meta.window_start.timestamp_millis() + 1);
    start..micros(snapshot.meta.window_end.timestamp_millis())
}

/// How many windows were open at once.
fn most_at_once(all: &[Verified]) -> usize {
    let spans: Vec<Range<u64>> = all.iter().map(span).collect();
    spans.iter().map(|one| spans.iter().filter(|other| other.contains(&one.start)).count()).max().unwrap_or(0)
}

/// Facts that are in one and not in the other.
fn beyond<'a>(one: &'a Facts, other: &'a Facts) -> impl Iterator<Item = String> + 'a {
    one.iter()
        .flat_map(|(kind, facts)| facts.difference(&other[kind]).map(move |fact| format!("{kind} {fact:?}")))
}

fn starts_missed(said: &str) -> usize {
    let last = said.lines().rev().find(|line| line.contains("snapshots stored")).unwrap();
    let count = last.split(", ").find_map(|part| part.strip_suffix(" starts missed"));
    count.map_or(0, |count| count.parse().unwrap())
}
