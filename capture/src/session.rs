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
mod slots;
mod snapshot;
#[cfg(test)]
mod tests;

use std::future::Future;
use std::path::{Path, PathBuf};
use std::time::Duration;

use wsp_schemas::snapshot::Sensor;

pub use self::host::{host_name, kernel_release};
#[cfg(feature = "ebpf")]
pub use self::live::{Live, running};
pub use self::once::{Once, OnceError, Target, once};
pub use self::replay::{Replay, ReplayError, replay};
#[cfg(all(test, feature = "ebpf"))]
pub(crate) use self::run::CLOSING;
pub use self::run::{Run, RunError, Summary, run};
pub use self::slots::{SlotCounts, SlotOptions};
pub use self::snapshot::{Outcome, Recorded};
use crate::event::{Body, BootTime, CgroupId, Clock, Event, Key, Pid};

/// The source of events failed; it says what to do.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct SourceError(#[from] pub Box<dyn std::error::Error + Send + Sync>);

/// How a source fares.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SourceStats {
    /// Bytes of the ring buffer that wait to be read.
    pub ring_used: u64,
    /// The most that ever waited.
    pub ring_peak: u64,
    /// Bytes of the ring buffer.
    pub ring_bytes: u64,
    /// Containers whose lineage is told.
    pub known: u64,
    /// Containers whose activity is told too.
    pub tracked: u64,
    /// Sensors by name, and whether their programs are loaded.
    pub sensors: Vec<(&'static str, bool)>,
    /// Programs that ran, while run times are counted.
    pub programs: Vec<ProgramStats>,
}

/// What a hook of the kernel side cost.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProgramStats {
    /// By its name in the attach table.
    pub program: &'static str,
    /// How often it ran.
    pub runs: u64,
    /// For how long, on all CPUs together.
    pub time: Duration,
}

/// Where events come from: the probe, or a stand-in in tests.
pub trait EventSource {
    /// Waits for events and takes them in order. Cancelling loses nothing.
    fn next_batch(&mut self) -> impl Future<Output = Result<Vec<Event>, SourceError>>;
    /// Takes the events that are there.
    fn drain(&mut self) -> Vec<Event>;
    /// Events that were lost since the last call. Those of cgroup 0 are of no known container.
    fn take_lost(&mut self) -> Result<Vec<Event>, SourceError>;
    /// Has all of a container told from here on; false where no slot is free. `path` is below the cgroup mount.
    fn track(&mut self, cgroup: CgroupId, path: &Path) -> Result<bool, SourceError>;
    /// Has its lineage alone told from here on, and its slot is free.
    fn untrack(&mut self, cgroup: CgroupId);
    /// Containers that hold a slot: those that were tracked, and new ones that took one by themselves.
    fn holders(&self) -> Vec<CgroupId>;
    /// What runs for a container.
    fn sensors(&self, cgroup: CgroupId) -> Vec<Sensor>;
    /// What a running container is and has open; its lineage is told from here on. To miss nothing else, track it before.
    fn initial_state(&mut self, cgroup: CgroupId, path: &Path) -> Result<Vec<Event>, SourceError>;
    /// Present titles of processes.
    fn titles(&self, cgroup: CgroupId, pids: &[Pid]) -> Vec<Event>;
    /// How often what was told under the keys was seen again, as [`Body::Repeats`]. It is told again from here on: for the end of a
    /// window.
    fn repeats(&mut self, cgroup: CgroupId, keys: &[Key]) -> Vec<Event>;
    /// Forgets a container.
    fn forget(&mut self, cgroup: CgroupId);
    /// Containers that exist, with their paths below the cgroup mount.
    fn existing(&self) -> Vec<(CgroupId, PathBuf)>;
    /// The id of a cgroup by its path; none where it is not there.
    fn cgroup_id(&self, path: &Path) -> Option<CgroupId>;
    /// True where a cgroup is there, no process is in it or below it, and none of these lives.
    fn is_over(&self, path: &Path, pids: &[Pid]) -> bool;
    /// How it fares.
    fn stats(&self) -> SourceStats {
        SourceStats::default()
    }
    /// Present kernel time.
    fn now(&self) -> BootTime;
    /// Present relation to wall time.
    fn clock(&self) -> Clock;
}

/// Whether a container's initial state has anything that runs.
fn runs(initial: &[Event]) -> bool {
    initial.iter().any(|event| matches!(event.body, Body::InitialProcess { .. }))
}
