//! The scan as a plan: units go in as messages, rows of their nodes come out.
//!
//! The messages are a table in memory, which engines that cut a plan into tasks know how to cut: a task gets its own units only.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use arrow::array::{AsArray, BinaryArray, RecordBatch};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{Result, exec_datafusion_err, project_schema};
use datafusion::datasource::memory::MemorySourceConfig;
use datafusion::execution::memory_pool::MemoryConsumer;
use datafusion::execution::object_store::ObjectStoreUrl;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::{Expr, TableType};
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_expr::{EquivalenceProperties, PhysicalExpr};
use datafusion::physical_plan::execution_plan::{Boundedness, EmissionType};
use datafusion::physical_plan::stream::{RecordBatchReceiverStreamBuilder, RecordBatchStreamAdapter};
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, ExecutionPlan, ExecutionPlanProperties as _, Partitioning, PlanProperties,
    ReplaceChildrenOptions,
};
use futures::{StreamExt, TryStreamExt};
use serde::{Deserialize, Serialize};

use super::collect::sighting_schema;
use super::read::{Means, read_unit};
use super::spec::{ScanSpec, Unit};
use crate::session::store_url;

/// How many candidates were looked at.
#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicUsize);

impl Counter {
    pub(crate) fn add(&self, files: usize) {
        self.0.fetch_add(files, Ordering::Relaxed);
    }

    pub(crate) fn get(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

fn message_schema() -> SchemaRef {
    Arc::new(Schema::new(vec![Field::new("unit", DataType::Binary, false)]))
}

/// A scan as a table.
#[derive(Debug)]
pub(crate) struct SnapshotScan {
    spec: ScanSpec,
    messages: Vec<Vec<RecordBatch>>,
    counter: Arc<Counter>,
}

impl SnapshotScan {
    /// `partitions`: units that are read one after the other; partitions side by side.
    pub(crate) fn new(spec: ScanSpec, partitions: &[Vec<Unit>], counter: Arc<Counter>) -> Result<Self> {
        let encode = |units: &Vec<Unit>| {
            let encoded: Result<Vec<Vec<u8>>, _> = units.iter().map(Unit::encode).collect();
            let encoded = encoded.map_err(|error| exec_datafusion_err!("{error}"))?;
            let messages = BinaryArray::from_iter_values(encoded);
            Ok(vec![RecordBatch::try_new(message_schema(), vec![Arc::new(messages)])?])
        };
        let messages = partitions.iter().map(encode).collect::<Result<Vec<_>>>()?;
        Ok(Self { spec, messages, counter })
    }
}

#[async_trait]
impl TableProvider for SnapshotScan {
    fn schema(&self) -> SchemaRef {
        sighting_schema()
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    async fn scan(
        &self,
        _: &dyn Session,
        projection: Option<&Vec<usize>>,
        _: &[Expr],
        _: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let messages = MemorySourceConfig::try_new_exec(&self.messages, message_schema(), None)?;
        let work = ScanWork { spec: self.spec.clone(), projection: projection.cloned() };
        Ok(Arc::new(SnapshotScanExec::new(messages, work, Arc::clone(&self.counter))?))
    }
}

/// What is to be done with units.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct ScanWork {
    spec: ScanSpec,
    projection: Option<Vec<usize>>,
}

/// Reads the units that its input gives.
#[derive(Debug)]
pub(crate) struct SnapshotScanExec {
    units: Arc<dyn ExecutionPlan>,
    work: Arc<ScanWork>,
    counter: Arc<Counter>,
    properties: Arc<PlanProperties>,
}

impl SnapshotScanExec {
    pub(crate) fn new(units: Arc<dyn ExecutionPlan>, work: ScanWork, counter: Arc<Counter>) -> Result<Self> {
        let work = Arc::new(work);
        let properties = properties(&units, &work)?;
        Ok(Self { units, work, counter, properties })
    }

    /// What it does, for a message.
    #[cfg(feature = "distributed")]
    pub(crate) fn work(&self) -> &ScanWork {
        &self.work
    }
}

/// All rows of a workload are in one partition: by what it is dealt there does not matter to who groups by it.
fn properties(units: &Arc<dyn ExecutionPlan>, work: &ScanWork) -> Result<Arc<PlanProperties>> {
    let schema = project_schema(&sighting_schema(), work.projection.as_ref())?;
    let partitions = units.output_partitioning().partition_count();
    let partitioning = match Column::new_with_schema("workload", &schema) {
        Ok(workload) => Partitioning::Hash(vec![Arc::new(workload)], partitions),
        Err(_) => Partitioning::UnknownPartitioning(partitions),
    };
    Ok(Arc::new(PlanProperties::new(
        EquivalenceProperties::new(schema),
        partitioning,
        EmissionType::Incremental,
        Boundedness::Bounded,
    )))
}

impl DisplayAs for SnapshotScanExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SnapshotScanExec: concurrency={}", self.work.spec.concurrency)
    }
}

impl ExecutionPlan for SnapshotScanExec {
    fn name(&self) -> &'static str {
        "SnapshotScanExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.units]
    }

    /// A workload's unit stays where it was dealt.
    fn benefits_from_input_partitioning(&self) -> Vec<bool> {
        vec![false]
    }

    fn apply_expressions(
        &self,
        _: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn replace_children(
        self: Arc<Self>,
        mut children: Vec<Arc<dyn ExecutionPlan>>,
        _: ReplaceChildrenOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let units = children.pop().ok_or_else(|| exec_datafusion_err!("a scan needs its units"))?;
        let properties = properties(&units, &self.work)?;
        let (work, counter) = (Arc::clone(&self.work), Arc::clone(&self.counter));
        Ok(Arc::new(Self { units, work, counter, properties }))
    }

    fn with_new_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn ExecutionPlan>>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        use datafusion::physical_plan::ChildrenPropertiesMode::Recompute;
        self.replace_children(children, ReplaceChildrenOptions::new(Recompute))
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let url: ObjectStoreUrl = store_url()?;
        let objects = context.runtime_env().object_store(url)?;
        let mut units = self.units.execute(partition, Arc::clone(&context))?;
        let mut stream = RecordBatchReceiverStreamBuilder::new(sighting_schema(), 2);
        let sender = stream.tx();
        let (work, counter) = (Arc::clone(&self.work), Arc::clone(&self.counter));
        // What it holds can be sent on at any time.
        let memory = MemoryConsumer::new(format!("SnapshotScanExec[{partition}]")).with_can_spill(true);
        let memory = memory.register(context.memory_pool());
        stream.spawn(async move {
            let means = Means { objects: &objects, counter: &counter, memory: &memory, rows: &sender };
            while let Some(messages) = units.try_next().await? {
                for message in messages["unit"].as_binary::<i32>().iter().flatten() {
                    // The query was given up.
                    if sender.is_closed() {
                        return Ok(());
                    }
                    let unit = Unit::decode(message).map_err(|error| {
                        exec_datafusion_err!("a unit of the scan cannot be read: {error}")
                    })?;
                    read_unit(&means, &work.spec, &unit).await?;
                }
            }
            Ok(())
        });
        let stream = stream.build();
        let Some(columns) = self.work.projection.clone() else { return Ok(stream) };
        let projected = stream.map(move |batch| Ok(batch?.project(&columns)?));
        Ok(Box::pin(RecordBatchStreamAdapter::new(self.schema(), projected)))
    }
}
