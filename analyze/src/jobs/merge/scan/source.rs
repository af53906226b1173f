use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{Result, project_schema};
use datafusion::execution::memory_pool::MemoryConsumer;
use datafusion::execution::object_store::ObjectStoreUrl;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::{Expr, TableType};
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_expr::{EquivalenceProperties, PhysicalExpr};
use datafusion::physical_plan::execution_plan::{Boundedness, EmissionType};
use datafusion::physical_plan::stream::{RecordBatchReceiverStreamBuilder, RecordBatchStreamAdapter};
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, ExecutionPlan, Partitioning, PlanProperties, ReplaceChildrenOptions,
};
use futures::StreamExt;

use super::collect::sighting_schema;
use super::read::{Means, read_unit};
use super::spec::ScanSpec;
use crate::session::store_url;

/// How many candidates were looked at.
#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicUsize);

impl Counter {
    pub(super) fn add(&self, files: usize) {
        self.0.fetch_add(files, Ordering::Relaxed);
    }

    pub(crate) fn get(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

/// A scan as a table.
#[derive(Debug)]
pub(crate) struct SnapshotScan {
    spec: Arc<ScanSpec>,
    counter: Arc<Counter>,
}

impl SnapshotScan {
    pub(crate) fn new(spec: ScanSpec, counter: Arc<Counter>) -> Self {
        Self { spec: Arc::new(spec), counter }
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
        let schema = project_schema(&sighting_schema(), projection)?;
        // All rows of a workload are in one partition: by what it is dealt there does not matter to who groups by it.
        let partitions = self.spec.partitions.len().max(1);
        let partitioning = match Column::new_with_schema("workload", &schema) {
            Ok(workload) => Partitioning::Hash(vec![Arc::new(workload)], partitions),
            Err(_) => Partitioning::UnknownPartitioning(partitions),
        };
        let properties = PlanProperties::new(
            EquivalenceProperties::new(schema),
            partitioning,
            EmissionType::Incremental,
            Boundedness::Bounded,
        );
        Ok(Arc::new(SnapshotScanExec {
            spec: Arc::clone(&self.spec),
            counter: Arc::clone(&self.counter),
            projection: projection.cloned(),
            properties: Arc::new(properties),
        }))
    }
}

#[derive(Debug)]
struct SnapshotScanExec {
    spec: Arc<ScanSpec>,
    counter: Arc<Counter>,
    projection: Option<Vec<usize>>,
    properties: Arc<PlanProperties>,
}

impl DisplayAs for SnapshotScanExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let units = self.spec.partitions.iter().flatten();
        let files: usize = units.clone().map(|unit| unit.candidates.len()).sum();
        write!(f, "SnapshotScanExec: workloads={}, files={files}", units.count())
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
        Vec::new()
    }

    fn apply_expressions(
        &self,
        _: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn replace_children(
        self: Arc<Self>,
        _: Vec<Arc<dyn ExecutionPlan>>,
        _: ReplaceChildrenOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        Ok(self)
    }

    fn with_new_children(self: Arc<Self>, _: Vec<Arc<dyn ExecutionPlan>>) -> Result<Arc<dyn ExecutionPlan>> {
        Ok(self)
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let url: ObjectStoreUrl = store_url()?;
        let objects = context.runtime_env().object_store(url)?;
        let mut stream = RecordBatchReceiverStreamBuilder::new(sighting_schema(), 2);
        let sender = stream.tx();
        let (spec, counter) = (Arc::clone(&self.spec), Arc::clone(&self.counter));
        // What it holds can be sent on at any time.
        let memory = MemoryConsumer::new(format!("SnapshotScanExec[{partition}]")).with_can_spill(true);
        let memory = memory.register(context.memory_pool());
        stream.spawn(async move {
            let means = Means { objects: &objects, counter: &counter, memory: &memory, rows: &sender };
            for unit in spec.partitions.get(partition).into_iter().flatten() {
                // The query was given up.
                if sender.is_closed() {
                    break;
                }
                read_unit(&means, &spec, unit).await?;
            }
            Ok(())
        });
        let stream = stream.build();
        let Some(columns) = self.projection.clone() else { return Ok(stream) };
        let projected = stream.map(move |batch| Ok(batch?.project(&columns)?));
        Ok(Box::pin(RecordBatchStreamAdapter::new(self.schema(), projected)))
    }
}
