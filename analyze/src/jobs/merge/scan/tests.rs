//! What a scan holds is in the memory pool.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use arrow::array::{Array, AsArray, RecordBatch};
use datafusion::common::Result;
use datafusion::execution::memory_pool::{GreedyMemoryPool, MemoryPool, MemoryReservation};
use datafusion::execution::runtime_env::RuntimeEnvBuilder;
use datafusion::prelude::{SessionConfig, SessionContext};
use wsp_schemas::snapshot::Limits;
use wsp_schemas::store::Store;

use super::*;
use crate::jobs::merge::admit::{Rules, Standing};
use crate::jobs::merge::fixture::{epoch, shot, store};
use crate::session;
use crate::units::Counter;

/// A pool that remembers what was most.
#[derive(Debug)]
struct Watched(GreedyMemoryPool, AtomicUsize);

impl std::fmt::Display for Watched {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("watched")
    }
}

impl MemoryPool for Watched {
    fn name(&self) -> &str {
        "watched"
    }

    fn grow(&self, reservation: &MemoryReservation, additional: usize) {
        self.0.grow(reservation, additional);
        self.1.fetch_max(self.0.reserved(), Ordering::Relaxed);
    }

    fn shrink(&self, reservation: &MemoryReservation, shrink: usize) {
        self.0.shrink(reservation, shrink);
    }

    fn try_grow(&self, reservation: &MemoryReservation, additional: usize) -> Result<()> {
        self.0.try_grow(reservation, additional)?;
        self.1.fetch_max(self.0.reserved(), Ordering::Relaxed);
        Ok(())
    }

    fn reserved(&self) -> usize {
        self.0.reserved()
    }
}

async fn candidates(store: &Store) -> Vec<Candidate> {
    let mut candidates = Vec::new();
    for container in 0..40 {
        let shot = shot("app:1", container, 0, &["/a", "/b", "/c"]);
        let key = shot.put(store).await;
        let size =
            object_store::ObjectStoreExt::head(&store.objects, &key.as_str().into()).await.unwrap().size;
        let window_end = shot.meta().window_end;
        candidates.push(Candidate { key, size, window_end, stored_at: window_end, known: Known::New });
    }
    candidates
}

/// A scan of nothing, in so many partitions, as the table `sightings`.
#[cfg(feature = "distributed")]
pub(crate) fn register_empty(context: &SessionContext, partitions: usize) {
    let spec = ScanSpec { rules: Rules::default(), limits: Limits::default(), concurrency: 1 };
    let scan = SnapshotScan::new(spec, &vec![Vec::new(); partitions], Arc::default()).unwrap();
    context.register_table("sightings", Arc::new(scan)).unwrap();
}

/// All rows of the scan of one workload, where there is so much memory; and the most that it held.
async fn scan(memory: usize) -> (Vec<RecordBatch>, usize) {
    let store = store();
    let unit = Unit {
        number: 0,
        workload: Some(shot("app:1", 0, 0, &[]).key().workload.to_string()),
        standing: Standing::default(),
        candidates: candidates(&store).await,
        learned: Vec::new(),
    };
    let spec = ScanSpec {
        rules: Rules { as_of: epoch(), ..Rules::default() },
        limits: Limits::default(),
        concurrency: 2,
    };
    let pool = Arc::new(Watched(GreedyMemoryPool::new(memory), AtomicUsize::new(0)));
    let runtime = RuntimeEnvBuilder::new().with_memory_pool(Arc::clone(&pool) as _).build_arc().unwrap();
    let context = SessionContext::new_with_config_rt(SessionConfig::new().with_target_partitions(1), runtime);
    session::register_store(&context, &store).unwrap();
    let scan = SnapshotScan::new(spec, &[vec![unit]], Arc::new(Counter::default())).unwrap();
    let rows = context.read_table(Arc::new(scan)).unwrap().collect().await.unwrap();
    assert_eq!(pool.reserved(), 0, "what is held is given back");
    (rows, pool.1.load(Ordering::Relaxed))
}

/// Rows with a node, sums of their events, and reports.
fn count(batches: &[RecordBatch]) -> (usize, i64, usize) {
    let reports = batches.iter().map(|batch| batch.num_rows() - batch["report"].null_count()).sum();
    let rows: usize = batches.iter().map(RecordBatch::num_rows).sum();
    let events = |batch: &RecordBatch| {
        let events = batch["events"].as_primitive::<arrow::datatypes::Int64Type>();
        arrow::compute::sum(events).unwrap_or_default()
    };
    (rows - reports, batches.iter().map(events).sum(), reports)
}

#[tokio::test]
async fn where_there_is_no_more_memory_rows_go_on_early() {
    let (rows, most) = scan(1 << 30).await;
    let (nodes, events, reports) = count(&rows);
    assert_eq!((nodes, events, reports), (4, 40 * (1 + 2 + 2 + 2), 1), "four nodes, each once");
    assert!(most > 0);
    let little = most / 4;
    let (rows, less) = scan(little).await;
    let (parts, same, reports) = count(&rows);
    assert_eq!((same, reports), (events, 1));
    assert!(parts > nodes, "{parts} rows of {nodes} nodes, with {less} bytes at most");
    assert!((1..=little).contains(&less), "{less} of {little}");
}
