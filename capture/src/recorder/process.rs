//! What a window says of a process node beside its identity.

use std::collections::{BTreeSet, HashSet};
use std::hash::{DefaultHasher, Hash, Hasher};

use wsp_schemas::identity::{RootKind, multi_call_argv0};
use wsp_schemas::text::RawText;
use wsp_schemas::{paths, snapshot};

use super::args::{self, ArgsMode};
use super::net;
use super::tree::Program;
use crate::event::{Exec, Origin, StdioKind};

/// Command lines that are kept as examples.
const ARGS_KEPT: usize = 8;
/// Command lines beyond those that are told apart when counting.
const ARGS_COUNTED: usize = 1024;
/// Different user ids, group ids.
const IDS_KEPT: usize = 64;

/// The identity part of an exec.
pub(super) fn program(exec: &Exec) -> Program {
    let exe = normal(&exec.exe.path);
    let argv0 = exec.argv.first().and_then(|argv0| multi_call_argv0(exe.as_bytes(), argv0.as_bytes()));
    let script = exec.script.as_ref().map(|script| normal(&net::join(&exec.cwd, script)));
    Program { exe, argv0, script }
}

pub(super) fn normal(path: &RawText) -> RawText {
    paths::normalise(path.as_bytes()).into_owned().into()
}

/// Attributes of one exec.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Sample {
    args: Option<RawText>,
    comm: RawText,
    cwd: RawText,
    uid: u32,
    gid: u32,
    cred_change: bool,
    tty: bool,
    stdio: [StdioKind; 3],
    ns_changed: bool,
    /// Script of an interpreter that was called by name.
    script: Option<RawText>,
    origin: Origin,
    exec_from: Option<RawText>,
    written: bool,
}

impl Sample {
    pub(super) fn new(exec: &Exec, mode: ArgsMode) -> Self {
        let [real, effective, _] = exec.uids;
        Self {
            args: args::render(&exec.argv, exec.argv_truncated, mode),
            comm: exec.comm.clone(),
            cwd: normal(&exec.cwd),
            uid: effective,
            gid: exec.gids[1],
            cred_change: real != effective,
            tty: exec.tty,
            stdio: exec.stdio,
            ns_changed: false,
            script: if exec.script.is_none() { interpreted(exec) } else { None },
            origin: exec.exe.origin,
            exec_from: None,
            written: false,
        }
    }

    pub(super) fn with_namespace(mut self, changed: bool) -> Self {
        self.ns_changed = changed;
        self
    }

    pub(super) fn replacing(mut self, exe: Option<RawText>) -> Self {
        self.exec_from = exe;
        self
    }

    /// One of its standard descriptors is `/dev/null`.
    pub(super) fn has_null(&self) -> bool {
        self.stdio.contains(&StdioKind::Null)
    }

    pub(super) fn written(mut self, written: bool) -> Self {
        self.written = written;
        self
    }
}

/// Interpreters, the letters of options by which a program comes without a file, and those of options that take the next word.
const INTERPRETERS: [(&str, &[u8], &[u8]); 13] = [
    ("python", b"cm", b"WX"),
    ("perl", b"eE", b""),
    ("ruby", b"e", b"EIr"),
    ("node", b"ep", b"rC"),
    ("nodejs", b"ep", b"rC"),
    ("php", b"rBRE", b"dczS"),
    ("lua", b"e", b"l"),
    ("bash", b"cs", b"oO"),
    ("dash", b"cs", b"o"),
    ("ash", b"cs", b"o"),
    ("sh", b"cs", b"oO"),
    ("zsh", b"cs", b"o"),
    ("Rscript", b"e", b""),
];

/// `python app.py`: the first argument that is no option, of a known interpreter; none where the program comes by `-c`: that is a
/// command line, to be scrubbed as one.
fn interpreted(exec: &Exec) -> Option<RawText> {
    let exe = exec.exe.path.as_bytes();
    let name = multi_call_argv0(exe, exec.argv.first().map_or(&[], RawText::as_bytes))
        .unwrap_or_else(|| exe.rsplit(|byte| *byte == b'/').next().unwrap_or(exe).into());
    let name = std::str::from_utf8(name.as_bytes()).ok()?;
    let stem = name.trim_end_matches(|c: char| c.is_ascii_digit() || c == '.');
    let (_, inline, valued) = INTERPRETERS.iter().find(|(name, ..)| *name == stem)?;
    let mut args = exec.argv.iter().skip(1).map(RawText::as_bytes);
    while let Some(arg) = args.next() {
        let letters = match arg {
            b"-" | b"" | b"--eval" | b"--print" | b"--run" | b"--command" => return None,
            b"--" => return args.next().map(|script| normal(&net::join(&exec.cwd, &script.into()))),
            _ if arg.starts_with(b"--") => continue,
            _ => arg.strip_prefix(b"-").or_else(|| arg.strip_prefix(b"+")),
        };
        let Some(letters) = letters else { return Some(normal(&net::join(&exec.cwd, &arg.into()))) };
        if letters.iter().any(|letter| inline.contains(letter)) {
            return None;
        }
        if letters.last().is_some_and(|letter| valued.contains(letter)) {
            args.next();
        }
    }
    None
}

/// Attributes of a process node in one window.
#[derive(Debug, Clone, Default)]
pub(super) struct Attributes {
    args: Vec<RawText>,
    more_args: HashSet<u64>,
    comm: RawText,
    cwd: RawText,
    uids: BTreeSet<u32>,
    gids: BTreeSet<u32>,
    cred_change: bool,
    tty: bool,
    stdio: [StdioKind; 3],
    ns_changed: bool,
    written: bool,
    script: Option<RawText>,
    origin: Origin,
    exec_from: Option<RawText>,
    /// Processes of the system that were this node.
    pub(super) processes: i64,
}

impl Attributes {
    pub(super) fn first(sample: &Sample) -> Self {
        let mut new = Self {
            comm: sample.comm.clone(),
            cwd: sample.cwd.clone(),
            stdio: sample.stdio,
            ..Self::default()
        };
        new.add(sample);
        new
    }

    pub(super) fn add(&mut self, sample: &Sample) {
        if let Some(args) = &sample.args {
            self.add_args(args.clone());
        }
        for (ids, id) in [(&mut self.uids, sample.uid), (&mut self.gids, sample.gid)] {
            if ids.len() < IDS_KEPT {
                ids.insert(id);
            }
        }
        self.cred_change |= sample.cred_change;
        self.tty |= sample.tty;
        self.ns_changed |= sample.ns_changed;
        self.written |= sample.written;
        if self.script.is_none() {
            self.script.clone_from(&sample.script);
        }
        if sample.origin != Origin::Unknown {
            self.origin = sample.origin;
        }
        if self.exec_from.is_none() {
            self.exec_from.clone_from(&sample.exec_from);
        }
    }

    /// Bytes of its texts, about.
    pub(super) fn bytes(&self) -> usize {
        let texts =
            self.args.iter().chain([&self.comm, &self.cwd]).chain(&self.script).chain(&self.exec_from);
        texts.map(|text| text.as_bytes().len()).sum()
    }

    pub(super) fn add_args(&mut self, args: RawText) {
        if self.args.contains(&args) {
            return;
        }
        if self.args.len() < ARGS_KEPT {
            self.args.push(args);
        } else if self.more_args.len() < ARGS_COUNTED {
            let mut hasher = DefaultHasher::new();
            args.hash(&mut hasher);
            self.more_args.insert(hasher.finish());
        }
    }

    pub(super) fn into_process(self, program: &Program, root: Option<RootKind>) -> snapshot::Process {
        snapshot::Process {
            root_kind: root,
            exec_from: self.exec_from,
            shebang: program.script.is_some(),
            script: program.script.clone().or(self.script),
            argv0: program.argv0.clone(),
            args: self.args,
            args_overflow: i64::try_from(self.more_args.len()).unwrap_or(i64::MAX),
            comm: self.comm,
            cwd: self.cwd,
            uids: self.uids.into_iter().collect(),
            gids: self.gids.into_iter().collect(),
            cred_change: self.cred_change,
            tty: self.tty,
            stdio: self.stdio.map(stdio_name).to_vec(),
            ns_changed: self.ns_changed,
            written_in_window: self.written,
            file_origin: Some(origin_name(self.origin)),
            processes: self.processes.max(1),
        }
    }
}

fn stdio_name(kind: StdioKind) -> &'static str {
    match kind {
        StdioKind::None => "none",
        StdioKind::Tty => "tty",
        StdioKind::Pipe => "pipe",
        StdioKind::Socket => "socket",
        StdioKind::Null => "null",
        StdioKind::File => "file",
    }
}

/// Value of the column `file_origin`.
pub(super) fn origin_name(origin: Origin) -> &'static str {
    match origin {
        Origin::Image => "image",
        Origin::CopiedUp => "copied_up",
        Origin::Upper => "upper",
        Origin::Volume => "volume",
        Origin::Tmpfs => "tmpfs",
        Origin::Memfd => "memfd",
        Origin::Pseudo => "pseudo",
        Origin::Deleted => "deleted",
        Origin::Unknown => "unknown",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::FilePath;

    fn exec(exe: &str, argv: &[&str]) -> Exec {
        Exec {
            exe: FilePath { path: exe.into(), ..FilePath::default() },
            argv: argv.iter().map(|arg| RawText::from(*arg)).collect(),
            cwd: "/srv".into(),
            ..Exec::default()
        }
    }

    #[test]
    fn interpreters_tell_their_script() {
        let script = |exe, argv: &[&str]| interpreted(&exec(exe, argv)).map(|path| path.to_escaped());
        assert_eq!(
            script("/usr/bin/python3.11", &["python3", "-u", "app.py", "x"]).as_deref(),
            Some("/srv/app.py")
        );
        assert_eq!(script("/usr/bin/python3.11", &["python3", "-m", "http.server"]), None);
        assert_eq!(script("/bin/busybox", &["sh", "/etc/run"]).as_deref(), Some("/etc/run"));
        assert_eq!(script("/bin/busybox", &["cat", "/etc/run"]), None);
        assert_eq!(script("/usr/sbin/nginx", &["nginx", "x"]), None);
        assert_eq!(
            script("/bin/bash", &["bash", "-eo", "pipefail", "run.sh"]).as_deref(),
            Some("/srv/run.sh")
        );
        assert_eq!(script("/bin/bash", &["bash", "--", "-run"]).as_deref(), Some("/srv/-run"));
    }

    #[test]
    fn a_command_line_is_no_script() {
        for argv in [
            &["sh", "-ec", "export TOKEN=x"][..],
            &["sh", "-o", "pipefail", "-c", "export TOKEN=x"],
            &["sh", "-ceu", "export TOKEN=x"],
        ] {
            assert_eq!(interpreted(&exec("/bin/sh", argv)), None, "{argv:?}");
        }
        assert_eq!(interpreted(&exec("/usr/bin/perl", &["perl", "-lane", "print"])), None);
        assert_eq!(interpreted(&exec("/usr/bin/python3", &["python3", "-Sc", "print()"])), None);
    }

    #[test]
    fn command_lines_are_a_few_examples() {
        let mut attributes = Attributes::default();
        for n in 0..20 {
            attributes.add_args(format!("x {n}").as_str().into());
            attributes.add_args("x 0".into());
        }
        let process = attributes.into_process(&program(&exec("/x", &[])), None);
        assert_eq!((process.args.len(), process.args_overflow), (8, 12));
    }
}
