//! Runs the programs as a user would.

use std::ffi::OsStr;
use std::os::unix::process::ExitStatusExt as _;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

/// The workspace's root.
pub fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).parent().map(PathBuf::from).unwrap_or_default()
}

/// The built program of that name, beside the running test.
///
/// # Panics
///
/// Where it was not built.
pub fn path(name: &str) -> PathBuf {
    let test = std::env::current_exe().unwrap_or_default();
    let found = test.ancestors().skip(1).take(3).map(|folder| folder.join(name)).find(|path| path.is_file());
    #[expect(clippy::panic, reason = "a test cannot go on without the program")]
    found.unwrap_or_else(|| panic!("{name} is not built: run `cargo build --workspace` first"))
}

/// How a program ended.
#[derive(Debug, Clone)]
pub struct Ended {
    /// Exit code; below 0, the signal that ended it.
    pub code: i32,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

impl From<Output> for Ended {
    fn from(output: Output) -> Self {
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        Self {
            code: output.status.code().unwrap_or_else(|| -output.status.signal().unwrap_or_default()),
            stdout: text(output.stdout),
            stderr: text(output.stderr),
        }
    }
}

impl Ended {
    /// The standard output of a program that must have ended well.
    ///
    /// # Panics
    ///
    /// Where it did not.
    #[must_use]
    pub fn ok(self) -> String {
        assert_eq!(self.code, 0, "stdout: {}\nstderr: {}", self.stdout, self.stderr);
        self.stdout
    }
}

/// A program with an environment that holds nothing of the developer's own settings.
pub fn command(name: &str) -> Command {
    clean(Command::new(path(name)))
}

/// The same, started by another program.
pub fn command_by(starter: &str, arguments: &[&str], name: &str) -> Command {
    let mut command = clean(Command::new(starter));
    command.args(arguments).arg(path(name));
    command
}

fn clean(mut command: Command) -> Command {
    command.stdin(Stdio::null()).env_remove("WSP_STORE").env_remove("WSP_LOG");
    for (key, _) in std::env::vars_os() {
        let key = key.to_string_lossy().into_owned();
        if ["AWS_", "GOOGLE_", "AZURE_", "WSP_"].iter().any(|prefix| key.starts_with(prefix)) {
            command.env_remove(key);
        }
    }
    command
}

/// Runs a program to its end.
///
/// # Panics
///
/// Where it cannot be started.
pub fn run<A: AsRef<OsStr>>(name: &str, arguments: impl IntoIterator<Item = A>) -> Ended {
    finish(command(name).args(arguments))
}

/// Runs a command to its end.
///
/// # Panics
///
/// Where it cannot be started.
pub fn finish(command: &mut Command) -> Ended {
    #[expect(clippy::panic, reason = "a test cannot go on without the program")]
    match command.output() {
        Ok(output) => output.into(),
        Err(error) => panic!("{command:?} cannot be started: {error}"),
    }
}

/// Sets variables for this process, as a program that opens a store finds them.
pub fn enter<'a>(variables: impl IntoIterator<Item = (&'a str, String)>) {
    for (name, value) in variables {
        // SAFETY: nextest runs each test in a process of its own, and its other threads read no environment yet.
        unsafe { std::env::set_var(name, value) };
    }
}

/// Runs `wsp`.
///
/// # Panics
///
/// Where it cannot be started.
pub fn wsp<A: AsRef<OsStr>>(arguments: impl IntoIterator<Item = A>) -> Ended {
    run("wsp", arguments)
}
