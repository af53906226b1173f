//! The scan as a plan: units go in as messages, rows of their nodes come out.

use std::fmt;
use std::sync::Arc;

use arrow::array::{AsArray, BinaryArray, RecordBatch};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::{Result, exec_datafusion_err, project_schema};
use datafusion::datasource::memory::MemorySourceConfig;
use datafusion::execution::memory_pool::MemoryConsumer;
use datafusion::execution::object_store::ObjectStoreUrl;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::{Expr, TableType};
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_plan::stream::{RecordBatchReceiverStreamBuilder, RecordBatchStreamAdapter};
use datafusion::physical_plan::{ExecutionPlan, Partitioning};
use futures::{StreamExt, TryStreamExt};
use serde::{Deserialize, Serialize};

use super::collect::sighting_schema;
use super::read::{Means, read_unit};
use super::spec::{ScanSpec, Unit};
use crate::session::store_url;
use crate::units::{Counter, UnitWork, UnitsExec};

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
        let work = Arc::new(ScanWork { spec: self.spec.clone(), projection: projection.cloned() });
        Ok(Arc::new(UnitsExec::new(messages, work, Arc::clone(&self.counter))?))
    }
}

/// Reads snapshots and learned rows, as plain columns of nodes.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct ScanWork {
    spec: ScanSpec,
    projection: Option<Vec<usize>>,
}

impl fmt::Display for ScanWork {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "concurrency={}", self.spec.concurrency)
    }
}

impl UnitWork for ScanWork {
    const NAME: &'static str = "SnapshotScanExec";

    fn schema(&self) -> Result<SchemaRef> {
        project_schema(&sighting_schema(), self.projection.as_ref())
    }

    /// All rows of a workload are in one partition: by what it is dealt there does not matter to who groups by it.
    fn partitioning(&self, rows: &SchemaRef, partitions: usize) -> Partitioning {
        match Column::new_with_schema("workload", rows) {
            Ok(workload) => Partitioning::Hash(vec![Arc::new(workload)], partitions),
            Err(_) => Partitioning::UnknownPartitioning(partitions),
        }
    }

    fn start(
        self: Arc<Self>,
        mut units: SendableRecordBatchStream,
        partition: usize,
        context: Arc<TaskContext>,
        counter: Arc<Counter>,
    ) -> Result<SendableRecordBatchStream> {
        let url: ObjectStoreUrl = store_url()?;
        let objects = context.runtime_env().object_store(url)?;
        let mut stream = RecordBatchReceiverStreamBuilder::new(sighting_schema(), 2);
        let sender = stream.tx();
        // What it holds can be sent on at any time.
        let memory = MemoryConsumer::new(format!("{}[{partition}]", Self::NAME)).with_can_spill(true);
        let memory = memory.register(context.memory_pool());
        let (schema, columns) = (self.schema()?, self.projection.clone());
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
                    read_unit(&means, &self.spec, &unit).await?;
                }
            }
            Ok(())
        });
        let stream = stream.build();
        let Some(columns) = columns else { return Ok(stream) };
        let projected = stream.map(move |batch| Ok(batch?.project(&columns)?));
        Ok(Box::pin(RecordBatchStreamAdapter::new(schema, projected)))
    }
}
