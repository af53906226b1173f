//! Files of earlier versions of the format, as the writers of their time left them.

use std::path::PathBuf;

use bytes::Bytes;
use wsp_schemas::identity::Kind;
use wsp_schemas::snapshot::{Limits, encode, rewrite};

use crate::both::decode;
use crate::nodes;

fn files() -> Vec<(String, Bytes)> {
    let folder = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/snapshot/version-1"));
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name().into_string().unwrap();
        if name != "README.md" {
            files.push((name, std::fs::read(entry.path()).unwrap().into()));
        }
    }
    files.sort();
    files
}

#[test]
fn they_are_read_and_say_the_same_when_written_anew() {
    let mut lines = String::new();
    for (name, file) in files() {
        let read = decode(file.clone(), &Limits::default()).unwrap_or_else(|error| panic!("{name}: {error}"));
        let mut kinds = String::new();
        for kind in Kind::ALL {
            let texts = arrow::array::AsArray::as_string::<i32>(&read.rows["kind"]);
            let count = texts.iter().flatten().filter(|text| *text == kind.as_str()).count();
            kinds += &format!(" {kind:?} {count}");
        }
        lines += &format!("{name}: {} rules {},{kinds}\n", read.meta.id, read.meta.path_rules);
        let anew = Bytes::from(rewrite(&read).unwrap());
        assert!(anew.len() < file.len(), "{name}");
        let again = decode(anew, &Limits::default()).unwrap();
        assert_eq!(again.meta, read.meta, "{name}");
        assert_eq!(by_id(&again.rows), by_id(&read.rows), "{name}");
    }
    insta::assert_snapshot!(lines);
}

fn by_id(rows: &arrow::array::RecordBatch) -> arrow::array::RecordBatch {
    let order = arrow::compute::sort_to_indices(&rows["node_id"], None, None).unwrap();
    arrow::compute::take_record_batch(rows, &order).unwrap()
}

#[test]
fn what_was_written_from_the_same_nodes_says_the_same() {
    for (name, seed, nodes) in [
        ("hostile.parquet", 1, nodes::hostile()),
        ("web.parquet", 3, nodes::sized(3, 8, 40)),
        ("no-rows.parquet", 2, Vec::new()),
    ] {
        let (_, file) = files().into_iter().find(|(found, _)| found == name).unwrap();
        let then = decode(file, &Limits::default()).unwrap();
        let now = decode(encode(&nodes::meta(seed), &nodes).unwrap().into(), &Limits::default()).unwrap();
        assert_eq!(then.meta, now.meta, "{name}");
        assert_eq!(by_id(&then.rows), by_id(&now.rows), "{name}");
    }
}
