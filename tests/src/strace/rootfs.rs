//! Which file an exec runs, looked up in the container's root file system after it ended.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::Read;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

/// Symbolic links followed before giving up, as in the kernel.
const MOST_LINKS: usize = 40;
/// Interpreters of interpreters followed before giving up, as in the kernel.
const MOST_INTERPRETERS: usize = 5;

/// A container's root file system on this host.
#[derive(Debug)]
pub(super) struct Rootfs<'a>(pub(super) &'a Path);

/// What an exec ran.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Program {
    /// The file that runs: of a script the interpreter.
    pub(super) exe: Vec<u8>,
    /// True where a `#!` line led to it.
    pub(super) is_script: bool,
    /// False where the file is not there any more, so that links and `#!` lines could not be followed.
    pub(super) found: bool,
}

impl Rootfs<'_> {
    /// What executing `path` runs.
    pub(super) fn program(&self, path: &[u8], cwd: &[u8]) -> Program {
        let mut exe = self.resolve(&absolute(path, cwd));
        let mut is_script = false;
        for _ in 0..MOST_INTERPRETERS {
            let Some(interpreter) = self.interpreter(&exe) else { break };
            exe = self.resolve(&absolute(&interpreter, cwd));
            is_script = true;
        }
        let found = self.on_host(&exe).is_file();
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
            if let Ok(link) = fs::read_link(self.on_host(&here)) {
                links += 1;
                if links > MOST_LINKS {
                    break;
                }
                let link = link.into_os_string().into_vec();
                done.pop();
                if link.starts_with(b"/") {
                    done.clear();
                }
                todo.extend(components(&link));
            }
        }
        joined(&done)
    }

    fn on_host(&self, path: &[u8]) -> PathBuf {
        let relative = path.strip_prefix(b"/").unwrap_or(path);
        self.0.join(OsStr::from_bytes(relative))
    }

    fn interpreter(&self, path: &[u8]) -> Option<Vec<u8>> {
        let mut head = Vec::new();
        File::open(self.on_host(path)).ok()?.take(256).read_to_end(&mut head).ok()?;
        let line = head.strip_prefix(b"#!")?.split(|b| *b == b'\n').next()?.trim_ascii();
        line.split(|b| matches!(b, b' ' | b'\t')).next().map(<[u8]>::to_vec)
    }
}

/// A path from the working directory; not resolved.
pub(super) fn absolute(path: &[u8], cwd: &[u8]) -> Vec<u8> {
    if path.starts_with(b"/") { path.to_vec() } else { [cwd, b"/", path].concat() }
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
