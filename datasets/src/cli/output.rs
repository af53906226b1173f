//! What people read.

use std::fmt::Write as _;
use std::time::Duration;

use wsp_datasets::Written;
use wsp_datasets::hostile::{Label, Outcome};
use wsp_datasets::recordings::{Copied, RecordedWorkload};
use wsp_schemas::store::Store;
use wsp_schemas::text::for_display;

use super::CliError;

pub(super) fn written(written: Written, store: &Store, took: Duration) -> String {
    let Written { workloads, snapshots, nodes, bytes } = written;
    let seconds = took.as_secs_f64().max(0.001);
    format!(
        "{snapshots} snapshots of {workloads} workloads in {store}\n\
         {nodes} nodes, {} MB, {:.0} bytes a node; {:.1} s, {:.0} snapshots a second\n\
         next: wsp merge --store {store}\n",
        bytes / 1_000_000,
        float(bytes) / float(nodes.max(1)),
        seconds,
        float(snapshots) / seconds,
    )
}

pub(super) fn recordings(summary: &[RecordedWorkload]) -> String {
    if summary.is_empty() {
        return "no recordings are bundled; datasets/record.sh makes them\n".to_owned();
    }
    let name =
        |row: &RecordedWorkload| for_display(&format!("{}:{}", row.image_name, row.image_tag)).into_owned();
    let width = summary.iter().map(|row| name(row).chars().count()).max().unwrap_or(0).max("IMAGE".len());
    let mut text = format!(
        "{:width$}  {:>10}  {:>9}  {:>7}  {:>9}\n",
        "IMAGE", "CONTAINERS", "SNAPSHOTS", "NODES", "BYTES"
    );
    for row in summary {
        let RecordedWorkload { containers, snapshots, nodes, bytes, .. } = row;
        // Writing to a String cannot fail.
        let _ =
            writeln!(text, "{:width$}  {containers:>10}  {snapshots:>9}  {nodes:>7}  {bytes:>9}", name(row));
    }
    text
}

pub(super) fn copied(copied: Copied, store: &Store) -> String {
    format!("{} recordings written to {store}, {} were there\n", copied.written, copied.present)
}

pub(super) fn gallery(labels: &[Label], store: &Store) -> String {
    let width = labels.iter().map(|label| label.name.len()).max().unwrap_or(0);
    let mut text = String::new();
    for label in labels {
        let outcome = match label.outcome {
            Outcome::Admitted => "admitted",
            Outcome::Duplicate => "duplicate",
            Outcome::Conflict => "conflict",
            Outcome::Damaged => "damaged",
            Outcome::OutOfRange => "out_of_range",
            Outcome::Unkeyed => "unkeyed",
        };
        let _ = writeln!(text, "{:width$}  {outcome:12}  {}", label.name, label.what);
    }
    text + &format!("{} objects in {store}; what they are is in truth/hostile.json\n", labels.len())
}

pub(super) fn json(value: &impl serde::Serialize) -> Result<String, CliError> {
    Ok(serde_json::to_string_pretty(value)? + "\n")
}

#[expect(clippy::cast_precision_loss, reason = "shown with three digits")]
fn float(n: usize) -> f64 {
    n as f64
}
