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

use std::sync::Arc;
use std::time::Duration;

use arrow::array::{Array, RecordBatch};
use bytes::Bytes;
use criterion::{Criterion, criterion_group, criterion_main};
use parquet::arrow::arrow_reader::{ArrowReaderOptions, ParquetRecordBatchReaderBuilder};
use parquet::arrow::arrow_writer::ArrowWriterOptions;
use parquet::arrow::{ArrowWriter, ProjectionMask};
use parquet::basic::{Compression, Encoding, ZstdLevel};
use parquet::file::metadata::KeyValue;
use parquet::file::properties::{EnabledStatistics, WriterProperties, WriterPropertiesBuilder, WriterVersion};
use parquet::schema::types::ColumnPath;
use wsp_schemas::snapshot::{Limits, decode, encode};

const FILES: u64 = 1000;
const NARROW: [&str; 4] = ["node_id", "events", "first_seen_ms", "last_seen_ms"];
const CONSTANT: [&str; 12] = wsp_schemas::tables::CONSTANT_COLUMNS;

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

/// Time on the processor, least of several runs: what else the machine does counts little.
fn best(mut run: impl FnMut() -> usize) -> Duration {
    let time = || {
        let start = on_cpu();
        std::hint::black_box(run());
        on_cpu() - start
    };
    std::iter::repeat_with(time).take(9).min().unwrap()
}

fn on_cpu() -> Duration {
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    Duration::from_nanos(stat.split(' ').next().unwrap().parse().unwrap())
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
    let options = ArrowWriterOptions::new().with_properties(properties).with_skip_arrow_metadata(!layout.arrow_schema);
    let mut writer = ArrowWriter::try_new_with_options(&mut out, batch.schema(), options).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
    Bytes::from(out)
}

fn zstd(level: i32) -> Compression {
    Compression::ZSTD(ZstdLevel::try_new(level).unwrap())
}

/// Plain and uncompressed.
fn plain(properties: WriterPropertiesBuilder, names: &[&str]) -> WriterPropertiesBuilder {
    names.iter().fold(properties, |properties, name| {
        let path = ColumnPath::from(*name);
        properties
            .set_column_dictionary_enabled(path.clone(), false)
            .set_column_encoding(path.clone(), Encoding::PLAIN)
            .set_column_compression(path, Compression::UNCOMPRESSED)
    })
}

fn encoded(properties: WriterPropertiesBuilder, names: &[&str], encoding: Encoding, compression: Compression) -> WriterPropertiesBuilder {
    names.iter().fold(properties, |properties, name| {
        let path = ColumnPath::from(*name);
        properties
            .set_column_dictionary_enabled(path.clone(), false)
            .set_column_encoding(path.clone(), encoding)
            .set_column_compression(path, compression)
    })
}

fn dictionary(properties: WriterPropertiesBuilder, names: &[&str]) -> WriterPropertiesBuilder {
    names.iter().fold(properties, |properties, name| {
        let path = match *name {
            "args" | "access" | "stdio" | "uids" | "gids" | "remote_ips" => {
                ColumnPath::from(vec![(*name).to_owned(), "list".to_owned(), "element".to_owned()])
            }
            name => ColumnPath::from(name),
        };
        properties.set_column_compression(path, Compression::UNCOMPRESSED)
    })
}

fn alternatives() {
    let (mut batches, mut footer) = (Vec::new(), Vec::new());
    for seed in 0..FILES {
        let file = Bytes::from(encode(&nodes::meta(seed), &nodes::nodes(seed)).unwrap());
        if seed == 0 {
            let builder = ParquetRecordBatchReaderBuilder::try_new(file.clone()).unwrap();
            footer = builder.metadata().file_metadata().key_value_metadata().unwrap().clone();
            footer.retain(|entry| entry.key != "ARROW:schema");
        }
        batches.push(decode(file, &Limits::default()).unwrap().rows);
    }
    let base = || WriterProperties::builder().set_statistics_enabled(EnabledStatistics::None).set_offset_index_disabled(true);
    let v2 = || base().set_writer_version(WriterVersion::PARQUET_2_0);
    const HOT: [&str; 5] = ["node_id", "parent_id", "events", "first_seen_ms", "last_seen_ms"];
    let ids = ["node_id", "first_seen_ms", "last_seen_ms"];
    let times = ["first_seen_ms", "last_seen_ms"];
    let big = ["path", "args", "remote_ips", "dns_name", "address", "path_raw", "exe"];
    let schema = batches[0].schema();
    let small: Vec<&str> = schema.fields().iter().map(|field| field.name().as_str()).filter(|name| !big.contains(name)).collect();
    // Text that is worth compressing is compressed, all else is a dictionary without compression.
    let lean = |version: WriterPropertiesBuilder, level| {
        let properties = big.iter().fold(version, |properties, name| {
            let path = match *name {
                "args" | "remote_ips" => ColumnPath::from(vec![(*name).to_owned(), "list".to_owned(), "element".to_owned()]),
                name => ColumnPath::from(name),
            };
            properties.set_column_compression(path, zstd(level))
        });
        plain(properties, &ids)
    };
    let _ = small;
    let layouts = vec![
        Layout { name: "parquet-rs defaults (dictionary, no compression)", arrow_schema: true, properties: WriterProperties::builder(), first: &[] },
        Layout { name: "parquet-rs defaults + zstd 3", arrow_schema: true, properties: WriterProperties::builder().set_compression(zstd(3)), first: &[] },
        Layout { name: "first version: hot plain, all else dictionary + zstd 3, no statistics or index", arrow_schema: true, properties: plain(base().set_compression(zstd(3)), &HOT), first: &[] },
        Layout { name: ". without ARROW:schema", arrow_schema: false, properties: plain(base().set_compression(zstd(3)), &HOT), first: &[] },
        Layout { name: ". . with statistics (chunk)", arrow_schema: false, properties: plain(base().set_statistics_enabled(EnabledStatistics::Chunk).set_compression(zstd(3)), &HOT), first: &[] },
        Layout { name: ". . no compression at all", arrow_schema: false, properties: plain(base(), &HOT), first: &[] },
        Layout { name: ". . zstd only for long text", arrow_schema: false, properties: lean(plain(base(), &HOT), 3), first: &[] },
        Layout { name: "lean: + events, parent_id as dictionaries (v2)", arrow_schema: false, properties: lean(v2(), 3), first: &[] },
        Layout { name: ". zstd 1", arrow_schema: false, properties: lean(v2(), 1), first: &[] },
        Layout { name: ". zstd 9", arrow_schema: false, properties: lean(v2(), 9), first: &[] },
        Layout { name: ". hot columns adjacent", arrow_schema: false, properties: lean(v2(), 3), first: &HOT },
        Layout { name: ". events plain", arrow_schema: false, properties: plain(lean(v2(), 3), &["events"]), first: &[] },
        Layout { name: ". events DELTA_BINARY_PACKED", arrow_schema: false, properties: encoded(lean(v2(), 3), &["events"], Encoding::DELTA_BINARY_PACKED, Compression::UNCOMPRESSED), first: &[] },
        Layout { name: ". times DELTA_BINARY_PACKED", arrow_schema: false, properties: encoded(lean(v2(), 3), &times, Encoding::DELTA_BINARY_PACKED, Compression::UNCOMPRESSED), first: &[] },
        Layout { name: ". times BYTE_STREAM_SPLIT", arrow_schema: false, properties: encoded(lean(v2(), 3), &times, Encoding::BYTE_STREAM_SPLIT, Compression::UNCOMPRESSED), first: &[] },
        Layout { name: ". times BYTE_STREAM_SPLIT + zstd 3", arrow_schema: false, properties: encoded(lean(v2(), 3), &times, Encoding::BYTE_STREAM_SPLIT, zstd(3)), first: &[] },
        Layout { name: ". times plain + zstd 3", arrow_schema: false, properties: encoded(lean(v2(), 3), &times, Encoding::PLAIN, zstd(3)), first: &[] },
        Layout { name: ". path DELTA_BYTE_ARRAY + zstd 3", arrow_schema: false, properties: encoded(lean(v2(), 3), &["path"], Encoding::DELTA_BYTE_ARRAY, zstd(3)), first: &[] },
        Layout { name: ". path PLAIN + zstd 3", arrow_schema: false, properties: encoded(lean(v2(), 3), &["path"], Encoding::PLAIN, zstd(3)), first: &[] },
    ];
    let rows: usize = batches.iter().map(RecordBatch::num_rows).sum();
    println!("\n{} files, {rows} rows, footer entries {} bytes\n", FILES, footer.iter().map(|e| e.key.len() + e.value.as_ref().map_or(0, String::len)).sum::<usize>());
    println!("| layout | bytes a node | bytes a file | of which footer | footers | narrow | verified |\n|---|---|---|---|---|---|---|");
    for layout in &layouts {
        let files: Vec<Bytes> = batches.iter().map(|batch| {
            // The footer of file 0 serves all: the narrow decode does not look into it.
            write(batch, layout, &footer)
        }).collect();
        let bytes: usize = files.iter().map(Bytes::len).sum();
        let footer_bytes = u32::from_le_bytes(files[0][files[0].len() - 8..][..4].try_into().unwrap());
        let (parse, narrow) = (best(|| footers(&files)), best(|| narrow(&files)));
        let first = files[0].clone();
        let verified = best(|| (0..100).map(|_| decode(first.clone(), &Limits::default()).unwrap().rows.num_rows()).sum()) / 100;
        println!(
            "| {} | {:.1} | {} | {footer_bytes} | {:.1} | {:.1} | {} |",
            layout.name, bytes as f64 / rows as f64, bytes / FILES as usize, parse.as_secs_f64() * 1e3, narrow.as_secs_f64() * 1e3, verified.as_micros()
        );
    }
    per_column(&batches[0]);
    let _ = (CONSTANT, dictionary as fn(_, &[&str]) -> _);
}

/// Where the bytes of one file are.
fn per_column(_batch: &RecordBatch) {
    let file = Bytes::from(encode(&nodes::meta(0), &nodes::nodes(0)).unwrap());
    let builder = ParquetRecordBatchReaderBuilder::try_new(file.clone()).unwrap();
    let group = builder.metadata().row_group(0);
    let mut columns: Vec<_> = group.columns().iter().map(|c| (c.compressed_size(), c.column_path().string())).collect();
    columns.sort_by_key(|(size, _)| -size);
    println!("\n{} bytes: {columns:?}", file.len());
    let _ = Arc::new(());
}

fn benches(c: &mut Criterion) {
    if std::env::var_os("WSP_ALTERNATIVES").is_some() {
        alternatives();
    }
    let files: Vec<Bytes> = (0..FILES).map(|seed| Bytes::from(encode(&nodes::meta(seed), &nodes::nodes(seed)).unwrap())).collect();
    let (meta, rows) = (nodes::meta(1), nodes::nodes(1));
    println!("{} nodes, {} bytes", rows.len(), files[1].len());
    c.bench_function("narrow decode of 1000 files", |b| b.iter(|| narrow(&files)));
    c.bench_function("decode and verify one file", |b| b.iter(|| decode(files[1].clone(), &Limits::default()).unwrap()));
    c.bench_function("encode one file", |b| b.iter(|| encode(&meta, &rows).unwrap()));
}

criterion_group! { name = all; config = Criterion::default().sample_size(20); targets = benches }
criterion_main!(all);
