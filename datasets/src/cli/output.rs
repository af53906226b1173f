//! What people read.

use std::fmt::Write as _;
use std::time::Duration;

#[cfg(feature = "fleet")]
use indicatif::HumanBytes;
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

#[cfg(feature = "fleet")]
pub(super) fn replayed(replayed: &crate::scale::Replayed) -> String {
    let mut text = format!(
        "{:16}  {:>9}  {:>9}  {:>8}  {:>8}  {:>6}  {:>7}  {:>7}  {:>6}  {:>8}  {:>10}\n",
        "MERGE", "UPLOADED", "LISTED", "ADMITTED", "LATE", "FROZEN", "LISTS", "GETS", "PUTS", "CPU s", "PEAK"
    );
    let mut price = 0.0;
    for tick in &replayed.ticks {
        let crate::scale::Tick { uploaded, merged, requests, .. } = tick;
        let gets = requests.snapshot_gets + requests.gets;
        price += tick.usd;
        let _ = writeln!(
            text,
            "{:16}  {uploaded:>9}  {:>9}  {:>8}  {:>8}  {:>6}  {:>7}  {gets:>7}  {:>6}  {:>8.1}  {:>10}",
            tick.at.format("%Y-%m-%d %H:%M"),
            merged.listed,
            merged.admitted,
            merged.after_freeze,
            merged.frozen,
            requests.lists,
            requests.puts,
            tick.cpu_seconds,
            HumanBytes(tick.peak_bytes).to_string(),
        );
    }
    let sum = |of: fn(&crate::scale::Tick) -> u64| replayed.ticks.iter().map(of).sum::<u64>();
    let _ = writeln!(
        text,
        "{} hosts: {} uploads, {} workloads, {} of them stable; merges took {:.0} s of CPU, and requests for {price:.2} USD",
        replayed.hosts,
        sum(|tick| tick.uploaded),
        replayed.workloads,
        replayed.stable,
        replayed.ticks.iter().map(|tick| tick.cpu_seconds).sum::<f64>(),
    );
    for (table, size) in &replayed.tables {
        let _ = writeln!(text, "{table}: {} files, {}", size.files, HumanBytes(size.bytes));
    }
    text
}

pub(super) fn json(value: &impl serde::Serialize) -> Result<String, CliError> {
    Ok(serde_json::to_string_pretty(value)? + "\n")
}

#[expect(clippy::cast_precision_loss, reason = "shown with three digits")]
fn float(n: usize) -> f64 {
    n as f64
}
