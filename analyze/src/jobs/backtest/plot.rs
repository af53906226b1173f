//! Learning curves as one SVG, readable on light and dark paper, without script. Drawn by hand: it is lines, text and a
//! style sheet, and plotting crates write fixed colours.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use wsp_schemas::image::Workload;
use wsp_schemas::text::for_display;

use super::history::History;

const WIDTH: f64 = 940.0;
const HEIGHT: f64 = 480.0;
const LEFT: f64 = 70.0;
const RIGHT: f64 = 640.0;
const TOP: f64 = 64.0;
const BOTTOM: f64 = 420.0;
/// Workloads with a colour of their own; the others share one.
const COLOURS: usize = 8;
/// Characters of a name in the legend.
const NAME: usize = 32;

const STYLE: &str = "
text { font: 13px system-ui, sans-serif; fill: #1f2328 }
.title { font-size: 17px; font-weight: 600 }
.small { font-size: 12px; fill: #59636e }
.paper { fill: #ffffff }
.grid { stroke: #d1d9e0; stroke-width: 1 }
.axis { stroke: #59636e; stroke-width: 1 }
.line { fill: none; stroke-width: 1.5; stroke-linejoin: round; stroke: #8b949e }
.dot { fill: #8b949e }
.predicted { stroke-dasharray: 5 4 }
.mean { stroke-width: 3.5; stroke: #1f2328 }
.mean.predicted { stroke-dasharray: 10 6 }
.dot.mean { fill: #1f2328 }
.c0 { stroke: #0969da } .c1 { stroke: #bc4c00 } .c2 { stroke: #1a7f37 } .c3 { stroke: #8250df }
.c4 { stroke: #bf3989 } .c5 { stroke: #9a6700 } .c6 { stroke: #0b7285 } .c7 { stroke: #cf222e }
.dot.c0 { fill: #0969da } .dot.c1 { fill: #bc4c00 } .dot.c2 { fill: #1a7f37 } .dot.c3 { fill: #8250df }
.dot.c4 { fill: #bf3989 } .dot.c5 { fill: #9a6700 } .dot.c6 { fill: #0b7285 } .dot.c7 { fill: #cf222e }
@media (prefers-color-scheme: dark) {
text { fill: #e6edf3 } .small { fill: #9198a1 } .paper { fill: #0d1117 } .grid { stroke: #2f353d } .axis { stroke: #9198a1 }
.mean { stroke: #f0f6fc } .dot.mean { fill: #f0f6fc }
.c0 { stroke: #58a6ff } .c1 { stroke: #f0883e } .c2 { stroke: #3fb950 } .c3 { stroke: #bc8cff }
.c4 { stroke: #f778ba } .c5 { stroke: #d29922 } .c6 { stroke: #39c5cf } .c7 { stroke: #ff7b72 }
.dot.c0 { fill: #58a6ff } .dot.c1 { fill: #f0883e } .dot.c2 { fill: #3fb950 } .dot.c3 { fill: #bc8cff }
.dot.c4 { fill: #f778ba } .dot.c5 { fill: #d29922 } .dot.c6 { fill: #39c5cf } .dot.c7 { fill: #ff7b72 }
}
";

/// Coverage by number of snapshots; none where there is none.
type Curve = Vec<(u32, Option<f64>)>;

struct Curves {
    observed: Curve,
    predicted: Curve,
}

/// Draws observed and predicted coverage against the snapshots that were learned from, a line a workload.
pub fn svg(histories: &BTreeMap<Workload, History>) -> String {
    let longest = histories.values().map(History::snapshots).max().unwrap_or(1);
    let steps = steps(longest);
    let curves: Vec<Curves> = histories.values().map(|history| Curves::of(history, &steps)).collect();
    let all = || curves.iter().flat_map(|curves| curves.observed.iter().chain(&curves.predicted));
    let lowest = all().filter_map(|(_, share)| *share).fold(0.9_f64, f64::min);
    let axes = Axes { longest: f64::from(longest.max(2)), lowest: (lowest * 10.0).floor() / 10.0 };

    let mut out = String::new();
    // Writing to a string does not fail.
    let _ = axes.draw(&mut out);
    // Lines and their meaning do not change with the number of workloads; a mean of one is the one.
    for (at, curves) in curves.iter().enumerate() {
        let class = if curves_are_one(histories) { "mean".to_owned() } else { colour(at) };
        let _ = axes.line(&mut out, &curves.predicted, &format!("{class} predicted"));
        let _ = axes.line(&mut out, &curves.observed, &class);
    }
    if !curves_are_one(histories) {
        let mean = |pick: fn(&Curves) -> &Curve| mean(&steps, &curves.iter().map(pick));
        let _ = axes.line(&mut out, &mean(|curves| &curves.predicted), "mean predicted");
        let _ = axes.line(&mut out, &mean(|curves| &curves.observed), "mean");
    }
    let _ = legend(&mut out, histories);
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" width=\"{WIDTH}\" height=\"{HEIGHT}\" role=\"img\" \
         aria-labelledby=\"title desc\">\n<title id=\"title\">Learning curves</title>\n<desc id=\"desc\">Share of a later container's \
         nodes that is known, against the snapshots learned from, by workload.</desc>\n<style>{STYLE}</style>\n\
         <rect class=\"paper\" width=\"{WIDTH}\" height=\"{HEIGHT}\"/>\n{out}</svg>\n"
    )
}

fn curves_are_one(histories: &BTreeMap<Workload, History>) -> bool {
    histories.len() == 1
}

fn colour(at: usize) -> String {
    if at < COLOURS { format!("c{at}") } else { String::new() }
}

/// Whole numbers that a logarithmic axis shows evenly, and the last one.
fn steps(longest: u32) -> Vec<u32> {
    let next = |step: &u32| step.checked_add((step / 7).max(1));
    let mut steps: Vec<u32> =
        std::iter::successors(Some(1), next).take_while(|step| *step < longest).collect();
    steps.push(longest);
    steps
}

impl Curves {
    fn of(history: &History, steps: &[u32]) -> Self {
        let points =
            steps.iter().filter(|step| **step <= history.snapshots()).map(|step| (*step, history.at(*step)));
        let points: Vec<_> = points.collect();
        Self {
            observed: points
                .iter()
                .map(|(step, point)| (*step, point.later.map(|later| later.coverage)))
                .collect(),
            predicted: points.iter().map(|(step, point)| (*step, point.predicted_coverage)).collect(),
        }
    }
}

/// The mean where at least half of the curves have a value: further on it would jump as the shorter histories end.
fn mean<'a>(steps: &[u32], curves: &(impl ExactSizeIterator<Item = &'a Curve> + Clone)) -> Curve {
    let least = curves.len().div_ceil(2);
    steps
        .iter()
        .enumerate()
        .map(|(at, step)| {
            let values: Vec<f64> = curves
                .clone()
                .filter_map(|curve| curve.get(at).filter(|point| point.0 == *step)?.1)
                .collect();
            let sum: f64 = values.iter().sum();
            (*step, (!values.is_empty() && values.len() >= least).then(|| sum / values.len() as f64))
        })
        .collect()
}

/// Where values stand on the paper.
struct Axes {
    longest: f64,
    lowest: f64,
}

impl Axes {
    fn x(&self, snapshots: f64) -> f64 {
        LEFT + (RIGHT - LEFT) * snapshots.ln() / self.longest.ln()
    }

    fn y(&self, share: f64) -> f64 {
        BOTTOM - (BOTTOM - TOP) * (share - self.lowest) / (1.0 - self.lowest)
    }

    fn draw(&self, out: &mut String) -> std::fmt::Result {
        writeln!(
            out,
            "<text class=\"title\" x=\"{LEFT}\" y=\"32\">What a new container does, and the profile knows already</text>"
        )?;
        let step = if self.lowest < 0.45 { 20 } else { 10 };
        for percent in (0..=100_u8).step_by(step).map(f64::from) {
            let (share, y) = (percent / 100.0, self.y(percent / 100.0));
            if share >= self.lowest - 1e-9 {
                writeln!(
                    out,
                    "<line class=\"grid\" x1=\"{LEFT}\" x2=\"{RIGHT}\" y1=\"{y:.1}\" y2=\"{y:.1}\"/>"
                )?;
                writeln!(
                    out,
                    "<text class=\"small\" x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{percent} %</text>",
                    LEFT - 8.0,
                    y + 4.0
                )?;
            }
        }
        for decade in 0..7 {
            for digit in [1.0, 2.0, 5.0] {
                let snapshots = digit * 10_f64.powi(decade);
                let x = self.x(snapshots);
                if snapshots <= self.longest {
                    writeln!(
                        out,
                        "<line class=\"axis\" x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"{BOTTOM}\" y2=\"{}\"/>",
                        BOTTOM + 5.0
                    )?;
                    writeln!(
                        out,
                        "<text class=\"small\" x=\"{x:.1}\" y=\"{}\" text-anchor=\"middle\">{snapshots}</text>",
                        BOTTOM + 20.0
                    )?;
                }
            }
        }
        writeln!(out, "<line class=\"axis\" x1=\"{LEFT}\" x2=\"{RIGHT}\" y1=\"{BOTTOM}\" y2=\"{BOTTOM}\"/>")?;
        let (middle, half) = (f64::midpoint(LEFT, RIGHT), f64::midpoint(TOP, BOTTOM));
        writeln!(
            out,
            "<text x=\"{middle}\" y=\"{}\" text-anchor=\"middle\">snapshots learned from (log scale)</text>",
            BOTTOM + 44.0
        )?;
        writeln!(
            out,
            "<text transform=\"translate(20 {half}) rotate(-90)\" text-anchor=\"middle\">coverage</text>"
        )
    }

    /// One curve; where values are missing, it is broken.
    fn line(&self, out: &mut String, curve: &Curve, class: &str) -> std::fmt::Result {
        for part in curve.split(|(_, share)| share.is_none()) {
            let points: Vec<(f64, f64)> = part
                .iter()
                .filter_map(|(step, share)| Some((self.x(f64::from(*step)), self.y((*share)?))))
                .collect();
            match points.as_slice() {
                [] => {}
                [(x, y)] => {
                    writeln!(out, "<circle class=\"dot {class}\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3\"/>")?;
                }
                points => {
                    let text: Vec<String> = points.iter().map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
                    writeln!(out, "<polyline class=\"line {class}\" points=\"{}\"/>", text.join(" "))?;
                }
            }
        }
        Ok(())
    }
}

fn legend(out: &mut String, histories: &BTreeMap<Workload, History>) -> std::fmt::Result {
    let mut y = TOP + 6.0;
    let mut entry = |out: &mut String, class: &str, text: &str, full: &str| {
        let (x, to, label) = (RIGHT + 20.0, RIGHT + 52.0, RIGHT + 60.0);
        let line = format!("<line class=\"line {class}\" x1=\"{x}\" x2=\"{to}\" y1=\"{y}\" y2=\"{y}\"/>");
        let text = format!(
            "<text class=\"small\" x=\"{label}\" y=\"{}\">{}<title>{}</title></text>",
            y + 4.0,
            escape(text),
            escape(full)
        );
        y += 22.0;
        writeln!(out, "{line}{text}")
    };
    let of = if curves_are_one(histories) { "" } else { "mean, " };
    entry(out, "mean", &format!("{of}observed"), "nodes of later containers that were known")?;
    entry(out, "mean predicted", &format!("{of}predicted"), "Good–Turing, from the snapshots learned from")?;
    for (at, workload) in histories.keys().enumerate().take(COLOURS) {
        let name = workload.to_string();
        let class = if curves_are_one(histories) { "mean".to_owned() } else { colour(at) };
        entry(out, &class, &tail(&name), &name)?;
    }
    match histories.len().saturating_sub(COLOURS) {
        0 => Ok(()),
        more => entry(out, "", &format!("{more} more"), "the other workloads"),
    }
}

/// The end of a name: what tells images of one registry apart.
fn tail(name: &str) -> String {
    let skipped = name.chars().count().saturating_sub(NAME);
    if skipped == 0 {
        name.to_owned()
    } else {
        format!("…{}", name.chars().skip(skipped + 1).collect::<String>())
    }
}

fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in for_display(text).chars() {
        match c {
            '<' => out += "&lt;",
            '>' => out += "&gt;",
            '&' => out += "&amp;",
            '"' => out += "&quot;",
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_even_on_a_log_axis_and_end_at_the_end() {
        assert_eq!(steps(1), [1]);
        assert_eq!(steps(7), [1, 2, 3, 4, 5, 6, 7]);
        let steps = steps(1000);
        assert_eq!((steps[0], steps[steps.len() - 1]), (1, 1000));
        assert!(steps.is_sorted() && steps.len() < 60, "{steps:?}");
    }

    #[test]
    fn a_mean_ends_where_less_than_half_go_on() {
        let curves: [Curve; 3] =
            [vec![(1, Some(0.2)), (2, Some(0.4))], vec![(1, Some(0.4)), (2, None)], vec![(1, None)]];
        let found = mean(&[1, 2], &curves.iter());
        assert!((found[0].1.unwrap() - 0.3).abs() < 1e-9);
        assert_eq!(found[1], (2, None));
    }

    #[test]
    fn names_are_data() {
        assert_eq!(escape("<script>&\"\u{1b}[0m"), "&lt;script&gt;&amp;&quot;\\u{1b}[0m");
        assert_eq!(tail("a:1"), "a:1");
        assert_eq!(tail(&"x".repeat(60)).chars().count(), NAME);
    }

    #[test]
    fn gaps_break_a_line_and_single_values_are_dots() {
        let axes = Axes { longest: 10.0, lowest: 0.5 };
        let mut out = String::new();
        axes.line(&mut out, &vec![(1, Some(1.0)), (2, None), (5, Some(0.5)), (10, Some(1.0))], "c0").unwrap();
        assert_eq!(out.matches("<circle").count(), 1, "{out}");
        assert!(
            out.contains(&format!("points=\"{:.1},{BOTTOM:.1} {RIGHT:.1},{TOP:.1}\"", axes.x(5.0))),
            "{out}"
        );
    }
}
