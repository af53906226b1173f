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

use arrow::array::{Array, AsArray, RecordBatch, UInt32Array};
use arrow::compute::take_record_batch;
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
use wsp_schemas::snapshot::{Limits, Scanner, decode, encode, rewrite};
use wsp_schemas::table::Storage;
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
    properties: WriterPropertiesBuilder,
    arrow_schema: bool,
    /// Columns of nulls are there too.
    all_columns: bool,
    by_kind: bool,
}

fn write(rows: &RecordBatch, layout: &Layout, footer: &[KeyValue]) -> Bytes {
    let mut rows = rows.clone();
    if !layout.all_columns {
        let says = |at: &usize| rows.column(*at).null_count() < rows.num_rows();
        rows = rows.project(&(0..rows.num_columns()).filter(says).collect::<Vec<_>>()).unwrap();
    }
    if !layout.by_kind {
        // As a recorder walks the tree: what a process did follows it.
        let owner = |row: usize| {
            let process = rows["kind"].as_string::<i32>().value(row) == "process";
            let id = if process { &rows["node_id"] } else { &rows["parent_id"] }.as_fixed_size_binary();
            if id.is_valid(row) { id.value(row).to_vec() } else { Vec::new() }
        };
        let mut order: Vec<u32> = (0..rows.num_rows() as u32).collect();
        order.sort_by_cached_key(|row| owner(*row as usize));
        rows = take_record_batch(&rows, &UInt32Array::from(order)).unwrap();
    }
    let mut out = Vec::new();
    let properties = layout.properties.clone().set_key_value_metadata(Some(footer.to_vec())).build();
    let options =
        ArrowWriterOptions::new().with_properties(properties).with_skip_arrow_metadata(!layout.arrow_schema);
    let mut writer = ArrowWriter::try_new_with_options(&mut out, rows.schema(), options).unwrap();
    writer.write(&rows).unwrap();
    writer.close().unwrap();
    Bytes::from(out)
}

fn zstd(level: i32) -> Compression {
    Compression::ZSTD(ZstdLevel::try_new(level).unwrap())
}

fn path(name: &str) -> ColumnPath {
    let list = ["access", "args", "remote_ips", "stdio", "uids", "gids"].contains(&name);
    let parts = if list { vec![name, "list", "element"] } else { vec![name] };
    ColumnPath::new(parts.into_iter().map(str::to_owned).collect())
}

fn encoded(
    properties: WriterPropertiesBuilder,
    names: &[&str],
    encoding: Option<Encoding>,
    compression: Compression,
) -> WriterPropertiesBuilder {
    names.iter().fold(properties, |properties, name| {
        let properties = properties.set_column_compression(path(name), compression);
        match encoding {
            Some(encoding) => properties
                .set_column_dictionary_enabled(path(name), false)
                .set_column_encoding(path(name), encoding),
            None => properties.set_column_dictionary_enabled(path(name), true),
        }
    })
}

/// What the declarations ask for.
fn declared(mut properties: WriterPropertiesBuilder, level: i32) -> WriterPropertiesBuilder {
    let none = Compression::UNCOMPRESSED;
    for column in SNAPSHOT.columns {
        let (encoding, compression) = match column.storage {
            Storage::Dictionary => continue,
            Storage::Text => (None, zstd(level)),
            Storage::Packed => (Some(Encoding::PLAIN), zstd(level)),
            Storage::Split => (Some(Encoding::BYTE_STREAM_SPLIT), zstd(level)),
            Storage::Plain => (Some(Encoding::PLAIN), none),
            Storage::Runs => (Some(Encoding::RLE), none),
        };
        properties = encoded(properties, &[column.name], encoding, compression);
    }
    properties
}

/// Rows of many files, and a footer that serves all of them: nothing that is measured looks into it.
struct Data {
    rows: Vec<RecordBatch>,
    written: Vec<Bytes>,
}

impl Data {
    fn of(files: impl Iterator<Item = Bytes>) -> Self {
        let read = files.map(|file| decode(file, &Limits::default()).unwrap());
        let read: Vec<_> = read.filter(|read| read.rows.num_rows() > 0).collect();
        let written = read.iter().map(|read| rewrite(read).unwrap().into()).collect();
        Self { rows: read.into_iter().map(|read| read.rows).collect(), written }
    }

    fn nodes(&self) -> usize {
        self.rows.iter().map(RecordBatch::num_rows).sum()
    }

    fn a_node(&self, files: &[Bytes]) -> f64 {
        files.iter().map(Bytes::len).sum::<usize>() as f64 / self.nodes() as f64
    }
}

fn alternatives() {
    let made = (0..FILES).map(|seed| encode(&nodes::meta(seed), &nodes::nodes(seed)).unwrap().into());
    let (made, recorded) = (Data::of(made), Data::of(recordings().into_iter()));
    let builder = ParquetRecordBatchReaderBuilder::try_new(made.written[0].clone()).unwrap();
    let mut footer = builder.metadata().file_metadata().key_value_metadata().unwrap().clone();
    footer.retain(|entry| entry.key != "wsp.blake3");
    let lean = |version| {
        WriterProperties::builder()
            .set_writer_version(version)
            .set_statistics_enabled(EnabledStatistics::None)
            .set_offset_index_disabled(true)
    };
    let (one, two) = (WriterVersion::PARQUET_1_0, WriterVersion::PARQUET_2_0);
    let none = Compression::UNCOMPRESSED;
    let times = ["first_seen_ms", "last_seen_ms"];
    let numbers = ["first_seen_ms", "last_seen_ms", "events"];
    let text = ["exe", "path", "path_raw", "dns_name", "address", "remote_ips", "args"];
    let dictionaries = || {
        let plain = encoded(lean(two), &["node_id", times[0], times[1]], Some(Encoding::PLAIN), none);
        encoded(plain, &text, None, zstd(1))
    };
    let chosen = || declared(lean(one), 9);
    let layout = |name, properties| Layout {
        name,
        properties,
        arrow_schema: false,
        all_columns: false,
        by_kind: true,
    };
    let layouts = [
        Layout {
            arrow_schema: true,
            all_columns: true,
            by_kind: false,
            ..layout(
                "parquet-rs defaults (dictionary, statistics, no compression)",
                WriterProperties::builder(),
            )
        },
        Layout {
            all_columns: true,
            by_kind: false,
            ..layout(
                "A: as version 1: dictionaries, zstd 1 for text, times plain, no statistics",
                dictionaries(),
            )
        },
        Layout { by_kind: false, ..layout("B: A without columns of nulls", dictionaries()) },
        layout("C: B, rows by kind", dictionaries()),
        layout("D: C, encodings as declared", declared(lean(two), 9)),
        layout("E: D, data pages of version 1", chosen()),
        layout("E, zstd 1", declared(lean(one), 1)),
        layout("E, zstd 19", declared(lean(one), 19)),
        layout(
            "E, times and events plain, not compressed",
            encoded(chosen(), &numbers, Some(Encoding::PLAIN), none),
        ),
        layout(
            "E, times and events plain, zstd 9",
            encoded(chosen(), &numbers, Some(Encoding::PLAIN), zstd(9)),
        ),
        layout(
            "E, times and events DELTA_BINARY_PACKED",
            encoded(chosen(), &numbers, Some(Encoding::DELTA_BINARY_PACKED), none),
        ),
        layout(
            "E, times and events DELTA_BINARY_PACKED, zstd 9",
            encoded(chosen(), &numbers, Some(Encoding::DELTA_BINARY_PACKED), zstd(9)),
        ),
        layout("E, path and name as dictionaries", encoded(chosen(), &["path", "name"], None, zstd(9))),
        layout(
            "E, path DELTA_BYTE_ARRAY, zstd 9",
            encoded(chosen(), &["path"], Some(Encoding::DELTA_BYTE_ARRAY), zstd(9)),
        ),
        layout("E, exe plain", encoded(chosen(), &["exe"], Some(Encoding::PLAIN), zstd(9))),
    ];
    println!(
        "\n{} files made, {} nodes; {} recorded, {} nodes\n",
        made.rows.len(),
        made.nodes(),
        recorded.rows.len(),
        recorded.nodes()
    );
    println!(
        "| layout | bytes a node: made | recorded | footer of one file | footers | narrow | verified |\n|---|---|---|---|---|---|---|"
    );
    for layout in &layouts {
        let written = |data: &Data| -> Vec<Bytes> {
            data.rows.iter().map(|rows| write(rows, layout, &footer)).collect()
        };
        line(layout.name, &made, &written(&made), recorded.a_node(&written(&recorded)));
    }
    line("**F: what is written**", &made, &made.written, recorded.a_node(&recorded.written));
}

fn line(name: &str, made: &Data, files: &[Bytes], recorded: f64) {
    let footer = u32::from_le_bytes(files[0][files[0].len() - 8..][..4].try_into().unwrap());
    let (parse, narrow) = (best(|| footers(files)), best(|| narrow(files)));
    let first = files[0].clone();
    let verified =
        best(|| (0..100).map(|_| decode(first.clone(), &Limits::default()).unwrap().rows.num_rows()).sum())
            / 100;
    println!(
        "| {name} | {:.1} | {recorded:.1} | {footer} | {:.1} | {:.1} | {} |",
        made.a_node(files),
        parse.as_secs_f64() * 1e3,
        narrow.as_secs_f64() * 1e3,
        verified.as_micros()
    );
}

/// The recordings in `datasets`, where they are there.
fn recordings() -> Vec<Bytes> {
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
    files
}

fn benches(c: &mut Criterion) {
    if std::env::var_os("WSP_ALTERNATIVES").is_some() {
        alternatives();
    }
    let files: Vec<Bytes> = (0..FILES)
        .map(|seed| Bytes::from(encode(&nodes::meta(seed), &nodes::nodes(seed)).unwrap()))
        .collect();
    let (meta, rows) = (nodes::meta(1), nodes::nodes(1));
    println!(
        "{} nodes, {} bytes: {:.1} a node",
        rows.len(),
        files[1].len(),
        files[1].len() as f64 / rows.len() as f64
    );
    let recorded = recordings();
    let read = |file: &Bytes| decode(file.clone(), &Limits::default()).unwrap().rows.num_rows();
    let (bytes, recorded_nodes) =
        (recorded.iter().map(Bytes::len).sum::<usize>(), recorded.iter().map(read).sum::<usize>());
    println!(
        "recordings: {} files, {recorded_nodes} nodes, {bytes} bytes: {:.1} a node; examples/snapshot_size.rs says more",
        recorded.len(),
        bytes as f64 / recorded_nodes as f64
    );
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
    c.bench_function("decode and verify all recordings", |b| {
        b.iter(|| recorded.iter().map(read).sum::<usize>());
    });
    c.bench_function("scan all recordings", |b| {
        b.iter(|| {
            let mut scanner = Scanner::default();
            recorded.iter().map(|file| scanner.scan(file, &Limits::default()).unwrap().len()).sum::<usize>()
        });
    });
    c.bench_function("encode one file", |b| b.iter(|| encode(&meta, &rows).unwrap()));
}

criterion_group! { name = all; config = Criterion::default().sample_size(20); targets = benches }
criterion_main!(all);
