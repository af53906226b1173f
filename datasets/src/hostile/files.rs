//! Files that are no snapshot files, and objects under the wrong key.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, StringArray};
use bytes::Bytes;
use chrono::TimeDelta;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use serde_json::json;
use wsp_schemas::image::{Workload, WorkloadKey};
use wsp_schemas::keys::{SNAPSHOTS, SnapshotKey};

use super::craft::Parts;
use super::{Gallery, GalleryError, Outcome};

pub(super) fn add(g: &mut Gallery) -> Result<(), GalleryError> {
    not_parquet(g)?;
    foreign(g)?;
    formats(g)?;
    keys(g)
}

fn not_parquet(g: &mut Gallery) -> Result<(), GalleryError> {
    const NOT: &str = "not a readable Parquet file";
    let snapshot = g.fresh();
    g.damaged("empty-file", &snapshot.key, "it has no bytes: an upload that never got any", NOT, Vec::new());
    let snapshot = g.fresh();
    let text = b"<html><body>503 Slow Down</body></html>\n".to_vec();
    g.damaged(
        "not-parquet",
        &snapshot.key,
        "an error page of a proxy, saved as if it were the file",
        NOT,
        text,
    );
    let snapshot = g.fresh();
    let whole = snapshot.encode()?;
    g.damaged(
        "truncated",
        &snapshot.key,
        "cut off after two thirds",
        NOT,
        whole[..whole.len() * 2 / 3].to_vec(),
    );
    let snapshot = g.fresh();
    let mut bytes = snapshot.encode()?;
    let middle = bytes.len() / 3;
    bytes[middle] ^= 1;
    g.damaged("one-bit", &snapshot.key, "one bit differs from what was written", NOT, bytes);
    let snapshot = g.fresh();
    let mut bytes = Parts::of(&snapshot)?.write()?;
    let metadata =
        Arc::clone(ParquetRecordBatchReaderBuilder::try_new(Bytes::from(bytes.clone()))?.metadata());
    let last = metadata
        .row_groups()
        .last()
        .and_then(|group| group.columns().last().map(|column| column.byte_range()));
    let (from, length) = last.unwrap_or_default();
    for byte in
        bytes.iter_mut().skip(usize::try_from(from).unwrap_or(0)).take(usize::try_from(length).unwrap_or(0))
    {
        *byte = 0xff;
    }
    g.damaged(
        "last-page",
        &snapshot.key,
        "the footer and all columns but the last are good; the last one is not",
        NOT,
        bytes,
    );
    Ok(())
}

fn foreign(g: &mut Gallery) -> Result<(), GalleryError> {
    let snapshot = g.fresh();
    let columns: [(&str, ArrayRef); 2] = [
        ("user_id", Arc::new(Int64Array::from(vec![1, 2, 3]))),
        ("event", Arc::new(StringArray::from(vec!["login", "click", "logout"]))),
    ];
    let rows = arrow::array::RecordBatch::try_from_iter(columns)?;
    let bytes = Parts { rows, footer: Vec::new() }.write()?;
    g.damaged(
        "foreign-schema",
        &snapshot.key,
        "Parquet of somebody else",
        "its footer has no `wsp.format`",
        bytes,
    );
    let snapshot = g.fresh();
    let bytes = Parts::of(&snapshot)?.without("events")?.write()?;
    g.damaged(
        "missing-column",
        &snapshot.key,
        "a required column is not there",
        "column `events`: is missing",
        bytes,
    );
    let snapshot = g.fresh();
    let parts = Parts::of(&snapshot)?;
    let events: ArrayRef = Arc::new(StringArray::from(vec!["1"; parts.rows.num_rows()]));
    let bytes = parts.column("events", events)?.write()?;
    g.damaged(
        "wrong-type",
        &snapshot.key,
        "a column has another type",
        "column `events`: has the type Utf8",
        bytes,
    );
    let snapshot = g.fresh();
    let bytes = Parts::of(&snapshot)?
        .texts("host", |row, host| if row == 2 { None } else { host.map(str::to_owned) })?
        .write()?;
    g.damaged(
        "null-in-required",
        &snapshot.key,
        "a required column has a null",
        "column `host`: has nulls",
        bytes,
    );
    let snapshot = g.fresh();
    let parts = Parts::of(&snapshot)?;
    let extra: ArrayRef = Arc::new(StringArray::from(vec!["?"; parts.rows.num_rows()]));
    let bytes = parts.column("not_known_yet", extra)?.write()?;
    g.add(
        "additional-column",
        snapshot.key.path(),
        "nothing: a later writer added a column, as the format allows",
        None,
        Outcome::Admitted,
        bytes,
    );
    Ok(())
}

fn formats(g: &mut Gallery) -> Result<(), GalleryError> {
    let snapshot = g.fresh();
    let bytes =
        Parts::of(&snapshot)?.set("wsp.format", "version", 9).set("wsp.format", "min_reader", 9).write()?;
    g.damaged(
        "future-format",
        &snapshot.key,
        "a later version of the format, which readers of this one cannot read",
        "needs at least format version 9",
        bytes,
    );
    let snapshot = g.fresh();
    let bytes = Parts::of(&snapshot)?
        .set("wsp.format", "version", 9)
        .set("wsp.format", "features", json!(["deltas"]))
        .write()?;
    g.damaged(
        "unknown-feature",
        &snapshot.key,
        "a feature that this version does not have",
        "uses the feature `deltas`",
        bytes,
    );
    let snapshot = g.fresh();
    let bytes = Parts::of(&snapshot)?.set("wsp.snapshot", "path_rules", 99).write()?;
    g.damaged(
        "future-path-rules",
        &snapshot.key,
        "its paths went through rules that this version does not have",
        "rules version 99",
        bytes,
    );
    let snapshot = g.fresh();
    let mut parts = Parts::of(&snapshot)?;
    parts.footer.retain(|(key, _)| key == "wsp.format");
    g.damaged(
        "no-metadata",
        &snapshot.key,
        "the format's entry is there, the snapshot's is not",
        "its footer has no `wsp.snapshot`",
        parts.write()?,
    );
    let snapshot = g.fresh();
    let bytes = Parts::of(&snapshot)?
        .texts("image_name", |_, _| Some("nginx".to_owned()))?
        .texts("image_tag", |_, _| Some("1".to_owned()))?
        .write()?;
    g.damaged(
        "image-not-normal",
        &snapshot.key,
        "an image name that is not in normal form, and so would be a second workload",
        "not in normal form",
        bytes,
    );
    Ok(())
}

fn keys(g: &mut Gallery) -> Result<(), GalleryError> {
    let what = "the file is good; its key says another";
    let snapshot = g.fresh();
    let other = Workload::parse("registry.example.com/shop/other:1")
        .map(|workload| workload.key())
        .unwrap_or(WorkloadKey::UNKEYED);
    let key = SnapshotKey { workload: other, ..snapshot.key };
    g.add(
        "key-of-other-workload",
        key.path(),
        &format!("{what} workload"),
        None,
        Outcome::Damaged,
        snapshot.encode()?,
    );
    let snapshot = g.fresh();
    let key = SnapshotKey { window_end_ms: snapshot.key.window_end_ms + 60_000, ..snapshot.key };
    g.add(
        "key-of-other-window",
        key.path(),
        &format!("{what} window"),
        None,
        Outcome::Damaged,
        snapshot.encode()?,
    );
    let (snapshot, other) = (g.fresh(), g.fresh());
    let key = SnapshotKey { id: other.key.id, ..snapshot.key };
    g.add(
        "key-of-other-snapshot",
        key.path(),
        &format!("{what} id"),
        None,
        Outcome::Damaged,
        snapshot.encode()?,
    );
    g.add(
        "no-key",
        format!("{SNAPSHOTS}/README.txt"),
        "an object below snapshots/ whose key is not one of ours",
        Some("not a readable Parquet file"),
        Outcome::Damaged,
        b"do not delete\n".to_vec(),
    );

    let mut snapshot = g.fresh();
    snapshot.meta.image.workload = None;
    snapshot.meta.image.digest = None;
    let key = SnapshotKey { workload: WorkloadKey::UNKEYED, ..snapshot.key };
    g.add(
        "unkeyed",
        key.path(),
        "nothing: the runtime told neither tag nor digest",
        None,
        Outcome::Unkeyed,
        snapshot.encode()?,
    );

    let later = |key: SnapshotKey| SnapshotKey { uploaded: key.uploaded + TimeDelta::hours(2), ..key };
    let snapshot = g.fresh();
    g.add(
        "uploaded-twice",
        snapshot.key.path(),
        "nothing: but the same file is there again",
        None,
        Outcome::Admitted,
        snapshot.encode()?,
    );
    g.add(
        "uploaded-twice-again",
        later(snapshot.key).path(),
        "the same bytes under a later hour",
        None,
        Outcome::Duplicate,
        snapshot.encode()?,
    );
    let mut snapshot = g.fresh();
    g.add(
        "twin",
        snapshot.key.path(),
        "nothing: but another file has its id",
        None,
        Outcome::Admitted,
        snapshot.encode()?,
    );
    snapshot.nodes.iter_mut().for_each(|node| node.events += 1);
    g.add(
        "twin-with-other-content",
        later(snapshot.key).path(),
        "the id of another file, and other content",
        None,
        Outcome::Conflict,
        snapshot.encode()?,
    );
    Ok(())
}
