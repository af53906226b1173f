//! The kernel side, loaded: [`Probe`] attaches it, reads what it says as [`Event`]s, and counts what it could not say.
//!
//! Lineage (execs, forks, exits) is told for every known container for as long as the probe lives. Activity (files,
//! sockets, DNS) is told for tracked containers, and the system-call tracepoints that slow the whole host are attached
//! only while there are any.

pub mod abi;
pub mod cgroup;
pub mod decode;
pub mod hooks;
pub mod host;
pub mod initial;
mod kernel;
mod loss;
pub(crate) mod process;
mod ring;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::time::{Interval, MissedTickBehavior, interval};

use self::hooks::Sensor;
use self::host::KernelVersion;
use self::kernel::{Kernel, Links};
pub(crate) use self::kernel::{NO_V2, try_hooks};
use self::loss::LossReader;
#[cfg(any(test, feature = "fuzz"))]
pub(crate) use self::process::check as check_proc;
use crate::event::{BootTime, CgroupId, Event, Key};
use crate::hierarchy::Hierarchy;
use crate::session::SourceStats;

/// Which hooks may be used, where there is a choice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum HookChoice {
    /// The best that the kernel takes.
    #[default]
    Best,
    /// Those that every kernel takes: none on functions of the kernel.
    Fallback,
}

/// How the kernel side is set up.
#[derive(Debug, Clone)]
pub struct ProbeOptions {
    /// What is told of tracked containers. The process sensor always runs.
    pub sensors: BTreeSet<Sensor>,
    /// By which hooks.
    pub hooks: HookChoice,
    /// How many events a second a container may go on telling; what is more is shed, the least grave first. 0: no limit. What was told
    /// already in a window does not count.
    pub max_events_per_second: u32,
    /// How many facts are known as told at once; what finds no room is told each time.
    pub max_seen: u32,
    /// Bytes of the ring buffer: a power of two, at least a page.
    pub ring_bytes: u32,
    /// How many processes of containers may live at once; further ones count as lost.
    pub max_processes: u32,
    /// Recognise new containers by the names of their cgroups (a run of 64 hex digits).
    pub discover: bool,
    /// How many containers may be tracked at once.
    pub slots: u32,
    /// A new container takes a free slot by itself, at its cgroup's creation: see [`Probe::holders`].
    pub claim: bool,
}

impl Default for ProbeOptions {
    fn default() -> Self {
        Self {
            sensors: Sensor::DEFAULT.into(),
            hooks: HookChoice::default(),
            max_events_per_second: 50_000,
            max_seen: 131_072,
            ring_bytes: 8 << 20,
            max_processes: 65_536,
            discover: true,
            slots: 1,
            claim: false,
        }
    }
}

/// Why the probe cannot run. Each says what to do.
#[derive(Debug, thiserror::Error)]
pub enum ProbeError {
    /// Below the floor.
    #[error("kernel {release} is older than {}: run a kernel of at least that version", KernelVersion::FLOOR)]
    KernelTooOld {
        /// `uname -r`.
        release: String,
    },
    /// The kernel does not describe its types.
    #[error(
        "the kernel has no BTF ({} is missing): run a kernel built with CONFIG_DEBUG_INFO_BTF=y",
        host::BTF_PATH
    )]
    NoBtf,
    /// The kernel's description of its types is not readable.
    #[error("the kernel's BTF ({}) cannot be read", host::BTF_PATH)]
    BadBtf(#[source] aya::BtfError),
    /// Not privileged.
    #[error("missing {}: run as root, or grant them (in a container: --cap-add)", .missing.join(", "))]
    MissingCapabilities {
        /// By name.
        missing: Vec<&'static str>,
    },
    /// The kernel side tells processes by other numbers than /proc has.
    #[error("this is not the host's pid namespace: run with hostPID: true, or --pid=host")]
    PidNamespace,
    /// No cgroups.
    #[error(
        "neither cgroup v2 nor a controller of v1 is mounted: mount -t cgroup2 cgroup2 /sys/fs/cgroup, or boot with systemd.unified_cgroup_hierarchy=1"
    )]
    NoCgroups,
    /// No tracefs.
    #[error("tracefs is not mounted and could not be: mount -t tracefs tracefs /sys/kernel/tracing")]
    NoTracefs(#[source] io::Error),
    /// The object was refused as a whole.
    #[error("the kernel side cannot be loaded")]
    Object(#[source] Box<aya::EbpfError>),
    /// A program that nothing works without was refused.
    #[error("the kernel refuses {hook}: run `wsp-capture doctor`")]
    Hook {
        /// By its name in the attach table.
        hook: &'static str,
        /// Why.
        #[source]
        source: Box<aya::programs::ProgramError>,
    },
    /// A table of the kernel side cannot be read or written.
    #[error("the table {map} of the kernel side cannot be used")]
    Map {
        /// Its name.
        map: &'static str,
        /// Why.
        #[source]
        source: aya::maps::MapError,
    },
    /// A part of the object is not there: the object and this code do not belong together.
    #[error("the kernel side has no {0}: this is a bug")]
    Missing(String),
    /// A cgroup that should be tracked.
    #[error("cgroup {} cannot be opened: is the container gone?", .path.display())]
    Cgroup {
        /// Where it was looked for.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A file of /proc or /sys that every host has.
    #[error("{what} cannot be read")]
    Host {
        /// Which.
        what: &'static str,
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// A sensor and the hook that serves it, as snapshots record them.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct LiveSensor {
    /// Which.
    pub sensor: Sensor,
    /// By what hook, for example `tracepoint/sys_exit_openat`.
    pub hook: &'static str,
}

/// A sensor that does not run, and why.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct DeadSensor {
    /// Which.
    pub sensor: Sensor,
    /// By what hook it should have run.
    pub hook: &'static str,
    /// In words.
    pub reason: String,
}

/// What runs for a tracked container.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize)]
pub struct Tracked {
    /// These do.
    pub live: Vec<LiveSensor>,
    /// These do not.
    pub dead: Vec<DeadSensor>,
}

/// The loaded kernel side. Dropping it detaches everything.
#[derive(Debug)]
pub struct Probe {
    kernel: Kernel,
    ring: AsyncFd<kernel::Ring>,
    looks: Interval,
    loss: LossReader,
    cgroup_mount: PathBuf,
    host_mnt_ns: u64,
    claim: bool,
    /// Links of what all tracked containers share, while anything is tracked or a new container would be.
    shared: Option<(Links, Tracked)>,
    tracked: BTreeMap<CgroupId, (Vec<Links>, Tracked)>,
    ring_bytes: u64,
    /// The most that ever waited in the ring buffer when it was looked at.
    ring_peak: u64,
    /// Run times are counted as long as this is open.
    run_times: Option<OwnedFd>,
}

/// How often the ring buffer is looked at: records wake nobody until there are many (`wake_flags` in `bpf/common.h`).
const LOOK: Duration = Duration::from_millis(100);

/// How many records one batch holds at most.
const BATCH: usize = 4096;

impl Probe {
    /// Checks the host, loads the kernel side and attaches lineage. Must be called within a tokio runtime with I/O enabled.
    pub fn load(options: &ProbeOptions) -> Result<Self, ProbeError> {
        let release = host::kernel_release()
            .map_err(|source| ProbeError::Host { what: "the kernel's version", source })?;
        let version = KernelVersion::parse(&release);
        if version.is_none_or(|version| version < KernelVersion::FLOOR) {
            return Err(ProbeError::KernelTooOld { release });
        }
        if !Path::new(host::BTF_PATH).exists() {
            return Err(ProbeError::NoBtf);
        }
        check_capabilities()?;
        for missing in missing_capabilities()? {
            tracing::warn!(capability = missing.name, without = missing.without, "a capability is missing");
        }
        if !host::sees_all_processes()
            .map_err(|source| ProbeError::Host { what: "/proc/self/ns/pid", source })?
        {
            return Err(ProbeError::PidNamespace);
        }
        let hierarchy = Hierarchy::of_host()
            .map_err(|source| ProbeError::Host { what: "/proc/self/mountinfo", source })?
            .ok_or(ProbeError::NoCgroups)?;
        host::ensure_tracefs().map_err(ProbeError::NoTracefs)?;
        let host_mnt_ns = host::host_mount_namespace()
            .map_err(|source| ProbeError::Host { what: "/proc/self/ns/mnt", source })?;

        let mut kernel = Kernel::load(options, version, host_mnt_ns, &hierarchy)?;
        let loss = LossReader::new(&mut kernel.lost)?;
        // SAFETY: `Ring` owns its descriptor, never replaces it, and closes it when dropped, which is after the `AsyncFd`
        // has deregistered it.
        let ring =
            unsafe { AsyncFd::register_with_interest(kernel.take_ring()?, Interest::READABLE) }.map_err(
                |refused| ProbeError::Host { what: "the ring buffer", source: refused.into_parts().1 },
            )?;
        let mut looks = interval(LOOK);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        // The consumer is in place: from here on events may come.
        kernel.attach_lineage()?;
        // A container that starts is told from its first exec only where the tracepoints are there already.
        let shared = options.claim.then(|| kernel.attach_shared());
        // The kernel's types were read, and are not needed any more.
        crate::memory::give_back();
        Ok(Self {
            kernel,
            ring,
            looks,
            loss,
            cgroup_mount: hierarchy.mount().to_owned(),
            host_mnt_ns,
            claim: options.claim,
            shared,
            tracked: BTreeMap::new(),
            ring_bytes: options.ring_bytes.into(),
            ring_peak: 0,
            run_times: None,
        })
    }

    /// The sensors that can run here. What runs for one container is in [`Probe::tracking`].
    pub fn sensors(&self) -> Tracked {
        self.kernel.sensors()
    }

    /// Where the cgroups are mounted by which containers are known.
    pub fn cgroup_mount(&self) -> &Path {
        &self.cgroup_mount
    }

    /// Inode number of the host's mount namespace.
    pub fn host_mount_namespace(&self) -> u64 {
        self.host_mnt_ns
    }

    /// Makes a container known, so that its lineage is told: for one that the kernel side did not see being made. `path` is
    /// below the cgroup mount. Descendants that exist are taken in; those made later the kernel side takes in itself.
    pub fn adopt(&mut self, cgroup: CgroupId, path: &Path) -> Result<(), ProbeError> {
        // Own id first: a descendant made meanwhile is then recognised by its parent.
        self.kernel.containers.insert(cgroup.0, cgroup.0, 0).map_err(map_error("containers"))?;
        let top = cgroup::below(&self.cgroup_mount, path);
        for (id, _) in cgroup::descendants(&top) {
            self.kernel.containers.insert(id.0, cgroup.0, 0).map_err(map_error("containers"))?;
        }
        Ok(())
    }

    /// Has a container's activity told too, and says which sensors run for it; none where no slot is free. Adopts it first.
    /// Twice is the same as once.
    pub fn track(&mut self, cgroup: CgroupId, path: &Path) -> Result<Option<Tracked>, ProbeError> {
        if let Some((_, tracked)) = self.tracked.get(&cgroup) {
            return Ok(Some(tracked.clone()));
        }
        self.adopt(cgroup, path)?;
        let top = cgroup::below(&self.cgroup_mount, path);
        let directory =
            std::fs::File::open(&top).map_err(|source| ProbeError::Cgroup { path: top.clone(), source })?;
        // Who was given a slot by the kernel side has just been made.
        let ran = !self.holds_slot(cgroup);
        if !self.take_slot(cgroup)? {
            return Ok(None);
        }
        let mut tracked = Tracked { live: self.kernel.lineage(), dead: Vec::new() };
        let (_, shared) = self.shared.get_or_insert_with(|| self.kernel.attach_shared());
        tracked.live.extend(shared.live.iter().cloned());
        tracked.dead.extend(shared.dead.iter().cloned());
        let (links, dns) = self.kernel.attach_cgroup(&directory, ran);
        tracked.live.extend(dns.live);
        tracked.dead.extend(dns.dead);
        self.tracked.insert(cgroup, (links, tracked.clone()));
        Ok(Some(tracked))
    }

    /// False where there is none. A container that the kernel side gave one has it.
    fn take_slot(&mut self, cgroup: CgroupId) -> Result<bool, ProbeError> {
        if self.kernel.tracked.get(&cgroup.0, 0).is_ok() {
            return Ok(true);
        }
        let Some(slot) = self.kernel.slots.take()? else { return Ok(false) };
        if let Err(source) = self.kernel.tracked.insert(cgroup.0, slot, 0) {
            self.kernel.slots.put(slot)?;
            return Err(map_error("tracked")(source));
        }
        Ok(true)
    }

    /// Containers that hold a slot in the kernel: those that were tracked, and those that took one by themselves.
    pub fn holders(&self) -> Vec<CgroupId> {
        self.kernel.tracked.keys().filter_map(Result::ok).map(CgroupId).collect()
    }

    /// True for one of those.
    pub fn holds_slot(&self, cgroup: CgroupId) -> bool {
        self.kernel.tracked.get(&cgroup.0, 0).is_ok()
    }

    /// Has a container's lineage alone told from here on; its slot is free. The tracepoints go with the last one, unless new
    /// ones take slots by themselves: detaching takes half a second, in which the next container would start unseen.
    pub fn untrack(&mut self, cgroup: CgroupId) {
        if let Err(error) = self.kernel.untrack(cgroup) {
            tracing::error!(%error, "a container does not cease to be tracked: this is a bug");
        }
        self.tracked.remove(&cgroup);
        if self.tracked.is_empty() && !self.claim {
            self.shared = None;
        }
    }

    /// Forgets a container and its counts of lost events (read them first). What still runs in it stays in the tree.
    pub fn forget(&mut self, cgroup: CgroupId) {
        self.untrack(cgroup);
        self.kernel.forget_container(cgroup);
        self.loss.forget(&mut self.kernel.lost, cgroup);
    }

    /// What runs for a tracked container; none where it is not tracked.
    pub fn tracking(&self, cgroup: CgroupId) -> Option<&Tracked> {
        self.tracked.get(&cgroup).map(|(_, tracked)| tracked)
    }

    /// Tracked containers.
    pub fn tracked(&self) -> impl Iterator<Item = CgroupId> + '_ {
        self.tracked.keys().copied()
    }

    /// Waits for events and takes what is there, at most a few thousand, in kernel order. Never empty. Cancelling loses
    /// nothing. Call it again soon: the time between is what the ring buffer must bridge.
    pub async fn next_batch(&mut self) -> Result<Vec<Event>, ProbeError> {
        loop {
            let mut events = Vec::new();
            tokio::select! {
                ready = self.ring.readable_mut() => {
                    let mut ready = ready
                        .map_err(|source| ProbeError::Host { what: "the ring buffer", source })?;
                    self.ring_peak = self.ring_peak.max(ready.get_inner().used());
                    if drain(ready.get_inner_mut(), &mut self.loss, &mut events) {
                        ready.clear_ready();
                        // What came between the last look and the clearing woke nobody.
                        drain(ready.get_inner_mut(), &mut self.loss, &mut events);
                    }
                }
                _ = self.looks.tick() => {
                    self.ring_peak = self.ring_peak.max(self.ring.get_ref().used());
                    drain(self.ring.get_mut(), &mut self.loss, &mut events);
                }
            }
            if !events.is_empty() {
                return Ok(events);
            }
        }
    }

    /// How often facts were seen again since they were told, and when last. They are told again from here on.
    pub fn take_repeats(&mut self, keys: impl IntoIterator<Item = Key>) -> Vec<(Key, u64, BootTime)> {
        let mut repeats = Vec::new();
        for key in keys {
            // Not there: there was no room for it, so that every sighting was told.
            let Ok(seen) = self.kernel.seen.get(&key.0, 0) else { continue };
            // What is counted in between is not counted; that it was seen is known.
            let _ = self.kernel.seen.remove(&key.0);
            if seen.events > 0 {
                repeats.push((key, seen.events, BootTime(seen.last)));
            }
        }
        repeats
    }

    /// Takes what is there without waiting: for the end of a window and the shutdown.
    pub fn drain(&mut self) -> Vec<Event> {
        let mut events = Vec::new();
        while !drain(self.ring.get_mut(), &mut self.loss, &mut events) {}
        events
    }

    /// Events lost since the last call, as events. Call it after the batch that the counts should follow.
    pub fn take_lost(&mut self) -> Result<Vec<Event>, ProbeError> {
        self.loss.take(&self.kernel.lost)
    }

    /// How it fares.
    pub fn stats(&self) -> SourceStats {
        let Tracked { live, dead } = self.sensors();
        let live = live.iter().map(|live| (live.sensor.name(), true));
        let ring_used = self.ring.get_ref().used();
        SourceStats {
            ring_used,
            ring_peak: self.ring_peak.max(ring_used),
            ring_bytes: self.ring_bytes,
            tracked: self.tracked.len() as u64,
            sensors: live.chain(dead.iter().map(|dead| (dead.sensor.name(), false))).collect(),
            programs: self.kernel.costs(),
            ..SourceStats::default()
        }
    }

    /// Has the kernel count how often and how long all programs of the host run, as long as the probe lives. It costs each
    /// run some tens of nanoseconds.
    pub fn count_run_times(&mut self) -> Result<(), ProbeError> {
        let counted = aya::sys::enable_stats(aya::sys::Stats::RunTime);
        let run_times = counted.map_err(|error| ProbeError::Host {
            what: "the run times of programs",
            source: error.io_error,
        })?;
        self.run_times = Some(run_times);
        Ok(())
    }
}

/// Takes records until there are none (true) or the batch is full (false).
fn drain(ring: &mut kernel::Ring, loss: &mut LossReader, events: &mut Vec<Event>) -> bool {
    let end = events.len().saturating_add(BATCH);
    while events.len() < end {
        let Some(record) = ring.next() else { return true };
        match decode::decode(&record) {
            Ok(event) => events.push(event),
            Err(undecodable) => loss.count_undecodable(undecodable),
        }
    }
    false
}

/// Refuses where the process may not load the probe.
pub fn check_capabilities() -> Result<(), ProbeError> {
    let missing: Vec<&'static str> = missing_capabilities()?
        .iter()
        .filter(|capability| capability.is_essential())
        .map(|capability| capability.name)
        .collect();
    if missing.is_empty() { Ok(()) } else { Err(ProbeError::MissingCapabilities { missing }) }
}

fn missing_capabilities() -> Result<Vec<&'static host::Capability>, ProbeError> {
    host::missing_capabilities().map_err(|source| ProbeError::Host { what: "/proc/self/status", source })
}

fn map_error(map: &'static str) -> impl Fn(aya::maps::MapError) -> ProbeError {
    move |source| ProbeError::Map { map, source }
}
