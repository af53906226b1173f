//! Plans go over the wire.

use std::sync::Arc;

use datafusion::physical_plan::displayable;
use datafusion_proto::physical_plan::AsExecutionPlan as _;
use datafusion_proto::protobuf::PhysicalPlanNode;

use super::codec::Codec;
use crate::session::{self, Resources};

#[tokio::test]
async fn a_scan_survives_the_way_and_its_rows_stay_where_they_are() {
    let context = session::new(&Resources { partitions: 3, ..Resources::default() }).unwrap();
    crate::jobs::merge::register_empty(&context, 3);
    let rows = context.sql("SELECT workload, members_union(members) FROM sightings GROUP BY workload").await;
    let plan = rows.unwrap().create_physical_plan().await.unwrap();
    let shown =
        |plan: &dyn datafusion::physical_plan::ExecutionPlan| displayable(plan).indent(false).to_string();
    let before = shown(plan.as_ref());
    let codec = Codec::new(Arc::default());
    let message = PhysicalPlanNode::try_from_physical_plan(plan, &codec).unwrap();
    let after = shown(message.try_into_physical_plan(&context.task_ctx(), &codec).unwrap().as_ref());
    assert_eq!(before, after);
    assert!(after.contains("SnapshotScanExec") && after.contains("SinglePartitioned"), "{after}");
    assert!(!after.contains("RepartitionExec"), "a workload's rows are moved: {after}");
}

#[test]
fn what_is_no_work_is_refused() {
    use datafusion_proto::physical_plan::{DefaultPhysicalProtoConverter, PhysicalExtensionCodec as _};
    let context = session::new(&Resources::default()).unwrap().task_ctx();
    let codec = Codec::new(Arc::default());
    for message in [b"wsp\0{}".as_slice(), b"wsp\0", b"wsp\0[1", b"", b"\xff\xff"] {
        let converter = DefaultPhysicalProtoConverter {};
        let read = codec.try_decode(message, &[], &context, &converter);
        assert!(read.is_err(), "{message:?}");
    }
}
