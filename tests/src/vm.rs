//! Other kernels than this host's, under software emulation: `tests/vm/run.sh`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use serde_json::Value;

use crate::program::{finish, path, root};

/// How `tests/vm/run.sh` ends where it cannot get what Debian has.
const NOT_FETCHED: i32 = 77;

/// What came out of a machine that ran to its end.
#[derive(Debug)]
pub struct Results {
    /// What the machine printed, and how long all of it took.
    pub console: String,
    folder: PathBuf,
}

/// What came out of one pass: one daemon, and one container of each workload after the other.
#[derive(Debug)]
pub struct Pass {
    /// What it left.
    pub folder: PathBuf,
    /// Exit code of the daemon.
    pub code: i32,
    /// What the daemon said.
    pub said: String,
}

/// The cgroups of a machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cgroups {
    /// Version 2 alone.
    V2,
    /// Controllers of version 1 alone.
    V1,
}

/// Boots a Debian kernel of a series in `folder`, and runs the workloads there, once for each of `passes`: arguments that
/// `wsp-capture run` gets beside its store, spool and map. Where the kernel
/// cannot be fetched, the error says how to get it.
///
/// # Panics
///
/// Where the machine does not get through.
pub fn boot(
    series: &str,
    cgroups: Cgroups,
    folder: &Path,
    workloads: &[PathBuf],
    passes: &[&str],
) -> Result<Results, String> {
    let began = Instant::now();
    let mut run = Command::new(root().join("tests/vm/run.sh"));
    run.env("WSP_VM_CGROUPS", if cgroups == Cgroups::V1 { "v1" } else { "v2" });
    run.arg(series).arg(folder).arg(path("wsp-capture")).args(workloads).arg("--").args(passes);
    let ended = finish(&mut run);
    if ended.code == NOT_FETCHED {
        return Err(ended.stderr);
    }
    assert_eq!(ended.code, 0, "{}{}", ended.stdout, ended.stderr);
    let printed = read(&folder.join("console"));
    let console = format!("kernel {series}: {} s\n{printed}", began.elapsed().as_secs());
    Ok(Results { console, folder: folder.join("results") })
}

impl Results {
    /// What `wsp-capture doctor --json` said, and its exit code.
    ///
    /// # Panics
    ///
    /// Where it said nothing that can be read.
    pub fn doctor(&self) -> (Value, i32) {
        let text = read(&self.folder.join("doctor.json"));
        #[expect(clippy::panic, reason = "a test cannot go on without it")]
        let report =
            serde_json::from_str(&text).unwrap_or_else(|error| panic!("doctor.json: {error}: {text}"));
        (report, code(&self.folder.join("doctor.code")))
    }

    /// What came out of a pass.
    ///
    /// # Panics
    ///
    /// Where there was none of that number.
    pub fn pass(&self, number: usize) -> Pass {
        let folder = self.folder.join(number.to_string());
        let (code, said) = (code(&folder.join("capture.code")), read(&folder.join("capture.err")));
        Pass { folder, code, said }
    }
}

#[expect(clippy::panic, reason = "a test cannot go on without it")]
fn read(file: &Path) -> String {
    fs::read_to_string(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()))
}

/// An exit code in a file.
///
/// # Panics
///
/// Where there is none.
pub fn code(file: &Path) -> i32 {
    let text = read(file);
    #[expect(clippy::panic, reason = "a test cannot go on without it")]
    text.trim().parse().unwrap_or_else(|error| panic!("{}: {error}: {text}", file.display()))
}
