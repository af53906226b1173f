//! Counts, commonality and flags of every node: a function of its members and the ledger.

use std::collections::HashMap;

use wsp_schemas::identity::Kind;

use super::ledger::{LedgerRow, makes_eligible};
use crate::functions::MemberSet;
use crate::stats::{fisher_exact, wilson};

/// A node's flags need at least this many containers.
const STABLE_CONTAINERS: u32 = 6;
const LATE_CONTAINERS: u32 = 5;
/// `stable`: half the width of the Wilson interval is at most this …
const STABLE_HALF_WIDTH: f64 = 0.1;
/// … and the two halves of the containers do not differ at this level.
const STABLE_P: f64 = 0.01;
/// A sibling that at most one container of so many shows may be folded.
const RARE_ONE_OF: u32 = 10;
/// In a single container, so many snapshots tell what is rare.
const RARE_SNAPSHOTS: usize = 8;

/// What the ledger says about the snapshots of one revision.
#[derive(Debug)]
pub(super) struct Observers {
    /// By ordinal.
    snapshots: Vec<Observer>,
    containers: u32,
    hosts: u32,
    eligible: HashMap<(Kind, bool), Eligible>,
}

#[derive(Debug, Clone, Copy)]
struct Observer {
    /// Number of its container, by first appearance.
    container: u32,
    /// Number of its host, by first appearance.
    host: u32,
}

/// The snapshots that could have shown a node of one kind and phase.
#[derive(Debug)]
struct Eligible {
    /// Some snapshot had a sensor for the kind.
    live: bool,
    /// By ordinal: nothing of the kind was lost.
    lossless: Vec<bool>,
    /// By ordinal: eligible.
    snapshots: Vec<bool>,
    snapshot_count: u32,
    containers: u32,
    first_half: u32,
}

/// What follows for one node.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Score {
    pub(crate) snapshot_count: u32,
    pub(crate) container_count: u32,
    pub(crate) host_count: u32,
    pub(crate) eligible_containers: u32,
    pub(crate) commonality: Option<f64>,
    pub(crate) interval: Option<(f64, f64)>,
    pub(crate) snapshot_commonality: Option<f64>,
    pub(crate) lossy_count: u32,
    /// Eligible containers of the first half: those that have it, of how many.
    pub(crate) first_half: (u32, u32),
    pub(crate) stable: Option<bool>,
    pub(crate) rare: bool,
    pub(crate) late: Option<bool>,
}

impl Observers {
    /// From the admitted rows of a revision, in order of their ordinals.
    pub(super) fn new(admitted: &[&LedgerRow]) -> Self {
        let mut numbers = (HashMap::new(), HashMap::new());
        let number = |map: &mut HashMap<String, u32>, name: &str| {
            let next = u32::try_from(map.len()).unwrap_or(u32::MAX);
            *map.entry(name.to_owned()).or_insert(next)
        };
        let snapshots: Vec<Observer> = admitted
            .iter()
            .filter_map(|row| row.seen.as_ref())
            .map(|seen| Observer {
                container: number(&mut numbers.0, &seen.container()),
                host: number(&mut numbers.1, &seen.host),
            })
            .collect();
        let count = |map: &HashMap<String, u32>| u32::try_from(map.len()).unwrap_or(u32::MAX);
        let mut observers = Self {
            snapshots,
            containers: count(&numbers.0),
            hosts: count(&numbers.1),
            eligible: HashMap::new(),
        };
        for kind in Kind::ALL {
            for startup in [false, true] {
                let eligible = observers.eligible(admitted, kind, startup);
                observers.eligible.insert((kind, startup), eligible);
            }
        }
        observers
    }

    /// A container is eligible with a lossless snapshot of the kind; for a startup node with one that covers its start.
    /// A snapshot is, where it is a lossless one of such a container; for a startup node where its window also reaches into the
    /// container's startup.
    fn eligible(&self, admitted: &[&LedgerRow], kind: Kind, startup: bool) -> Eligible {
        let seen = || admitted.iter().filter_map(|row| row.seen.as_ref()).zip(&self.snapshots);
        let lossless: Vec<bool> = seen().map(|(seen, _)| seen.lossless(kind)).collect();
        let mut containers = vec![false; self.containers as usize];
        for (seen, observer) in seen() {
            let state = seen.completeness.get(kind.as_str());
            containers[observer.container as usize] |=
                state.is_some_and(|state| makes_eligible(state, seen.covers_start, startup));
        }
        let snapshots: Vec<bool> = seen()
            .zip(&lossless)
            .map(|((seen, observer), lossless)| {
                *lossless && containers[observer.container as usize] && (!startup || seen.reaches_startup())
            })
            .collect();
        let count = |flags: &mut dyn Iterator<Item = &bool>| {
            u32::try_from(flags.filter(|flag| **flag).count()).unwrap_or(u32::MAX)
        };
        Eligible {
            live: seen().any(|(seen, _)| seen.completeness.contains_key(kind.as_str())),
            snapshot_count: count(&mut snapshots.iter()),
            containers: count(&mut containers.iter()),
            first_half: count(&mut containers.iter().take(self.half() as usize)),
            lossless,
            snapshots,
        }
    }

    /// Containers of the first half; the middle one of an odd number belongs to it.
    fn half(&self) -> u32 {
        self.containers.div_ceil(2)
    }

    pub(super) fn containers(&self) -> u32 {
        self.containers
    }

    pub(super) fn hosts(&self) -> u32 {
        self.hosts
    }

    /// Share of the containers with a lossless snapshot of a kind; none where its sensor was never live.
    pub(super) fn completeness(&self, kind: Kind) -> Option<f64> {
        let eligible = self.eligible.get(&(kind, false))?;
        eligible.live.then(|| f64::from(eligible.containers) / f64::from(self.containers))
    }

    /// The first ordinal of the second half of the snapshots.
    pub(super) fn half_of_snapshots(&self) -> u32 {
        u32::try_from(self.snapshots.len().div_ceil(2)).unwrap_or(u32::MAX)
    }

    /// Seen in at most one container of ten, and not in the only one; where there is only one, in one snapshot of several.
    pub(super) fn is_rare(&self, members: &MemberSet) -> bool {
        if self.containers < 2 {
            return self.snapshots.len() >= RARE_SNAPSHOTS && members.iter().nth(1).is_none();
        }
        let mut containers = Numbers::new(self.containers);
        for observer in members.iter().filter_map(|ordinal| self.snapshots.get(ordinal as usize)) {
            containers.insert(observer.container);
        }
        containers.count <= (self.containers / RARE_ONE_OF).max(1)
    }

    /// Scores nodes.
    pub(super) fn scorer(&self) -> Scorer<'_> {
        Scorer { observers: self, seen: Seen::new(self), differs: HashMap::new() }
    }
}

/// Scores nodes one after the other. Few pairs of counts occur in many nodes: what a test says of them is kept.
#[derive(Debug)]
pub(crate) struct Scorer<'a> {
    observers: &'a Observers,
    seen: Seen,
    differs: HashMap<(u32, u32, u32, u32), bool>,
}

impl Scorer<'_> {
    /// Scores one node; none where it has a member that the ledger does not have.
    pub(crate) fn score(&mut self, kind: Kind, startup: bool, members: &MemberSet) -> Option<Score> {
        let observers = self.observers;
        let eligible = observers.eligible.get(&(kind, startup))?;
        let seen = &mut self.seen;
        seen.clear();
        let mut lossy_count = 0;
        let mut snapshot_count = 0;
        for ordinal in members.iter().map(|ordinal| ordinal as usize) {
            let observer = *observers.snapshots.get(ordinal)?;
            seen.any.insert(observer.container);
            lossy_count += u32::from(!eligible.lossless[ordinal]);
            if eligible.snapshots[ordinal] {
                snapshot_count += 1;
                seen.eligible.insert(observer.container);
                seen.hosts.insert(observer.host);
            }
        }
        let (n, total) = (seen.eligible.count, eligible.containers);
        let first = seen.eligible.below(observers.half());
        let interval = wilson(n, total);
        let share = |n: u32, total: u32| (total > 0).then(|| f64::from(n) / f64::from(total));
        Some(Score {
            snapshot_count,
            container_count: n,
            host_count: seen.hosts.count,
            eligible_containers: total,
            commonality: share(n, total),
            interval,
            snapshot_commonality: share(snapshot_count, eligible.snapshot_count),
            lossy_count,
            first_half: (first, eligible.first_half),
            stable: interval.filter(|_| total >= STABLE_CONTAINERS).map(|(low, high)| {
                let counts = (first, eligible.first_half, n - first, total - eligible.first_half);
                (high - low) / 2.0 <= STABLE_HALF_WIDTH
                    && !*self
                        .differs
                        .entry(counts)
                        .or_insert_with(|| fisher_exact(counts.0, counts.1, counts.2, counts.3) < STABLE_P)
            }),
            rare: seen.any.count == 1 && observers.containers > 1,
            // The first container of the last quarter: 4 (c) >= 3 C.
            late: (observers.containers >= LATE_CONTAINERS).then(|| {
                seen.any
                    .lowest
                    .is_some_and(|container| 4 * u64::from(container) >= 3 * u64::from(observers.containers))
            }),
        })
    }
}

#[derive(Debug)]
struct Seen {
    any: Numbers,
    eligible: Numbers,
    hosts: Numbers,
}

impl Seen {
    fn new(observers: &Observers) -> Self {
        Self {
            any: Numbers::new(observers.containers),
            eligible: Numbers::new(observers.containers),
            hosts: Numbers::new(observers.hosts),
        }
    }

    fn clear(&mut self) {
        [&mut self.any, &mut self.eligible, &mut self.hosts].into_iter().for_each(Numbers::clear);
    }
}

/// A set of small numbers.
#[derive(Debug)]
struct Numbers {
    words: Vec<u64>,
    count: u32,
    lowest: Option<u32>,
}

impl Numbers {
    fn new(size: u32) -> Self {
        Self { words: vec![0; size.div_ceil(64) as usize], count: 0, lowest: None }
    }

    fn clear(&mut self) {
        self.words.fill(0);
        (self.count, self.lowest) = (0, None);
    }

    fn insert(&mut self, number: u32) {
        let (word, bit) = (&mut self.words[number as usize / 64], 1_u64 << (number % 64));
        if *word & bit == 0 {
            *word |= bit;
            self.count += 1;
            self.lowest = Some(self.lowest.map_or(number, |lowest| lowest.min(number)));
        }
    }

    fn below(&self, end: u32) -> u32 {
        let (full, rest) = (end as usize / 64, end % 64);
        let whole: u32 = self.words.iter().take(full).map(|word| word.count_ones()).sum();
        let part = self.words.get(full).map_or(0, |word| (word & ((1 << rest) - 1)).count_ones());
        whole + part
    }
}
