//! A compaction may stop at any operation of its store, and lose any answer of it: the next one ends where it would have.

use std::sync::Arc;

use futures::StreamExt;
use object_store::memory::InMemory;
use wsp_analyze::jobs::compact::Options;
use wsp_schemas::store::Store;
use wsp_schemas::tables::ACTIVITY;
use wsp_tests::delta::{self, Tables, objects};
use wsp_tests::faulty::{Fault, Faulty, Operation};
use wsp_tests::value::{Row, differences};

use super::{compact, everything, fleet, merged, place};
use crate::merge::block_on;
use crate::merge::fleets::at;

/// Everything that a compaction leaves, but the names of files.
struct Left {
    tables: Tables,
    activity: Vec<Row>,
    objects: Vec<(String, u64)>,
    /// Data files of each table: as many as there are rows of `numRecords`.
    files: usize,
}

impl Left {
    async fn read(store: &Store) -> Self {
        Self {
            tables: Tables::read(store).await.unwrap(),
            activity: delta::table(store, &ACTIVITY).await.unwrap(),
            objects: objects(store).await.unwrap(),
            files: super::pack::live_files(store).await,
        }
    }

    fn differences(&self, found: &Self) -> Option<String> {
        let mut text = String::new();
        text += &self.tables.differences(&found.tables, &[]).unwrap_or_default();
        text += &differences("activity", &self.activity, &found.activity, place, &[]).unwrap_or_default();
        if self.objects != found.objects {
            text += &format!("objects: {:#?}\n", found.objects);
        }
        if self.files != found.files {
            text += &format!("{} data files, not {}\n", found.files, self.files);
        }
        (!text.is_empty()).then_some(text)
    }
}

fn told() -> Options {
    Options { files_per_commit: 6, ..everything() }
}

/// Three merges of what came so far: small files in every table.
async fn store_of(inner: &InMemory) -> Faulty {
    let faulty = Faulty::new(Arc::new(inner.clone()));
    let store = faulty.store();
    let fleet = fleet();
    for part in fleet.chunks(5) {
        merged(&store, part, at(700)).await;
    }
    faulty
}

async fn case(before: InMemory, number: usize, fault: Fault, expected: &Left) -> Result<usize, String> {
    let faulty = Faulty::new(Arc::new(before));
    let store = faulty.store();
    faulty.arm(number, fault);
    let ended = compact(&store, &told()).await;
    let injected = faulty.disarm();
    if let (Ok(report), true) = (&ended, fault == Fault::KilledBefore)
        && report.is_clean()
        && injected > 0
    {
        return Err(format!("it was killed and reports success: {report:?}"));
    }
    compact(&store, &told()).await.map_err(|error| format!("the run after it failed: {error:?}\n"))?;
    // What an uncertain commit left to pack again is packed by a further run.
    compact(&store, &told()).await.map_err(|error| format!("a further run failed: {error:?}\n"))?;
    expected.differences(&Left::read(&store).await).map_or(Ok(injected), Err)
}

#[test]
fn a_compaction_that_fails_at_any_operation_is_finished_by_the_next() {
    block_on(async {
        let inner = InMemory::new();
        let faulty = store_of(&inner).await;
        let (store, before) = (faulty.store(), inner.fork());
        faulty.take_operations();
        compact(&store, &told()).await.unwrap();
        let operations: Vec<Operation> = faulty.take_operations();
        compact(&store, &told()).await.unwrap();
        compact(&store, &told()).await.unwrap();
        let expected = Arc::new(Left::read(&store).await);
        let mut cases = Vec::new();
        for (number, operation) in operations.iter().enumerate() {
            let faults = if operation.changes() { &Fault::ALL[..] } else { &[Fault::Before] };
            cases.extend(faults.iter().map(|fault| (number, operation.clone(), *fault)));
        }
        let tried = cases.len();
        let results: Vec<_> = futures::stream::iter(cases)
            .map(|(number, operation, fault)| {
                let (before, expected) = (before.fork(), Arc::clone(&expected));
                async move {
                    let run = tokio::spawn(async move { case(before, number, fault, &expected).await });
                    (format!("{fault:?} at operation {number}: {operation:?}"), run.await)
                }
            })
            .buffer_unordered(8)
            .collect()
            .await;
        let (mut injected, mut failures) = (0, Vec::new());
        for (place, result) in results {
            match result {
                Ok(Ok(faults)) => injected += faults,
                Ok(Err(wrong)) => failures.push(format!("{place}:\n{wrong}")),
                Err(panic) => failures.push(format!("{place}: {panic}\n")),
            }
        }
        println!("{injected} faults in {tried} runs, {} not got over", failures.len());
        assert!(
            failures.is_empty(),
            "{} of {tried} faults left something else\n{}",
            failures.len(),
            failures.iter().take(4).cloned().collect::<String>()
        );
        assert!(injected * 10 > tried * 9, "nearly all faults were reached");
    });
}
