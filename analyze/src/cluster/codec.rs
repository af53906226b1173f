use std::sync::Arc;

use ballista_core::serde::BallistaPhysicalExtensionCodec;
use datafusion::common::{Result, exec_datafusion_err, internal_datafusion_err};
use datafusion::execution::TaskContext;
use datafusion::physical_plan::ExecutionPlan;
use datafusion_proto::physical_plan::{PhysicalExtensionCodec, PhysicalProtoConverterExtension};
use serde::{Deserialize, Serialize};

use super::driver::REFUSED;
use super::tasks::Work;
use crate::jobs::merge::ScanWork;
use crate::units::{Counter, UnitsExec};

/// What our messages begin with. No message of the engine does: it would be a field of a type that Protocol Buffers do not have.
const MARK: &[u8] = b"wsp\0";

/// A part of a plan that is ours.
#[derive(Debug, Serialize, Deserialize)]
enum Ours {
    Scan(ScanWork),
    Tasks(Work),
}

/// Writes and reads the parts of a plan that are ours; the engine's it leaves to the engine.
#[derive(Debug)]
pub(super) struct Codec {
    engine: BallistaPhysicalExtensionCodec,
    /// Counts what the scans of this node read.
    read: Arc<Counter>,
}

impl Codec {
    pub(super) fn new(read: Arc<Counter>) -> Self {
        Self { engine: BallistaPhysicalExtensionCodec::default(), read }
    }
}

impl PhysicalExtensionCodec for Codec {
    fn try_decode(
        &self,
        message: &[u8],
        inputs: &[Arc<dyn ExecutionPlan>],
        context: &TaskContext,
        converter: &dyn PhysicalProtoConverterExtension,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let Some(message) = message.strip_prefix(MARK) else {
            return self.engine.try_decode(message, inputs, context, converter);
        };
        let ours: Ours = serde_json::from_slice(message).map_err(|error| {
            exec_datafusion_err!("{REFUSED}this node is of another build than the job: {error}")
        })?;
        let [units] = inputs else {
            return Err(internal_datafusion_err!("units have {} inputs", inputs.len()));
        };
        let (units, read) = (Arc::clone(units), Arc::clone(&self.read));
        Ok(match ours {
            Ours::Scan(work) => Arc::new(UnitsExec::new(units, Arc::new(work), read)?),
            Ours::Tasks(work) => Arc::new(UnitsExec::new(units, Arc::new(work), read)?),
        })
    }

    fn try_encode(
        &self,
        node: Arc<dyn ExecutionPlan>,
        message: &mut Vec<u8>,
        converter: &dyn PhysicalProtoConverterExtension,
    ) -> Result<()> {
        let ours = if let Some(scan) = node.downcast_ref::<UnitsExec<ScanWork>>() {
            Ours::Scan(scan.work().clone())
        } else if let Some(tasks) = node.downcast_ref::<UnitsExec<Work>>() {
            Ours::Tasks(tasks.work().clone())
        } else {
            return self.engine.try_encode(node, message, converter);
        };
        message.extend_from_slice(MARK);
        serde_json::to_writer(message, &ours).map_err(|error| internal_datafusion_err!("{error}"))
    }
}
