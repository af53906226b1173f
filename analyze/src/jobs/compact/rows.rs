//! A snapshot file as rows of `activity`.

use std::collections::BTreeMap;
use std::iter::once;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BinaryArray, RecordBatch, TimestampMicrosecondArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Int32Type};
use arrow::error::ArrowError;
use wsp_schemas::keys::SnapshotKey;
use wsp_schemas::snapshot::{SnapshotMeta, Verified};
use wsp_schemas::tables::{ACTIVITY, CONSTANT_COLUMNS, SNAPSHOT};

use crate::rows::Builder;

/// The partition of an upload.
pub(super) fn date(key: &SnapshotKey) -> String {
    key.uploaded.format("%Y-%m-%d").to_string()
}

/// The rows of a snapshot, in the file's order. One without nodes has a row in which every column of a node is null.
pub(super) fn of(verified: &Verified, key: &SnapshotKey, bucket: i32) -> Result<RecordBatch, ArrowError> {
    let (meta, found) = (&verified.meta, verified.rows.num_rows());
    let rows = found.max(1);
    let mut out = Builder::new(rows);
    if found == 0 {
        constants(&mut out, meta)?;
    } else {
        for column in SNAPSHOT.columns {
            let Some(array) = verified.rows.column_by_name(column.name) else { continue };
            if ACTIVITY.column(column.name).is_some() {
                out.array(column.name, as_stored(array)?);
            }
        }
        for (name, offsets) in [("first_seen", "first_seen_ms"), ("last_seen", "last_seen_ms")] {
            let offsets = verified.rows[offsets].as_primitive::<Int32Type>();
            let start = meta.window_start.timestamp_micros();
            let times = offsets.iter().map(|offset| Some(start + i64::from(offset?) * 1000));
            out.array(name, Arc::new(times.collect::<TimestampMicrosecondArray>().with_timezone("UTC")));
        }
    }
    let same = |text: String| std::iter::repeat_n(Some(text), rows);
    out.int32("bucket", std::iter::repeat_n(Some(bucket), rows));
    out.text("date", same(date(key)));
    out.text("object_key", same(key.path()));
    out.text("workload_key", same(key.workload.to_string()));
    out.text("content_hash", same(verified.content_hash.to_hex().to_string()));
    out.int32("path_rules", std::iter::repeat_n(Some(meta.path_rules), rows));
    out.text("writer", same(meta.writer.clone()));
    out.text("kernel", same(meta.kernel.clone()));
    let sensors = meta.sensors.iter().map(|sensor| format!("{}:{}", sensor.kind, sensor.hook));
    out.text_list("sensors", std::iter::repeat_n(sensors.collect::<Vec<String>>(), rows));
    let completeness = meta.completeness.iter();
    let completeness = completeness.map(|(kind, state)| (kind.clone(), state.as_str().to_owned()));
    out.text_map(
        "completeness",
        std::iter::repeat_n(Some(completeness.collect::<BTreeMap<String, String>>()), rows),
    )?;
    let lost = meta.lost.iter().map(|loss| {
        (format!("{}:{}", loss.kind, loss.cause), i64::try_from(loss.events).unwrap_or(i64::MAX))
    });
    out.int_map("lost", std::iter::repeat_n(lost.collect(), rows))?;
    out.text_list("limits_hit", std::iter::repeat_n(meta.limits_hit.clone(), rows));
    out.int32("file_rows", std::iter::repeat_n(Some(i32::try_from(found).unwrap_or(i32::MAX)), rows));
    out.finish(&ACTIVITY)
}

/// Delta has bytes of any length only.
fn as_stored(array: &ArrayRef) -> Result<ArrayRef, ArrowError> {
    match array.data_type() {
        DataType::FixedSizeBinary(_) if array.null_count() == array.len() => {
            Ok(Arc::new(BinaryArray::new_null(array.len())))
        }
        DataType::FixedSizeBinary(_) => cast(array, &DataType::Binary),
        _ => Ok(Arc::clone(array)),
    }
}

/// The constant columns of a file without rows, from its metadata.
fn constants(out: &mut Builder, meta: &SnapshotMeta) -> Result<(), ArrowError> {
    let workload = meta.image.workload.as_ref();
    for column in CONSTANT_COLUMNS {
        match column {
            "snapshot_id" => out.text(column, once(Some(meta.id.to_string()))),
            "image_name" => out.text(column, once(workload.map(|workload| workload.name().to_owned()))),
            "image_tag" => out.text(column, once(workload.map(|workload| workload.tag().to_owned()))),
            "image_digest" => out.text(column, once(meta.image.digest.clone())),
            "container_id" => out.text(column, once(Some(meta.container.id.clone()))),
            "container_name" => out.text(column, once(meta.container.name.clone())),
            "container_started" => out.time(column, once(meta.container.started)),
            "host" => out.text(column, once(Some(meta.host.clone()))),
            "labels" => out.text_map(column, once(Some(meta.container.labels.clone())))?,
            "window_start" => out.time(column, once(Some(meta.window_start))),
            "window_end" => out.time(column, once(Some(meta.window_end))),
            "covers_start" => out.bool(column, once(Some(meta.covers_start))),
            other => return Err(ArrowError::SchemaError(format!("`{other}` is not known"))),
        }
    }
    Ok(())
}
