//! How much of what a next container does is known: what `coverage` of a profile estimates, as it truly is.

use super::{CrowdTruth, NodeTruth, WorkloadTruth};
use crate::catalogue::{Class, count};

impl WorkloadTruth {
    /// Share of the nodes that a further container shows in `windows` windows which are known: expected known nodes over
    /// expected nodes. For a container that is watched from its start, without loss, attack, drift or missing sensor.
    ///
    /// A crowd counts as what folding makes of it: one pattern node for each node that a name makes.
    pub fn coverage(
        &self,
        windows: usize,
        known: impl Fn(&NodeTruth) -> bool,
        known_crowd: impl Fn(&CrowdTruth) -> bool,
    ) -> f64 {
        let (mut all, mut found) = (0.0, 0.0);
        for node in self.nodes.iter().filter(|node| node.class != Class::Attack) {
            let p = self.p_shown_in(node, windows);
            all += p;
            found += if known(node) { p } else { 0.0 };
        }
        for crowd in &self.crowds {
            let p = shown(crowd.p_container, crowd.p_window, windows) * count(crowd.kinds.len());
            all += p;
            found += if known_crowd(crowd) { p } else { 0.0 };
        }
        found / all
    }

    /// Nodes that a further container shows in `windows` windows and that are not known, expected; crowds as above.
    pub fn expected_novel_nodes(
        &self,
        windows: usize,
        known: impl Fn(&NodeTruth) -> bool,
        known_crowd: impl Fn(&CrowdTruth) -> bool,
    ) -> f64 {
        let nodes = self.nodes.iter().filter(|node| node.class != Class::Attack && !known(node));
        let crowds = self.crowds.iter().filter(|crowd| !known_crowd(crowd));
        nodes.map(|node| self.p_shown_in(node, windows)).sum::<f64>()
            + crowds.map(|c| shown(c.p_container, c.p_window, windows) * count(c.kinds.len())).sum::<f64>()
    }

    /// Probability that a container, watched from its start for that many windows, shows a node of the catalogue.
    pub fn p_shown_in(&self, node: &NodeTruth, windows: usize) -> f64 {
        let group = &self.groups[node.group];
        shown(group.p_container, group.p_window, if group.class == Class::Startup { 1 } else { windows })
    }
}

fn shown(p_container: f64, p_window: f64, windows: usize) -> f64 {
    p_container * (1.0 - (1.0 - p_window).powi(i32::try_from(windows).unwrap_or(i32::MAX)))
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use crate::fleet::Fleet;
    use crate::spec::FleetSpec;
    use crate::truth::Truth;

    #[test]
    fn coverage_is_what_further_containers_find_known() {
        let spec =
            FleetSpec { images: 1, versions: 1, containers: 600, snapshots: 2, ..FleetSpec::undisturbed() };
        let workload = Fleet::new(spec).unwrap().workloads().next().unwrap();
        let truth = Truth::of(&workload);
        let (learning, later) = truth.containers.split_at(10);
        let shown = |containers: &[_]| {
            Truth { workload: truth.workload.clone(), containers: containers.to_vec() }
                .expected(|_, _| true)
                .nodes
        };
        let known: HashSet<String> = shown(learning).into_keys().collect();
        let (mut all, mut found) = (0.0, 0.0);
        let catalogue: HashSet<&str> = truth.workload.nodes.iter().map(|node| node.id.as_str()).collect();
        for (id, node) in shown(later).iter().filter(|(id, _)| catalogue.contains(id.as_str())) {
            all += node.container_count as f64;
            found += if known.contains(id) { node.container_count as f64 } else { 0.0 };
        }
        let mut without_crowds = truth.workload.clone();
        without_crowds.crowds.clear();
        let coverage = without_crowds.coverage(2, |node| known.contains(&node.id), |_| true);
        assert!((coverage - found / all).abs() < 0.01, "{coverage} {}", found / all);
        assert!((0.8..0.999).contains(&coverage), "{coverage}");
        let novel = without_crowds.expected_novel_nodes(2, |node| known.contains(&node.id), |_| true);
        assert!((novel - (all - found) / 590.0).abs() < 2.0, "{novel}");
        assert!(truth.workload.coverage(2, |_| true, |_| false) < 1.0);
    }
}
