//! The merge against the naive one, cell by cell.

use std::sync::Mutex;

use chrono::TimeDelta;
use proptest::collection::vec;
use proptest::prelude::*;
use wsp_datasets::{Fleet, FleetSpec};
use wsp_tests::oracle::{Object, Settings};

use super::block_on;
use super::compare::{Batch, Covered, arrival, compare, runner};
use super::fleets::{Shot, at, epoch, shots};

/// What depends on how many merges there were.
const OF_BATCHES: [&str; 4] =
    ["profile_snapshots.batch", "profile_snapshots.decided_at", "profiles.batch", "profiles.updated_at"];

fn settings() -> impl Strategy<Value = Settings> {
    // On the grid of windows: some end exactly at the deadline.
    (prop_oneof![2 => 2..6_usize, 1 => Just(200)], prop_oneof![1..4_i64, Just(48)], 1..4_u32).prop_map(
        |(max_snapshots, hours, buckets)| Settings {
            max_snapshots,
            learning_time: TimeDelta::hours(hours),
            buckets,
            ..Settings::DEFAULT
        },
    )
}

#[test]
fn any_sequence_of_batches_gives_what_a_naive_merge_gives() {
    let sequence = (settings(), shots(1..30, arrival()), [0..600_i64, 0..600, 0..600]);
    let covered = Mutex::new(Covered::default());
    runner(30)
        .run(&sequence, |(settings, arrivals, clocks)| {
            let mut batches: Vec<Batch> =
                clocks.iter().map(|minutes| Batch::of(&settings, Vec::new(), at(*minutes))).collect();
            arrivals.iter().for_each(|(shot, arrival)| arrival.add(shot, &mut batches));
            let tables = block_on(compare(&batches, &covered));
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
    let covered = Mutex::default();
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
            let batch = |objects: &[Object]| Batch::of(&settings, objects.to_vec(), epoch());
            let split: Vec<Batch> = cuts.windows(2).map(|cut| batch(&objects[cut[0]..cut[1]])).collect();
            block_on(async {
                let whole = compare(&[batch(&objects)], &covered).await;
                let parts = compare(&split, &covered).await;
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
    let settings = Settings { buckets: 1, ..Settings::DEFAULT };
    let batches: Vec<Batch> =
        objects.chunks(40).map(|objects| Batch::of(&settings, objects.to_vec(), epoch())).collect();
    let covered = Mutex::new(Covered::default());
    let tables = block_on(compare(&batches, &covered));
    covered.lock().unwrap().add(&tables);
    covered.into_inner().unwrap().assert(&[
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
        let settings = Settings { max_snapshots: 20, buckets: 2, ..Settings::DEFAULT };
        let covered = Mutex::default();
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
            batches.map(|objects| Batch::of(&settings, objects.to_vec(), start)).collect()
        };
        block_on(async {
            objects.sort_by_key(|object| object.stored);
            let whole = compare(&cut(&objects, 1000), &covered).await;
            let parts = compare(&cut(&objects, 17), &covered).await;
            if let Some(text) = whole.differences(&parts, &OF_BATCHES) {
                panic!("{text}");
            }
            objects.reverse();
            compare(&cut(&objects, 20), &covered).await;
            objects.sort_by_key(|object| wsp_schemas::content_hash(object.key.as_bytes()));
            compare(&cut(&objects, 20), &covered).await;
        });
    }
}
