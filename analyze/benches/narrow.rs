//! What reading snapshot files costs at least: plain parquet-rs over all files of a store, without checks, grouping or tables.
//!
//! `narrow --store FOLDER --columns narrow|all --threads N` prints a line of JSON. `vs_engines/run.sh` puts it beside `wsp merge`.

#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a benchmark"
)]

use std::path::{Path, PathBuf};
use std::time::Instant;

use arrow::array::AsArray as _;
use arrow::datatypes::Int64Type;
use bytes::Bytes;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

/// What a merge reads of every row of every file.
const NARROW: [&str; 4] = ["node_id", "first_seen_ms", "last_seen_ms", "events"];

#[derive(Default)]
struct Read {
    rows: usize,
    events: i64,
    columns: usize,
}

/// One open a file, the reader's default options.
fn read(path: &Path, narrow: bool) -> Read {
    let file = Bytes::from(std::fs::read(path).unwrap());
    let mut builder = ParquetRecordBatchReaderBuilder::try_new(file).unwrap();
    if narrow {
        let mask = ProjectionMask::columns(builder.parquet_schema(), NARROW);
        builder = builder.with_projection(mask);
    }
    let mut read = Read::default();
    for batch in builder.build().unwrap() {
        let batch = batch.unwrap();
        read.rows += batch.num_rows();
        read.events += batch["events"].as_primitive::<Int64Type>().values().iter().sum::<i64>();
        read.columns = batch.num_columns();
    }
    read
}

fn files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        if entry.file_type().unwrap().is_dir() {
            files(&entry.path(), found);
        } else if entry.path().extension().is_some_and(|extension| extension == "parquet") {
            found.push(entry.path());
        }
    }
}

/// The value of an option; cargo adds words of its own (`--bench`), which nobody asks for.
fn option(name: &str) -> String {
    let mut words = std::env::args().skip_while(|word| word != name);
    words.nth(1).unwrap_or_else(|| panic!("`{name} VALUE` is missing"))
}

fn main() {
    let store = PathBuf::from(option("--store"));
    let columns = option("--columns");
    let threads: usize = option("--threads").parse().expect("`--threads` takes a number");
    let narrow = match columns.as_str() {
        "narrow" => true,
        "all" => false,
        other => panic!("`--columns {other}`: `narrow` or `all`"),
    };

    let start = Instant::now();
    let mut paths = Vec::new();
    files(&store.join("snapshots"), &mut paths);
    let reads: Vec<Read> = std::thread::scope(|scope| {
        let paths = &paths;
        let deal = |first| paths.iter().skip(first).step_by(threads).map(|path| read(path, narrow)).collect();
        let workers: Vec<_> =
            (0..threads).map(|first| scope.spawn(move || -> Vec<Read> { deal(first) })).collect();
        workers.into_iter().flat_map(|worker| worker.join().unwrap()).collect()
    });
    let seconds = start.elapsed().as_secs_f64();
    println!(
        "{}",
        serde_json::json!({
            "seconds": seconds,
            "files": paths.len(),
            "rows": reads.iter().map(|read| read.rows).sum::<usize>(),
            "events": reads.iter().map(|read| read.events).sum::<i64>(),
            "columns": reads.first().map_or(0, |read| read.columns),
            "version": parquet::file::properties::DEFAULT_CREATED_BY,
        })
    );
}
