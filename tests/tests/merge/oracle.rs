//! The merge against the naive one, cell by cell.

use std::collections::BTreeMap;
use std::sync::Mutex;

use chrono::{DateTime, TimeDelta, Utc};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use wsp_analyze::jobs::merge::Options;
use wsp_datasets::{Fleet, FleetSpec};
use wsp_tests::delta::{Tables, commits, objects};
use wsp_tests::oracle::{Object, Oracle, Settings};
use wsp_tests::value::{Value, cell_of};

use super::fleets::{Shot, at, epoch, shots};
use super::{assert_tables, block_on, faulty, merge, options, upload_dated};

/// Texts for people, and the hash, which says nothing but whether rows are equal: other tests compare it.
pub(super) const NOT_COMPUTED: [&str; 2] = ["profile_snapshots.reason", "profiles.content_hash"];
/// What depends on how many merges there were.
const OF_BATCHES: [&str; 4] =
    ["profile_snapshots.batch", "profile_snapshots.decided_at", "profiles.batch", "profiles.updated_at"];

/// Objects that come before a merge, and its clock.
#[derive(Debug)]
struct Batch {
    objects: Vec<Object>,
    as_of: DateTime<Utc>,
}

/// Runs the merges, compares after each, and shows that one more changes nothing. Gives the tables.
async fn compare(settings: &Settings, batches: &[Batch]) -> Tables {
    let faulty = faulty();
    let store = faulty.store();
    let mut oracle = Oracle::new(*settings);
    let mut uploaded = Vec::new();
    let mut last = None;
    for (number, Batch { objects, as_of }) in batches.iter().enumerate() {
        for object in objects {
            upload_dated(&faulty, &store, object).await;
            uploaded.push(object.clone());
        }
        // A sweep: some uploads are years late.
        let told = Options { rescan: true, ..options(settings, *as_of) };
        merge(&store, &told).await.unwrap();
        oracle.merge(&uploaded, *as_of);
        let found = Tables::read(&store).await.unwrap();
        let expected = oracle.tables(&found).unwrap_or_else(|reason| panic!("merge {number}: {reason}"));
        assert_tables(&expected, &store, &NOT_COMPUTED, &format!("after merge {number}")).await;
        last = Some((told, found));
    }
    let Some((told, found)) = last else { return Tables::default() };
    let before = (commits(&store).await.unwrap(), objects(&store).await.unwrap());
    let report = merge(&store, &told).await.unwrap();
    assert_eq!((report.admitted, report.profiles, report.nodes), (0, 0, 0), "{report:?}");
    let after = (commits(&store).await.unwrap(), objects(&store).await.unwrap());
    assert_eq!(after, before, "a merge that finds nothing new commits nothing and moves nothing");
    found
}

fn settings() -> impl Strategy<Value = Settings> {
    // On the grid of windows: some end exactly at the deadline.
    (prop_oneof![3..8_usize, Just(200)], prop_oneof![1..4_i64, Just(48)], 1..4_u32).prop_map(
        |(max_snapshots, hours, buckets)| Settings {
            max_snapshots,
            learning_time: TimeDelta::hours(hours),
            buckets,
        },
    )
}

/// A second object for a snapshot.
#[derive(Debug, Clone, Copy)]
enum Twin {
    Repeated,
    Forged,
    CutOff,
}

/// Batch of the snapshot; kind of its twin, the twin's batch and how many hours later its key is.
type Arrival = (usize, Option<(Twin, usize, i64)>);

fn arrival() -> impl Strategy<Value = Arrival> {
    let twin =
        (prop_oneof![Just(Twin::Repeated), Just(Twin::Forged), Just(Twin::CutOff)], 0..3_usize, -1..3_i64);
    (0..3_usize, prop::option::weighted(0.2, twin))
}

fn cut_off(object: Object) -> Object {
    let half = object.bytes.len() / 2;
    Object { bytes: object.bytes.slice(..half), ..object }
}

/// What the rows of some tables say that is worth a test, to show that the tests came across it.
#[derive(Debug, Default)]
struct Covered(BTreeMap<String, usize>);

impl Covered {
    fn add(&mut self, tables: &Tables) {
        let mut count = |what: String| *self.0.entry(what).or_default() += 1;
        for row in &tables.ledger {
            count(format!("outcome {}", cell_of(row, "outcome")));
        }
        for row in &tables.profiles {
            count(format!("reason {}", cell_of(row, "stable_reason")));
            count(format!("tag_reused {}", cell_of(row, "tag_reused")));
        }
        for row in &tables.nodes {
            for column in ["phase", "late", "rare", "stable"] {
                count(format!("{column} {}", cell_of(row, column)));
            }
            if cell_of(row, "lossy_count").int() > Some(0) {
                count("a lossy sighting".to_owned());
            }
            if *cell_of(row, "pattern") != Value::Null {
                count("a pattern".to_owned());
            }
            if *cell_of(row, "commonality") == Value::Null {
                count("nobody was eligible".to_owned());
            }
        }
    }

    fn assert(&self, wanted: &[&str]) {
        println!("rows: {:?}", self.0);
        for what in wanted {
            assert!(self.0.contains_key(*what), "no case had {what}");
        }
    }
}

fn runner(cases: u32) -> TestRunner {
    TestRunner::new(Config { cases, failure_persistence: None, max_shrink_iters: 300, ..Config::default() })
}

#[test]
fn any_sequence_of_batches_gives_what_a_naive_merge_gives() {
    let sequence = (settings(), shots(1..30, arrival()), [0..600_i64, 0..600, 0..600]);
    let covered = Mutex::new(Covered::default());
    runner(30)
        .run(&sequence, |(settings, arrivals, clocks)| {
            let mut batches: Vec<Batch> =
                clocks.iter().map(|minutes| Batch { objects: Vec::new(), as_of: at(*minutes) }).collect();
            for (shot, (batch, twin)) in arrivals {
                batches[batch].objects.push(shot.object());
                if let Some((twin, batch, hours)) = twin {
                    // Under the same key it would be the same object.
                    let hours = if hours == 0 { 1 } else { hours };
                    batches[batch].objects.push(match twin {
                        Twin::Repeated => shot.repeated(hours),
                        Twin::Forged => shot.forged(hours),
                        Twin::CutOff => cut_off(shot.repeated(hours)),
                    });
                }
            }
            let tables = block_on(compare(&settings, &batches));
            covered.lock().unwrap().add(&tables);
            Ok(())
        })
        .unwrap_or_else(|failure| panic!("{failure}"));
    covered.into_inner().unwrap().assert(&[
        "outcome \"admitted\"",
        "outcome \"duplicate\"",
        "outcome \"conflict\"",
        "outcome \"damaged\"",
        "outcome \"unkeyed\"",
        "outcome \"out_of_range\"",
        "outcome \"frozen\"",
        "reason \"snapshots\"",
        "reason \"age\"",
        "reason Null",
        "tag_reused Bool(true)",
        "phase \"startup\"",
        "phase \"steady\"",
        "late Bool(true)",
        "late Bool(false)",
        "late Null",
        "rare Bool(true)",
        "stable Null",
        "stable Bool(false)",
        "a lossy sighting",
        "nobody was eligible",
    ]);
}

#[test]
fn any_split_in_window_order_gives_what_one_batch_gives() {
    let sequence = (settings(), shots(2..40, Just(())), vec(any::<prop::sample::Index>(), 1..4));
    runner(15)
        .run(&sequence, |(settings, shots, cuts)| {
            let mut shots: Vec<Shot> = shots.into_iter().map(|(shot, ())| shot).collect();
            // What is refused is not of a profile: whether it was looked at before the freeze depends on the split.
            shots.retain(|shot| (0..1440).contains(&shot.start));
            prop_assume!(!shots.is_empty());
            shots.sort_by_key(|shot| (shot.start + shot.minutes, shot.object().key));
            let objects: Vec<Object> = shots.iter().map(Shot::object).collect();
            let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(objects.len())).collect();
            // Snapshots whose windows end at the same time come in the order of their ids only where they come together.
            for cut in &mut cuts {
                while *cut > 0
                    && shots[*cut].start + shots[*cut].minutes
                        == shots[*cut - 1].start + shots[*cut - 1].minutes
                {
                    *cut -= 1;
                }
            }
            cuts.extend([0, objects.len()]);
            cuts.sort_unstable();
            let batch = |objects: &[Object]| Batch { objects: objects.to_vec(), as_of: epoch() };
            let split: Vec<Batch> = cuts.windows(2).map(|cut| batch(&objects[cut[0]..cut[1]])).collect();
            block_on(async {
                let whole = compare(&settings, &[batch(&objects)]).await;
                let parts = compare(&settings, &split).await;
                if let Some(text) = whole.differences(&parts, &OF_BATCHES) {
                    panic!("split at {cuts:?}\n{text}");
                }
            });
            Ok(())
        })
        .unwrap_or_else(|failure| panic!("{failure}"));
}

/// Enough containers for every flag to be true of one node and false of another.
#[test]
fn flags_of_many_containers_are_those_of_a_naive_merge() {
    let shots = (0..96_u8).map(|container| {
        let mut nodes = vec![1, 16];
        // In nine of ten containers, evenly; in nine of ten, but all of the first half; in one half; in every third.
        nodes.extend((container % 10 != 9).then_some(2));
        nodes.extend((container < 48 || container % 5 != 0).then_some(3));
        nodes.extend((container < 48).then_some(4));
        nodes.extend((container % 3 == 0).then_some(9));
        nodes.extend((container >= 72).then_some(11));
        Shot { host: container % 7, ..Shot::plain(0, container, i64::from(container), &nodes) }
    });
    let objects: Vec<Object> = shots.map(|shot| shot.object()).collect();
    let settings = Settings { max_snapshots: 200, learning_time: TimeDelta::hours(48), buckets: 1 };
    let batches: Vec<Batch> =
        objects.chunks(40).map(|objects| Batch { objects: objects.to_vec(), as_of: epoch() }).collect();
    let mut covered = Covered::default();
    covered.add(&block_on(compare(&settings, &batches)));
    covered.assert(&[
        "stable Bool(true)",
        "stable Bool(false)",
        "late Bool(true)",
        "late Bool(false)",
        "a pattern",
    ]);
}

/// Disturbed fleets as the simulator makes them: in window order by the hour, shuffled, and with the latest first.
#[test]
fn simulated_fleets_give_what_a_naive_merge_gives() {
    for seed in 1..3 {
        let spec = FleetSpec {
            seed,
            images: 2,
            versions: 1,
            containers: 8,
            snapshots: 3,
            hosts: 4,
            nodes: 120,
            spread: std::time::Duration::from_secs(4 * 3600),
            late_share: 0.3,
            lossy_share: 0.3,
            attack_share: 0.2,
            blind_share: 0.2,
            tag_reuse: true,
            ..FleetSpec::default()
        };
        let start = spec.start;
        let settings = Settings { max_snapshots: 20, learning_time: TimeDelta::hours(48), buckets: 2 };
        let mut objects: Vec<Object> = Fleet::new(spec)
            .unwrap()
            .snapshots()
            .map(|snapshot| Object {
                key: snapshot.key.path(),
                bytes: snapshot.encode().unwrap().into(),
                stored: snapshot.meta.window_end + TimeDelta::minutes(1),
            })
            .collect();
        let cut = |objects: &[Object], size: usize| -> Vec<Batch> {
            let batches = objects.chunks(size);
            batches.map(|objects| Batch { objects: objects.to_vec(), as_of: start }).collect()
        };
        block_on(async {
            objects.sort_by_key(|object| object.stored);
            let whole = compare(&settings, &cut(&objects, 1000)).await;
            let parts = compare(&settings, &cut(&objects, 17)).await;
            if let Some(text) = whole.differences(&parts, &OF_BATCHES) {
                panic!("{text}");
            }
            objects.reverse();
            compare(&settings, &cut(&objects, 20)).await;
            objects.sort_by_key(|object| wsp_schemas::content_hash(object.key.as_bytes()));
            compare(&settings, &cut(&objects, 20)).await;
        });
    }
}
