//! Every way to be refused, with what it says.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, AsArray, BooleanArray, FixedSizeBinaryArray, Int32Array, Int64Array, RecordBatch, StringArray,
    TimestampMicrosecondArray, UInt64Array,
};
use arrow::datatypes::{Field, Schema, TimestampMicrosecondType};
use bytes::Bytes;
use parquet::arrow::ArrowWriter;
use wsp_schemas::identity::{Parent, RootKind, process_id};
use wsp_schemas::snapshot::{Limits, encode};

use crate::both::decode;
use crate::forge::Forged;
use crate::nodes;

/// What each of these says, as one snapshot.
macro_rules! errors {
    ($($error:expr;)*) => {
        insta::assert_snapshot!([$(format!("{}\n    {}\n", stringify!($error), $error)),*].concat())
    };
}

/// A text column with the value of one row changed.
fn text(forged: &Forged, name: &str, row: usize, value: Option<&str>) -> ArrayRef {
    let column = forged.rows[name].as_string::<i32>();
    Arc::new(
        column
            .iter()
            .enumerate()
            .map(|(at, old)| if at == row { value } else { old })
            .collect::<StringArray>(),
    )
}

fn int32(forged: &Forged, name: &str, row: usize, value: i32) -> ArrayRef {
    let column = forged.rows[name].as_primitive::<arrow::datatypes::Int32Type>();
    Arc::new(
        column
            .iter()
            .enumerate()
            .map(|(at, old)| if at == row { Some(value) } else { old })
            .collect::<Int32Array>(),
    )
}

fn id(forged: &Forged, name: &str, row: usize, value: &[u8; 16]) -> ArrayRef {
    let column = forged.rows[name].as_fixed_size_binary();
    let values = column.iter().enumerate().map(|(at, old)| if at == row { Some(&value[..]) } else { old });
    Arc::new(FixedSizeBinaryArray::try_from_sparse_iter_with_size(values, 16).unwrap())
}

#[test]
fn a_forged_file_that_changes_nothing_is_accepted() {
    let forged = Forged::hostile();
    assert_eq!(forged.decode().unwrap().rows, forged.rows);
}

#[test]
fn files_of_other_versions() {
    let file = Forged::hostile();
    errors! {
        file.clone().footer("wsp.format", "\"min_reader\":2", "\"min_reader\":7").error();
    }
    // What else a later version changes does not hide that message.
    let other = file.clone().footer("wsp.format", "\"min_reader\":2", "\"min_reader\":7").footer(
        "wsp.snapshot",
        "sensors",
        "probes",
    );
    assert!(other.error().contains("at least format version 7"));
    errors! {
        file.clone().footer("wsp.format", "}", ",\"features\":[\"ed25519\"]}").error();
        file.clone().footer("wsp.snapshot", "\"path_rules\":2", "\"path_rules\":3").error();
    }
    // Unknown entries of the footer are a later version's, which says by `features` when they matter.
    assert!(file.footer("wsp.snapshot", "{", "{\"new_in_version_3\":3,").decode().is_ok());
}

#[test]
fn older_path_rules_are_not_applied_anew() {
    // There is no version below 1 to be older than.
    let file = Forged::hostile().footer("wsp.snapshot", "\"path_rules\":2", "\"path_rules\":0");
    errors! {
        file.error();
    }
}

#[test]
fn files_that_are_none_of_ours() {
    let decode = |bytes: Vec<u8>| decode(Bytes::from(bytes), &Limits::default()).unwrap_err().to_string();
    errors! {
        decode(Vec::new());
        decode(b"a,b\n1,2\n".to_vec());
    }
    let batch = RecordBatch::try_from_iter([("a", Arc::new(Int64Array::from(vec![1])) as ArrayRef)]).unwrap();
    let mut foreign = Vec::new();
    let mut writer = ArrowWriter::try_new(&mut foreign, batch.schema(), None).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
    errors! {
        decode(foreign);
    }
}

#[test]
fn footers_that_hold_nonsense() {
    let file = |from: &str, to: &str| Forged::hostile().footer("wsp.snapshot", from, to).error();
    errors! {
        file("\"kernel\":", "\"kernels\":");
        file("{\"complete\":[\"process\"]", "{\"complete\":[\"weather\"]");
        file("{\"complete\":[\"process\"]", "{\"complete\":[\"process\",\"file\"]");
        file("\"lossy\"", "\"fine\"");
    }
    // The constant columns of a file without rows.
    let file =
        |from: &str, to: &str| Forged::new(&nodes::meta(1), &[]).footer("wsp.snapshot", from, to).error();
    errors! {
        file("\"constants\":", "\"constant\":");
        file("\"host\":", "\"hosts\":");
        file("ghcr.io/acme/shop/web-frontend", "nginx");
        file("\"image_tag\":\"1.24.3\"", "\"image_tag\":null");
        file("\"window_end_ms\":1", "\"window_end_ms\":-1");
        file("\"window_end_ms\":1", "\"window_end_ms\":2");
        file("0198b5a2-", "0198B5A2-");
    }
}

#[test]
fn columns_that_are_not_the_declared_ones() {
    let file = Forged::hostile();
    let rows = file.rows.num_rows();
    errors! {
        file.clone().without("node_id").error();
        file.clone().without("window_start").error();
        file.clone().set("events", Arc::new(UInt64Array::from(vec![1; rows]))).error();
        file.clone().set("args", text(&file, "comm", 0, None)).error();
        file.clone().set("window_end", Arc::new(TimestampMicrosecondArray::from(vec![1; rows]))).error();
        file.clone().set("kind", text(&file, "kind", 2, None)).error();
        file.clone().with("host", text(&file, "host", 0, None)).error();
    }
}

#[test]
fn columns_that_another_version_has_or_lacks() {
    let file = Forged::hostile();
    let back = file.clone().without("processes").without("gids").without("args").decode().unwrap();
    for name in ["processes", "gids", "args"] {
        assert_eq!(back.rows[name].null_count(), back.rows.num_rows(), "{name}");
    }
    assert_eq!(back.rows.schema(), file.rows.schema());
    let back = file
        .clone()
        .with("mood", Arc::new(Int32Array::from(vec![1; file.rows.num_rows()])))
        .decode()
        .unwrap();
    assert_eq!(back.rows, file.rows);
}

#[test]
fn columns_in_another_order() {
    let mut file = Forged::hostile();
    let rows = file.rows.clone();
    file.rows = rows.project(&(0..rows.num_columns()).rev().collect::<Vec<_>>()).unwrap();
    assert_eq!(file.decode().unwrap().rows, rows);
}

#[test]
fn a_schema_that_the_footer_claims_for_arrow_does_not_count() {
    // As large text, which the embedded Arrow schema tells and Parquet's own does not.
    let file = Forged::hostile();
    let large = arrow::compute::cast(&file.rows["comm"], &arrow::datatypes::DataType::LargeUtf8).unwrap();
    assert_eq!(file.clone().set("comm", large).decode().unwrap().rows, file.rows);
}

#[test]
fn rows_that_are_not_what_they_claim() {
    let file = Forged::hostile();
    let change =
        |name: &str, row, value: Option<&str>| file.clone().set(name, text(&file, name, row, value)).error();
    // Rows: 0 init, 1 session, 2 child, 3 file, 4 file of nobody, 5 dns, 6 connect, 7 listen, 8 syscall, 9 capability.
    errors! {
        change("path", 3, Some("/etc/shadow"));
        change("path", 3, None);
        change("path", 3, Some("/proc/123/maps"));
        change("path", 3, Some("a\\b"));
        change("exe", 2, Some("/bin/bash"));
        change("exe", 2, Some("/proc/7/exe"));
        change("exe", 3, Some("/bin/sh"));
        change("kind", 3, Some("mood"));
        change("kind", 6, Some("listen"));
        change("root_kind", 0, None);
        change("root_kind", 0, Some("sideways"));
        change("root_kind", 2, Some("init"));
        change("script", 1, None);
        change("dns_type", 5, None);
        change("phase", 5, Some("later"));
        change("origin", 5, Some("hearsay"));
        change("path_source", 3, Some("hearsay"));
        change("path_source", 3, None);
        file.clone().set("port", int32(&file, "port", 6, 65_536)).error();
        file.clone().set("node_id", id(&file, "node_id", 4, &[7; 16])).error();
    }
}

#[test]
fn one_string_has_one_text() {
    // `\xc3\xa9` would be the bytes of `é` again: another text for the same node id.
    let mut nodes = nodes::hostile();
    let wsp_schemas::snapshot::Fact::File(named) = &mut nodes[4].fact else { panic!("not a file") };
    named.path = "/tmp/é".into();
    let file = Forged::new(&nodes::meta(1), &nodes);
    let changed = text(&file, "path", 4, Some("/tmp/\\xc3\\xa9"));
    errors! {
        file.set("path", changed).error();
    }
}

#[test]
fn numbers_that_cannot_be() {
    let file = Forged::hostile();
    let change = |name: &str, value| file.clone().set(name, int32(&file, name, 9, value)).error();
    errors! {
        change("first_seen_ms", -1);
        change("last_seen_ms", nodes::WINDOW_MS + 1);
    }
    let mut late = file.clone().set("first_seen_ms", int32(&file, "first_seen_ms", 9, 5));
    late = late.clone().set("last_seen_ms", int32(&late, "last_seen_ms", 9, 4));
    errors! {
        late.error();
    }
    for value in [0, -1] {
        let events = Int64Array::from(vec![value; file.rows.num_rows()]);
        assert_eq!(file.clone().set("events", Arc::new(events)).error(), "row 0: `events` is below 1");
    }
}

#[test]
fn trees_that_are_none() {
    let meta = nodes::meta(1);
    let mut twice = nodes::hostile();
    twice.push(twice[4].clone());
    let error = |nodes: &[_]| {
        decode(Bytes::from(encode(&meta, nodes).unwrap()), &Limits::default()).unwrap_err().to_string()
    };
    errors! {
        error(&twice);
    }

    let mut orphan = nodes::hostile();
    orphan[8].parent = Some(process_id(Parent::Root(RootKind::Init), b"/not/here", None, None));
    errors! {
        error(&orphan);
    }

    let mut of_a_file = nodes::hostile();
    of_a_file[8].parent = Some(of_a_file[3].id());
    errors! {
        error(&of_a_file);
    }

    let mut unruly = nodes::hostile();
    unruly[4].fact = match unruly[4].fact.clone() {
        wsp_schemas::snapshot::Fact::File(file) => {
            wsp_schemas::snapshot::Fact::File(wsp_schemas::snapshot::File {
                path: "/dev/dm-3".into(),
                ..file
            })
        }
        other => other,
    };
    errors! {
        error(&unruly);
    }
}

#[test]
fn constants_that_are_none() {
    let file = Forged::hostile();
    let rows = file.rows.num_rows();
    let change =
        |name: &str, row, value: Option<&str>| file.clone().set(name, text(&file, name, row, value)).error();
    let flags: BooleanArray = (0..rows).map(|row| Some(row != 3)).collect();
    errors! {
        change("host", 9, Some("other"));
        change("image_tag", 5, None);
        file.clone().set("covers_start", Arc::new(flags)).error();
    }
    let times = |change: fn(usize) -> i64| {
        let start = file.rows["window_start"].as_primitive::<TimestampMicrosecondType>().value(0);
        let times: TimestampMicrosecondArray = (0..rows).map(|row| Some(start + change(row))).collect();
        file.clone().set("window_start", Arc::new(times.with_timezone("UTC"))).error()
    };
    errors! {
        times(|row| if row == 7 { 1000 } else { 0 });
        times(|_| 1);
        times(|_| 1_800_000_000);
        times(|_| -9_000_000_000_000_000);
    }
    let mut meta = nodes::meta(1);
    meta.container.labels.insert("tier".to_owned(), "web".to_owned());
    let other = Forged::new(&meta, &nodes::hostile()).rows["labels"].clone();
    let mixed =
        arrow::compute::concat(&[&other.slice(0, 4), &file.rows["labels"].slice(4, rows - 4)]).unwrap();
    errors! {
        file.clone().set("labels", mixed).error();
    }
    // The same in all rows, and not what it must be.
    let all = |name: &str, value: Option<&str>| {
        file.clone().set(name, Arc::new(StringArray::from(vec![value; rows]))).error()
    };
    errors! {
        all("snapshot_id", Some("7"));
        all("image_name", Some("nginx"));
        all("image_tag", None);
    }
}

#[test]
fn required_columns_of_a_file_without_rows_are_still_required() {
    let mut file = Forged::new(&nodes::meta(1), &[]);
    let schema = Schema::new(vec![Field::new("snapshot_id", arrow::datatypes::DataType::Utf8, false)]);
    file.rows = RecordBatch::new_empty(Arc::new(schema));
    errors! {
        file.error();
    }
}
