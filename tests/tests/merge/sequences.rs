//! Merges that are told other things each time: limits, look-back, cut of the work, cores, profiles learned anew.

use std::sync::Mutex;

use chrono::{DateTime, TimeDelta, Utc};
use proptest::collection::vec;
use proptest::prelude::*;
use wsp_analyze::session::Resources;
use wsp_tests::oracle::Settings;
use wsp_tests::value::cell_of;

use super::block_on;
use super::compare::{Batch, Covered, arrival, compare, runner};
use super::fleets::{Shot, at, epoch, shots};

/// Limits, on the grid of windows.
fn limits() -> impl Strategy<Value = Settings> {
    let minimum = |range: std::ops::Range<usize>| prop_oneof![2 => Just(0), 1 => range];
    (
        prop_oneof![3 => 2..5_usize, 1 => Just(200)],
        prop_oneof![2 => 1..4_i64, 1 => Just(48)],
        minimum(2..8),
        minimum(2..4),
        prop_oneof![2 => Just(0), 1 => 30..120_i64],
    )
        .prop_map(|(max_snapshots, hours, min_snapshots, min_containers, minutes)| Settings {
            max_snapshots,
            learning_time: TimeDelta::hours(hours),
            min_snapshots,
            min_containers,
            min_age: TimeDelta::minutes(minutes),
            ..Settings::DEFAULT
        })
}

/// What one merge is told.
#[derive(Debug, Clone)]
struct Round {
    clock: i64,
    limits: Option<Settings>,
    look_back: Option<i64>,
    files_per_batch: Option<usize>,
    partitions: usize,
    relearned: Vec<(u8, i64)>,
}

fn round() -> impl Strategy<Value = Round> {
    (
        0..300_i64,
        prop::option::weighted(0.3, limits()),
        prop::option::weighted(0.6, 0..3_i64),
        prop::option::weighted(0.5, 1..4_usize),
        prop_oneof![Just(1), Just(3)],
        vec((0..3_u8, prop_oneof![3 => 0..30_i64, 1 => 30..240_i64]), 0..4),
    )
        .prop_map(|(clock, limits, look_back, files_per_batch, partitions, relearned)| Round {
            clock,
            limits,
            look_back,
            files_per_batch,
            partitions,
            relearned,
        })
}

fn batches(first: Settings, rounds: &[Round]) -> Vec<Batch> {
    let mut settings = first;
    let batch = |round: &Round| {
        // The number of buckets is fixed when the store is made.
        settings = Settings { buckets: first.buckets, ..round.limits.unwrap_or(settings) };
        Batch {
            look_back: round.look_back.map(TimeDelta::hours),
            files_per_batch: round.files_per_batch,
            resources: Resources { partitions: round.partitions, memory: None, spill: None },
            relearned: round.relearned.iter().map(|(app, since)| (*app, at(*since))).collect(),
            ..Batch::of(&settings, Vec::new(), at(round.clock))
        }
    };
    rounds.iter().map(batch).collect()
}

#[test]
fn any_sequence_of_differing_merges_gives_what_naive_ones_give() {
    let first = (limits(), 1..4_u32).prop_map(|(limits, buckets)| Settings { buckets, ..limits });
    let sequence = (first, vec(round(), 3..7), shots(10..40, arrival()));
    let covered = Mutex::new(Covered::default());
    runner(30)
        .run(&sequence, |(first, rounds, arrivals)| {
            let mut batches = batches(first, &rounds);
            arrivals.iter().for_each(|(shot, arrival)| arrival.add(shot, &mut batches));
            let tables = block_on(compare(&batches, &covered));
            covered.lock().unwrap().add(&tables);
            Ok(())
        })
        .unwrap_or_else(|failure| panic!("{failure}"));
    covered.into_inner().unwrap().assert(&[
        "outcome \"opened\"",
        "outcome \"duplicate\"",
        "outcome \"conflict\"",
        "opened anew",
        "refused to open anew",
        "a later revision, \"learning\"",
        "a later revision, \"stable\"",
        "older than the look-back",
        "found by a sweep",
        "hours counted after the freeze",
        "several waves in one merge",
        "1 partitions",
        "3 partitions",
        "kept learning by min_snapshots",
        "kept learning by min_containers",
        "kept learning by min_age",
        "stable by changed limits or the clock alone",
    ]);
}

/// Outcomes of the shots' objects, in their order; null where the ledger does not have one.
fn outcomes(batches: &[Batch], shots: &[&Shot]) -> Vec<Option<String>> {
    let tables = block_on(compare(batches, &Mutex::default()));
    let outcome = |shot: &&Shot| {
        let key = shot.object().key;
        let row = tables.ledger.iter().find(|row| cell_of(row, "object_key").text() == Some(&key))?;
        cell_of(row, "outcome").text().map(str::to_owned)
    };
    shots.iter().map(outcome).collect()
}

#[test]
fn an_upload_older_than_the_look_back_is_found_by_a_sweep_alone() {
    let (old, new) = (Shot::plain(0, 1, 0, &[1]), Shot::plain(0, 2, 360, &[2]));
    let merge = |shots: &[&Shot], look_back: Option<i64>| Batch {
        look_back: look_back.map(TimeDelta::hours),
        ..Batch::of(&Settings::DEFAULT, shots.iter().map(|shot| shot.object()).collect(), epoch())
    };
    let admitted = Some("admitted".to_owned());
    // The windows end six hours apart.
    for (look_back, expected) in [(5, None), (6, admitted.clone())] {
        let batches = [merge(&[&new], Some(look_back)), merge(&[&old], Some(look_back))];
        assert_eq!(outcomes(&batches, &[&new, &old]), [admitted.clone(), expected], "{look_back} hours");
    }
    let batches = [merge(&[&new], Some(5)), merge(&[&old], Some(5)), merge(&[], None)];
    assert_eq!(outcomes(&batches, &[&new, &old]), [admitted.clone(), admitted.clone()]);
    // Hours that the merge before did not leave behind are not left out.
    let batches = [merge(&[&new], Some(48)), merge(&[&old], Some(5))];
    assert_eq!(outcomes(&batches, &[&new, &old]), [admitted.clone(), admitted]);
}

#[test]
fn other_limits_freeze_what_learns_and_never_touch_what_is_stable() {
    let shots: Vec<Shot> = (0..4).map(|n| Shot::plain(0, n, i64::from(n) * 10, &[1, n])).collect();
    let merge = |shots: &[Shot], max_snapshots: usize, as_of: DateTime<Utc>| {
        let settings = Settings { max_snapshots, ..Settings::DEFAULT };
        Batch::of(&settings, shots.iter().map(Shot::object).collect(), as_of)
    };
    // Two of four, then a limit of two, then again of more: the third and fourth come too late.
    let batches = [merge(&shots[..2], 10, at(60)), merge(&[], 2, at(60)), merge(&shots[2..], 10, at(60))];
    let all: Vec<&Shot> = shots.iter().collect();
    let admitted = Some("admitted".to_owned());
    assert_eq!(outcomes(&batches, &all), [admitted.clone(), admitted, None, None]);
}
