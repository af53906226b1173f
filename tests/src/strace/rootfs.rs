//! Which file an exec runs: looked up in what the container itself made, and in its root file system after it ended.
//!
//! A workload may remove what it ran. What it wrote and linked is in the log, so that is remembered here.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::Read;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

/// Symbolic links followed before giving up, as in the kernel.
const MOST_LINKS: usize = 40;
/// Interpreters of interpreters followed before giving up, as in the kernel.
const MOST_INTERPRETERS: usize = 5;

/// Bytes of a file in which the kernel looks for a `#!` line.
const HEAD: usize = 256;

/// A container's root file system on this host, and what the container made in it.
#[derive(Debug)]
pub(super) struct Rootfs<'a> {
    root: &'a Path,
    heads: HashMap<Vec<u8>, Vec<u8>>,
    links: HashMap<Vec<u8>, Vec<u8>>,
}

/// What an exec ran.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Program {
    /// The file that runs: of a script the interpreter.
    pub(super) exe: Vec<u8>,
    /// True where a `#!` line led to it.
    pub(super) is_script: bool,
    /// False where nothing of the file is known, so that a link or a `#!` line may have been missed.
    pub(super) found: bool,
}

impl<'a> Rootfs<'a> {
    pub(super) fn new(root: &'a Path) -> Self {
        Self { root, heads: HashMap::new(), links: HashMap::new() }
    }

    /// A file is empty from here on.
    pub(super) fn truncated(&mut self, path: &[u8]) {
        self.heads.remove(path);
        self.links.remove(path);
    }

    /// The first thing that is written to a file is its head.
    pub(super) fn written(&mut self, path: &[u8], bytes: &[u8]) {
        let head = || bytes[..bytes.len().min(HEAD)].to_vec();
        self.heads.entry(path.to_vec()).or_insert_with(head);
    }

    /// A file's content was copied by the kernel.
    pub(super) fn copied(&mut self, from: &[u8], to: &[u8]) {
        if let Some(head) = self.head(from) {
            self.written(to, &head);
        }
    }

    /// A symbolic link was made.
    pub(super) fn linked(&mut self, path: &[u8], target: Vec<u8>) {
        let path = self.resolve_parent(path);
        self.links.insert(path, target);
    }

    /// A file, link or folder got another name (`moved`), or one more.
    pub(super) fn renamed(&mut self, from: &[u8], to: &[u8], moved: bool) {
        let (from, to) = (self.resolve_parent(from), self.resolve_parent(to));
        let Self { heads, links, .. } = self;
        for map in [heads, links] {
            map.remove(&to);
            let inside = |path: &&Vec<u8>| {
                path.strip_prefix(&from[..]).is_some_and(|rest| rest.is_empty() || rest[0] == b'/')
            };
            for old in map.keys().filter(inside).cloned().collect::<Vec<_>>() {
                let new = [&to[..], &old[from.len()..]].concat();
                let value = if moved { map.remove(&old) } else { map.get(&old).cloned() };
                map.extend(value.map(|value| (new, value)));
            }
        }
    }

    /// What executing `path` runs.
    pub(super) fn program(&self, path: &[u8], cwd: &[u8]) -> Program {
        let mut exe = self.resolve(&absolute(path, cwd));
        let mut is_script = false;
        for _ in 0..MOST_INTERPRETERS {
            let Some(interpreter) = self.interpreter(&exe) else { break };
            exe = self.resolve(&absolute(&interpreter, cwd));
            is_script = true;
        }
        let found = self.head(&exe).is_some();
        Program { exe, is_script, found }
    }

    /// Follows symbolic links inside this root. What does not exist stays as it is.
    pub(super) fn resolve(&self, path: &[u8]) -> Vec<u8> {
        let mut todo: Vec<Vec<u8>> = components(path);
        let mut done: Vec<Vec<u8>> = Vec::new();
        let mut links = 0;
        while let Some(part) = todo.pop() {
            if part == b".." {
                done.pop();
                continue;
            }
            done.push(part);
            let here = joined(&done);
            if let Some(link) = self.link(&here) {
                links += 1;
                if links > MOST_LINKS {
                    break;
                }
                done.pop();
                if link.starts_with(b"/") {
                    done.clear();
                }
                todo.extend(components(&link));
            }
        }
        joined(&done)
    }

    fn resolve_parent(&self, path: &[u8]) -> Vec<u8> {
        match path.iter().rposition(|b| *b == b'/') {
            Some(slash) => absolute(&path[slash + 1..], &self.resolve(&path[..slash])),
            None => path.to_vec(),
        }
    }

    fn link(&self, path: &[u8]) -> Option<Vec<u8>> {
        let made = self.links.get(path).cloned();
        made.or_else(|| Some(fs::read_link(self.on_host(path)).ok()?.into_os_string().into_vec()))
    }

    fn head(&self, path: &[u8]) -> Option<Vec<u8>> {
        if let Some(head) = self.heads.get(path) {
            return Some(head.clone());
        }
        let mut head = Vec::new();
        let file = self.on_host(path);
        // Not a FIFO, which would block.
        fs::metadata(&file).ok().filter(fs::Metadata::is_file)?;
        File::open(file).ok()?.take(HEAD as u64).read_to_end(&mut head).ok()?;
        Some(head)
    }

    fn on_host(&self, path: &[u8]) -> PathBuf {
        let relative = path.strip_prefix(b"/").unwrap_or(path);
        self.root.join(OsStr::from_bytes(relative))
    }

    fn interpreter(&self, path: &[u8]) -> Option<Vec<u8>> {
        let head = self.head(path)?;
        let line = head.strip_prefix(b"#!")?.split(|b| *b == b'\n').next()?.trim_ascii();
        line.split(|b| matches!(b, b' ' | b'\t')).next().map(<[u8]>::to_vec)
    }
}

/// A path from the working directory; not resolved.
pub(super) fn absolute(path: &[u8], cwd: &[u8]) -> Vec<u8> {
    match cwd {
        _ if path.starts_with(b"/") => path.to_vec(),
        b"/" => [b"/", path].concat(),
        _ => [cwd, b"/", path].concat(),
    }
}

/// Components, last first.
fn components(path: &[u8]) -> Vec<Vec<u8>> {
    let named = |part: &&[u8]| !part.is_empty() && *part != b".";
    path.split(|b| *b == b'/').filter(named).map(<[u8]>::to_vec).rev().collect()
}

fn joined(parts: &[Vec<u8>]) -> Vec<u8> {
    let mut path = Vec::new();
    for part in parts {
        path.push(b'/');
        path.extend_from_slice(part);
    }
    if path.is_empty() {
        path.push(b'/');
    }
    path
}
