//! What is wrong with a snapshot file, in words.

use wsp_schemas::image::WorkloadKey;
use wsp_schemas::keys::SnapshotKey;
use wsp_schemas::snapshot::SnapshotMeta;

/// The file is authoritative: a key that says something else is refused with it.
pub(super) fn disagreement(key: &SnapshotKey, meta: &SnapshotMeta) -> Option<String> {
    let workload = meta.image.workload.as_ref().map_or(WorkloadKey::UNKEYED, |workload| workload.key());
    let end = meta.window_end.timestamp_millis();
    if key.workload != workload {
        Some(format!("its key names the workload {}, its content {workload}", key.workload))
    } else if key.id != meta.id {
        Some(format!("its key names the snapshot {}, its content {}", key.id, meta.id))
    } else {
        (key.window_end_ms != end)
            .then(|| format!("its key names the window end {}, its content {end}", key.window_end_ms))
    }
}
