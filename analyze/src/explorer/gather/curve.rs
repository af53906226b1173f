//! What a profile knew after so many snapshots.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;

use crate::explorer::contract::{Container, CurvePoint, Node, Snapshot};
use crate::functions::MemberSet;
use crate::jobs::backtest::{History, Shot};

/// Points of a curve, at most.
const POINTS: u32 = 60;

/// The curve of a profile's admitted snapshots, which come by ordinal, and of its nodes; patterns count as one.
pub(super) fn curve(snapshots: &[Snapshot], containers: &[Container], nodes: &[Node]) -> Vec<CurvePoint> {
    let shots: Vec<Shot> = snapshots
        .iter()
        .filter(|snapshot| snapshot.ordinal.is_some())
        .filter_map(|snapshot| shot(snapshot, containers))
        .collect();
    let members = nodes.iter().filter(|node| node.collapsed_into.is_none()).filter_map(|node| {
        let bytes = BASE64.decode(&node.members).ok()?;
        MemberSet::from_bytes(&bytes).ok()
    });
    let Some(history) = History::new(&shots, &members.collect::<Vec<_>>()) else { return Vec::new() };
    let all = history.snapshots();
    let steps = all.min(POINTS);
    (1..=steps)
        .map(|step| {
            // Evenly spread, and the last one is the end.
            let snapshots = u32::try_from(u64::from(all) * u64::from(step) / u64::from(steps)).unwrap_or(all);
            let point = history.at(snapshots);
            CurvePoint {
                snapshots,
                containers: point.containers,
                hosts: point.hosts,
                nodes: point.nodes,
                hours: history.hours(snapshots),
                coverage: point.predicted_coverage,
            }
        })
        .collect()
}

fn shot(snapshot: &Snapshot, containers: &[Container]) -> Option<Shot> {
    let time =
        |text: &Option<String>| Some(chrono::DateTime::parse_from_rfc3339(text.as_deref()?).ok()?.to_utc());
    let container = containers.get(snapshot.container?)?;
    Some(Shot {
        host: container.host.clone(),
        container: container.id.clone(),
        start: time(&snapshot.window_start)?,
        end: time(&snapshot.window_end)?,
    })
}
