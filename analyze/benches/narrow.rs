//! What reading snapshot files costs at least: plain parquet-rs over all files of a store, without checks, grouping or tables.
//!
//! `narrow --store FOLDER --columns narrow|all --threads N` prints a line of JSON. `vs_engines/run.sh` puts it beside `wsp merge`.

#![allow(missing_docs, clippy::print_stdout, clippy::print_stderr, reason = "a benchmark")]

use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use arrow::array::AsArray as _;
use arrow::datatypes::Int64Type;
use bytes::Bytes;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

/// What a merge reads of every row of every file.
const NARROW: [&str; 4] = ["node_id", "first_seen_ms", "last_seen_ms", "events"];

type Failure = Box<dyn Error + Send + Sync>;

#[derive(Default)]
struct Read {
    rows: usize,
    events: i64,
    columns: usize,
}

/// One open a file, the reader's default options.
fn read(path: &Path, narrow: bool) -> Result<Read, Failure> {
    let file = Bytes::from(std::fs::read(path)?);
    let mut builder = ParquetRecordBatchReaderBuilder::try_new(file)?;
    if narrow {
        let mask = ProjectionMask::columns(builder.parquet_schema(), NARROW);
        builder = builder.with_projection(mask);
    }
    let mut read = Read::default();
    for batch in builder.build()? {
        let batch = batch?;
        let events = batch.column_by_name("events").and_then(|column| column.as_primitive_opt::<Int64Type>());
        let events = events.ok_or("it has no column `events` of 64-bit numbers: it is no snapshot file")?;
        read.rows += batch.num_rows();
        read.events += events.values().iter().sum::<i64>();
        read.columns = batch.num_columns();
    }
    Ok(read)
}

fn files(folder: &Path, found: &mut Vec<PathBuf>) -> Result<(), Failure> {
    let cannot = |error| format!("the folder `{}` cannot be read: {error}", folder.display());
    for entry in std::fs::read_dir(folder).map_err(cannot)? {
        let entry = entry.map_err(cannot)?;
        if entry.file_type().map_err(cannot)?.is_dir() {
            files(&entry.path(), found)?;
        } else if entry.path().extension().is_some_and(|extension| extension == "parquet") {
            found.push(entry.path());
        }
    }
    Ok(())
}

/// The value of an option; cargo adds words of its own (`--bench`), which nobody asks for.
fn option(name: &str) -> Result<String, Failure> {
    let mut words = std::env::args().skip_while(|word| word != name);
    Ok(words.nth(1).ok_or_else(|| format!("`{name} VALUE` is missing"))?)
}

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), Failure> {
    let store = PathBuf::from(option("--store")?);
    let threads = option("--threads")?;
    let threads: usize = threads
        .parse()
        .ok()
        .filter(|threads| *threads > 0)
        .ok_or_else(|| format!("`--threads {threads}`: a number from 1 on"))?;
    let narrow = match option("--columns")?.as_str() {
        "narrow" => true,
        "all" => false,
        other => return Err(format!("`--columns {other}`: `narrow` or `all`").into()),
    };

    let start = Instant::now();
    let mut paths = Vec::new();
    files(&store.join("snapshots"), &mut paths)?;
    let reads: Vec<Read> = std::thread::scope(|scope| {
        let paths = &paths;
        let one = move |path: &PathBuf| {
            read(path, narrow).map_err(|error| Failure::from(format!("`{}`: {error}", path.display())))
        };
        let workers: Vec<_> = (0..threads)
            .map(|first| scope.spawn(move || paths.iter().skip(first).step_by(threads).map(one).collect()))
            .collect();
        let mut reads = Vec::with_capacity(paths.len());
        for worker in workers {
            let part: Result<Vec<Read>, Failure> =
                worker.join().map_err(|_| "a thread ended early: the Parquet reader gave up on some file")?;
            reads.extend(part?);
        }
        Ok::<_, Failure>(reads)
    })?;
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
    Ok(())
}
