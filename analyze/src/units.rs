//! A plan node over units of work: its input gives messages, it gives the rows that come of them.
//!
//! The messages are a table in memory, which engines that cut a plan into tasks know how to cut: a task gets its own units only. A leaf
//! of our own is not cut, each task would do all of it.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use arrow::datatypes::SchemaRef;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{Result, exec_datafusion_err};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::{EquivalenceProperties, PhysicalExpr};
use datafusion::physical_plan::execution_plan::{Boundedness, EmissionType};
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, ExecutionPlan, ExecutionPlanProperties as _, Partitioning, PlanProperties,
    ReplaceChildrenOptions,
};

/// How many snapshots were looked at.
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

/// What is done with units. It displays what stands behind the node's name in a plan.
pub(crate) trait UnitWork: fmt::Debug + fmt::Display + Send + Sync + 'static {
    /// Of the node.
    const NAME: &'static str;

    /// Columns of what comes of units.
    fn schema(&self) -> Result<SchemaRef>;

    /// How the rows are spread; units stay where they were dealt.
    fn partitioning(&self, _rows: &SchemaRef, partitions: usize) -> Partitioning {
        Partitioning::UnknownPartitioning(partitions)
    }

    /// Does the units of a partition, and counts the snapshots that it looks at.
    fn start(
        self: Arc<Self>,
        units: SendableRecordBatchStream,
        partition: usize,
        context: Arc<TaskContext>,
        counter: Arc<Counter>,
    ) -> Result<SendableRecordBatchStream>;
}

/// Does the units that its input gives.
#[derive(Debug)]
pub(crate) struct UnitsExec<W> {
    units: Arc<dyn ExecutionPlan>,
    work: Arc<W>,
    counter: Arc<Counter>,
    properties: Arc<PlanProperties>,
}

impl<W: UnitWork> UnitsExec<W> {
    pub(crate) fn new(units: Arc<dyn ExecutionPlan>, work: Arc<W>, counter: Arc<Counter>) -> Result<Self> {
        let schema = work.schema()?;
        let partitioning = work.partitioning(&schema, units.output_partitioning().partition_count());
        let properties = Arc::new(PlanProperties::new(
            EquivalenceProperties::new(schema),
            partitioning,
            EmissionType::Incremental,
            Boundedness::Bounded,
        ));
        Ok(Self { units, work, counter, properties })
    }

    /// What it does, for a message.
    #[cfg(feature = "distributed")]
    pub(crate) fn work(&self) -> &W {
        &self.work
    }
}

impl<W: UnitWork> DisplayAs for UnitsExec<W> {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", W::NAME, self.work)
    }
}

impl<W: UnitWork> ExecutionPlan for UnitsExec<W> {
    fn name(&self) -> &'static str {
        W::NAME
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.units]
    }

    /// A unit stays where it was dealt.
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
        let units = children.pop().ok_or_else(|| exec_datafusion_err!("{} has no units", W::NAME))?;
        Ok(Arc::new(Self::new(units, Arc::clone(&self.work), Arc::clone(&self.counter))?))
    }

    fn with_new_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn ExecutionPlan>>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        use datafusion::physical_plan::ChildrenPropertiesMode::Recompute;
        self.replace_children(children, ReplaceChildrenOptions::new(Recompute))
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let units = self.units.execute(partition, Arc::clone(&context))?;
        Arc::clone(&self.work).start(units, partition, context, Arc::clone(&self.counter))
    }
}
