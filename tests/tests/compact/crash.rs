//! A compaction may stop at any operation of its store, and lose any answer of it: the next one ends where it would have.

use std::collections::BTreeSet;
use std::sync::Arc;

use futures::StreamExt;
use object_store::memory::InMemory;
use wsp_schemas::store::Store;
use wsp_schemas::tables::ACTIVITY;
use wsp_tests::delta::{self, Tables, objects};
use wsp_tests::faulty::{Fault, Faulty, Operation};
use wsp_tests::oracle::Settings;
use wsp_tests::value::{Row, differences};

use super::{compact, everything, place};
use crate::merge::fleets::{Shot, at};
use crate::merge::{block_on, merge, options, upload};

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

/// A profile that is stable with two snapshots, one that learns, one snapshot without a name; in two merges, so that every
/// table has files that belong together.
async fn store_of(inner: &InMemory) -> Faulty {
    let faulty = Faulty::new(Arc::new(inner.clone()));
    let store = faulty.store();
    let settings = Settings { max_snapshots: 2, buckets: 1, ..super::settings() };
    let shot = |app, number, start| Shot::plain(app, number, start, &[1, 6 + number]).object();
    let unkeyed = Shot { app: None, ..Shot::plain(0, 7, 10, &[1]) }.object();
    let parts = [
        vec![shot(0, 0, 0), shot(0, 1, 0), unkeyed],
        vec![shot(0, 2, 90), shot(1, 0, 90), shot(1, 1, 90), shot(2, 0, 300)],
    ];
    for part in parts {
        for object in &part {
            upload(&store, object).await;
        }
        merge(&store, &options(&settings, at(300))).await.unwrap();
    }
    faulty
}

async fn case(before: InMemory, number: usize, fault: Fault, expected: &Left) -> Result<usize, String> {
    let faulty = Faulty::new(Arc::new(before));
    let store = faulty.store();
    faulty.arm(number, fault);
    let ended = compact(&store, &everything()).await;
    let injected = faulty.disarm();
    // What failed is told: as an error, or of single objects in the report.
    if let (Ok(report), Fault::KilledBefore) = (&ended, fault)
        && report.is_clean()
    {
        return Err(format!("it was killed and says that all is well: {report:?}\n"));
    }
    compact(&store, &everything()).await.map_err(|error| format!("the run after it failed: {error:?}\n"))?;
    expected.differences(&Left::read(&store).await).map_or(Ok(injected), Err)
}

#[test]
fn a_compaction_that_fails_at_any_operation_is_finished_by_the_next() {
    block_on(async {
        let inner = InMemory::new();
        let faulty = store_of(&inner).await;
        let (store, before) = (faulty.store(), inner.fork());
        faulty.take_operations();
        compact(&store, &everything()).await.unwrap();
        let operations: Vec<Operation> = faulty.take_operations();
        println!("{} operations", operations.len());
        compact(&store, &everything()).await.unwrap();
        let expected = Arc::new(Left::read(&store).await);
        let mut cases = Vec::new();
        let (mut changes, mut reads) = (0, BTreeSet::new());
        for (number, operation) in operations.iter().enumerate() {
            // A read leaves nothing: it can only fail, and of the same one between two changes the first tells all.
            let faults = if operation.changes() { &Fault::ALL[..] } else { &[Fault::Before] };
            changes += usize::from(operation.changes());
            if !operation.changes() && !reads.insert((changes, operation.what, operation.path.clone())) {
                continue;
            }
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
