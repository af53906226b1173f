use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, Float64Array, Int64Array, RecordBatch, StringArray};
use arrow::error::ArrowError;
use wsp_schemas::image::Workload;

use super::Answer;
use crate::jobs::backtest::{History, Later, Point, Threshold};

/// One row a workload and threshold.
pub(super) fn batch(answers: &[(&Workload, &History, Vec<Answer>)]) -> Result<RecordBatch, ArrowError> {
    let rows = || {
        answers
            .iter()
            .flat_map(|(workload, _, answers)| answers.iter().map(move |answer| (*workload, answer)))
    };
    let text = |value: &dyn Fn(&Workload, &Answer) -> String| -> ArrayRef {
        Arc::new(rows().map(|(workload, answer)| Some(value(workload, answer))).collect::<StringArray>())
    };
    let whole = |value: &dyn Fn(&Answer) -> u32| -> ArrayRef {
        Arc::new(rows().map(|(_, answer)| Some(i64::from(value(answer)))).collect::<Int64Array>())
    };
    let float = |value: &dyn Fn(&Point) -> Option<f64>| -> ArrayRef {
        Arc::new(rows().map(|(_, answer)| value(&answer.point)).collect::<Float64Array>())
    };
    let later = |value: fn(Later) -> f64| float(&|point| point.later.map(value));
    let reached: ArrayRef =
        Arc::new(rows().map(|(_, answer)| Some(answer.reached)).collect::<BooleanArray>());
    RecordBatch::try_from_iter_with_nullable([
        ("image", text(&|workload, _| workload.to_string()), false),
        ("threshold", text(&|_, answer| unit(answer.threshold).0.to_owned()), false),
        ("at", whole(&|answer| unit(answer.threshold).1), false),
        ("reached", reached, false),
        ("snapshots", whole(&|answer| answer.point.snapshots), false),
        ("containers", whole(&|answer| answer.point.containers), false),
        ("hosts", whole(&|answer| answer.point.hosts), false),
        ("nodes", whole(&|answer| answer.point.nodes), false),
        ("missed_nodes", whole(&|answer| answer.point.missed_nodes), false),
        ("predicted_coverage", float(&|point| point.predicted_coverage), true),
        ("later_containers", whole(&|answer| answer.point.later_containers), false),
        ("observed_coverage", later(|later| later.coverage), true),
        ("novel_nodes", later(|later| later.novel_nodes), true),
        ("novel_containers", later(|later| later.novel_containers), true),
    ])
}

fn unit(threshold: Threshold) -> (&'static str, u32) {
    match threshold {
        Threshold::Snapshots(n) => ("snapshots", n),
        Threshold::Hours(n) => ("hours", n),
    }
}
