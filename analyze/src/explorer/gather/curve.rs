//! What a profile knew after so many snapshots.

use wsp_schemas::identity::Kind;

use crate::explorer::contract::CurvePoint;
use crate::functions::MemberSet;
use crate::jobs::merge::Course;
use crate::stats::Incidence;

/// Points of a curve, at most.
const POINTS: u32 = 40;

/// A node, as far as a curve needs it.
pub(super) struct Point {
    pub(super) kind: Kind,
    pub(super) is_startup: bool,
    pub(super) members: MemberSet,
}

/// The curve of a revision and its nodes, in which a pattern is one node. Which nodes are folded is as of now.
pub(super) fn curve(course: &Course, nodes: &[Point]) -> Vec<CurvePoint> {
    let all = course.snapshots();
    let steps = all.min(POINTS);
    // Evenly spread, and the last one is the end.
    let at = |step: u32| u32::try_from(u64::from(all) * u64::from(step) / u64::from(steps)).unwrap_or(all);
    (1..=steps).map(|step| point(course, nodes, at(step))).collect()
}

fn point(course: &Course, nodes: &[Point], snapshots: u32) -> CurvePoint {
    let earlier = course.first(snapshots);
    let mut scorer = earlier.scorer();
    let mut known = 0;
    let mut incidence = Incidence::default();
    for node in nodes {
        let then: MemberSet = node.members.iter().take_while(|ordinal| *ordinal < snapshots).collect();
        if then.iter().next().is_some()
            && let Some(score) = scorer.score(node.kind, node.is_startup, &then)
        {
            known += 1;
            incidence.add(score.container_count);
        }
    }
    CurvePoint {
        snapshots,
        containers: earlier.containers(),
        hosts: earlier.hosts(),
        nodes: known,
        hours: course.span(snapshots).as_seconds_f64() / 3600.0,
        coverage: incidence.coverage(earlier.containers()).map(|(coverage, _)| coverage),
    }
}
