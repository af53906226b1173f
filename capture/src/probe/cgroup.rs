//! The cgroup tree as files.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Component, Path, PathBuf};

use wsp_schemas::text::RawText;

use crate::event::CgroupId;

/// The id of a cgroup: the inode number of its directory.
pub fn id_of(directory: &Path) -> io::Result<CgroupId> {
    Ok(CgroupId(fs::metadata(directory)?.ino()))
}

/// A path as an event tells it, below the mount.
pub fn path_of(path: &RawText) -> PathBuf {
    PathBuf::from(OsString::from_vec(path.as_bytes().to_vec()))
}

/// The directory of a cgroup whose path is given below the mount, with or without a slash in front. `..` is dropped.
pub(super) fn below(mount: &Path, path: &Path) -> PathBuf {
    let names = path.components().filter(|component| matches!(component, Component::Normal(_)));
    mount.iter().map(Path::new).chain(names.map(|name| Path::new(name.as_os_str()))).collect()
}

/// True where a cgroup, given by its path below the mount, is there and no process is in it or below it. What cannot be read is
/// not empty.
pub fn is_empty(mount: &Path, path: &Path) -> bool {
    let top = below(mount, path);
    match fs::read_to_string(top.join("cgroup.events")) {
        Ok(events) => events.lines().any(|line| line == "populated 0"),
        // v1 has none.
        Err(error) if error.kind() == io::ErrorKind::NotFound => is_empty_below(&top).unwrap_or(false),
        Err(_) => false,
    }
}

fn is_empty_below(directory: &Path) -> io::Result<bool> {
    if !fs::read(directory.join("cgroup.procs"))?.is_empty() {
        return Ok(false);
    }
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() && !is_empty_below(&entry.path())? {
            return Ok(false);
        }
    }
    Ok(true)
}

/// All cgroups under a cgroup, without itself. What goes away meanwhile is left out.
pub(super) fn descendants(top: &Path) -> Vec<(CgroupId, PathBuf)> {
    let mut found = Vec::new();
    let mut open = vec![top.to_path_buf()];
    while let Some(directory) = open.pop() {
        let Ok(entries) = fs::read_dir(&directory) else { continue };
        for entry in entries.flatten() {
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                let path = entry.path();
                if let Ok(id) = id_of(&path) {
                    found.push((id, path.clone()));
                }
                open.push(path);
            }
        }
    }
    found
}

/// Containers that exist: the topmost cgroups whose name the kernel side would recognise, with their paths below the mount.
pub fn containers(mount: &Path) -> Vec<(CgroupId, PathBuf)> {
    let mut all = descendants(mount);
    all.sort_by(|a, b| a.1.cmp(&b.1));
    let mut found: Vec<(CgroupId, PathBuf)> = Vec::new();
    for (id, path) in all {
        let named = names_container(&path);
        if named && !found.iter().any(|(_, top)| path.starts_with(top)) {
            found.push((id, path));
        }
    }
    for (_, path) in &mut found {
        if let Ok(relative) = path.strip_prefix(mount) {
            *path = Path::new("/").join(relative);
        }
    }
    found
}

/// The rule of `bpf/containers.h`: a run of 64 lower-case hex digits in the last component, and neither a monitor
/// (`libpod-conmon-…`) nor a pod of podman's (`libpod_parent/…`, `….slice`).
pub fn names_container(path: &Path) -> bool {
    let Some(name) = path.file_name().map(OsStrExt::as_bytes) else { return false };
    let above = path.parent().and_then(Path::file_name).map(OsStrExt::as_bytes).unwrap_or_default();
    if name.ends_with(b".slice") || (name.len() == 64 && above.ends_with(b"pod_parent")) {
        return false;
    }
    let is_hex = |byte: &u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    let longest = name.split(|byte| !is_hex(byte)).map(<[u8]>::len).max().unwrap_or_default();
    longest >= 64 && !name.windows(4).any(|window| window == b"conm")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn containers_are_known_by_name() {
        let id = "4f3c".repeat(16);
        for name in [
            "docker-ID.scope",
            "cri-containerd-ID.scope",
            "crio-ID.scope",
            "libpod-ID.scope",
            "libpod-ID",
            "ID",
            "/docker/ID",
            "/libpod_parent/ID/libpod-ID",
        ] {
            assert!(names_container(Path::new(&name.replace("ID", &id))), "{name}");
        }
        for name in [
            "libpod-conmon-ID.scope",
            "crio-conmon-ID.scope",
            "kubepods-burstable.slice",
            "container",
            "/libpod_parent/ID",
            "machine-libpod_pod_ID.slice",
        ] {
            assert!(!names_container(Path::new(&name.replace("ID", &id))), "{name}");
        }
    }

    #[test]
    fn paths_stay_below_the_mount() {
        let mount = Path::new("/sys/fs/cgroup");
        assert_eq!(below(mount, Path::new("/a/b")), Path::new("/sys/fs/cgroup/a/b"));
        assert_eq!(below(mount, Path::new("../a")), Path::new("/sys/fs/cgroup/a"));
    }

    #[test]
    fn what_cannot_be_read_is_not_empty() {
        let mount = tempfile::tempdir().unwrap();
        let is_empty = |name: &str| is_empty(mount.path(), Path::new(name));
        let make = |name: &str, file: &str, text: &str| {
            let directory = mount.path().join(name);
            fs::create_dir_all(&directory).unwrap();
            fs::write(directory.join(file), text).unwrap();
        };
        make("v2", "cgroup.events", "populated 0\nfrozen 0\n");
        make("v2-runs", "cgroup.events", "populated 1\nfrozen 0\n");
        make("v1", "cgroup.procs", "");
        make("v1/inner", "cgroup.procs", "");
        make("v1-runs", "cgroup.procs", "");
        make("v1-runs/inner", "cgroup.procs", "7\n");
        fs::create_dir(mount.path().join("neither")).unwrap();
        let found = ["/v2", "v2-runs", "/v1", "v1-runs", "neither", "gone"].map(is_empty);
        assert_eq!(found, [true, false, true, false, false, false]);
    }
}
