//! Where the bytes of snapshot files are: `cargo run -p wsp-schemas --example snapshot_size -- FOLDER [--rewrite]`.
//!
//! Prints bytes a node by the size of files, then by column. `--rewrite` measures what the files would be if the present version
//! had written them.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a program")]

use std::collections::BTreeMap;
use std::error::Error;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use parquet::file::metadata::ParquetMetaDataReader;
use wsp_schemas::snapshot::{Limits, decode, rewrite};

/// Files of fewer nodes than this are one class.
const CLASSES: [usize; 5] = [1, 100, 300, 1000, usize::MAX];

#[derive(Default, Clone, Copy)]
struct Sum {
    files: usize,
    nodes: usize,
    bytes: usize,
    footers: usize,
}

impl Sum {
    fn add(&mut self, other: Self) {
        self.files += other.files;
        self.nodes += other.nodes;
        self.bytes += other.bytes;
        self.footers += other.footers;
    }

    fn a_node(self, bytes: usize) -> f64 {
        bytes as f64 / self.nodes.max(1) as f64
    }

    fn print(self, name: &str) {
        let Self { files, nodes, bytes, footers } = self;
        println!(
            "| {name} | {files} | {nodes} | {bytes} | {:.1} | {:.1} |",
            self.a_node(bytes),
            self.a_node(footers)
        );
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let folder = arguments.next().ok_or("which folder?")?;
    let rewritten = arguments.next().is_some_and(|argument| argument == "--rewrite");
    let mut classes = [Sum::default(); CLASSES.len()];
    let mut columns: BTreeMap<String, (usize, usize)> = BTreeMap::new();
    for path in files(Path::new(&folder))? {
        let mut file = Bytes::from(std::fs::read(&path)?);
        let read = decode(file.clone(), &Limits::default())
            .map_err(|error| format!("{}: {error}", path.display()))?;
        if rewritten {
            file = rewrite(&read)?.into();
        }
        let footer = ParquetMetaDataReader::new().parse_and_finish(&file)?;
        let pages = footer.row_groups().iter().flat_map(|group| group.columns());
        for column in pages {
            let (files, bytes) = columns.entry(column.column_path().string()).or_default();
            *files += 1;
            *bytes += usize::try_from(column.compressed_size())?;
        }
        let length = file.last_chunk::<8>().and_then(|end| end.first_chunk::<4>());
        let footers = length.map_or(0, |length| u32::from_le_bytes(*length) as usize);
        let nodes = read.rows.num_rows();
        if let Some(class) = CLASSES.iter().position(|most| nodes < *most) {
            classes[class].add(Sum { files: 1, nodes, bytes: file.len(), footers });
        }
    }
    println!(
        "| nodes a file | files | nodes | bytes | bytes a node | of which footer |\n|---|---|---|---|---|---|"
    );
    let names = ["none", "1 to 99", "100 to 299", "300 to 999", "1000 and more"];
    let mut all = Sum::default();
    for (name, sum) in names.into_iter().zip(classes) {
        all.add(sum);
        if sum.files > 0 {
            sum.print(name);
        }
    }
    all.print("**all**");
    let mut columns: Vec<_> = columns.into_iter().collect();
    columns.sort_by_key(|(_, (_, bytes))| std::cmp::Reverse(*bytes));
    println!("\n| column | in files | bytes | bytes a node |\n|---|---|---|---|");
    for (name, (files, bytes)) in columns {
        println!("| `{name}` | {files} | {bytes} | {:.2} |", all.a_node(bytes));
    }
    Ok(())
}

fn files(folder: &Path) -> std::io::Result<Vec<PathBuf>> {
    let mut folders = vec![folder.to_owned()];
    let mut files = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder)? {
            let path = entry?.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "parquet") {
                files.push(path);
            }
        }
    }
    Ok(files)
}
