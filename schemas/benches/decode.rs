//! What reading and writing snapshot files costs, and what other encodings would. `RESULTS.md` holds the figures that
//! the encodings were chosen by.

#![allow(missing_docs, clippy::unwrap_used, clippy::print_stdout, clippy::cast_possible_truncation, clippy::cast_sign_loss,
    unreachable_pub, dead_code, reason = "a benchmark")]

#[path = "../tests/snapshot/nodes.rs"]
mod nodes;

use bytes::Bytes;
use criterion::{Criterion, criterion_group, criterion_main};
use wsp_schemas::snapshot::{Limits, decode, encode};

fn full(c: &mut Criterion) {
    let (meta, rows) = (nodes::meta(1), nodes::nodes(1));
    let file = Bytes::from(encode(&meta, &rows).unwrap());
    println!("{} nodes, {} bytes", rows.len(), file.len());
    c.bench_function("decode and verify one file", |b| b.iter(|| decode(file.clone(), &Limits::default()).unwrap()));
    c.bench_function("encode one file", |b| b.iter(|| encode(&meta, &rows).unwrap()));
}

criterion_group!(benches, full);
criterion_main!(benches);
