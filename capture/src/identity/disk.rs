//! What runtimes write on disk, for when none of them answers. Read as root, changed by nobody here; files that are too large
//! or not what they should be are passed over.

mod bundle;
mod docker;
mod storage;

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;

use super::api::is_of;
use super::{Identity, is_id};
use crate::event::Pid;

/// Bytes of one file. An image store's list has some kilobytes an image.
const FILE_BYTES: u64 = 32 << 20;
/// Containers that are looked at for a name.
const NAMED: usize = 4096;

/// The files of all runtimes below the root of the host's file system.
#[derive(Debug, Clone)]
pub(super) struct Disk {
    root: PathBuf,
}

impl Disk {
    pub(super) fn new(root: &Path) -> Self {
        Self { root: root.to_owned() }
    }

    /// What is there, for people.
    pub(super) fn found(&self) -> Vec<PathBuf> {
        let mut found = storage::lists(&self.root);
        found.extend(docker::folder(&self.root));
        found.extend(bundle::folders(&self.root));
        found
    }

    /// A container by its id or the start of it, or by name where the runtime writes that down.
    pub(super) fn find(&self, name: &str) -> Option<Identity> {
        // The name becomes part of a path.
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
        if name.is_empty() || name.starts_with('.') || !name.bytes().all(plain) {
            return None;
        }
        // Bundles know best: what containers/storage tells of a pod's containers is less.
        let found = if is_id(name) { bundle::find(&self.root, name) } else { None };
        found.or_else(|| storage::find(&self.root, name)).or_else(|| docker::find(&self.root, name))
    }
}

/// The text of a file.
fn read(path: &Path) -> io::Result<String> {
    // A fifo would have the open wait.
    let file = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(path)?;
    bounded(&file)
}

fn bounded(file: &File) -> io::Result<String> {
    let metadata = file.metadata()?;
    if !metadata.is_file() || metadata.len() > FILE_BYTES {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "not a file, or too large a one"));
    }
    let mut text = String::new();
    file.take(FILE_BYTES).read_to_string(&mut text)?;
    Ok(text)
}

/// A file's JSON; none where there is none that can be used.
fn json<T: DeserializeOwned>(path: &Path) -> Option<T> {
    let text = match read(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
        Err(error) => {
            tracing::debug!(path = %path.display(), %error, "a runtime's file cannot be read");
            return None;
        }
    };
    let parsed = serde_json::from_str(&text);
    parsed
        .inspect_err(
            |error| tracing::debug!(path = %path.display(), %error, "a runtime's file cannot be used"),
        )
        .ok()
}

/// The init task of a container by a file that holds its number; none where that process is not in the container.
fn init(path: &Path, id: &str) -> Option<Pid> {
    let pid = read(path).ok()?.trim().parse().ok().map(Pid)?;
    is_of(pid, id).then_some(pid)
}

/// Names of a folder's entries that begin so, up to a bound.
fn entries(folder: &Path, start: &str) -> Vec<String> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
    names.filter(|name| name.starts_with(start)).take(NAMED).collect()
}

/// A path of a configuration file, below the root.
fn below(root: &Path, path: &str) -> PathBuf {
    root.join(path.trim_start_matches('/'))
}

#[cfg(test)]
mod tests;
