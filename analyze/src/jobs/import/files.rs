//! The files that an import reads.

use std::fs;
use std::io::{self, BufReader, Read as _, Take};
use std::path::{Path, PathBuf};

use super::records::Records;
use super::{Input, Problem};

/// Objects of Kubernetes, as files are named.
pub(super) const OBJECTS: &[&str] = &["yaml", "yml", "json"];
/// Logs of JSON records, as files are named.
pub(super) const LOGS: &[&str] = &["json", "jsonl", "ndjson", "log"];
/// Folders in folders that are looked into.
const MAX_DEPTH: usize = 16;

/// The files behind some paths, sorted within a folder. Folders are looked into for files with some extensions, links to folders in
/// them are not; a file that is named itself may have any name.
pub(super) fn find(paths: &[PathBuf], extensions: &[&str], failed: &mut Vec<Problem>) -> Vec<Input> {
    let mut found = Vec::new();
    for path in paths {
        let before = found.len();
        if !path.is_dir() {
            found.push(Input::new(path));
        } else if let Err(error) = walk(path, extensions, MAX_DEPTH, &mut found) {
            failed.push(about(path, format!("the folder cannot be read: {error}")));
        } else if found.len() == before {
            failed.push(about(path, format!("the folder has no file named *.{}", extensions.join(", *."))));
        }
    }
    found
}

fn walk(folder: &Path, extensions: &[&str], depth: usize, found: &mut Vec<Input>) -> io::Result<()> {
    let mut entries = fs::read_dir(folder)?.collect::<io::Result<Vec<_>>>()?;
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let path = entry.path();
        if entry.file_type()?.is_dir() {
            if depth > 0 {
                walk(&path, extensions, depth - 1, found)?;
            }
        } else if path.is_file()
            && path.extension().is_some_and(|ext| extensions.iter().any(|name| ext == *name))
        {
            found.push(Input::new(&path));
        }
    }
    Ok(())
}

impl Input {
    fn new(path: &Path) -> Self {
        let stem = path.file_stem().unwrap_or(path.as_os_str());
        Self {
            path: path.to_owned(),
            name: path.display().to_string(),
            stem: stem.to_string_lossy().into_owned(),
        }
    }

    /// The bytes of the file, at most so many.
    pub(super) fn read(&self, limit: u64) -> Result<Vec<u8>, String> {
        let cannot = |error: io::Error| format!("the file cannot be read: {error}");
        let mut bytes = Vec::new();
        let file = fs::File::open(&self.path).map_err(cannot)?;
        // One more, to tell a file that ends there from one that goes on.
        file.take(limit.saturating_add(1)).read_to_end(&mut bytes).map_err(cannot)?;
        if u64::try_from(bytes.len()).is_ok_and(|len| len > limit) {
            return Err(format!("the file has more than {limit} bytes: split it into smaller ones"));
        }
        Ok(bytes)
    }

    /// The records of the file, read as they are asked for, up to so many bytes.
    pub(super) fn records(
        &self,
        file_bytes: u64,
        record_bytes: usize,
    ) -> Result<Records<BufReader<Take<fs::File>>>, String> {
        let file =
            fs::File::open(&self.path).map_err(|error| format!("the file cannot be opened: {error}"))?;
        Ok(Records::new(BufReader::new(file.take(file_bytes)), record_bytes))
    }

    /// A problem with the file, or with an object in it.
    pub(super) fn problem(&self, object: Option<String>, reason: &(impl ToString + ?Sized)) -> Problem {
        Problem { file: self.name.clone(), object, reason: reason.to_string() }
    }
}

fn about(path: &Path, reason: String) -> Problem {
    Problem { file: path.display().to_string(), object: None, reason }
}
