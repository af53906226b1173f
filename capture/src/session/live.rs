//! The probe as a source.

use std::path::{Path, PathBuf};

use wsp_schemas::snapshot::Sensor;

use super::{EventSource, SourceError, host};
use crate::event::{Body, BootTime, CgroupId, Clock, Event, Pid};
use crate::probe::hooks::Sensor as Sense;
use crate::probe::{Probe, ProbeError, ProbeOptions, cgroup};

/// Events of this host's kernel.
#[derive(Debug)]
pub struct Live(Probe);

impl Live {
    /// Loads the kernel side for one container that will be named. Must be called within a tokio runtime.
    pub fn load() -> Result<Self, SourceError> {
        Ok(Self(Probe::load(&ProbeOptions::default())?))
    }

    /// Loads it for all containers, of which so many are recorded at once. Must be called within a tokio runtime.
    pub fn load_for_all(slots: u32) -> Result<Self, SourceError> {
        Ok(Self(Probe::load(&ProbeOptions { slots, claim: true, ..ProbeOptions::default() })?))
    }
}

impl From<ProbeError> for SourceError {
    fn from(error: ProbeError) -> Self {
        Self(Box::new(error))
    }
}

impl EventSource for Live {
    async fn next_batch(&mut self) -> Result<Vec<Event>, SourceError> {
        Ok(self.0.next_batch().await?)
    }

    fn drain(&mut self) -> Vec<Event> {
        self.0.drain()
    }

    fn take_lost(&mut self) -> Result<Vec<Event>, SourceError> {
        Ok(self.0.take_lost()?)
    }

    fn track(&mut self, cgroup: CgroupId, path: &Path) -> Result<bool, SourceError> {
        let Some(tracked) = self.0.track(cgroup, path)? else { return Ok(false) };
        for dead in tracked.dead {
            tracing::warn!(sensor = %dead.sensor, hook = dead.hook, reason = dead.reason, "a sensor does not run");
        }
        Ok(true)
    }

    fn untrack(&mut self, cgroup: CgroupId) {
        self.0.untrack(cgroup);
    }

    fn holders(&self) -> Vec<CgroupId> {
        self.0.holders()
    }

    fn sensors(&self, cgroup: CgroupId) -> Vec<Sensor> {
        // A container that came and went before it was tracked had its lineage told, and nothing else.
        let lineage =
            || self.0.sensors().live.into_iter().filter(|live| live.sensor == Sense::Process).collect();
        let live = self.0.tracking(cgroup).map_or_else(lineage, |tracked| tracked.live.clone());
        live.iter()
            .map(|live| Sensor { kind: live.sensor.name().to_owned(), hook: live.hook.to_owned() })
            .collect()
    }

    fn initial_state(&mut self, cgroup: CgroupId, path: &Path) -> Result<Vec<Event>, SourceError> {
        Ok(self.0.initial_state(cgroup, path)?)
    }

    fn titles(&self, cgroup: CgroupId, pids: &[Pid]) -> Vec<Event> {
        let at = host::now();
        let event = |(pid, argv)| Event { at, cgroup, pid, body: Body::Title { argv } };
        Probe::titles(pids).into_iter().map(event).collect()
    }

    fn forget(&mut self, cgroup: CgroupId) {
        self.0.forget(cgroup);
    }

    fn existing(&self) -> Vec<(CgroupId, PathBuf)> {
        cgroup::containers(self.0.cgroup_mount())
    }

    fn cgroup_id(&self, path: &Path) -> Option<CgroupId> {
        let path = self.0.cgroup_mount().join(path.strip_prefix("/").unwrap_or(path));
        cgroup::id_of(&path).ok()
    }

    fn now(&self) -> BootTime {
        host::now()
    }

    fn clock(&self) -> Clock {
        host::wall_clock()
    }
}
