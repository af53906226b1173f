//! Runs a scan and groups what it gives: one row a node and workload, and a report on every workload.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use arrow::array::{Array, AsArray, RecordBatch, UInt32Array};
use arrow::compute::{concat_batches, filter_record_batch, is_not_null};
use arrow::datatypes::UInt32Type;
use datafusion::common::exec_datafusion_err;
use wsp_schemas::store::Store;

use super::scan::{Counter, ScanSpec, SnapshotScan, UnitReport};
use super::{MergeError, Progress};
use crate::session::{self, Resources};

const SQL: &str = include_str!("aggregate.sql");

/// What came of a scan, by the numbers of its units.
#[derive(Debug, Default)]
pub(super) struct Grouped {
    /// Rows as `aggregate.sql` gives them, by node id.
    pub(super) nodes: BTreeMap<u32, RecordBatch>,
    pub(super) reports: BTreeMap<u32, UnitReport>,
}

pub(super) async fn run(
    spec: ScanSpec,
    store: &Store,
    resources: &Resources,
    progress: &dyn Progress,
) -> Result<Grouped, MergeError> {
    let counter = Arc::new(Counter::default());
    let context = session::new(resources)?;
    session::register_store(&context, store)?;
    context.register_table("sightings", Arc::new(SnapshotScan::new(spec, Arc::clone(&counter))))?;
    let rows = context.sql(SQL).await?.collect();
    tokio::pin!(rows);
    let mut told = 0;
    let mut tell = |files: usize| {
        progress.done((files - told) as u64);
        told = files;
    };
    let rows = loop {
        tokio::select! {
            rows = &mut rows => break rows?,
            () = tokio::time::sleep(Duration::from_millis(100)) => tell(counter.get()),
        }
    };
    tell(counter.get());
    by_workload(&rows)
}

fn by_workload(rows: &[RecordBatch]) -> Result<Grouped, MergeError> {
    let mut grouped = Grouped::default();
    let mut parts: BTreeMap<u32, Vec<RecordBatch>> = BTreeMap::new();
    for batch in rows {
        let reports = batch["report"].as_string_opt::<i32>();
        let reports = reports.ok_or_else(|| exec_datafusion_err!("reports are no text"))?;
        let workloads: &UInt32Array = batch["workload"].as_primitive::<UInt32Type>();
        for row in (0..batch.num_rows()).filter(|row| reports.is_valid(*row)) {
            let report = serde_json::from_str(reports.value(row))
                .map_err(|error| exec_datafusion_err!("a report cannot be read: {error}"))?;
            grouped.reports.insert(workloads.value(row), report);
        }
        let nodes = filter_record_batch(batch, &is_not_null(&batch["id_high"])?)?;
        let workloads: &UInt32Array = nodes["workload"].as_primitive::<UInt32Type>();
        // Rows are ordered by workload.
        let mut start = 0;
        while start < nodes.num_rows() {
            let number = workloads.value(start);
            let end = start + workloads.values()[start..].partition_point(|other| *other == number);
            parts.entry(number).or_default().push(nodes.slice(start, end - start));
            start = end;
        }
    }
    for (number, parts) in parts {
        let Some(first) = parts.first() else { continue };
        // One batch of its own, so that a slice does not keep the whole answer in memory.
        grouped.nodes.insert(number, concat_batches(&first.schema(), &parts)?);
    }
    Ok(grouped)
}
