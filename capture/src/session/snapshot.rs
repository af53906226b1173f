//! From a closed window to an object in the store.

use chrono::{DateTime, Utc};
use uuid::{Builder, Uuid};
use wsp_schemas::keys::SnapshotId;
use wsp_schemas::snapshot::{Node, Sensor, SnapshotMeta};

use crate::event::{BootTime, CgroupId, Clock, EventLogHeader};
use crate::identity::Identity;
use crate::recorder::{ClosedWindow, Setting};
use crate::sink::{Direct, SinkError, Stored};

/// What all snapshots of a session share.
#[derive(Debug, Clone)]
pub(super) struct Host {
    pub(super) name: String,
    pub(super) kernel: String,
}

/// One snapshot in the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recorded {
    /// Where it is.
    pub stored: Stored,
    /// Events that are not in it.
    pub lost: u64,
    /// The container, for people.
    pub container: String,
}

/// How a session ended that did what it was asked to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// All events are in the snapshots.
    Complete,
    /// Some are not; the snapshots say which.
    Lossy,
}

impl Recorded {
    /// What it means for the exit code.
    pub const fn outcome(&self) -> Outcome {
        if self.lost == 0 { Outcome::Complete } else { Outcome::Lossy }
    }
}

/// What belongs to one window beside what was seen.
#[derive(Debug, Clone)]
pub(super) struct Frame {
    pub(super) snapshot: SnapshotId,
    pub(super) clock: Clock,
    pub(super) sensors: Vec<Sensor>,
}

/// Makes the snapshot and puts it into the store. `uploaded` is the time of the first try.
pub(super) async fn store(
    sink: &Direct,
    host: &Host,
    window: ClosedWindow,
    identity: &Identity,
    frame: Frame,
    uploaded: impl FnOnce(DateTime<Utc>) -> DateTime<Utc>,
) -> Result<Recorded, SinkError> {
    let lost = window.lost_events();
    let (meta, nodes) = snapshot(host, window, identity, frame);
    let stored = sink.put(&meta, &nodes, uploaded(meta.window_end)).await?;
    Ok(Recorded { stored, lost, container: identity.display().to_string() })
}

/// Makes the snapshot.
pub(super) fn snapshot(
    host: &Host,
    window: ClosedWindow,
    identity: &Identity,
    frame: Frame,
) -> (SnapshotMeta, Vec<Node>) {
    window.into_snapshot(&Setting {
        id: frame.snapshot,
        image: identity.to_image(),
        container: identity.to_container(),
        host: host.name.clone(),
        kernel: host.kernel.clone(),
        sensors: frame.sensors,
        clock: frame.clock,
    })
}

/// A new id, for a window that opens.
pub(super) fn new_id() -> SnapshotId {
    SnapshotId::new(Uuid::now_v7())
}

/// The id that follows from a window of a log.
pub(super) fn derived_id(
    header: &EventLogHeader,
    clock: Clock,
    container: &str,
    cgroup: CgroupId,
    opened: BootTime,
) -> SnapshotId {
    let mut hash = blake3::Hasher::new();
    for field in [b"wsp.replay.v1", header.kernel.as_bytes(), container.as_bytes()] {
        hash.update(&(field.len() as u64).to_le_bytes()).update(field);
    }
    for number in [clock.wall_at_boot_ns, cgroup.0, opened.0] {
        hash.update(&number.to_le_bytes());
    }
    let mut random = [0; 10];
    hash.finalize_xof().fill(&mut random);
    let ms = u64::try_from(clock.wall(opened).timestamp_millis()).unwrap_or_default();
    SnapshotId::new(Builder::from_unix_timestamp_millis(ms, &random).into_uuid())
}
