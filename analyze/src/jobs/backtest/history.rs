//! The whole history of a workload, and what a profile learned from its first snapshots would have missed. No I/O.

use std::collections::HashMap;

use chrono::{DateTime, TimeDelta, Utc};

use crate::functions::MemberSet;
use crate::stats::Incidence;

/// One admitted snapshot, as far as a replay needs it.
#[derive(Debug, Clone)]
pub(super) struct Shot {
    pub(super) host: String,
    pub(super) container: String,
    pub(super) start: DateTime<Utc>,
    pub(super) end: DateTime<Utc>,
}

/// When learning stops.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Threshold {
    /// After so many snapshots.
    Snapshots(u32),
    /// With the last window that ends within so many hours of the first one's start.
    Hours(u32),
}

/// What a profile that stopped learning at some snapshot knows, and how that bore out.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Point {
    /// Snapshots it learned from.
    pub snapshots: u32,
    /// Their containers.
    pub containers: u32,
    /// Their hosts.
    pub hosts: u32,
    /// Nodes that they showed.
    pub nodes: u32,
    /// Nodes that only snapshots after them showed.
    pub missed_nodes: u32,
    /// Good–Turing coverage from these snapshots alone; none below 3 containers.
    pub predicted_coverage: Option<f64>,
    /// Containers that have no snapshot among them.
    pub later_containers: u32,
    /// What the later containers showed; none where there are none.
    pub later: Option<Later>,
}

/// Novelty of the containers that came after the learning.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Later {
    /// Mean share of a container's nodes that was known: the coverage that was observed.
    pub coverage: f64,
    /// Mean number of a container's nodes that was not known.
    pub novel_nodes: f64,
    /// Share of the containers that showed any such node.
    pub novel_containers: f64,
}

/// All snapshots of one workload, by ordinal, and who showed which node first when.
#[derive(Debug)]
pub struct History {
    start: DateTime<Utc>,
    /// By ordinal: end of its window.
    ends: Vec<DateTime<Utc>>,
    /// First ordinal of every container, and of every host, ascending.
    containers: Vec<u32>,
    hosts: Vec<u32>,
    /// By node: the containers that showed it, each with the ordinal that did so first.
    nodes: Vec<Vec<(u32, u32)>>,
}

impl History {
    /// None without a snapshot. Members beyond the snapshots are left out.
    pub(super) fn new(shots: &[Shot], members: &[MemberSet]) -> Option<Self> {
        let start = shots.first()?.start;
        let mut containers = Vec::new();
        let mut hosts = Vec::new();
        let mut numbers: HashMap<(&str, &str), u32> = HashMap::new();
        let mut known_hosts: HashMap<&str, ()> = HashMap::new();
        let mut container_of = Vec::with_capacity(shots.len());
        for (ordinal, shot) in (0_u32..).zip(shots) {
            // Container ids are unique on a host only where a runtime makes them short.
            let number = *numbers.entry((&shot.host, &shot.container)).or_insert_with(|| {
                containers.push(ordinal);
                count(containers.len() - 1)
            });
            container_of.push(number);
            known_hosts.entry(&shot.host).or_insert_with(|| hosts.push(ordinal));
        }
        let nodes = members.iter().map(|members| {
            let mut first: Vec<(u32, u32)> = members
                .iter()
                .filter_map(|ordinal| Some((*container_of.get(ordinal as usize)?, ordinal)))
                .collect();
            first.sort_unstable();
            first.dedup_by_key(|(container, _)| *container);
            first
        });
        let nodes = nodes.filter(|node| !node.is_empty()).collect();
        Some(Self { start, ends: shots.iter().map(|shot| shot.end).collect(), containers, hosts, nodes })
    }

    /// How many snapshots there are.
    pub fn snapshots(&self) -> u32 {
        count(self.ends.len())
    }

    /// How many containers there are.
    pub fn containers(&self) -> u32 {
        count(self.containers.len())
    }

    /// From the start of the first window to the end of the last.
    pub fn span(&self) -> TimeDelta {
        self.ends.iter().max().map_or_else(TimeDelta::zero, |end| *end - self.start)
    }

    /// The snapshots that a threshold admits; and whether the history goes so far.
    pub fn prefix(&self, threshold: Threshold) -> (u32, bool) {
        match threshold {
            Threshold::Snapshots(most) => (most.min(self.snapshots()), most <= self.snapshots()),
            Threshold::Hours(hours) => {
                let limit = TimeDelta::hours(i64::from(hours));
                // Ordinals are in the order of window ends.
                let within = self.ends.iter().take_while(|end| **end - self.start <= limit).count();
                (count(within), self.span() >= limit)
            }
        }
    }

    /// Where a profile of the first `prefix` snapshots stands.
    pub fn at(&self, prefix: u32) -> Point {
        let before = |ordinals: &[u32]| count(ordinals.partition_point(|ordinal| *ordinal < prefix));
        let containers = before(&self.containers);
        let mut incidence = Incidence::default();
        let mut nodes = 0;
        // Of every later container: its nodes, and those of them that are novel.
        let mut later = vec![(0_u32, 0_u32); self.containers.len() - containers as usize];
        for node in &self.nodes {
            let seen = count(node.iter().filter(|(_, ordinal)| *ordinal < prefix).count());
            if seen > 0 {
                nodes += 1;
                incidence.add(seen);
            }
            // Containers are numbered in the order of their first snapshots: the later ones stand at the end.
            let first_later = node.partition_point(|(container, _)| *container < containers);
            for (container, _) in &node[first_later..] {
                let (all, novel) = &mut later[(container - containers) as usize];
                *all += 1;
                *novel += u32::from(seen == 0);
            }
        }
        Point {
            snapshots: prefix.min(self.snapshots()),
            containers,
            hosts: before(&self.hosts),
            nodes,
            missed_nodes: count(self.nodes.len()) - nodes,
            predicted_coverage: incidence.coverage(containers).map(|(coverage, _)| coverage),
            later_containers: count(later.len()),
            later: Later::of(&later),
        }
    }
}

impl Later {
    /// Of (nodes, novel nodes) of each container; one that showed nothing has nothing novel.
    fn of(containers: &[(u32, u32)]) -> Option<Self> {
        if containers.is_empty() {
            return None;
        }
        let mean = |value: &dyn Fn(f64, f64) -> f64| {
            let sum: f64 =
                containers.iter().map(|(all, novel)| value(f64::from(*all), f64::from(*novel))).sum();
            sum / containers.len() as f64
        };
        Some(Self {
            coverage: mean(&|all, novel| if all > 0.0 { (all - novel) / all } else { 1.0 }),
            novel_nodes: mean(&|_, novel| novel),
            novel_containers: mean(&|_, novel| if novel > 0.0 { 1.0 } else { 0.0 }),
        })
    }
}

fn count(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use proptest::prelude::*;

    use super::*;

    fn shot(container: u32, hour: i64) -> Shot {
        let start = DateTime::from_timestamp(1_795_000_000, 0).unwrap() + TimeDelta::hours(hour);
        Shot {
            host: format!("h{}", container % 2),
            container: format!("c{container}"),
            start,
            end: start + TimeDelta::hours(1),
        }
    }

    fn members(ordinals: &[u32]) -> MemberSet {
        ordinals.iter().copied().collect()
    }

    /// Containers 0, 1, 0, 2, 3 in hours 0 to 4.
    fn history() -> History {
        let shots: Vec<Shot> =
            [0, 1, 0, 2, 3].into_iter().zip(0..).map(|(container, hour)| shot(container, hour)).collect();
        let nodes = [
            members(&[0, 1, 2, 3, 4]),
            members(&[0, 3]),
            // Seen by container 0 in its second snapshot only, and by container 2.
            members(&[2, 3]),
            members(&[4]),
        ];
        History::new(&shots, &nodes).unwrap()
    }

    #[test]
    fn counted_by_hand() {
        let history = history();
        assert_eq!(
            history.at(2),
            Point {
                snapshots: 2,
                containers: 2,
                hosts: 2,
                nodes: 2,
                missed_nodes: 2,
                predicted_coverage: None,
                later_containers: 2,
                // Container 2 has 3 nodes, 1 of them novel; container 3 has 2, 1 novel.
                later: Some(Later {
                    coverage: f64::midpoint(2.0 / 3.0, 0.5),
                    novel_nodes: 1.0,
                    novel_containers: 1.0
                }),
            }
        );
        // Container 0's second snapshot brings the third node.
        let third = history.at(3);
        assert_eq!((third.snapshots, third.containers, third.nodes, third.later_containers), (3, 2, 3, 2));
        let later = third.later.unwrap();
        assert_eq!((later.coverage, later.novel_nodes, later.novel_containers), (0.75, 0.5, 0.5));
    }

    #[test]
    fn the_prediction_is_made_from_the_prefix_alone() {
        // Three containers: the first node is in all, the two others in two of them.
        let four = history().at(4);
        assert_eq!((four.containers, four.nodes), (3, 3));
        assert_eq!(four.predicted_coverage, Some(1.0));
        let mut incidence = Incidence::default();
        [4, 2, 2, 1].into_iter().for_each(|n| incidence.add(n));
        let five = history().at(5);
        assert_eq!(five.predicted_coverage, incidence.coverage(4).map(|(coverage, _)| coverage));
        assert!(five.predicted_coverage.unwrap() < 1.0);
        assert_eq!((five.later_containers, five.later), (0, None));
    }

    #[test]
    fn thresholds_are_prefixes() {
        let history = history();
        assert_eq!(history.prefix(Threshold::Snapshots(3)), (3, true));
        assert_eq!(history.prefix(Threshold::Snapshots(5)), (5, true));
        assert_eq!(history.prefix(Threshold::Snapshots(6)), (5, false));
        assert_eq!(history.prefix(Threshold::Hours(1)), (1, true));
        assert_eq!(history.prefix(Threshold::Hours(4)), (4, true));
        assert_eq!(history.prefix(Threshold::Hours(6)), (5, false));
    }

    #[test]
    fn a_window_longer_than_the_hours_teaches_nothing() {
        let mut long = shot(0, 0);
        long.end = long.start + TimeDelta::hours(2);
        let history = History::new(&[long, shot(1, 2)], &[members(&[0, 1])]).unwrap();
        let (prefix, reached) = history.prefix(Threshold::Hours(1));
        let point = history.at(prefix);
        assert_eq!((prefix, reached, point.nodes, point.later_containers), (0, true, 0, 2));
        assert_eq!(point.later.unwrap().coverage, 0.0);
        assert!(History::new(&[], &[]).is_none());
    }

    #[test]
    fn one_container_id_on_two_hosts_is_two_containers() {
        let (one, mut two) = (shot(1, 0), shot(1, 1));
        two.host = "other".to_owned();
        assert_eq!(History::new(&[one, two], &[]).unwrap().containers(), 2);
    }

    proptest! {
        /// Sets of nodes, the slow way.
        #[test]
        fn a_replay_is_what_sets_of_nodes_say(
            containers in proptest::collection::vec(0..6_u32, 1..20),
            nodes in proptest::collection::vec(proptest::collection::btree_set(0..20_u32, 0..8), 0..12),
            prefix in 0..22_u32,
        ) {
            let shots: Vec<Shot> = containers.iter().zip(0..).map(|(c, hour)| shot(*c, hour)).collect();
            let sets: Vec<MemberSet> = nodes.iter().map(|set| set.iter().copied().collect()).collect();
            let point = History::new(&shots, &sets).unwrap().at(prefix);

            let lists = &nodes;
            let shown = |ordinal: u32| (0..lists.len()).filter(move |node| lists[*node].contains(&ordinal));
            let ordinals = 0..count(containers.len());
            let known: BTreeSet<usize> =
                ordinals.clone().filter(|o| *o < prefix).flat_map(shown).collect();
            let early: BTreeSet<u32> =
                containers.iter().take(prefix as usize).copied().collect();
            let mut late: BTreeMap<u32, BTreeSet<usize>> =
                containers.iter().filter(|c| !early.contains(c)).map(|c| (*c, Default::default())).collect();
            for ordinal in ordinals {
                if let Some(set) = late.get_mut(&containers[ordinal as usize]) {
                    set.extend(shown(ordinal));
                }
            }
            prop_assert_eq!(point.nodes as usize, known.len());
            let all = (0..count(containers.len())).flat_map(shown).collect::<BTreeSet<_>>();
            prop_assert_eq!(point.missed_nodes as usize, all.len() - known.len());
            prop_assert_eq!(point.containers as usize, early.len());
            prop_assert_eq!(point.later_containers as usize, late.len());
            prop_assert_eq!(point.later.is_some(), !late.is_empty());
            if let Some(later) = point.later {
                let novel: usize = late.values().map(|set| set.difference(&known).count()).sum();
                prop_assert!((later.novel_nodes - novel as f64 / late.len() as f64).abs() < 1e-9);
                let any = late.values().filter(|set| !set.is_subset(&known)).count();
                prop_assert!((later.novel_containers - any as f64 / late.len() as f64).abs() < 1e-9);
            }
        }
    }
}
