//! The replay of one workload, for people.

use comfy_table::presets::UTF8_FULL_CONDENSED;
use comfy_table::{CellAlignment, Table};
use wsp_schemas::image::Workload;
use wsp_schemas::text::for_display;

use super::Answer;
use crate::jobs::backtest::{History, Later, Point, Threshold};

/// Later containers below which their mean says little.
const FEW: u32 = 5;
/// Share of a container's nodes that makes its profile a known one.
const KNOWN: f64 = 0.95;

pub(super) const LEGEND: &str = "\
missed: nodes that only later snapshots showed, of whatever container
predicted: share of a next container's nodes that is known, by Good–Turing from the snapshots learned from (from 3 containers on)
known, novel nodes, any novel: means over the later containers, those without a snapshot among the ones learned from";

const COLUMNS: [&str; 11] = [
    "learned from",
    "snapshots",
    "containers",
    "hosts",
    "nodes",
    "missed",
    "predicted",
    "later containers",
    "known",
    "novel nodes",
    "any novel",
];

/// Heading, table and advice.
pub(super) fn text(workload: &Workload, history: &History, answers: &[Answer]) -> String {
    let mut table = Table::new();
    table.load_style(UTF8_FULL_CONDENSED);
    table.set_header(COLUMNS);
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    for answer in answers.iter().filter(|answer| answer.reached) {
        table.add_row(row(&amount(answer.threshold), &answer.point));
    }
    table.add_row(row("all", &history.at(history.snapshots())));
    let mut text = format!(
        "{}\n{}, {}, {}\n{table}\n",
        for_display(&workload.to_string()),
        counted(history.snapshots(), "snapshot"),
        counted(history.containers(), "container"),
        span(history),
    );
    let beyond = beyond(answers);
    if !beyond.is_empty() {
        text += &format!("the history ends before {}\n", beyond.join(" and "));
    }
    text + &advice(answers) + "\n"
}

/// Thresholds that the history does not reach: `50, 100 snapshots`, `24 hours`.
fn beyond(answers: &[Answer]) -> Vec<String> {
    let (mut snapshots, mut hours) = (Vec::new(), Vec::new());
    for answer in answers.iter().filter(|answer| !answer.reached) {
        match answer.threshold {
            Threshold::Snapshots(n) => snapshots.push(n.to_string()),
            Threshold::Hours(n) => hours.push(n.to_string()),
        }
    }
    let units = [(snapshots, "snapshots"), (hours, "hours")];
    let units = units.into_iter().filter(|(numbers, _)| !numbers.is_empty());
    units.map(|(numbers, unit)| format!("{} {unit}", numbers.join(", "))).collect()
}

fn row(name: &str, point: &Point) -> Vec<String> {
    let later = |value: &dyn Fn(Later) -> String| point.later.map_or_else(|| "–".to_owned(), value);
    vec![
        name.to_owned(),
        point.snapshots.to_string(),
        point.containers.to_string(),
        point.hosts.to_string(),
        point.nodes.to_string(),
        point.missed_nodes.to_string(),
        point.predicted_coverage.map_or_else(|| "–".to_owned(), percent),
        point.later_containers.to_string(),
        later(&|later| percent(later.coverage)),
        later(&|later| format!("{:.1}", later.novel_nodes)),
        later(&|later| percent(later.novel_containers)),
    ]
}

/// What follows for a threshold in snapshots: the first from which on enough is known.
fn advice(answers: &[Answer]) -> String {
    let judged: Vec<(u32, &Point, Later)> = answers
        .iter()
        .filter(|answer| answer.reached)
        .filter_map(|answer| match (answer.threshold, answer.point.later) {
            (Threshold::Snapshots(n), Some(later)) => Some((n, &answer.point, later)),
            _ => None,
        })
        .collect();
    let Some((last, ..)) = judged.last() else {
        return unjudged(answers);
    };
    let enough = judged.iter().rposition(|(.., later)| later.coverage < KNOWN).map_or(0, |at| at + 1);
    let (text, (_, point, later)) = match judged.get(enough) {
        Some(first) => (format!("from {} on, a new container shows", counted(first.0, "snapshot")), first),
        None => (
            format!("even after {}, a new container shows", counted(*last, "snapshot")),
            &judged[judged.len() - 1],
        ),
    };
    let few = if point.later_containers < FEW {
        format!("; only {} to judge by", counted(point.later_containers, "later container"))
    } else {
        String::new()
    };
    format!("{text} {:.1} unknown nodes ({} known){few}", later.novel_nodes, percent(later.coverage))
}

/// Where all containers were there from the beginning, only their own later snapshots tell anything.
fn unjudged(answers: &[Answer]) -> String {
    let text = "no container came later than the snapshots learned from: there is no new one to judge by";
    let first = answers.iter().find(|answer| answer.reached && answer.point.missed_nodes > 0);
    first.map_or_else(
        || text.to_owned(),
        |first| {
            let (missed, amount) = (first.point.missed_nodes, amount(first.threshold));
            format!("{text}; the same containers showed {missed} further nodes after {amount}")
        },
    )
}

fn amount(threshold: Threshold) -> String {
    match threshold {
        Threshold::Snapshots(n) => counted(n, "snapshot"),
        Threshold::Hours(n) => counted(n, "hour"),
    }
}

fn counted(n: u32, what: &str) -> String {
    format!("{n} {what}{}", if n == 1 { "" } else { "s" })
}

fn percent(share: f64) -> String {
    format!("{:.1} %", share * 100.0)
}

fn span(history: &History) -> String {
    let minutes = history.span().num_minutes();
    match minutes {
        ..180 => counted(u32::try_from(minutes).unwrap_or_default(), "minute"),
        _ => counted(u32::try_from(minutes / 60).unwrap_or(u32::MAX), "hour"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(n: u32, later: Option<(u32, f64, f64)>) -> Answer {
        let point = Point {
            snapshots: n,
            containers: n,
            hosts: 1,
            nodes: 10,
            missed_nodes: 3,
            predicted_coverage: None,
            later_containers: later.map_or(0, |(containers, ..)| containers),
            later: later.map(|(_, coverage, novel_nodes)| Later {
                coverage,
                novel_nodes,
                novel_containers: 0.5,
            }),
        };
        Answer { threshold: Threshold::Snapshots(n), reached: true, point }
    }

    #[test]
    fn advice_names_the_threshold_from_which_on_enough_is_known() {
        let answers = [
            answer(5, Some((9, 0.96, 3.0))),
            answer(10, Some((8, 0.9, 4.0))),
            answer(20, Some((7, 0.987, 1.2))),
        ];
        assert_eq!(
            advice(&answers),
            "from 20 snapshots on, a new container shows 1.2 unknown nodes (98.7 % known)"
        );
        // 20 snapshots have nothing later: 10 are the last that can be judged.
        let answers = [answer(5, Some((3, 0.5, 3.0))), answer(10, Some((2, 0.9, 4.0))), answer(20, None)];
        assert_eq!(
            advice(&answers),
            "even after 10 snapshots, a new container shows 4.0 unknown nodes (90.0 % known); only 2 later containers to judge by"
        );
        assert!(advice(&[answer(5, None)]).ends_with("3 further nodes after 5 snapshots"));
        let mut unreached = answer(5, Some((9, 1.0, 0.0)));
        unreached.reached = false;
        assert!(advice(&[unreached]).contains("no new one to judge by"));
    }
}
