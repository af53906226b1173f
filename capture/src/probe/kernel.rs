//! The object file: its maps, its programs, and their attachment by the table in [`super::hooks`].

use std::any::Any;
use std::fmt;
use std::fs::File;

use aya::maps::{HashMap, Map, MapData, MapError, RingBuf, Stack};
use aya::programs::{CgroupAttachMode, Program, ProgramError};
use aya::{Btf, Ebpf, EbpfLoader};

use super::abi;
use super::hooks::{HOOKS, Hook, Point, Sensor};
use super::host::KernelVersion;
use super::{DeadSensor, LiveSensor, ProbeError, ProbeOptions, Tracked, map_error};
use crate::event::CgroupId;

static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/wsp.bpf.o"));

/// What the process sensor is named after in reports.
pub(super) const LINEAGE_HOOK: &str = "tp_btf/sched_process_exec";

/// The ring buffer.
pub(super) struct Ring(RingBuf<MapData>);

impl Ring {
    pub(super) fn next(&mut self) -> Option<aya::maps::ring_buf::RingBufItem<'_>> {
        self.0.next()
    }
}

impl std::os::fd::AsRawFd for Ring {
    fn as_raw_fd(&self) -> std::os::fd::RawFd {
        self.0.as_raw_fd()
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

/// The loaded object.
#[derive(Debug)]
pub(super) struct Kernel {
    ebpf: Ebpf,
    /// Cgroup id of a container or a descendant → top cgroup id.
    pub(super) containers: HashMap<MapData, u64, u64>,
    /// Top cgroup id → the slot that it holds.
    pub(super) tracked: HashMap<MapData, u64, u32>,
    /// Free slots.
    pub(super) slots: Free,
    /// Thread group id → container.
    pub(super) processes: HashMap<MapData, u32, abi::ProcessState>,
    /// Counts of lost events.
    pub(super) lost: HashMap<MapData, abi::LostKey, u64>,
    /// Why a hook's program did not load, by the place of the hook in the table.
    refused: Vec<(&'static Hook, String)>,
}

impl Kernel {
    /// Creates the maps and loads every program of the table. Only the process sensor's must load.
    pub(super) fn load(
        options: &ProbeOptions,
        version: Option<KernelVersion>,
        host_mnt_ns: u64,
    ) -> Result<Self, ProbeError> {
        let (mut ebpf, btf) = open(options, version, host_mnt_ns)?;
        let mut refused = Vec::new();
        for hook in HOOKS.iter().filter(|hook| hook.point != Point::NotInThisVersion) {
            match load_program(&mut ebpf, hook, &btf)? {
                Ok(()) => {}
                Err(source) if hook.sensor == Sensor::Process => {
                    return Err(ProbeError::Hook { hook: hook.name, source: Box::new(source) });
                }
                Err(source) => refused.push((hook, describe(&source))),
            }
        }
        let map = ebpf.take_map("slots").ok_or(ProbeError::Missing("map slots"))?;
        let mut slots = Free(Stack::try_from(map).map_err(map_error("slots"))?);
        for slot in 0..options.slots {
            slots.put(slot)?;
        }
        Ok(Self {
            containers: hash_map(&mut ebpf, "containers")?,
            tracked: hash_map(&mut ebpf, "tracked")?,
            slots,
            processes: hash_map(&mut ebpf, "processes")?,
            lost: hash_map(&mut ebpf, "lost")?,
            ebpf,
            refused,
        })
    }

    /// Takes the ring buffer out; there is one.
    pub(super) fn take_ring(&mut self) -> Result<Ring, ProbeError> {
        let map = self.ebpf.take_map("events").ok_or(ProbeError::Missing("map events"))?;
        RingBuf::try_from(map).map(Ring).map_err(|source| ProbeError::Map { map: "events", source })
    }

    /// Attaches the BTF tracepoints; they stay with the programs.
    pub(super) fn attach_lineage(&mut self) -> Result<(), ProbeError> {
        for hook in HOOKS {
            if !matches!(hook.point, Point::Btf(_)) {
                continue;
            }
            let Program::BtfTracePoint(program) = program(&mut self.ebpf, hook)? else {
                return Err(ProbeError::Missing(hook.program));
            };
            program
                .attach()
                .map_err(|source| ProbeError::Hook { hook: hook.name, source: Box::new(source) })?;
        }
        Ok(())
    }

    /// Attaches the exits of system calls.
    pub(super) fn attach_syscalls(&mut self) -> (Links, Tracked) {
        let mut links = Links::default();
        let mut tracked = Tracked::default();
        for hook in HOOKS {
            let Point::SyscallExits(calls) = hook.point else { continue };
            if self.note_refused(hook, &mut tracked) {
                continue;
            }
            match attach_exits(&mut self.ebpf, hook, calls, &mut links) {
                Ok(()) => tracked.live.push(LiveSensor { sensor: hook.sensor, hook: hook.name }),
                Err(reason) => tracked.dead.push(DeadSensor { sensor: hook.sensor, hook: hook.name, reason }),
            }
        }
        (links, tracked)
    }

    /// Attaches the network programs of one cgroup: all or none.
    pub(super) fn attach_cgroup(&mut self, cgroup: &File) -> (Links, Tracked) {
        let mut links = Links::default();
        let mut tracked = Tracked::default();
        for hook in HOOKS {
            if !matches!(hook.point, Point::CgroupAddress | Point::CgroupPackets) {
                continue;
            }
            if self.note_refused(hook, &mut tracked) {
                return (Links::default(), tracked);
            }
            if let Err(reason) = attach_to_cgroup(&mut self.ebpf, hook, cgroup, &mut links) {
                tracked.dead.push(DeadSensor { sensor: hook.sensor, hook: hook.name, reason });
                return (Links::default(), tracked);
            }
        }
        tracked.live.push(LiveSensor { sensor: Sensor::Dns, hook: "cgroup_skb" });
        (links, tracked)
    }

    /// What loaded, and so can run.
    pub(super) fn sensors(&self) -> Tracked {
        let mut tracked = Tracked::default();
        for sensor in Sensor::ALL {
            let mut hooks =
                HOOKS.iter().filter(|hook| hook.sensor == sensor && hook.point != Point::NotInThisVersion);
            let refused = self.refused.iter().find(|(hook, _)| hook.sensor == sensor);
            let name = match sensor {
                Sensor::Process => LINEAGE_HOOK,
                Sensor::Dns => "cgroup_skb",
                _ => hooks.next().map_or("", |hook| hook.name),
            };
            match refused {
                None => tracked.live.push(LiveSensor { sensor, hook: name }),
                Some((hook, reason)) => {
                    tracked.dead.push(DeadSensor { sensor, hook: hook.name, reason: reason.clone() });
                }
            }
        }
        tracked
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

    fn note_refused(&self, hook: &'static Hook, tracked: &mut Tracked) -> bool {
        let Some((_, reason)) = self.refused.iter().find(|(refused, _)| refused.program == hook.program)
        else {
            return false;
        };
        tracked.dead.push(DeadSensor { sensor: hook.sensor, hook: hook.name, reason: reason.clone() });
        true
    }
}

/// Creates the maps; no program is loaded yet.
fn open(
    options: &ProbeOptions,
    version: Option<KernelVersion>,
    host_mnt_ns: u64,
) -> Result<(Ebpf, Btf), ProbeError> {
    let btf = Btf::from_sys_fs().map_err(ProbeError::BadBtf)?;
    // Namespaces have 32-bit inode numbers.
    let host_mnt_ns = u32::try_from(host_mnt_ns).unwrap_or(0);
    let ovl_has_entry = u32::from(version.is_some_and(|version| version >= KernelVersion::OVERLAY_ENTRY));
    let discover = u32::from(options.discover);
    let claim = u32::from(options.claim);
    let ebpf = EbpfLoader::new()
        .btf(Some(&btf))
        .map_max_entries("events", options.ring_bytes)
        .map_max_entries("processes", options.max_processes)
        .map_max_entries("tracked", options.slots.max(1))
        .map_max_entries("slots", options.slots.max(1))
        .override_global("host_mnt_ns", &host_mnt_ns, true)
        .override_global("ovl_has_entry", &ovl_has_entry, true)
        .override_global("discover", &discover, true)
        .override_global("claim", &claim, true)
        .load(OBJECT)
        .map_err(|error| ProbeError::Object(Box::new(error)))?;
    Ok((ebpf, btf))
}

/// A hook and what the kernel said to it.
pub(crate) type Tried = (&'static Hook, Result<(), String>);

/// Loads and attaches every program of the table, one by one, and lets go of them: what each says. `cgroup` is one that may be
/// attached to. Hooks that this version does not have are left out.
pub(crate) fn try_hooks(cgroup: Option<&File>) -> Result<Vec<Tried>, ProbeError> {
    let options =
        ProbeOptions { ring_bytes: 1 << 16, max_processes: 16, discover: false, slots: 0, claim: false };
    let (mut ebpf, btf) = open(&options, None, 0)?;
    let mut said = Vec::new();
    for hook in HOOKS.iter().filter(|hook| hook.point != Point::NotInThisVersion) {
        let loaded = load_program(&mut ebpf, hook, &btf)?.map_err(|error| describe(&error));
        let attached = loaded.and_then(|()| try_attach(&mut ebpf, hook, cgroup));
        said.push((hook, attached));
    }
    Ok(said)
}

fn try_attach(ebpf: &mut Ebpf, hook: &Hook, cgroup: Option<&File>) -> Result<(), String> {
    let mut links = Links::default();
    match (hook.point, cgroup) {
        (Point::Btf(_), _) => match ebpf.program_mut(hook.program) {
            Some(Program::BtfTracePoint(program)) => {
                program.attach().and_then(|id| program.detach(id)).map_err(|error| describe(&error))
            }
            _ => Err(format!("the kernel side has no {}", hook.program)),
        },
        (Point::SyscallExits(calls), _) => attach_exits(ebpf, hook, calls, &mut links),
        (Point::CgroupAddress | Point::CgroupPackets, Some(cgroup)) => {
            attach_to_cgroup(ebpf, hook, cgroup, &mut links)
        }
        (Point::CgroupAddress | Point::CgroupPackets, None) => {
            Err("loads; there was no cgroup to attach it to".to_owned())
        }
        (Point::NotInThisVersion, _) => Err("not in this version".to_owned()),
    }
}

fn hash_map<K: aya::Pod, V: aya::Pod>(
    ebpf: &mut Ebpf,
    name: &'static str,
) -> Result<HashMap<MapData, K, V>, ProbeError> {
    let map: Map = ebpf.take_map(name).ok_or(ProbeError::Missing(name))?;
    HashMap::try_from(map).map_err(|source| ProbeError::Map { map: name, source })
}

fn program<'a>(ebpf: &'a mut Ebpf, hook: &Hook) -> Result<&'a mut Program, ProbeError> {
    ebpf.program_mut(hook.program).ok_or(ProbeError::Missing(hook.program))
}

fn load_program(ebpf: &mut Ebpf, hook: &Hook, btf: &Btf) -> Result<Result<(), ProgramError>, ProbeError> {
    Ok(match (program(ebpf, hook)?, hook.point) {
        (Program::BtfTracePoint(program), Point::Btf(name)) => program.load(name, btf),
        (Program::TracePoint(program), Point::SyscallExits(_)) => program.load(),
        (Program::CgroupSockAddr(program), Point::CgroupAddress) => program.load(),
        (Program::CgroupSkb(program), Point::CgroupPackets) => program.load(),
        _ => return Err(ProbeError::Missing(hook.program)),
    })
}

fn attach_exits(ebpf: &mut Ebpf, hook: &Hook, calls: &[&str], links: &mut Links) -> Result<(), String> {
    let Some(Program::TracePoint(program)) = ebpf.program_mut(hook.program) else {
        return Err(format!("the kernel side has no {}", hook.program));
    };
    for (place, call) in calls.iter().enumerate() {
        match program.attach("syscalls", call).and_then(|id| program.take_link(id)) {
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
