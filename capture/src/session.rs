//! Recording sessions: one container, all containers, or a log.
//!
//! Sinks are opened first and sources last; they stop in the other order: drain, close, upload.

mod host;
mod late;
#[cfg(feature = "ebpf")]
mod live;
mod once;
mod replay;
mod run;
mod snapshot;
#[cfg(test)]
mod tests;

use std::future::Future;
use std::path::{Path, PathBuf};

use wsp_schemas::snapshot::Sensor;

pub use self::host::{host_name, kernel_release};
#[cfg(feature = "ebpf")]
pub use self::live::{Live, running};
pub use self::once::{Once, OnceError, Target, once};
pub use self::replay::{Replay, ReplayError, replay};
pub use self::run::{Run, RunError, Summary, run};
pub use self::snapshot::{Outcome, Recorded};
use crate::event::{BootTime, CgroupId, Clock, Event, Pid};

/// The source of events failed; it says what to do.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct SourceError(#[from] pub Box<dyn std::error::Error + Send + Sync>);

/// Where events come from: the probe, or a stand-in in tests.
pub trait EventSource {
    /// Waits for events and takes them in order. Cancelling loses nothing.
    fn next_batch(&mut self) -> impl Future<Output = Result<Vec<Event>, SourceError>>;
    /// Takes the events that are there.
    fn drain(&mut self) -> Vec<Event>;
    /// Events that were lost since the last call. Those of cgroup 0 are of no known container.
    fn take_lost(&mut self) -> Result<Vec<Event>, SourceError>;
    /// Has all of a container told from here on. `path` is below the cgroup mount.
    fn track(&mut self, cgroup: CgroupId, path: &Path) -> Result<(), SourceError>;
    /// What runs for a container.
    fn sensors(&self, cgroup: CgroupId) -> Vec<Sensor>;
    /// What a running container is and has open. Track it before.
    fn initial_state(&mut self, cgroup: CgroupId, path: &Path) -> Result<Vec<Event>, SourceError>;
    /// Present titles of processes.
    fn titles(&self, cgroup: CgroupId, pids: &[Pid]) -> Vec<Event>;
    /// Forgets a container.
    fn forget(&mut self, cgroup: CgroupId);
    /// Containers that exist, with their paths below the cgroup mount.
    fn existing(&self) -> Vec<(CgroupId, PathBuf)>;
    /// The id of a cgroup by its path; none where it is not there.
    fn cgroup_id(&self, path: &Path) -> Option<CgroupId>;
    /// Present kernel time.
    fn now(&self) -> BootTime;
    /// Present relation to wall time.
    fn clock(&self) -> Clock;
}
