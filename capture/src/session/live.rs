//! The probe as a source.

use std::path::{Path, PathBuf};

use wsp_schemas::snapshot::Sensor;

use super::{EventSource, SourceError, SourceStats, host};
use crate::event::{Body, BootTime, CgroupId, Clock, Event, Key, Pid};
use crate::hierarchy::Hierarchy;
use crate::identity::{container_of, is_id};
use crate::probe::hooks::Sensor as Sense;
use crate::probe::{Probe, ProbeError, ProbeOptions, cgroup, process};

/// Events of this host's kernel.
#[derive(Debug)]
pub struct Live(Probe);

impl Live {
    /// Loads the kernel side with these options. Must be called within a tokio runtime.
    pub fn load(options: &ProbeOptions) -> Result<Self, SourceError> {
        Ok(Self(Probe::load(options)?))
    }

    /// Has the kernel count how often and how long its programs run, for as long as the process lives.
    pub fn count_run_times(&mut self) -> Result<(), SourceError> {
        Ok(self.0.count_run_times()?)
    }
}

/// A container whose cgroup is there, by its id or the start of it as runtimes show it: its full id, and the path below the mount.
pub fn running(id: &str) -> Option<(String, PathBuf)> {
    let hierarchy = Hierarchy::of_host().ok().flatten().filter(|_| is_id(id))?;
    let all = cgroup::containers(hierarchy.mount()).into_iter();
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
        let event = |(pid, argv)| Event { at, cgroup, pid, key: Key::NONE, body: Body::Title { argv } };
        Probe::titles(pids).into_iter().map(event).collect()
    }

    fn repeats(&mut self, cgroup: CgroupId, keys: &[Key]) -> Vec<Event> {
        let event =
            |(key, events, at)| Event { at, cgroup, pid: Pid(0), key, body: Body::Repeats { events } };
        self.0.take_repeats(keys.iter().copied()).into_iter().map(event).collect()
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

    fn is_over(&self, path: &Path, pids: &[Pid]) -> bool {
        cgroup::is_empty(self.0.cgroup_mount(), path) && !pids.iter().any(|pid| process::is_alive(*pid))
    }

    fn stats(&self) -> SourceStats {
        self.0.stats()
    }

    fn now(&self) -> BootTime {
        host::now()
    }

    fn clock(&self) -> Clock {
        host::wall_clock()
    }
}
