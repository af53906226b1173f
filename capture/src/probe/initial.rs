//! A container that already runs when its window opens, read from /proc.
//!
//! How this fits with what is told live: the container is known and its processes are seeded in the kernel side *before*
//! anything is read here, so from then on everything that happens is told; only then is /proc read. What happens in
//! between is in both. That is safe to apply in the order "initial state, then live events", because a live event only
//! restates or advances what /proc showed: a `Fork` of a process that is already there has the same parent, an `Exec`
//! sets the program that it already has or a later one, an `Exit` ends it. Seeding is repeated until a pass finds no new
//! process, so that a child forked by a process that was not seeded yet is found; a process that died meanwhile is taken
//! out again.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use super::process::{self, Held, Process};
use super::{Probe, ProbeError, abi, cgroup, loss, map_error};
use crate::event::{Body, CgroupId, Endpoint, Event, Key, Pid};

const BPF_NOEXIST: u64 = 1;

/// Processes fork while they are listed; after so many passes the rest is left to the entry rule.
const MAX_PASSES: usize = 16;

impl Probe {
    /// What a running container is and has open now: processes (parents first), then open files, then listening sockets,
    /// all at one time. Adopts the container; track it before, so that nothing falls between. Reads a few files of /proc a
    /// process and one an open file.
    pub fn initial_state(&mut self, cgroup: CgroupId, path: &Path) -> Result<Vec<Event>, ProbeError> {
        self.adopt(cgroup, path)?;
        let top = cgroup::below(self.cgroup_mount(), path);
        let seeded = self.seed(cgroup, &top)?;
        let mut processes: BTreeMap<Pid, Process> = BTreeMap::new();
        for pid in &seeded {
            if let Some(process) = process::read(*pid) {
                processes.insert(*pid, process);
            }
        }
        for pid in seeded {
            if !process::is_alive(pid) {
                // The kernel side takes it out itself unless it died before it was put in.
                let _ = self.kernel.processes.remove(&pid.0);
                processes.remove(&pid);
            }
        }
        let at = loss::now();
        let event = |pid: Pid, body: Body| Event { at, cgroup, pid, key: Key::NONE, body };
        let mut events = Vec::new();
        for pid in parents_first(&processes) {
            let Some(process) = processes.get(&pid) else { continue };
            let parent = processes.get(&process.parent).map(|_| process.parent);
            let parent_is_guess = is_guess(process, processes.get(&process.parent));
            let exec = Box::new(process.exec.clone());
            events.push(event(pid, Body::InitialProcess { parent, parent_is_guess, exec }));
        }
        let mut sockets: BTreeMap<u64, BTreeSet<Pid>> = BTreeMap::new();
        for (pid, process) in &processes {
            let open = process::open_files(*pid, process.root_mount);
            for Held { fd, file, flags } in open.files {
                if let Some(owner) = opener(*pid, process, &processes, fd) {
                    events.push(event(owner, Body::InitialFile { file, flags }));
                }
            }
            for inode in open.sockets {
                sockets.entry(inode).or_default().insert(*pid);
            }
        }
        // Who has it from its parent did not make it listen.
        let inherited = |pid: &Pid, holders: &BTreeSet<Pid>| {
            processes.get(pid).is_some_and(|process| holders.contains(&process.parent))
        };
        for (inode, local) in listening(&processes, process::listening) {
            let Some(holders) = sockets.get(&inode) else { continue };
            for pid in holders.iter().filter(|pid| !inherited(pid, holders)) {
                events.push(event(*pid, Body::InitialListen { local: local.clone() }));
            }
        }
        Ok(events)
    }

    /// Puts the container's processes into the kernel side's table: those in its cgroups that are inside its mount
    /// namespace, by the entry rule. Returns all that are there now.
    fn seed(&mut self, cgroup: CgroupId, top: &Path) -> Result<BTreeSet<Pid>, ProbeError> {
        let mut seeded = BTreeSet::new();
        for _ in 0..MAX_PASSES {
            let before = seeded.len();
            for pid in processes_of(top) {
                if seeded.contains(&pid)
                    || process::mount_namespace(pid).is_none_or(|ns| ns == self.host_mount_namespace())
                    || process::is_runtime(pid)
                {
                    continue;
                }
                // Where /proc shows it to hang may be a guess, so it shares its place with nothing.
                let state =
                    abi::ProcessState { cgroup: cgroup.0, place: rand::random(), lineage: rand::random() };
                match self.kernel.processes.insert(pid.0, state, BPF_NOEXIST) {
                    Ok(()) => {}
                    Err(_) if self.kernel.processes.get(&pid.0, 0).is_ok() => {} // it entered by itself
                    Err(source) => return Err(map_error("processes")(source)),
                }
                seeded.insert(pid);
            }
            if seeded.len() == before {
                break;
            }
        }
        Ok(seeded)
    }

    /// The current command line of each process that still lives: its title, where it differs from what it was executed with.
    pub fn titles(pids: &[Pid]) -> Vec<(Pid, Vec<wsp_schemas::text::RawText>)> {
        pids.iter().filter_map(|pid| Some((*pid, process::command_line(*pid)?))).collect()
    }
}

/// Thread groups in a cgroup and below. A threaded cgroup refuses the file; its processes are in the cgroup above.
fn processes_of(top: &Path) -> BTreeSet<Pid> {
    let directories =
        std::iter::once(top.to_path_buf()).chain(cgroup::descendants(top).into_iter().map(|(_, path)| path));
    let lists = directories.filter_map(|directory| fs::read_to_string(directory.join("cgroup.procs")).ok());
    lists
        .flat_map(|list| list.lines().filter_map(|line| line.parse().ok().map(Pid)).collect::<Vec<_>>())
        .collect()
}

/// A parent that /proc shows may be one that the kernel assigned when the real one died: the reaper of the pid namespace (or a
/// subreaper, which /proc does not mark). Where it runs the same program the guess is as good as the truth: direct repeats
/// fold. Without a parent in the container the process came from outside, except in the host's pid namespace, where an
/// orphan's parent is outside too.
fn is_guess(process: &Process, parent: Option<&Process>) -> bool {
    match parent {
        Some(parent) => parent.exec.ns_pid == 1 && parent.exec.exe.path != process.exec.exe.path,
        None => process.exec.pid_ns_level == 0 && process.parent == Pid(1),
    }
}

/// Who opened what a process holds, as far as it can be told; none where its parent holds the same. Standard descriptors were
/// redirected by who forked it, before it executed.
fn opener(pid: Pid, process: &Process, processes: &BTreeMap<Pid, Process>, fd: i32) -> Option<Pid> {
    let Some(parent) = processes.get(&process.parent) else { return Some(pid) };
    if process::is_shared(pid, process.parent, fd) {
        return None;
    }
    let redirected = fd <= libc::STDERR_FILENO && !is_guess(process, Some(parent));
    Some(if redirected { process.parent } else { pid })
}

/// What listens in the network namespaces of these processes, by inode. `listening_by` is none for a process that died meanwhile:
/// its namespace is then asked for by the next one in it.
fn listening(
    processes: &BTreeMap<Pid, Process>,
    listening_by: impl Fn(Pid) -> Option<Vec<(u64, Endpoint)>>,
) -> Vec<(u64, Endpoint)> {
    let (mut namespaces, mut found) = (BTreeSet::new(), Vec::new());
    for (pid, process) in processes {
        if !namespaces.contains(&process.net_ns)
            && let Some(sockets) = listening_by(*pid)
        {
            namespaces.insert(process.net_ns);
            found.extend(sockets);
        }
    }
    found
}

fn parents_first(processes: &BTreeMap<Pid, Process>) -> Vec<Pid> {
    let mut children: BTreeMap<Pid, Vec<Pid>> = BTreeMap::new();
    let mut open: Vec<Pid> = Vec::new();
    for (pid, process) in processes {
        if processes.contains_key(&process.parent) && process.parent != *pid {
            children.entry(process.parent).or_default().push(*pid);
        } else {
            open.push(*pid);
        }
    }
    let mut order = Vec::with_capacity(processes.len());
    while let Some(pid) = open.pop() {
        order.push(pid);
        open.extend(children.remove(&pid).into_iter().flatten());
    }
    order
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{Address, Exec, Transport};

    #[test]
    fn a_process_that_died_meanwhile_hides_no_listening_socket() {
        let in_namespace = |net_ns| Process { net_ns, ..process(1, 2, "/a") };
        let processes = BTreeMap::from([
            (Pid(300), in_namespace(7)),
            (Pid(301), in_namespace(7)),
            (Pid(302), in_namespace(7)),
            (Pid(303), in_namespace(8)),
        ]);
        let socket = |inode| {
            (inode, Endpoint { protocol: Transport::Tcp, address: Address::Path("/a".into()), port: 80 })
        };
        let found = listening(&processes, |pid| (pid != Pid(300)).then(|| vec![socket(pid.0.into())]));
        assert_eq!(found, [socket(301), socket(303)]);
    }

    fn process(parent: u32, ns_pid: u32, exe: &str) -> Process {
        let mut exec = Exec { ns_pid, pid_ns_level: 1, ..Exec::default() };
        exec.exe.path = exe.into();
        Process { parent: Pid(parent), exec, root_mount: None, net_ns: 0 }
    }

    #[test]
    fn parents_come_first() {
        let processes = BTreeMap::from([
            (Pid(5), process(9, 3, "/b")),
            (Pid(9), process(2, 1, "/a")),
            (Pid(7), process(5, 4, "/c")),
        ]);
        assert_eq!(parents_first(&processes), [Pid(9), Pid(5), Pid(7)]);
    }

    #[test]
    fn only_another_program_under_the_reaper_is_a_guess() {
        let reaper = process(2, 1, "/sbin/init");
        assert!(is_guess(&process(9, 3, "/b"), Some(&reaper)));
        assert!(!is_guess(&process(9, 3, "/sbin/init"), Some(&reaper)));
        assert!(!is_guess(&process(9, 3, "/b"), Some(&process(9, 2, "/c"))));
        assert!(!is_guess(&process(900, 7, "/b"), None));
    }
}
