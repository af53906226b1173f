//! Whose turn it is: which containers are recorded, when there are more of them than slots. No clock and no I/O of its own.
//!
//! - A slot is for one window. When it ends and nobody waits, the same container goes on in it without a gap.
//! - Some slots are kept for containers that start. A start may also end the window that has been open longest of those
//!   that were opened mid-life; but each of them gets a share of its interval, or many starts would leave nothing of it.
//! - The others go to who waits: every other time to the workload with the fewest snapshots, and in between to who has
//!   waited longest. By the first rule alone new workloads would keep old ones waiting forever.
//! - Who has just been recorded gives way for a while, unless nobody else waits.
//! - Workloads whose profile is stable have what others leave: they come behind all who learn, and what starts of them
//!   keeps its slot only where those for starts and those who wait do without it. Who of them was not recorded for
//!   long counts as one who learns, for one window: what is never looked at can do what it likes.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use tokio::time::Instant;
use wsp_schemas::image::Workload;

use crate::event::CgroupId;

/// How long a container without a process keeps the slot that it took at its cgroup's creation: runtimes make cgroups for
/// helpers too, and a container may be set up long before it is started.
const UNSTARTED: Duration = Duration::from_secs(10);
/// By how much of the interval a window may be shorter, so that a fleet does not upload in step.
const JITTER: f64 = 0.1;
/// A window that was opened mid-life has this part of the interval before a start may end it.
const LEAST_PART: u32 = 4;
/// Workloads whose snapshots are counted beyond those that run.
const WORKLOADS_KEPT: usize = 4096;

/// How slots are used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SlotOptions {
    /// How many containers are recorded at once.
    pub slots: u32,
    /// How many of them are kept for containers that start: less than all.
    pub kept_for_starts: u32,
    /// Length of a window.
    pub interval: Duration,
    /// How long who was recorded gives way to others.
    pub recapture_wait: Duration,
    /// A container of a stable workload that waited for so long counts as one that learns; none: it is never recorded.
    pub stable_every: Option<Duration>,
}

/// What slots are used for, and what was missed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SlotCounts {
    /// Containers that are recorded now.
    pub recording: u64,
    /// Containers that run and wait for their turn, now.
    pub waiting: u64,
    /// Containers of stable workloads that run and are not recorded, now.
    pub skipped: u64,
    /// Containers that were recorded from their start on.
    pub starts: u64,
    /// Containers that started while no slot was free.
    pub missed_starts: u64,
    /// Windows that a start ended early.
    pub ended_for_starts: u64,
    /// Containers of stable workloads that started and gave their slot back.
    pub skipped_starts: u64,
}

/// What a container counts as when slots are shared out.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Key {
    /// Nobody has told yet what it runs.
    Own(CgroupId),
    Workload(Workload),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Nothing has run in it yet, or not since it ended.
    Unstarted,
    Running,
    /// It only holds a pod's namespaces, or its workload needs no more snapshots.
    Unwanted,
}

#[derive(Debug, Clone, Copy)]
struct Window {
    opened: Instant,
    ends: Instant,
    /// Opened for a container that starts.
    start: bool,
}

#[derive(Debug)]
struct Container {
    key: Key,
    phase: Phase,
    window: Option<Window>,
    waits_since: Instant,
    gives_way_until: Instant,
    /// Of its windows, those that count for its workload once that is known.
    snapshots: u64,
    standing: Standing,
}

/// How much there is to learn of a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Standing {
    /// What it runs is not known yet: as much as of any other.
    Unknown,
    Learning,
    Stable,
}

/// How a start gets a slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ForStart {
    /// One is free.
    Free,
    /// This one's window ends for it.
    Instead(CgroupId),
    /// None can be had.
    None,
}

/// Which container has which slot.
#[derive(Debug)]
pub(super) struct Slots {
    options: SlotOptions,
    containers: BTreeMap<CgroupId, Container>,
    snapshots: HashMap<Key, u64>,
    /// The next slot goes to who has waited longest.
    longest_next: bool,
    counts: SlotCounts,
    random: StdRng,
}

impl Slots {
    pub(super) fn new(options: SlotOptions, seed: u64) -> Self {
        Self {
            options,
            containers: BTreeMap::new(),
            snapshots: HashMap::new(),
            longest_next: false,
            counts: SlotCounts::default(),
            random: StdRng::seed_from_u64(seed),
        }
    }

    pub(super) fn counts(&self) -> SlotCounts {
        let waits = self.containers.values().filter(|container| container.waits());
        let (stable, waiting): (Vec<&Container>, Vec<_>) = waits.partition(|container| container.is_stable());
        SlotCounts {
            recording: self.used() as u64,
            waiting: waiting.len() as u64,
            skipped: stable.len() as u64,
            ..self.counts
        }
    }

    /// A container is there. `started`: something ran in it before.
    pub(super) fn met(&mut self, cgroup: CgroupId, started: bool, now: Instant) {
        self.containers.entry(cgroup).or_insert(Container {
            key: Key::Own(cgroup),
            phase: if started { Phase::Running } else { Phase::Unstarted },
            window: None,
            waits_since: now,
            gives_way_until: now,
            snapshots: 0,
            standing: Standing::Unknown,
        });
    }

    /// It is known what a container runs.
    pub(super) fn named(&mut self, cgroup: CgroupId, workload: Workload) {
        let Some(container) = self.containers.get_mut(&cgroup) else { return };
        if matches!(container.key, Key::Own(_)) {
            container.key = Key::Workload(workload);
            let before = std::mem::take(&mut container.snapshots);
            *self.snapshots.entry(container.key.clone()).or_default() += before;
        }
    }

    /// It is known whether the profile of what a container runs is stable. True where its window is not wanted for that: it
    /// should be closed without a snapshot. A window that was opened while it learned stays to its end.
    pub(super) fn judged(&mut self, cgroup: CgroupId, stable: bool) -> bool {
        let standing = if stable { Standing::Stable } else { Standing::Learning };
        let Some(container) = self.containers.get_mut(&cgroup) else { return false };
        let before = std::mem::replace(&mut container.standing, standing);
        let (phase, Some(window)) = (container.phase, container.window) else { return false };
        if before != Standing::Unknown || standing != Standing::Stable {
            return false;
        }
        let behind = self.options.stable_every.is_none()
            || self.containers.values().any(|other| other.waits() && !other.is_stable());
        if !behind && (!window.start || self.has_room()) {
            // From here on one like those that were opened mid-life.
            if let Some(window) =
                self.containers.get_mut(&cgroup).and_then(|container| container.window.as_mut())
            {
                window.start = false;
            }
            return false;
        }
        if window.start {
            self.counts.skipped_starts += 1;
            // As which it was counted when something ran.
            self.counts.starts = self.counts.starts.saturating_sub(u64::from(phase == Phase::Running));
        }
        true
    }

    /// It needs no snapshots; what it holds should be given back.
    pub(super) fn unwanted(&mut self, cgroup: CgroupId) {
        if let Some(container) = self.containers.get_mut(&cgroup) {
            container.phase = Phase::Unwanted;
        }
    }

    /// Something ran in a container. True where that was its start and it holds no slot.
    pub(super) fn ran(&mut self, cgroup: CgroupId, now: Instant) -> bool {
        let Some(container) = self.containers.get_mut(&cgroup) else { return false };
        if container.phase != Phase::Unstarted {
            return false;
        }
        container.phase = Phase::Running;
        container.waits_since = now;
        if container.window.is_none() {
            // A stable one waits like the others.
            return !container.is_stable();
        }
        self.counts.starts += 1;
        self.count_anew(cgroup, now);
        false
    }

    /// A window's time counts from the start of its container.
    fn count_anew(&mut self, cgroup: CgroupId, now: Instant) {
        let ends = now + self.length();
        if let Some(window) = self.containers.get_mut(&cgroup).and_then(|container| container.window.as_mut())
        {
            window.ends = ends;
        }
    }

    /// It is wanted again.
    pub(super) fn wanted(&mut self, cgroup: CgroupId, now: Instant) {
        if let Some(container) = self.containers.get_mut(&cgroup)
            && container.phase == Phase::Unwanted
        {
            container.phase = Phase::Running;
            container.waits_since = now;
        }
    }

    /// A start has found no slot.
    pub(super) fn missed(&mut self) {
        self.counts.missed_starts += 1;
    }

    /// How a container that starts now may be recorded.
    pub(super) fn for_start(&self, now: Instant) -> ForStart {
        if self.used() < self.slots() {
            return ForStart::Free;
        }
        let least = self.options.interval / LEAST_PART;
        let windows = self.windows().filter(|(_, window)| !window.start && window.opened + least <= now);
        windows
            .min_by_key(|(cgroup, window)| (!self.is_stable(*cgroup), window.opened))
            .map_or(ForStart::None, |(cgroup, _)| ForStart::Instead(cgroup))
    }

    /// A window was opened. `start`: for a container that starts.
    pub(super) fn opened(&mut self, cgroup: CgroupId, start: bool, now: Instant) {
        let ends = now + self.length();
        if let Some(container) = self.containers.get_mut(&cgroup) {
            container.window = Some(Window { opened: now, ends, start });
            self.counts.starts += u64::from(start && container.phase == Phase::Running);
        }
        // Starts do not take turns.
        self.longest_next ^= !start;
    }

    /// A window ended, and its container goes on in the next one.
    pub(super) fn turned(&mut self, cgroup: CgroupId, now: Instant) {
        self.count(cgroup);
        let ends = now + self.length();
        if let Some(container) = self.containers.get_mut(&cgroup) {
            container.window = Some(Window { opened: now, ends, start: false });
        }
    }

    /// A window was full before its time, and its container goes on in another one until then: who does much has its slot
    /// for no longer than others.
    pub(super) fn split(&mut self, cgroup: CgroupId) {
        self.count(cgroup);
    }

    /// Its window was closed and its slot is free. `snapshot`: there is one of it.
    pub(super) fn closed(&mut self, cgroup: CgroupId, snapshot: bool, now: Instant) {
        if snapshot {
            self.count(cgroup);
        }
        let wait = self.options.recapture_wait;
        if let Some(container) = self.containers.get_mut(&cgroup) {
            container.window = None;
            container.waits_since = now;
            container.gives_way_until = if snapshot { now + wait } else { now };
        }
    }

    /// Its window ended early for a start.
    pub(super) fn ended_for_start(&mut self) {
        self.counts.ended_for_starts += 1;
    }

    /// A container is no more; its slot is free.
    pub(super) fn gone(&mut self, cgroup: CgroupId) {
        self.containers.remove(&cgroup);
        self.snapshots.remove(&Key::Own(cgroup));
        if self.snapshots.len() > WORKLOADS_KEPT {
            let running: HashSet<&Key> = self.containers.values().map(|container| &container.key).collect();
            self.snapshots.retain(|key, _| running.contains(key));
        }
    }

    /// Something runs in it, as far as was seen.
    pub(super) fn runs(&self, cgroup: CgroupId) -> bool {
        self.containers.get(&cgroup).is_some_and(|container| container.phase == Phase::Running)
    }

    pub(super) fn holds(&self, cgroup: CgroupId) -> bool {
        self.containers.get(&cgroup).is_some_and(|container| container.window.is_some())
    }

    /// Containers whose workload is not known yet.
    pub(super) fn nameless(&self) -> impl Iterator<Item = CgroupId> + '_ {
        self.containers
            .iter()
            .filter(|(_, container)| matches!(container.key, Key::Own(_)))
            .map(|(cgroup, _)| *cgroup)
    }

    /// Who holds a slot to no end: nothing has run in it for a while, or nobody wants its snapshots.
    pub(super) fn idle(&self, now: Instant) -> Vec<CgroupId> {
        let idle = |container: &Container| match (container.phase, container.window) {
            (Phase::Unstarted, Some(window)) => window.opened + UNSTARTED <= now,
            (Phase::Unwanted, window) => window.is_some(),
            _ => false,
        };
        self.containers.iter().filter(|(_, container)| idle(container)).map(|(cgroup, _)| *cgroup).collect()
    }

    /// When the next window ends.
    pub(super) fn next_end(&self) -> Option<Instant> {
        self.ending().map(|(_, window)| window.ends).min()
    }

    /// The window that ended first, and whether its slot goes to somebody else.
    pub(super) fn ended(&self, now: Instant) -> Option<(CgroupId, bool)> {
        let (cgroup, window) =
            self.ending().filter(|(_, window)| window.ends <= now).min_by_key(|(_, window)| window.ends)?;
        let stable = self.is_stable(cgroup);
        let others_wait =
            self.waiting().any(|(_, container)| match (stable, self.is_behind(container, now)) {
                // Who learns has it even where it was recorded just before.
                (true, false) => true,
                (false, true) => false,
                _ => container.gives_way_until <= now,
            }) || (stable && self.options.stable_every.is_none());
        // One that was recorded from its start on goes on as one like the others.
        let stays = !others_wait && (!window.start || self.has_room());
        Some((cgroup, !stays))
    }

    /// Who is recorded next, where a slot is free for it.
    pub(super) fn next(&self, now: Instant) -> Option<CgroupId> {
        if self.used() >= self.slots() || !self.has_room() {
            return None;
        }
        let gives_way = |container: &Container| container.gives_way_until > now;
        let best = if self.longest_next {
            self.waiting().min_by_key(|(cgroup, container)| {
                (self.is_behind(container, now), gives_way(container), container.waits_since, *cgroup)
            })
        } else {
            self.waiting().min_by_key(|(cgroup, container)| {
                let snapshots = self.snapshots.get(&container.key).copied().unwrap_or_default();
                let behind = self.is_behind(container, now);
                (behind, gives_way(container), snapshots, container.waits_since, *cgroup)
            })
        };
        best.map(|(cgroup, _)| cgroup)
    }

    /// Who may be recorded, and is not.
    fn waiting(&self) -> impl Iterator<Item = (CgroupId, &Container)> {
        let never = self.options.stable_every.is_none();
        self.containers
            .iter()
            .filter(move |(_, container)| container.waits() && !(never && container.is_stable()))
            .map(|(cgroup, container)| (*cgroup, container))
    }

    fn is_stable(&self, cgroup: CgroupId) -> bool {
        self.containers.get(&cgroup).is_some_and(Container::is_stable)
    }

    /// Whether all who learn come before it.
    fn is_behind(&self, container: &Container, now: Instant) -> bool {
        let overdue =
            |every: Duration| container.waits_since.checked_add(every).is_some_and(|due| due <= now);
        container.is_stable() && !self.options.stable_every.is_some_and(overdue)
    }

    fn windows(&self) -> impl Iterator<Item = (CgroupId, Window)> + '_ {
        self.containers.iter().filter_map(|(cgroup, container)| Some((*cgroup, container.window?)))
    }

    /// Windows that end by their time. Who has not started yet gives its slot back in another way: [`Slots::idle`].
    fn ending(&self) -> impl Iterator<Item = (CgroupId, Window)> + '_ {
        let started = |cgroup: &CgroupId| {
            self.containers.get(cgroup).is_some_and(|container| container.phase != Phase::Unstarted)
        };
        self.windows().filter(move |(cgroup, _)| started(cgroup))
    }

    fn slots(&self) -> usize {
        self.options.slots as usize
    }

    fn used(&self) -> usize {
        self.windows().count()
    }

    /// Whether one more window may be open mid-life.
    fn has_room(&self) -> bool {
        let mid_life = self.windows().filter(|(_, window)| !window.start).count();
        let kept = self.options.kept_for_starts as usize;
        mid_life + 1 + kept <= self.slots()
    }

    fn count(&mut self, cgroup: CgroupId) {
        let Some(container) = self.containers.get_mut(&cgroup) else { return };
        if matches!(container.key, Key::Own(_)) {
            container.snapshots += 1;
        }
        *self.snapshots.entry(container.key.clone()).or_default() += 1;
    }

    fn length(&mut self) -> Duration {
        self.options.interval.mul_f64(1.0 - JITTER * self.random.random::<f64>())
    }
}

impl Container {
    fn waits(&self) -> bool {
        self.phase == Phase::Running && self.window.is_none()
    }

    fn is_stable(&self) -> bool {
        self.standing == Standing::Stable
    }
}
