//! The probe as a source.

use std::path::{Path, PathBuf};

use wsp_schemas::snapshot::Sensor;

use super::{EventSource, SourceError, host};
use crate::event::{Body, BootTime, CgroupId, Clock, Event, Pid};
use crate::identity::{container_of, is_id};
use crate::probe::hooks::Sensor as Sense;
use crate::probe::{Probe, ProbeError, ProbeOptions, cgroup};

/// Events of this host's kernel.
#[derive(Debug)]
pub struct Live(Probe);

impl Live {
    /// Loads the kernel side. `all`: new containers are recognised and tracked on sight. Must be called within a tokio
    /// runtime.
    pub fn load(all: bool) -> Result<Self, SourceError> {
        // Slots and limits are to come in here; until then every container has one.
        let track_new_up_to = if all { usize::MAX } else { 0 };
        Ok(Self(Probe::load(&ProbeOptions { track_new_up_to, ..ProbeOptions::default() })?))
    }
}

/// A container whose cgroup is there, by its id or the start of it as runtimes show it: its full id, and the path below the mount.
pub fn running(id: &str) -> Option<(String, PathBuf)> {
    let mount = crate::probe::host::cgroup2_mount().ok().flatten().filter(|_| is_id(id))?;
    let all = cgroup::containers(&mount).into_iter();
    let mut of =
        all.filter_map(|(_, path)| Some((container_of(path.as_os_str().as_encoded_bytes())?.0, path)));
    of.find(|(full, _)| full.starts_with(id))
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

    fn track(&mut self, cgroup: CgroupId, path: &Path) -> Result<(), SourceError> {
        for dead in self.0.track(cgroup, path)?.dead {
            tracing::warn!(sensor = %dead.sensor, hook = dead.hook, reason = dead.reason, "a sensor does not run");
        }
        Ok(())
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
