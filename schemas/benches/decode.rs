//! What reading and writing snapshot files costs, and what other encodings would. `RESULTS.md` holds the figures that
//! the encodings were chosen by.
//!
//! `cargo bench -p wsp-schemas` measures; `WSP_ALTERNATIVES=1` also prints the table of alternatives.

#![allow(
    missing_docs,
    unreachable_pub,
    dead_code,
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a benchmark"
)]

#[path = "../tests/snapshot/nodes.rs"]
mod nodes;

use std::time::{Duration, Instant};

use arrow::array::RecordBatch;
use bytes::Bytes;
use criterion::{Criterion, criterion_group, criterion_main};
use parquet::arrow::arrow_reader::{ArrowReaderOptions, ParquetRecordBatchReaderBuilder};
use parquet::arrow::arrow_writer::ArrowWriterOptions;
use parquet::arrow::{ArrowWriter, ProjectionMask};
use parquet::basic::{Compression, Encoding, ZstdLevel};
use parquet::file::metadata::KeyValue;
use parquet::file::properties::{
    EnabledStatistics, WriterProperties, WriterPropertiesBuilder, WriterVersion,
};
use parquet::schema::types::ColumnPath;
use wsp_schemas::snapshot::{Limits, Scanner, decode, encode};
use wsp_schemas::table::{Column, Storage};
use wsp_schemas::tables::SNAPSHOT;

const FILES: u64 = 1000;
const NARROW: [&str; 4] = ["node_id", "events", "first_seen_ms", "last_seen_ms"];

/// What a merge reads of every row of every file.
fn narrow(files: &[Bytes]) -> usize {
    let mut rows = 0;
    for file in files {
        let options = ArrowReaderOptions::new().with_skip_arrow_metadata(true);
        let builder = ParquetRecordBatchReaderBuilder::try_new_with_options(file.clone(), options).unwrap();
        let mask = ProjectionMask::columns(builder.parquet_schema(), NARROW);
        for batch in builder.with_projection(mask).with_batch_size(1 << 20).build().unwrap() {
            rows += batch.unwrap().column(0).len();
        }
    }
    rows
}

fn footers(files: &[Bytes]) -> usize {
    let parse = |file| parquet::file::metadata::ParquetMetaDataReader::new().parse_and_finish(file).unwrap();
    files.iter().map(|file| parse(file).num_row_groups()).sum()
}

/// Least of several runs: what else the machine does counts little.
fn best(mut run: impl FnMut() -> usize) -> Duration {
    let time = || {
        let start = Instant::now();
        std::hint::black_box(run());
        start.elapsed()
    };
    std::iter::repeat_with(time).take(15).min().unwrap()
}

struct Layout {
    name: &'static str,
    arrow_schema: bool,
    properties: WriterPropertiesBuilder,
    first: &'static [&'static str],
}

fn write(batch: &RecordBatch, layout: &Layout, footer: &[KeyValue]) -> Bytes {
    let mut order: Vec<usize> = (0..batch.num_columns()).collect();
    let schema = batch.schema();
    order.sort_by_key(|at| !layout.first.contains(&schema.field(*at).name().as_str()));
    let batch = batch.project(&order).unwrap();
    let mut out = Vec::new();
    let properties = layout.properties.clone().set_key_value_metadata(Some(footer.to_vec())).build();
    let options =
        ArrowWriterOptions::new().with_properties(properties).with_skip_arrow_metadata(!layout.arrow_schema);
    let mut writer = ArrowWriter::try_new_with_options(&mut out, batch.schema(), options).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
    Bytes::from(out)
}

fn zstd(level: i32) -> Compression {
    Compression::ZSTD(ZstdLevel::try_new(level).unwrap())
}

fn encoded(
    properties: WriterPropertiesBuilder,
    names: &[&str],
    encoding: Encoding,
    compression: Compression,
) -> WriterPropertiesBuilder {
    names.iter().fold(properties, |properties, name| {
        let path = ColumnPath::from(*name);
        properties
            .set_column_dictionary_enabled(path.clone(), false)
            .set_column_encoding(path.clone(), encoding)
            .set_column_compression(path, compression)
    })
}

fn alternatives() {
    let (mut batches, mut footer) = (Vec::new(), Vec::new());
    for seed in 0..FILES {
        let file = Bytes::from(encode(&nodes::meta(seed), &nodes::nodes(seed)).unwrap());
        if seed == 0 {
            let builder = ParquetRecordBatchReaderBuilder::try_new(file.clone()).unwrap();
            footer = builder.metadata().file_metadata().key_value_metadata().unwrap().clone();
            footer.retain(|entry| entry.key != "wsp.blake3");
        }
        batches.push(decode(file, &Limits::default()).unwrap().rows);
    }
    let base = || {
        WriterProperties::builder()
            .set_statistics_enabled(EnabledStatistics::None)
            .set_offset_index_disabled(true)
    };
    let v2 = || base().set_writer_version(WriterVersion::PARQUET_2_0);
    const HOT: [&str; 5] = ["node_id", "parent_id", "events", "first_seen_ms", "last_seen_ms"];
    let times = ["first_seen_ms", "last_seen_ms"];
    let none = Compression::UNCOMPRESSED;
    let text: Vec<&Column> =
        SNAPSHOT.columns.iter().filter(|column| column.storage == Storage::Text).collect();
    // Dictionaries, ids and times plain, the given text columns compressed.
    let lean = |properties: WriterPropertiesBuilder, level, text: &[&str]| {
        let path = |name: &str| match name {
            "args" | "remote_ips" => {
                ColumnPath::new(vec![name.to_owned(), "list".to_owned(), "element".to_owned()])
            }
            name => ColumnPath::from(name),
        };
        let zstd = |properties: WriterPropertiesBuilder, name: &&str| {
            properties.set_column_compression(path(name), zstd(level))
        };
        let plain = encoded(properties, &["node_id", "first_seen_ms", "last_seen_ms"], Encoding::PLAIN, none);
        text.iter().fold(plain, zstd)
    };
    let text: Vec<&str> = text.iter().map(|column| column.name).collect();
    let chosen = || lean(v2(), 1, &text);
    let first = |properties| encoded(properties, &HOT, Encoding::PLAIN, none);
    let all = |level| WriterProperties::builder().set_compression(zstd(level));
    let layout = |name, properties| Layout { name, arrow_schema: false, properties, first: &[] };
    let layouts = vec![
        Layout {
            arrow_schema: true,
            ..layout(
                "parquet-rs defaults (dictionary, statistics, no compression)",
                WriterProperties::builder(),
            )
        },
        Layout { arrow_schema: true, ..layout("the same + zstd 3", all(3)) },
        Layout {
            arrow_schema: true,
            ..layout(
                "A: ids, events, times plain; all else dictionary + zstd 3; no statistics, no index",
                first(base().set_compression(zstd(3))),
            )
        },
        layout("B: A without the embedded Arrow schema", first(base().set_compression(zstd(3)))),
        layout(
            "B with chunk statistics",
            first(base().set_statistics_enabled(EnabledStatistics::Chunk).set_compression(zstd(3))),
        ),
        layout("B without compression", first(base())),
        layout("C: B, zstd for the text columns only", first(lean(base(), 3, &text))),
        layout("**D: C, events and parent_id as dictionaries (chosen)**", chosen()),
        layout("D, zstd 3", lean(v2(), 3, &text)),
        layout("D, zstd 9", lean(v2(), 9, &text)),
        layout("D, zstd for path and args only", lean(v2(), 1, &["path", "args"])),
        Layout { first: &HOT, ..layout("D, hot columns side by side", chosen()) },
        layout("D, events plain", encoded(chosen(), &["events"], Encoding::PLAIN, none)),
        layout(
            "D, events DELTA_BINARY_PACKED",
            encoded(chosen(), &["events"], Encoding::DELTA_BINARY_PACKED, none),
        ),
        layout(
            "D, times DELTA_BINARY_PACKED",
            encoded(chosen(), &times, Encoding::DELTA_BINARY_PACKED, none),
        ),
        layout(
            "D, times BYTE_STREAM_SPLIT + zstd 1",
            encoded(chosen(), &times, Encoding::BYTE_STREAM_SPLIT, zstd(1)),
        ),
        layout("D, times plain + zstd 1", encoded(chosen(), &times, Encoding::PLAIN, zstd(1))),
        layout(
            "D, times as dictionaries",
            times.iter().fold(chosen(), |properties, name| {
                properties.set_column_dictionary_enabled(ColumnPath::from(*name), true)
            }),
        ),
        layout(
            "D, path DELTA_BYTE_ARRAY + zstd 1",
            encoded(chosen(), &["path"], Encoding::DELTA_BYTE_ARRAY, zstd(1)),
        ),
        layout("D, path plain + zstd 1", encoded(chosen(), &["path"], Encoding::PLAIN, zstd(1))),
    ];
    let rows: usize = batches.iter().map(RecordBatch::num_rows).sum();
    println!(
        "\n{} files, {rows} rows, footer entries {} bytes\n",
        FILES,
        footer.iter().map(|e| e.key.len() + e.value.as_ref().map_or(0, String::len)).sum::<usize>()
    );
    println!(
        "| layout | bytes a node | bytes a file | of which footer | footers | narrow | verified |\n|---|---|---|---|---|---|---|"
    );
    for layout in &layouts {
        let files: Vec<Bytes> = batches
            .iter()
            .map(|batch| {
                // The footer of file 0 serves all: the narrow decode does not look into it.
                write(batch, layout, &footer)
            })
            .collect();
        let bytes: usize = files.iter().map(Bytes::len).sum();
        let footer_bytes = u32::from_le_bytes(files[0][files[0].len() - 8..][..4].try_into().unwrap());
        let (parse, narrow) = (best(|| footers(&files)), best(|| narrow(&files)));
        let first = files[0].clone();
        let verified = best(|| {
            (0..100).map(|_| decode(first.clone(), &Limits::default()).unwrap().rows.num_rows()).sum()
        }) / 100;
        println!(
            "| {} | {:.1} | {} | {footer_bytes} | {:.1} | {:.1} | {} |",
            layout.name,
            bytes as f64 / rows as f64,
            bytes / FILES as usize,
            parse.as_secs_f64() * 1e3,
            narrow.as_secs_f64() * 1e3,
            verified.as_micros()
        );
    }
    per_column();
}

/// Where the bytes of one file are.
fn per_column() {
    let file = Bytes::from(encode(&nodes::meta(0), &nodes::nodes(0)).unwrap());
    let builder = ParquetRecordBatchReaderBuilder::try_new(file.clone()).unwrap();
    let group = builder.metadata().row_group(0);
    let mut columns: Vec<_> =
        group.columns().iter().map(|c| (c.compressed_size(), c.column_path().string())).collect();
    columns.sort_by_key(|(size, _)| -size);
    println!("\n{} bytes: {columns:?}", file.len());
}

/// The recordings in `datasets`, where they are there.
fn recordings() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../datasets/recordings/snapshots");
    let mut folders = vec![std::path::PathBuf::from(folder)];
    let mut files = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "parquet") {
                files.push(Bytes::from(std::fs::read(path).unwrap()));
            }
        }
    }
    let decoded =
        || files.iter().map(|file| decode(file.clone(), &Limits::default()).unwrap().rows.num_rows()).sum();
    let (rows, bytes) = (decoded(), files.iter().map(Bytes::len).sum::<usize>());
    let (verified, narrow) = (best(decoded), best(|| narrow(&files)));
    println!(
        "recordings: {} files, {rows} nodes, {bytes} bytes; verified {verified:?}, narrow {narrow:?}",
        files.len()
    );
}

fn benches(c: &mut Criterion) {
    if std::env::var_os("WSP_ALTERNATIVES").is_some() {
        alternatives();
        recordings();
    }
    let files: Vec<Bytes> = (0..FILES)
        .map(|seed| Bytes::from(encode(&nodes::meta(seed), &nodes::nodes(seed)).unwrap()))
        .collect();
    let (meta, rows) = (nodes::meta(1), nodes::nodes(1));
    println!("{} nodes, {} bytes", rows.len(), files[1].len());
    c.bench_function("narrow decode of 1000 files", |b| b.iter(|| narrow(&files)));
    c.bench_function("decode and verify one file", |b| {
        b.iter(|| decode(files[1].clone(), &Limits::default()).unwrap());
    });
    c.bench_function("scan 1000 files", |b| {
        b.iter(|| {
            let mut scanner = Scanner::default();
            files.iter().map(|file| scanner.scan(file, &Limits::default()).unwrap().len()).sum::<usize>()
        });
    });
    c.bench_function("encode one file", |b| b.iter(|| encode(&meta, &rows).unwrap()));
}

criterion_group! { name = all; config = Criterion::default().sample_size(20); targets = benches }
criterion_main!(all);
