//! Files of the right form whose content is not true.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, FixedSizeBinaryArray, Int32Array, Int64Array, UInt32Array};
use arrow::compute::{concat_batches, take_record_batch};
use arrow::datatypes::{Int32Type, Int64Type};
use chrono::TimeDelta;
use wsp_schemas::identity::{Kind, NodeId};
use wsp_schemas::keys::SnapshotKey;
use wsp_schemas::snapshot::Fact;

use super::craft::Parts;
use super::{Gallery, GalleryError, Outcome};

pub(super) fn add(g: &mut Gallery) -> Result<(), GalleryError> {
    identity(g)?;
    lineage(g)?;
    values(g)?;
    windows(g)
}

fn identity(g: &mut Gallery) -> Result<(), GalleryError> {
    let snapshot = g.fresh();
    let parts = Parts::of(&snapshot)?;
    let row = parts.first("file");
    let ids = parts.rows["node_id"].as_fixed_size_binary();
    let changed = ids.iter().enumerate().map(|(at, id)| {
        let mut id = id.unwrap_or_default().to_vec();
        if at == row {
            id.iter_mut().for_each(|byte| *byte ^= 0xff);
        }
        id
    });
    let changed: ArrayRef = Arc::new(FixedSizeBinaryArray::try_from_iter(changed)?);
    let bytes = parts.column("node_id", changed)?.write()?;
    g.damaged(
        "wrong-node-id",
        &snapshot.key,
        "a node id that is not the hash of its row",
        "is not the hash of the row",
        bytes,
    );

    let snapshot = g.fresh();
    let parts = Parts::of(&snapshot)?;
    let row = parts.first("file");
    let change = |at, path: Option<&str>| {
        if at == row { Some("/etc/shadow".to_owned()) } else { path.map(str::to_owned) }
    };
    let bytes = parts.texts("path", change)?.write()?;
    g.damaged(
        "forged-path",
        &snapshot.key,
        "another path under the id of a known file",
        "is not the hash of the row",
        bytes,
    );

    let snapshot = g.fresh();
    let mut parts = Parts::of(&snapshot)?;
    let row = u32::try_from(parts.first("file")).unwrap_or(0);
    let twin = take_record_batch(&parts.rows, &UInt32Array::from(vec![row]))?;
    parts.rows = concat_batches(&parts.rows.schema(), [&parts.rows, &twin])?;
    g.damaged("duplicate-ids", &snapshot.key, "one node in two rows", "is also in row", parts.write()?);
    Ok(())
}

fn lineage(g: &mut Gallery) -> Result<(), GalleryError> {
    let mut snapshot = g.fresh();
    if let Some(node) = snapshot.nodes.iter_mut().find(|node| node.fact.kind() == Kind::File) {
        node.parent = Some(NodeId::from_bytes([7; 16]));
    }
    g.damaged(
        "no-such-parent",
        &snapshot.key,
        "a file of a process that is not in the file",
        "is not in the file",
        snapshot.encode()?,
    );

    let mut snapshot = g.fresh();
    let owner = snapshot.nodes.iter().find(|node| node.fact.kind() == Kind::File).map(|node| node.id());
    if let Some(node) = snapshot.nodes.iter_mut().rfind(|node| node.fact.kind() == Kind::File) {
        node.parent = owner;
    }
    g.damaged(
        "parent-is-a-file",
        &snapshot.key,
        "a file that belongs to a file",
        "is not a process",
        snapshot.encode()?,
    );

    let mut snapshot = g.fresh();
    if let Some(node) = snapshot.nodes.iter_mut().find(|node| node.fact.kind() == Kind::File) {
        node.exe = Some("/usr/bin/innocent".into());
    }
    g.damaged(
        "exe-of-another",
        &snapshot.key,
        "a row that names another executable than its process has",
        "not that of the owning process",
        snapshot.encode()?,
    );

    let mut snapshot = g.fresh();
    if let Some(Fact::File(file)) =
        snapshot.nodes.iter_mut().map(|node| &mut node.fact).find(|fact| fact.kind() == Kind::File)
    {
        file.path = "/proc/4242/status".into();
    }
    g.damaged(
        "rules-not-applied",
        &snapshot.key,
        "a path that did not go through the path rules",
        "did not go through the path rules",
        snapshot.encode()?,
    );
    Ok(())
}

fn values(g: &mut Gallery) -> Result<(), GalleryError> {
    let snapshot = g.fresh();
    let parts = Parts::of(&snapshot)?;
    let row = parts.first("file");
    let change = |at, path: Option<&str>| {
        if at == row { Some("/tmp/\\q".to_owned()) } else { path.map(str::to_owned) }
    };
    g.damaged(
        "broken-escape",
        &snapshot.key,
        "text that is no escape of any bytes",
        "a backslash starts neither",
        parts.texts("path", change)?.write()?,
    );

    let snapshot = g.fresh();
    let bytes = Parts::of(&snapshot)?
        .texts(
            "phase",
            |row, phase| if row == 1 { Some("shutdown".to_owned()) } else { phase.map(str::to_owned) },
        )?
        .write()?;
    g.damaged(
        "unknown-value",
        &snapshot.key,
        "a value that the format does not have",
        "`phase` has an unknown value",
        bytes,
    );

    let snapshot = g.fresh();
    let bytes = Parts::of(&snapshot)?
        .texts(
            "kind",
            |row, kind| if row == 1 { Some("thread".to_owned()) } else { kind.map(str::to_owned) },
        )?
        .write()?;
    g.damaged(
        "unknown-kind",
        &snapshot.key,
        "a kind of node that the format does not have",
        "is no kind of node",
        bytes,
    );

    let snapshot = g.fresh();
    let bytes = Parts::of(&snapshot)?
        .texts(
            "host",
            |row, host| if row == 3 { Some("other-host".to_owned()) } else { host.map(str::to_owned) },
        )?
        .write()?;
    g.damaged(
        "two-hosts",
        &snapshot.key,
        "one row is from another host than the footer says",
        "`host` is not that of the snapshot",
        bytes,
    );

    let snapshot = g.fresh();
    let parts = Parts::of(&snapshot)?;
    let events = parts.rows["events"].as_primitive::<Int64Type>().values().iter().enumerate();
    let events: ArrayRef =
        Arc::new(events.map(|(row, n)| if row == 1 { -5 } else { *n }).collect::<Int64Array>());
    g.damaged(
        "negative-events",
        &snapshot.key,
        "a count below 1, which would take from the sums",
        "`events` is below 1",
        parts.column("events", events)?.write()?,
    );

    let snapshot = g.fresh();
    let parts = Parts::of(&snapshot)?;
    let last = parts.rows["last_seen_ms"].as_primitive::<Int32Type>().values().iter().enumerate();
    let last: ArrayRef =
        Arc::new(last.map(|(row, ms)| if row == 1 { i32::MAX } else { *ms }).collect::<Int32Array>());
    g.damaged(
        "after-the-window",
        &snapshot.key,
        "something seen after the window's end",
        "do not lie in the window",
        parts.column("last_seen_ms", last)?.write()?,
    );

    let mut snapshot = g.fresh();
    snapshot.nodes.clear();
    g.add(
        "no-rows",
        snapshot.key.path(),
        "nothing: the container did nothing in that window",
        None,
        Outcome::Admitted,
        snapshot.encode()?,
    );
    Ok(())
}

fn windows(g: &mut Gallery) -> Result<(), GalleryError> {
    let snapshot = g.fresh();
    let before = snapshot.meta.window_start - TimeDelta::minutes(1);
    let bytes = Parts::of(&snapshot)?.time("window_end", before.timestamp_micros())?.write()?;
    g.damaged(
        "window-reversed",
        &snapshot.key,
        "a window that ends before it starts",
        "ends before it starts",
        bytes,
    );

    let snapshot = g.fresh();
    let bytes = Parts::of(&snapshot)?.time("window_end", 99_999_999_999_999_000)?.write()?;
    g.damaged(
        "window-beyond-time",
        &snapshot.key,
        "a window that ends in the year 5138",
        "is no time between 1970 and 2200",
        bytes,
    );

    let mut snapshot = g.fresh();
    let ahead = TimeDelta::days(365 * 50);
    snapshot.meta.window_start += ahead;
    snapshot.meta.window_end += ahead;
    let end = snapshot.meta.window_end.timestamp_millis();
    let key = SnapshotKey { window_end_ms: end, ..snapshot.key };
    g.add(
        "window-in-the-future",
        key.path(),
        "a host whose clock is 50 years ahead",
        None,
        Outcome::OutOfRange,
        snapshot.encode()?,
    );
    Ok(())
}
