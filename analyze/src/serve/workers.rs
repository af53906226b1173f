//! Threads for statements: what computes without a pause there leaves the threads alone that talk to clients, see their time run
//! out, and hear the signal to stop.

use std::fmt;
use std::sync::Arc;

use arrow::array::RecordBatch;
use datafusion::common::config::ConfigOptions;
use datafusion::common::runtime::SpawnedTask;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{DisplayAs, DisplayFormatType, ExecutionPlan, PlanProperties};
use futures::{StreamExt as _, stream};
use tokio::runtime::{Builder, Handle, Runtime};
use tokio::sync::mpsc;

use crate::session;

/// Batches that are made before they are asked for.
const AHEAD: usize = 2;

/// The threads. They end with it.
#[derive(Debug)]
pub(super) struct Workers(Option<Runtime>);

impl Workers {
    pub(super) fn start() -> std::io::Result<Self> {
        let mut threads = Builder::new_multi_thread();
        threads.thread_name("statements").thread_stack_size(session::STACK).enable_all();
        Ok(Self(Some(threads.build()?)))
    }

    /// Has plans run there.
    pub(super) fn rule(&self) -> Option<Arc<dyn PhysicalOptimizerRule + Send + Sync>> {
        let handle = self.0.as_ref()?.handle().clone();
        Some(Arc::new(OnWorkers(handle)))
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        // Without waiting for what computes.
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

#[derive(Debug)]
struct OnWorkers(Handle);

impl PhysicalOptimizerRule for OnWorkers {
    fn optimize(
        &self,
        plan: Arc<dyn ExecutionPlan>,
        _config: &ConfigOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        Ok(Arc::new(Elsewhere { plan, workers: self.0.clone() }))
    }

    fn name(&self) -> &str {
        "on_workers"
    }

    fn schema_check(&self) -> bool {
        true
    }
}

/// A plan that runs on the workers.
#[derive(Debug)]
struct Elsewhere {
    plan: Arc<dyn ExecutionPlan>,
    workers: Handle,
}

impl DisplayAs for Elsewhere {
    fn fmt_as(&self, _form: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OnWorkers")
    }
}

/// What is left of a partition that runs.
struct Running {
    batches: mpsc::Receiver<Result<RecordBatch>>,
    /// Ends the work with it.
    work: Option<SpawnedTask<()>>,
}

impl ExecutionPlan for Elsewhere {
    fn name(&self) -> &str {
        "OnWorkers"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        self.plan.properties()
    }

    fn maintains_input_order(&self) -> Vec<bool> {
        vec![true]
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.plan]
    }

    fn apply_expressions(
        &self,
        _each: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn with_new_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn ExecutionPlan>>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let plan = children.into_iter().next();
        let plan = plan.ok_or_else(|| DataFusionError::Internal("OnWorkers has one input".to_owned()))?;
        Ok(Arc::new(Self { plan, workers: self.workers.clone() }))
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let (send, batches) = mpsc::channel(AHEAD);
        let plan = Arc::clone(&self.plan);
        let work = async move {
            let mut made = match plan.execute(partition, context) {
                Ok(made) => made,
                Err(error) => {
                    // Whoever asked may be gone.
                    let _ = send.send(Err(error)).await;
                    return;
                }
            };
            while let Some(batch) = made.next().await {
                if send.send(batch).await.is_err() {
                    return;
                }
            }
        };
        let work = {
            let _on_workers = self.workers.enter();
            SpawnedTask::spawn(work)
        };
        let running = Running { batches, work: Some(work) };
        let batches = stream::unfold(running, async |mut running| {
            if let Some(batch) = running.batches.recv().await {
                return Some((batch, running));
            }
            // It is over: well, or by a panic, which is not the end of its rows.
            let ended = running.work.take()?.join().await;
            let error = ended
                .err()
                .map(|error| DataFusionError::Internal(format!("a statement ended early: {error}")));
            error.map(|error| (Err(error), running))
        });
        Ok(Box::pin(RecordBatchStreamAdapter::new(self.plan.schema(), batches)))
    }
}
