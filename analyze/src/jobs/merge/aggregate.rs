//! Runs a scan and groups what it gives: one row a node and workload, and a report on every workload.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use arrow::array::{Array, AsArray, RecordBatch, UInt32Array};
use arrow::datatypes::UInt32Type;
use datafusion::common::exec_datafusion_err;
use datafusion::common::runtime::SpawnedTask;
use datafusion::error::DataFusionError;
use wsp_schemas::store::Store;

use super::scan::{Counter, ScanSpec, SnapshotScan, UnitReport};
use super::{MergeError, Progress};
use crate::session::{self, Resources};

const SQL: &str = include_str!("aggregate.sql");

/// What came of a scan, by the numbers of its units.
#[derive(Debug, Default)]
pub(super) struct Grouped {
    /// Rows as `aggregate.sql` gives them, in no order.
    pub(super) nodes: BTreeMap<u32, Vec<RecordBatch>>,
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
    by_workload(&rows).await
}

async fn by_workload(rows: &[RecordBatch]) -> Result<Grouped, MergeError> {
    let mut grouped = Grouped::default();
    let mut reports = Vec::new();
    for batch in rows {
        let texts = batch["report"].as_string_opt::<i32>();
        let texts = texts.ok_or_else(|| exec_datafusion_err!("reports are no text"))?;
        let workloads: &UInt32Array = batch["workload"].as_primitive::<UInt32Type>();
        // A row of one workload mostly follows another one of it: what is cut out is few and large.
        let mut start = 0;
        while start < batch.num_rows() {
            let number = workloads.value(start);
            if texts.is_valid(start) {
                reports.push((number, texts.slice(start, 1)));
                start += 1;
                continue;
            }
            let same = |row: &usize| workloads.value(*row) == number && texts.is_null(*row);
            let length = (start..batch.num_rows()).take_while(same).count();
            grouped.nodes.entry(number).or_default().push(batch.slice(start, length));
            start += length;
        }
    }
    // Each has a line for every file of its workload: they are read side by side.
    let reports = reports.into_iter().map(|(number, text)| {
        SpawnedTask::spawn_blocking(move || {
            let report: UnitReport = serde_json::from_str(text.value(0))
                .map_err(|error| exec_datafusion_err!("a report cannot be read: {error}"))?;
            Ok::<_, DataFusionError>((number, report))
        })
    });
    for report in reports.collect::<Vec<_>>() {
        let read = report.await.map_err(|error| exec_datafusion_err!("a report cannot be read: {error}"))?;
        let (number, report) = read?;
        grouped.reports.insert(number, report);
    }
    Ok(grouped)
}
