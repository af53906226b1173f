//! A process of Tetragon's in our words.
//!
//! `binary` is the path that was executed, before links are followed: that of a busybox applet is the applet's, that of a script the
//! script's. `argv[0]` is not told; the path stands for it.

use wsp_schemas::identity::multi_call_argv0;
use wsp_schemas::text::RawText;

use super::event::Process;
use crate::jobs::import::values;

/// What a process runs, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::jobs::import) struct Program {
    /// Normalised.
    pub(in crate::jobs::import) exe: RawText,
    pub(in crate::jobs::import) argv0: Option<RawText>,
    pub(in crate::jobs::import) args: Option<RawText>,
    pub(in crate::jobs::import) cwd: RawText,
    /// The last part of the path, as long as the kernel has room for.
    pub(in crate::jobs::import) comm: RawText,
    pub(in crate::jobs::import) uid: Option<u32>,
}

/// Bytes of a task's name.
const COMM_BYTES: usize = 15;

impl Program {
    /// None where the process has no binary.
    pub(in crate::jobs::import) fn of(process: &Process) -> Result<Option<Self>, String> {
        let cwd = raw(process.cwd.as_deref(), "the working directory")?.unwrap_or_default();
        let Some(binary) = raw(process.binary.as_deref(), "the binary's path")? else { return Ok(None) };
        let full = values::joined(cwd.as_bytes(), binary.as_bytes());
        let exe = values::normal(&full);
        let mut argv = vec![binary];
        argv.extend(values::words("the arguments", process.arguments.as_deref().unwrap_or_default())?);
        let comm = full.as_bytes().rsplit(|byte| *byte == b'/').next().unwrap_or_default();
        let credentials = process.process_credentials.as_ref();
        Ok(Some(Self {
            argv0: multi_call_argv0(exe.as_bytes(), full.as_bytes()),
            args: values::command_line(&argv),
            cwd: values::normal(&values::joined(b"", cwd.as_bytes())),
            comm: comm[..comm.len().min(COMM_BYTES)].into(),
            uid: credentials.and_then(|credentials| credentials.euid).or(process.uid),
            exe,
        }))
    }
}

fn raw(text: Option<&str>, what: &str) -> Result<Option<RawText>, String> {
    let text = text.filter(|text| !text.is_empty());
    text.map(|text| values::raw(what, text, values::PATH_BYTES)).transpose()
}
