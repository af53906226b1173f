//! Writes the table of bundled recordings: `include_bytes!` of every Parquet file below `recordings/`, under the key that
//! it has in a store. The folder may be empty.

use std::error::Error;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::{env, fs};

fn main() -> Result<(), Box<dyn Error>> {
    let root = PathBuf::from(env::var("CARGO_MANIFEST_DIR")?).join("recordings");
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=recordings");
    let mut files = Vec::new();
    collect(&root, &mut files)?;
    let mut found: Vec<(String, PathBuf)> =
        files.into_iter().filter_map(|path| Some((key(&path)?, path))).collect();
    found.sort();
    let mut table = String::from("&[\n");
    for (key, path) in found {
        // Below the manifest: the table is used again where another clone shares the target folder.
        let path =
            path.strip_prefix(&root)?.to_str().ok_or("the path of a recording is not UTF-8")?.to_owned();
        let path = format!("/recordings/{path}");
        writeln!(table, "    ({key:?}, include_bytes!(concat!(env!(\"CARGO_MANIFEST_DIR\"), {path:?}))),")?;
    }
    table.push_str("]\n");
    fs::write(PathBuf::from(env::var("OUT_DIR")?).join("recordings.rs"), table)?;
    Ok(())
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) -> Result<(), Box<dyn Error>> {
    if !folder.is_dir() {
        return Ok(());
    }
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            collect(&path, files)?;
        } else if path.extension().is_some_and(|extension| extension == "parquet") {
            files.push(path);
        }
    }
    Ok(())
}

/// `snapshots/date=…/hour=…/<file>`, whatever stands above the date. None for a file that is not laid out so.
fn key(path: &Path) -> Option<String> {
    let parts: Vec<&str> = path.iter().filter_map(|part| part.to_str()).collect();
    let [.., date, hour, file] = parts.as_slice() else { return None };
    (date.starts_with("date=") && hour.starts_with("hour="))
        .then(|| format!("snapshots/{date}/{hour}/{file}"))
}
