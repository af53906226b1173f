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

use super::scan::{ScanSpec, SnapshotScan, Unit, UnitReport};
use super::{MergeError, Options, Progress};
use crate::tables::ProfileTables;
use crate::units::Counter;
use crate::{engine, session};

/// How often a plan is run of which a cluster does not give each part once.
const ATTEMPTS: u32 = 3;

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
    units: Vec<Unit>,
    tables: &ProfileTables,
    store: &Store,
    options: &Options,
    progress: &dyn Progress,
) -> Result<Grouped, MergeError> {
    let count = units.len();
    let counter = Arc::new(Counter::default());
    let partitions = deal(units, options);
    let context = options.engine.session(&options.resources, partitions.len())?;
    session::register_store(&context, store)?;
    // A trial may have made its tables in its own memory.
    if !options.dry_run {
        options.engine.bind(&context, &tables.ledger.id()?);
    }
    let scan = SnapshotScan::new(spec, &partitions, Arc::clone(&counter))?;
    context.register_table("sightings", Arc::new(scan))?;
    let mut told = 0;
    let mut tell = |files: usize| {
        progress.done(files.saturating_sub(told) as u64);
        told = told.max(files);
    };
    for attempt in 1.. {
        let rows = options.engine.collect(context.sql(SQL).await?);
        tokio::pin!(rows);
        let rows = loop {
            tokio::select! {
                rows = &mut rows => break rows?,
                () = tokio::time::sleep(Duration::from_millis(100)) => tell(counter.get()),
            }
        };
        tell(counter.get());
        match by_workload(&rows).await? {
            Some(grouped) if grouped.reports.len() == count => return Ok(grouped),
            _ if attempt < ATTEMPTS => {
                tracing::warn!("the parts of a plan came twice or not at all: it is run again");
            }
            _ => break,
        }
    }
    Err(exec_datafusion_err!("the parts of a plan came twice or not at all, {ATTEMPTS} times").into())
}

/// Deals units to partitions by what they cost.
fn deal(units: Vec<Unit>, options: &Options) -> Vec<Vec<Unit>> {
    let bytes = units.iter().map(Unit::weight).sum();
    let count = options.engine.partitions(&options.resources, units.len(), bytes);
    engine::deal(units.into_iter().map(|unit| (unit.weight(), unit)).collect(), count)
}

/// None where a workload's report is there twice. A cluster that took an executor for lost may give its part beside the one of the
/// executor that was asked then.
async fn by_workload(rows: &[RecordBatch]) -> Result<Option<Grouped>, MergeError> {
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
        if grouped.reports.insert(number, report).is_some() {
            return Ok(None);
        }
    }
    Ok(Some(grouped))
}
