//! A merge may stop at any operation of its store, and lose any answer of it: the next one ends where it would have.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Child;
use std::sync::Arc;
use std::time::Instant;

use chrono::{DateTime, TimeDelta, Utc};
use futures::StreamExt;
use object_store::memory::InMemory;
use wsp_analyze::jobs::merge::Options;
use wsp_schemas::store::{Missing, Store, open};
use wsp_tests::delta::{Tables, commits, objects};
use wsp_tests::faulty::{Fault, Faulty, Operation};
use wsp_tests::oracle::{Object, Oracle, Settings};
use wsp_tests::program::command;

use super::compare::NOT_COMPUTED;
use super::fleets::{Shot, at};
use super::{block_on, merge, options, upload};

/// What comes before a merge, and its clock.
type Step = (Vec<Object>, DateTime<Utc>);

fn settings() -> Settings {
    Settings { max_snapshots: 4, learning_time: TimeDelta::hours(3), buckets: 2, ..Settings::DEFAULT }
}

/// Three workloads in two buckets. The first fills up in the second merge, the second grows too old in the third, one goes on
/// learning.
fn fleet() -> Vec<Step> {
    let shots = |shots: &[Shot]| shots.iter().map(Shot::object).collect();
    vec![
        (
            shots(&[
                Shot::plain(0, 1, 0, &[1, 2, 9]),
                Shot::plain(0, 2, 5, &[1, 6]),
                Shot::plain(1, 1, 0, &[1, 11]),
                Shot::plain(2, 3, 0, &[13, 14]),
            ]),
            at(60),
        ),
        (
            shots(&[
                Shot::plain(0, 3, 40, &[1, 16]),
                Shot::plain(0, 1, 45, &[3]),
                Shot::plain(1, 2, 60, &[2]),
            ]),
            at(120),
        ),
        (
            shots(&[
                Shot::plain(0, 4, 100, &[5]),
                Shot::plain(2, 1, 100, &[13, 1]),
                Shot::plain(1, 2, 110, &[4]),
            ]),
            at(190),
        ),
    ]
}

/// With a damaged file, a forged twin and a repeated one in the second step.
fn fleet_with_refusals() -> Vec<Step> {
    let mut steps = fleet();
    let damaged = Shot::plain(2, 5, 30, &[1]).object();
    steps[1].0.push(Object { bytes: damaged.bytes.slice(..damaged.bytes.len() / 2), ..damaged });
    steps[1].0.push(Shot::plain(1, 1, 0, &[1, 11]).forged(3));
    steps[1].0.push(Shot::plain(2, 3, 0, &[13, 14]).repeated(4));
    steps
}

/// Everything that merges leave, but the names of files.
#[derive(Debug)]
struct Left {
    tables: Tables,
    objects: Vec<(String, u64)>,
}

impl Left {
    async fn read(store: &Store) -> Self {
        Self { tables: Tables::read(store).await.unwrap(), objects: objects(store).await.unwrap() }
    }

    fn differences(&self, found: &Self, ignored: &[&str]) -> Option<String> {
        let tables = self.tables.differences(&found.tables, ignored);
        let moved = (self.objects != found.objects).then(|| format!("objects: {:#?}\n", found.objects));
        (tables.is_some() || moved.is_some()).then(|| [tables, moved].into_iter().flatten().collect())
    }
}

/// A step of the undisturbed sequence.
struct Stage {
    told: Options,
    /// The store before its merge, with its objects there.
    before: InMemory,
    /// What the merge asked the store.
    operations: Vec<Operation>,
    left: Left,
}

async fn undisturbed(steps: &[Step]) -> Vec<Stage> {
    let inner = InMemory::new();
    let faulty = Faulty::new(Arc::new(inner.clone()));
    let store = faulty.store();
    let mut stages = Vec::new();
    for (objects, as_of) in steps {
        for object in objects {
            upload(&store, object).await;
        }
        let look_back = std::time::Duration::from_secs(2 * 3600);
        let (before, told) = (inner.fork(), Options { look_back, ..options(&settings(), *as_of) });
        faulty.take_operations();
        merge(&store, &told).await.unwrap();
        stages.push(Stage {
            told,
            before,
            operations: faulty.take_operations(),
            left: Left::read(&store).await,
        });
    }
    stages
}

/// A sequence of merges, and where a fault is injected.
struct Case {
    steps: Arc<Vec<Step>>,
    stages: Arc<Vec<Stage>>,
    step: usize,
    number: usize,
    fault: Fault,
}

impl Case {
    /// The step's merge with the fault; then plainly again, and the next step. Gives how many operations went wrong.
    async fn run(&self) -> Result<usize, String> {
        let stage = &self.stages[self.step];
        let faulty = Faulty::new(Arc::new(stage.before.fork()));
        let store = faulty.store();
        faulty.arm(self.number, self.fault);
        let ended = merge(&store, &stage.told).await;
        let injected = faulty.disarm();
        merge(&store, &stage.told)
            .await
            .map_err(|error| format!("the merge after it failed: {error:?}\n"))?;
        let found = Left::read(&store).await;
        let unavailable = ended.map_or_else(|_| Vec::new(), |report| report.unavailable);
        if !unavailable.is_empty() {
            // The merge went on without what it did not get, as if that had been uploaded after it.
            let late: Vec<&str> = unavailable.iter().map(|problem| problem.object.as_str()).collect();
            let expected =
                Left { tables: self.with_late(&late, &found.tables)?, objects: stage.left.objects.clone() };
            return expected.differences(&found, &NOT_COMPUTED).map_or(Ok(injected), Err);
        }
        if let Some(text) = stage.left.differences(&found, &[]) {
            return Err(text);
        }
        // What a fault left beside the rows, such as a wrong number in a log, shows in the next batch.
        if let (Some(next), true) = (self.stages.get(self.step + 1), stage.operations[self.number].changes())
        {
            for object in &self.steps[self.step + 1].0 {
                upload(&store, object).await;
            }
            merge(&store, &next.told).await.map_err(|error| format!("the next step failed: {error:?}\n"))?;
            if let Some(text) = next.left.differences(&Left::read(&store).await, &[]) {
                return Err(format!("in the next step:\n{text}"));
            }
        }
        Ok(injected)
    }

    /// What the naive merge makes of the same steps, where some objects of the last one come late.
    fn with_late(&self, late: &[&str], found: &Tables) -> Result<Tables, String> {
        let mut oracle = Oracle::new(settings());
        let mut uploaded: Vec<Object> = Vec::new();
        for (number, (objects, as_of)) in self.steps.iter().take(self.step + 1).enumerate() {
            uploaded.extend(objects.iter().cloned());
            let there =
                uploaded.iter().filter(|object| number < self.step || !late.contains(&object.key.as_str()));
            oracle.merge(&there.cloned().collect::<Vec<_>>(), *as_of);
        }
        oracle.merge(&uploaded, self.steps[self.step].1);
        oracle.tables(found)
    }
}

/// Every operation of some steps, and every way to fail that leaves another store. Gives what is left at the end.
fn matrix(steps: Vec<Step>, tried: std::ops::Range<usize>) -> Tables {
    block_on(async {
        let stages = Arc::new(undisturbed(&steps).await);
        let steps = Arc::new(steps);
        let mut cases = Vec::new();
        for step in tried {
            for (number, operation) in stages[step].operations.iter().enumerate() {
                // A read leaves nothing: it can only fail. To be killed at one is to be killed after the change before it.
                let faults = if operation.changes() { &Fault::ALL[..] } else { &[Fault::Before] };
                cases.extend(faults.iter().map(|fault| Case {
                    steps: Arc::clone(&steps),
                    stages: Arc::clone(&stages),
                    step,
                    number,
                    fault: *fault,
                }));
            }
        }
        let tried = cases.len();
        let results: Vec<_> = futures::stream::iter(cases)
            .map(|case| async move {
                let what = case.stages[case.step].operations[case.number].clone();
                let place =
                    format!("{:?} at operation {} of step {}: {what:?}", case.fault, case.number, case.step);
                let fault = case.fault;
                (fault, place, tokio::spawn(async move { case.run().await }).await)
            })
            .buffer_unordered(8)
            .collect()
            .await;
        let mut counts: BTreeMap<Fault, usize> = BTreeMap::new();
        let mut failures = Vec::new();
        for (fault, place, result) in results {
            match result {
                Ok(Ok(injected)) => *counts.entry(fault).or_default() += injected,
                Ok(Err(wrong)) => failures.push(format!("{place}:\n{wrong}")),
                Err(panic) => failures.push(format!("{place}: {panic}\n")),
            }
        }
        println!("faults by mode, all got over: {counts:?}, {} of {tried} not", failures.len());
        assert!(
            failures.is_empty(),
            "{} of {tried} faults left something else\n{}",
            failures.len(),
            failures.iter().take(4).cloned().collect::<String>()
        );
        assert!(counts.values().sum::<usize>() * 10 > tried * 9, "nearly all faults were reached");
        stages.last().map(|stage| stage.left.tables.clone()).unwrap_or_default()
    })
}

#[test]
fn the_first_merge_that_fails_at_any_operation_is_finished_by_the_next() {
    matrix(fleet(), 0..1);
}

#[test]
fn a_later_merge_that_fails_at_any_operation_is_finished_by_the_next() {
    matrix(fleet(), 1..3);
}

/// The hours of what came after the freeze leave the look-back: they are counted, once.
#[test]
fn what_came_after_the_freeze_is_counted_once_whatever_fails() {
    let mut steps = fleet();
    let objects = [Shot::plain(0, 5, 130, &[1]), Shot::plain(1, 1, 100, &[1]), Shot::plain(3, 1, 700, &[1])];
    steps.push((objects.iter().map(Shot::object).collect(), at(740)));
    let left = matrix(steps, 3..4);
    assert_eq!(left.late.values().sum::<i64>(), 3, "one of the third step, two of the fourth");
    assert_eq!(left.late.len(), 2, "of two profiles");
}

#[test]
fn what_is_refused_survives_a_failure_at_any_operation() {
    matrix(fleet_with_refusals(), 1..2);
}

/// A running program that ends with the test.
struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn wsp_merge(folder: &Path) -> std::process::Command {
    let mut merge = command("wsp");
    merge.args(["merge", "--as-of", "2021-01-01T03:00:00Z", "--store"]).arg(folder);
    merge
}

async fn filled(folder: &Path) -> Store {
    let store = open(folder.to_str().unwrap(), Missing::Create).unwrap();
    for app in 0..6 {
        for container in 0..5 {
            let shot = Shot::plain(app, container, i64::from(container) * 7, &[1, 2, container, 9, 16]);
            upload(&store, &shot.object()).await;
        }
    }
    store
}

/// The program itself, killed at moments over the whole of its run.
#[test]
fn a_killed_program_is_finished_by_the_next() {
    block_on(async {
        let folder = tempfile::tempdir().unwrap();
        let store = filled(folder.path()).await;
        let began = Instant::now();
        assert!(wsp_merge(folder.path()).status().unwrap().success());
        let mut whole = began.elapsed();
        let expected = Tables::read(&store).await.unwrap();
        let (mut killed, mut stood) = (0, BTreeMap::new());
        // One that was done before its moment came is done once more, and they take less time than was thought.
        for round in 0..60_u32 {
            if killed == 10 {
                break;
            }
            let folder = tempfile::tempdir().unwrap();
            let store = filled(folder.path()).await;
            let mut child = Killed(wsp_merge(folder.path()).spawn().unwrap());
            // The commits are in the second half.
            std::thread::sleep(whole * (10 + round % 10) / 20);
            child.0.kill().unwrap();
            if child.0.wait().unwrap().success() {
                whole = whole * 9 / 10;
            } else {
                killed += 1;
            }
            *stood.entry(commits(&store).await.unwrap()).or_insert(0) += 1;
            assert!(wsp_merge(folder.path()).status().unwrap().success(), "round {round}");
            let found = Tables::read(&store).await.unwrap();
            if let Some(text) = expected.differences(&found, &[]) {
                panic!("round {round}\n{text}");
            }
            assert_eq!(objects(&store).await.unwrap().len(), 30);
        }
        println!("a merge took {whole:?}; {killed} were killed; commits that stood then: {stood:?}");
        assert_eq!(killed, 10);
    });
}
