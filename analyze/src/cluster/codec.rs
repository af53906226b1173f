use std::sync::Arc;

use ballista_core::serde::BallistaPhysicalExtensionCodec;
use datafusion::common::{Result, exec_datafusion_err, internal_datafusion_err};
use datafusion::execution::TaskContext;
use datafusion::physical_plan::ExecutionPlan;
use datafusion_proto::physical_plan::{PhysicalExtensionCodec, PhysicalProtoConverterExtension};

use super::driver::REFUSED;
use crate::jobs::merge::{Counter, ScanWork, SnapshotScanExec};

/// What our messages begin with. No message of the engine does: it would be a field of a type that Protocol Buffers do not have.
const MARK: &[u8] = b"wsp\0";

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
        let Some(work) = message.strip_prefix(MARK) else {
            return self.engine.try_decode(message, inputs, context, converter);
        };
        let work: ScanWork = serde_json::from_slice(work).map_err(|error| {
            exec_datafusion_err!("{REFUSED}this node is of another build than the job: {error}")
        })?;
        let [units] = inputs else {
            return Err(internal_datafusion_err!("a scan has {} inputs", inputs.len()));
        };
        Ok(Arc::new(SnapshotScanExec::new(Arc::clone(units), work, Arc::clone(&self.read))?))
    }

    fn try_encode(
        &self,
        node: Arc<dyn ExecutionPlan>,
        message: &mut Vec<u8>,
        converter: &dyn PhysicalProtoConverterExtension,
    ) -> Result<()> {
        let Some(scan) = node.downcast_ref::<SnapshotScanExec>() else {
            return self.engine.try_encode(node, message, converter);
        };
        message.extend_from_slice(MARK);
        serde_json::to_writer(message, scan.work()).map_err(|error| internal_datafusion_err!("{error}"))
    }
}
