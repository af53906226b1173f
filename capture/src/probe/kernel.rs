//! The object file: its maps, its programs, and their attachment by the table in [`super::hooks`].

use std::any::Any;
use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;
use std::io;
use std::time::Duration;

use aya::maps::{Array, HashMap, Map, MapData, MapError, RingBuf, Stack};
use aya::programs::{CgroupAttachMode, Program, ProgramError};
use aya::{Btf, Ebpf, EbpfLoader};

use super::abi;
use super::hooks::{Hook, PARTS, Part, Point, Sensor, hooks};
use super::host::KernelVersion;
use super::ring::RingFill;
use super::{DeadSensor, HookChoice, LiveSensor, ProbeError, ProbeOptions, Tracked, map_error};
use crate::event::CgroupId;
use crate::hierarchy::Hierarchy;
use crate::session::ProgramStats;

static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/wsp.bpf.o"));

/// The ring buffer.
pub(super) struct Ring {
    ring: RingBuf<MapData>,
    /// Where it is read and written; none where the kernel does not show them.
    fill: Option<RingFill>,
}

impl Ring {
    pub(super) fn next(&mut self) -> Option<aya::maps::ring_buf::RingBufItem<'_>> {
        self.ring.next()
    }

    /// Bytes that wait to be read.
    pub(super) fn used(&self) -> u64 {
        self.fill.as_ref().map_or(0, RingFill::used)
    }
}

impl std::os::fd::AsRawFd for Ring {
    fn as_raw_fd(&self) -> std::os::fd::RawFd {
        self.ring.as_raw_fd()
    }
}

impl fmt::Debug for Ring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Ring")
    }
}

/// Slots that no container has.
pub(super) struct Free(Stack<MapData, u32>);

impl Free {
    pub(super) fn take(&mut self) -> Result<Option<u32>, ProbeError> {
        match self.0.pop(0) {
            Ok(slot) => Ok(Some(slot)),
            Err(MapError::ElementNotFound) => Ok(None),
            Err(source) => Err(map_error("slots")(source)),
        }
    }

    pub(super) fn put(&mut self, slot: u32) -> Result<(), ProbeError> {
        self.0.push(slot, 0).map_err(map_error("slots"))
    }
}

impl fmt::Debug for Free {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Free")
    }
}

/// How often a container ceased to be tracked: what the kernel side noted of one before does not hold any more.
struct Untracked {
    table: Array<MapData, u64>,
    times: u64,
}

impl Untracked {
    fn tell(&mut self) -> Result<(), ProbeError> {
        self.times = self.times.wrapping_add(1);
        self.table.set(0, self.times, 0).map_err(map_error("untracked"))
    }
}

impl fmt::Debug for Untracked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Untracked({})", self.times)
    }
}

/// Attachments that end when this is dropped.
#[derive(Default)]
pub(super) struct Links(Vec<Box<dyn Any + Send + Sync>>);

impl fmt::Debug for Links {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Links({})", self.0.len())
    }
}

// SAFETY: `repr(C)`, integers only, and asserted to be without padding.
unsafe impl aya::Pod for abi::LostKey {}
// SAFETY: as above.
unsafe impl aya::Pod for abi::ProcessState {}
// SAFETY: as above.
unsafe impl aya::Pod for abi::Seen {}

/// The ring buffer wakes its reader where one part of so many is full; what is less waits for [`super::LOOK`].
const WAKE_PARTS: u64 = 8;

/// Why programs of cgroups do not run beside v1.
pub(crate) const NO_V2: &str = "there is no cgroup v2, and it attaches to nothing else";

/// How many seconds' worth of events the token bucket of a container holds.
const BUCKET_SECONDS: u64 = 2;

/// The loaded object.
#[derive(Debug)]
pub(super) struct Kernel {
    ebpf: Ebpf,
    /// Cgroup id of a container or a descendant → top cgroup id.
    pub(super) containers: HashMap<MapData, u64, u64>,
    /// Top cgroup id → the slot that it holds.
    pub(super) tracked: HashMap<MapData, u64, u32>,
    untracked: Untracked,
    /// Free slots.
    pub(super) slots: Free,
    /// Thread group id → container.
    pub(super) processes: HashMap<MapData, u32, abi::ProcessState>,
    /// Counts of lost events.
    pub(super) lost: HashMap<MapData, abi::LostKey, u64>,
    /// What was told already, and how often it was seen again.
    pub(super) seen: HashMap<MapData, u64, abi::Seen>,
    /// The hook that serves each part of the table, or why none does.
    chosen: Vec<(&'static Part, Result<&'static Hook, String>)>,
}

impl Kernel {
    /// Creates the maps and loads the programs of every part that is wanted. Only the process sensor's must load.
    pub(super) fn load(
        options: &ProbeOptions,
        version: Option<KernelVersion>,
        host_mnt_ns: u64,
        hierarchy: &Hierarchy,
    ) -> Result<Self, ProbeError> {
        let (mut ebpf, btf) = open(options, version, host_mnt_ns, hierarchy.id())?;
        let mut chosen = Vec::new();
        for part in PARTS.iter().filter(|part| options.sensors.contains(&part.sensor())) {
            let hook = if hierarchy.controller().is_some() && part.hooks.iter().all(is_of_cgroup) {
                Err(NO_V2.to_owned())
            } else {
                load_part(&mut ebpf, part, options.hooks, &btf)?
            };
            chosen.push((part, hook));
        }
        let mut slots = Free(Stack::try_from(take_map(&mut ebpf, "slots")?).map_err(map_error("slots"))?);
        for slot in 0..options.slots {
            slots.put(slot)?;
        }
        Ok(Self {
            containers: hash_map(&mut ebpf, "containers")?,
            tracked: hash_map(&mut ebpf, "tracked")?,
            untracked: Untracked {
                table: Array::try_from(take_map(&mut ebpf, "untracked")?).map_err(map_error("untracked"))?,
                times: 0,
            },
            slots,
            processes: hash_map(&mut ebpf, "processes")?,
            lost: hash_map(&mut ebpf, "lost")?,
            seen: hash_map(&mut ebpf, "seen")?,
            ebpf,
            chosen,
        })
    }

    /// Takes the ring buffer out; there is one.
    pub(super) fn take_ring(&mut self) -> Result<Ring, ProbeError> {
        let ring = RingBuf::try_from(take_map(&mut self.ebpf, "events")?)
            .map_err(|source| ProbeError::Map { map: "events", source })?;
        let fill = RingFill::of(&ring).ok();
        Ok(Ring { ring, fill })
    }

    /// Attaches the hooks of the lineage; they stay with the programs.
    pub(super) fn attach_lineage(&mut self) -> Result<(), ProbeError> {
        for hook in hooks().filter(|hook| matches!(hook.point, Point::Lineage(_))) {
            let Program::BtfTracePoint(program) = program(&mut self.ebpf, hook.program)? else {
                return Err(ProbeError::Missing(hook.program.to_owned()));
            };
            program
                .attach()
                .map_err(|source| ProbeError::Hook { hook: hook.name, source: Box::new(source) })?;
        }
        Ok(())
    }

    /// Attaches what is shared by all tracked containers.
    pub(super) fn attach_shared(&mut self) -> (Links, Tracked) {
        let mut links = Links::default();
        let mut report = Report::default();
        for (part, chosen) in &self.chosen {
            let attached = match chosen {
                Ok(hook) if is_shared(hook) => attach(&mut self.ebpf, hook, None, &mut links).map(|()| *hook),
                Err(reason) if part.hooks.iter().any(is_shared) => Err(reason.clone()),
                _ => continue,
            };
            report.add(part, attached);
        }
        (links, report.tracked())
    }

    /// Attaches the programs of one cgroup: of each sensor all or none. `ran`: what runs in it may have sockets from before.
    pub(super) fn attach_cgroup(&mut self, cgroup: &File, ran: bool) -> (Vec<Links>, Tracked) {
        let mut links: BTreeMap<Sensor, Links> = BTreeMap::new();
        let mut report = Report::default();
        for (part, chosen) in &self.chosen {
            let attached = match chosen {
                Ok(Hook { point: Point::OpenFiles, .. }) if !ran => continue,
                Ok(hook) if is_of_cgroup(hook) => {
                    let links = links.entry(part.sensor()).or_default();
                    attach(&mut self.ebpf, hook, Some(cgroup), links).map(|()| *hook)
                }
                Err(reason) if part.hooks.iter().any(is_of_cgroup) => Err(reason.clone()),
                _ => continue,
            };
            report.add(part, attached);
        }
        let tracked = report.tracked();
        links.retain(|sensor, _| !tracked.dead.iter().any(|dead| dead.sensor == *sensor));
        (links.into_values().collect(), tracked)
    }

    /// What loaded, and so can run.
    pub(super) fn sensors(&self) -> Tracked {
        let mut report = Report::default();
        for (part, chosen) in &self.chosen {
            report.add(part, chosen.clone());
        }
        report.tracked()
    }

    /// What runs for every container that is known.
    pub(super) fn lineage(&self) -> Vec<LiveSensor> {
        self.sensors().live.into_iter().filter(|live| live.sensor == Sensor::Process).collect()
    }

    /// What each hook cost, of those that ran while run times were counted. The first one runs on every host: where nothing was
    /// counted of it, the others are not asked, a call each.
    pub(super) fn costs(&self) -> Vec<ProgramStats> {
        let cost = |hook: &Hook| {
            let mut cost = ProgramStats { program: hook.name, runs: 0, time: Duration::ZERO };
            for name in hook.programs() {
                // What was not loaded cost nothing.
                let Some(Ok(info)) = self.ebpf.program(&name).map(Program::info) else { continue };
                cost.runs = cost.runs.saturating_add(info.run_count());
                cost.time = cost.time.saturating_add(info.run_time());
            }
            cost
        };
        if hooks().next().is_none_or(|first| cost(first).runs == 0) {
            return Vec::new();
        }
        hooks().map(cost).filter(|cost| cost.runs > 0).collect()
    }

    /// Takes a container out of those that are tracked; its slot is free again.
    pub(super) fn untrack(&mut self, cgroup: CgroupId) -> Result<(), ProbeError> {
        let Ok(slot) = self.tracked.get(&cgroup.0, 0) else { return Ok(()) };
        let removed = self.tracked.remove(&cgroup.0).is_ok();
        let told = self.untracked.tell();
        if removed {
            self.slots.put(slot)?;
        }
        told
    }

    /// Removes a container's cgroups from the table.
    pub(super) fn forget_container(&mut self, cgroup: CgroupId) {
        let ids: Vec<u64> = self
            .containers
            .iter()
            .filter_map(Result::ok)
            .filter(|(_, top)| *top == cgroup.0)
            .map(|(id, _)| id)
            .collect();
        for id in ids {
            // The kernel side may have removed it meanwhile.
            let _ = self.containers.remove(&id);
        }
    }
}

fn is_shared(hook: &Hook) -> bool {
    !matches!(hook.point, Point::Lineage(_)) && !is_of_cgroup(hook)
}

fn is_of_cgroup(hook: &Hook) -> bool {
    matches!(hook.point, Point::CgroupAddress | Point::CgroupPackets | Point::OpenFiles)
}

/// Which sensors run, by what became of the parts of each: a sensor is named after the hook of its first part.
#[derive(Debug, Default)]
struct Report(Vec<(Sensor, Result<&'static str, DeadSensor>)>);

impl Report {
    fn add(&mut self, part: &Part, chosen: Result<&'static Hook, String>) {
        let sensor = part.sensor();
        let known = self.0.iter().position(|(of, _)| *of == sensor);
        match (chosen, known) {
            (Ok(hook), None) if !part.optional => self.0.push((sensor, Ok(hook.name))),
            (Ok(_), _) => {}
            (Err(reason), _) if part.optional => {
                let hook = part.hooks.last().map_or("", |hook| hook.name);
                tracing::debug!(%sensor, hook, reason, "a part of a sensor does not run");
            }
            (Err(reason), known) => {
                let hook = part.hooks.last().map_or("", |hook| hook.name);
                let dead = Err(DeadSensor { sensor, hook, reason });
                match known {
                    Some(at) => self.0[at].1 = dead,
                    None => self.0.push((sensor, dead)),
                }
            }
        }
    }

    fn tracked(self) -> Tracked {
        let mut tracked = Tracked::default();
        for (sensor, outcome) in self.0 {
            match outcome {
                Ok(hook) => tracked.live.push(LiveSensor { sensor, hook }),
                Err(dead) => tracked.dead.push(dead),
            }
        }
        tracked
    }
}

/// Loads the first hook of a part that the kernel takes.
fn load_part(
    ebpf: &mut Ebpf,
    part: &'static Part,
    choice: HookChoice,
    btf: &Btf,
) -> Result<Result<&'static Hook, String>, ProbeError> {
    let mut refused = Vec::new();
    for hook in part.hooks.iter().filter(|hook| choice == HookChoice::Best || !hook.is_on_function()) {
        match load(ebpf, hook, btf)? {
            Ok(()) => return Ok(Ok(hook)),
            Err(source) if hook.sensor == Sensor::Process => {
                return Err(ProbeError::Hook { hook: hook.name, source: Box::new(source) });
            }
            Err(source) => refused.push(format!("{}: {}", hook.name, describe(&source))),
        }
    }
    Ok(Err(refused.join("; ")))
}

/// Creates the maps; no program is loaded yet.
fn open(
    options: &ProbeOptions,
    version: Option<KernelVersion>,
    host_mnt_ns: u64,
    hierarchy: u32,
) -> Result<(Ebpf, Btf), ProbeError> {
    let btf = Btf::from_sys_fs().map_err(ProbeError::BadBtf)?;
    // Namespaces have 32-bit inode numbers.
    let host_mnt_ns = u32::try_from(host_mnt_ns).unwrap_or(0);
    let ovl_has_entry = u32::from(version.is_some_and(|version| version >= KernelVersion::OVERLAY_ENTRY));
    let discover = u32::from(options.discover);
    let claim = u32::from(options.claim);
    let [hash_key_0, hash_key_1]: [u64; 2] = rand::random();
    let token_ns =
        1_000_000_000_u64.checked_div(u64::from(options.max_events_per_second)).unwrap_or_default();
    let bucket_ns = BUCKET_SECONDS * 1_000_000_000;
    let ebpf = EbpfLoader::new()
        .btf(Some(&btf))
        .map_max_entries("events", options.ring_bytes)
        .map_max_entries("processes", options.max_processes)
        .map_max_entries("tracked", options.slots.max(1))
        .map_max_entries("slots", options.slots.max(1))
        .override_global("host_mnt_ns", &host_mnt_ns, true)
        .override_global("ovl_has_entry", &ovl_has_entry, true)
        .override_global("fmode_backing", &fmode_backing(version), true)
        .override_global("discover", &discover, true)
        .override_global("claim", &claim, true)
        .override_global("hierarchy", &hierarchy, true)
        .override_global("cgroup_connects", &u32::from(hierarchy == 0), true)
        .override_global("hash_key_0", &hash_key_0, true)
        .override_global("hash_key_1", &hash_key_1, true)
        .override_global("wake_bytes", &(u64::from(options.ring_bytes) / WAKE_PARTS), true)
        .override_global("token_ns", &token_ns, true)
        .override_global("bucket_ns", &bucket_ns, true)
        .map_max_entries("seen", options.max_seen)
        .load(OBJECT)
        .map_err(|error| ProbeError::Object(Box::new(error)))?;
    Ok((ebpf, btf))
}

/// The bit of `f_mode` by which a file that overlayfs opened below itself is known.
fn fmode_backing(version: Option<KernelVersion>) -> u32 {
    match version {
        Some(version) if version >= KernelVersion::BACKING_BIT_24 => 1 << 24,
        Some(version) if version >= KernelVersion::OVERLAY_ENTRY => 1 << 25,
        _ => 0,
    }
}

/// A hook and what the kernel said to it.
pub(crate) type Tried = (&'static Hook, Result<(), String>);

/// Loads and attaches every hook of the table, one by one, and lets go of them: what each says. `cgroup` is one that may be
/// attached to, or why there is none.
pub(crate) fn try_hooks(cgroup: Result<&File, &str>) -> Result<Vec<Tried>, ProbeError> {
    let options =
        ProbeOptions { ring_bytes: 1 << 16, max_processes: 16, discover: false, ..ProbeOptions::default() };
    let (mut ebpf, btf) = open(&options, None, 0, 0)?;
    let mut said = Vec::new();
    for hook in hooks() {
        let loaded = load(&mut ebpf, hook, &btf)?.map_err(|error| describe(&error));
        let attached = loaded.and_then(|()| match cgroup {
            Err(why) if is_of_cgroup(hook) => Err(format!("loads; {why}")),
            _ => attach(&mut ebpf, hook, cgroup.ok(), &mut Links::default()),
        });
        said.push((hook, attached));
    }
    Ok(said)
}

fn hash_map<K: aya::Pod, V: aya::Pod>(
    ebpf: &mut Ebpf,
    name: &'static str,
) -> Result<HashMap<MapData, K, V>, ProbeError> {
    HashMap::try_from(take_map(ebpf, name)?).map_err(map_error(name))
}

fn take_map(ebpf: &mut Ebpf, name: &'static str) -> Result<Map, ProbeError> {
    ebpf.take_map(name).ok_or_else(|| ProbeError::Missing(format!("map {name}")))
}

fn program<'a>(ebpf: &'a mut Ebpf, name: &str) -> Result<&'a mut Program, ProbeError> {
    ebpf.program_mut(name).ok_or_else(|| ProbeError::Missing(name.to_owned()))
}

/// Loads the programs of a hook. Of several calls the first must be there.
fn load(ebpf: &mut Ebpf, hook: &Hook, btf: &Btf) -> Result<Result<(), ProgramError>, ProbeError> {
    if let Point::CallFunctions(calls) = hook.point {
        for (place, (call, name)) in calls.iter().zip(hook.programs()).enumerate() {
            let Program::FExit(program) = program(ebpf, &name)? else {
                return Err(ProbeError::Missing(name));
            };
            match program.load(&format!("__x64_sys_{call}"), btf) {
                Err(error) if place == 0 => return Ok(Err(error)),
                Err(error) => tracing::debug!(call, error = describe(&error), "a system call is not traced"),
                Ok(()) => {}
            }
        }
        return Ok(Ok(()));
    }
    Ok(match (program(ebpf, hook.program)?, hook.point) {
        (Program::BtfTracePoint(program), Point::Lineage(name) | Point::Tracepoint(name)) => {
            program.load(name, btf)
        }
        (Program::FEntry(program), Point::Function(name)) => program.load(name, btf),
        (Program::FExit(program), Point::FunctionExit(name)) => program.load(name, btf),
        (Program::TracePoint(program), Point::CallTracepoints(_)) => program.load(),
        (Program::CgroupSockAddr(program), Point::CgroupAddress) => program.load(),
        (Program::CgroupSkb(program), Point::CgroupPackets) => program.load(),
        (Program::Iter(program), Point::OpenFiles) => program.load("task_file", btf),
        _ => return Err(ProbeError::Missing(hook.program.to_owned())),
    })
}

/// Attaches the programs of a hook, to a cgroup where it is of one.
fn attach(ebpf: &mut Ebpf, hook: &Hook, cgroup: Option<&File>, links: &mut Links) -> Result<(), String> {
    let missing = || format!("the kernel side has no {}", hook.program);
    match (hook.point, cgroup) {
        (Point::CallFunctions(_), _) => {
            for (place, name) in hook.programs().iter().enumerate() {
                let Some(Program::FExit(program)) = ebpf.program_mut(name) else { return Err(missing()) };
                match program.attach().and_then(|id| program.take_link(id)) {
                    Ok(link) => links.0.push(Box::new(link)),
                    Err(error) if place == 0 => return Err(describe(&error)),
                    Err(error) => tracing::debug!(name, error = describe(&error), "a call is not traced"),
                }
            }
            Ok(())
        }
        (Point::CallTracepoints(calls), _) => attach_call_tracepoints(ebpf, hook, calls, links),
        (Point::Lineage(_) | Point::Tracepoint(_), _) => match ebpf.program_mut(hook.program) {
            Some(Program::BtfTracePoint(program)) => {
                let link = program.attach().and_then(|id| program.take_link(id));
                links.0.push(Box::new(link.map_err(|error| describe(&error))?));
                Ok(())
            }
            _ => Err(missing()),
        },
        (Point::Function(_), _) => match ebpf.program_mut(hook.program) {
            Some(Program::FEntry(program)) => {
                let link = program.attach().and_then(|id| program.take_link(id));
                links.0.push(Box::new(link.map_err(|error| describe(&error))?));
                Ok(())
            }
            _ => Err(missing()),
        },
        (Point::FunctionExit(_), _) => match ebpf.program_mut(hook.program) {
            Some(Program::FExit(program)) => {
                let link = program.attach().and_then(|id| program.take_link(id));
                links.0.push(Box::new(link.map_err(|error| describe(&error))?));
                Ok(())
            }
            _ => Err(missing()),
        },
        (Point::OpenFiles, _) => run_over_open_files(ebpf, hook),
        (Point::CgroupAddress | Point::CgroupPackets, Some(cgroup)) => {
            attach_to_cgroup(ebpf, hook, cgroup, links)
        }
        (Point::CgroupAddress | Point::CgroupPackets, None) => {
            Err("there is no cgroup to attach it to".to_owned())
        }
    }
}

fn attach_call_tracepoints(
    ebpf: &mut Ebpf,
    hook: &Hook,
    calls: &[&str],
    links: &mut Links,
) -> Result<(), String> {
    let Some(Program::TracePoint(program)) = ebpf.program_mut(hook.program) else {
        return Err(format!("the kernel side has no {}", hook.program));
    };
    for (place, call) in calls.iter().enumerate() {
        let attached = program.attach("syscalls", &format!("sys_exit_{call}"));
        match attached.and_then(|id| program.take_link(id)) {
            Ok(link) => links.0.push(Box::new(link)),
            Err(error) if place == 0 => return Err(describe(&error)),
            Err(error) => tracing::debug!(call, error = describe(&error), "a system call is not traced"),
        }
    }
    Ok(())
}

fn attach_to_cgroup(ebpf: &mut Ebpf, hook: &Hook, cgroup: &File, links: &mut Links) -> Result<(), String> {
    // Links take no flags; they are "multi" by nature.
    let mode = CgroupAttachMode::Single;
    let attached: Result<Box<dyn Any + Send + Sync>, ProgramError> = match ebpf.program_mut(hook.program) {
        Some(Program::CgroupSockAddr(program)) => {
            program.attach(cgroup, mode).and_then(|id| program.take_link(id)).map(|link| Box::new(link) as _)
        }
        Some(Program::CgroupSkb(program)) => match *program.expected_attach_type() {
            Some(kind) => program
                .attach(cgroup, kind, mode)
                .and_then(|id| program.take_link(id))
                .map(|link| Box::new(link) as _),
            None => return Err(format!("{} has no direction", hook.program)),
        },
        _ => return Err(format!("the kernel side has no {}", hook.program)),
    };
    links.0.push(attached.map_err(|error| describe(&error))?);
    Ok(())
}

/// Runs an iterator to its end. It tells nothing.
fn run_over_open_files(ebpf: &mut Ebpf, hook: &Hook) -> Result<(), String> {
    let Some(Program::Iter(program)) = ebpf.program_mut(hook.program) else {
        return Err(format!("the kernel side has no {}", hook.program));
    };
    let link = program.attach().and_then(|id| program.take_link(id)).map_err(|error| describe(&error))?;
    let mut files = link.into_file().map_err(|error| error.to_string())?;
    loop {
        match io::copy(&mut files, &mut io::sink()) {
            // After a million files (MAX_ITER_OBJECTS in kernel/bpf/bpf_iter.c): the next read goes on.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            done => return done.map(|_| ()).map_err(|error| error.to_string()),
        }
    }
}

/// An error with its causes, the verifier's log cut to its last lines.
fn describe(error: &ProgramError) -> String {
    if let ProgramError::LoadError { io_error, verifier_log } = error {
        let log = verifier_log.to_string();
        let lines: Vec<&str> = log.lines().rev().filter(|line| !line.trim().is_empty()).take(4).collect();
        let tail: Vec<&str> = lines.into_iter().rev().collect();
        return format!("{io_error} [{}]", tail.join(" | "));
    }
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        let more = error.to_string();
        if !text.contains(&more) {
            text.push_str(": ");
            text.push_str(&more);
        }
        cause = error.source();
    }
    text
}
