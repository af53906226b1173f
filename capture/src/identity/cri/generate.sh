#!/bin/sh
# Makes v1.rs from v1.proto. Needs cargo and protoc (Debian: protobuf-compiler); builds of wsp-capture do not.
set -eu
cd "$(dirname "$0")"
here=$PWD
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir "$work/src"
cat >"$work/Cargo.toml" <<'TOML'
[package]
name = "generate"
edition = "2024"
[dependencies]
tonic-prost-build = "0.14"
[workspace]
TOML
cat >"$work/src/main.rs" <<'RUST'
fn main() {
    let folder = std::env::args().nth(1).expect("the folder of v1.proto");
    tonic_prost_build::configure()
        .build_server(false)
        .build_transport(false)
        .btree_map(".")
        .out_dir(&folder)
        .compile_protos(&[format!("{folder}/v1.proto")], &[folder.clone()])
        .expect("v1.proto compiles");
}
RUST
cargo run --quiet --manifest-path "$work/Cargo.toml" -- "$here"
mv runtime.v1.rs v1.rs
