//! How it ended: exit codes, and errors as people read them.

use std::error::Error as _;
use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;

use wsp_schemas::text::for_display;

use super::config::FileError;
use crate::identity::IdentityError;
use crate::serve::ListenError;
use crate::session::{OnceError, ReplayError, RunError, SourceError};
use crate::sink::SinkError;
use crate::spool::SpoolError;

/// What the exit code says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Exit {
    /// As asked.
    Done,
    /// Not as asked.
    Failed,
    /// Not understood.
    Usage,
    /// As asked, but events were lost.
    Lossy,
    /// Never to happen.
    Bug,
}

impl Exit {
    /// Both of two that ended well.
    pub(super) fn and(self, other: Self) -> Self {
        if self == Self::Done { other } else { self }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(match exit {
            Exit::Done => 0,
            Exit::Failed => 1,
            Exit::Usage => 2,
            Exit::Lossy => 3,
            Exit::Bug => 70,
        })
    }
}

/// Everything that ends the program early.
#[derive(Debug, thiserror::Error)]
#[cfg_attr(not(feature = "ebpf"), allow(dead_code, reason = "only live sessions can fail in these ways"))]
pub(super) enum Error {
    #[error(transparent)]
    Sink(#[from] SinkError),
    #[error(transparent)]
    Identity(#[from] IdentityError),
    #[error(transparent)]
    Source(#[from] SourceError),
    #[error(transparent)]
    Once(#[from] OnceError),
    #[error(transparent)]
    Run(#[from] RunError),
    #[error("{} cannot be replayed", path.display())]
    Replay {
        path: PathBuf,
        #[source]
        source: Box<ReplayError>,
    },
    #[error("{what} cannot be used")]
    Io {
        what: String,
        #[source]
        source: io::Error,
    },
    #[error(
        "stopped at once by a second signal: what the open windows recorded is lost; {waiting} closed snapshots wait in {}",
        spool.display()
    )]
    StoppedAtOnce { waiting: u64, spool: PathBuf },
    #[error(transparent)]
    Spool(#[from] SpoolError),
    #[error(transparent)]
    Config(#[from] FileError),
    #[error(transparent)]
    Listen(#[from] ListenError),
    #[error(
        "all {slots} slots cannot be kept for starts, or what runs already would never be recorded: give --start-slots less than --max-containers"
    )]
    StartSlots { slots: u32 },
    #[cfg(feature = "profiles")]
    #[error(transparent)]
    Profiles(#[from] crate::profiles::ProfilesError),
    #[cfg(all(feature = "ebpf", not(feature = "profiles")))]
    #[error("this program was built without --profiles: build it with the feature `profiles`")]
    NoProfiles,
    #[cfg(not(feature = "ebpf"))]
    #[error("this program was built without eBPF: build it with the feature `ebpf`; `replay` works without")]
    NotBuilt,
}

impl Error {
    pub(super) fn exit(&self) -> Exit {
        match self.sink() {
            Some(SinkError::Encode(_)) => Exit::Bug,
            _ if matches!(self, Self::StartSlots { .. }) => Exit::Usage,
            _ => Exit::Failed,
        }
    }

    fn sink(&self) -> Option<&SinkError> {
        match self {
            Self::Sink(error) | Self::Once(OnceError::Sink(error)) => Some(error),
            Self::Replay { source, .. } => match source.as_ref() {
                ReplayError::Sink(error) => Some(error),
                _ => None,
            },
            _ => None,
        }
    }

    /// What to do, where the message does not say it.
    fn hint(&self) -> Option<&'static str> {
        match self.sink() {
            Some(SinkError::Unreachable { .. }) => {
                return Some("check the URL, the network, and the provider's environment variables");
            }
            Some(SinkError::Upload { .. }) => {
                return Some("copy the file into the store under the same key once it can be reached");
            }
            Some(SinkError::Encode(_)) => return Some("this is a bug of wsp-capture"),
            _ => {}
        }
        match self {
            Self::Identity(IdentityError::NoRuntime { .. }) => Some(
                "start one (`podman system service --time=0 unix:///run/podman/podman.sock`), give its address with --runtime-socket, name containers with --map, or run as a user who may open it",
            ),
            Self::StoppedAtOnce { .. } => {
                Some("start it again with the same --spool: they are uploaded then")
            }
            Self::Spool(SpoolError::Folder { .. }) => {
                Some("give a folder that this user can write with --spool")
            }
            Self::Config(FileError::Read { .. }) => {
                Some("name a file that this user can read with --config or WSP_CONFIG")
            }
            Self::Config(FileError::Line { .. }) => Some(
                "`wsp-capture run --help` has all options; each is a key by its long name, without the dashes in front",
            ),
            Self::Listen(_) => Some("give another address with --listen, or find who has it with `ss -ltnp`"),
            Self::Spool(SpoolError::InUse { .. }) => Some("stop the other one, or give each its own --spool"),
            _ => None,
        }
    }
}

/// Tells on stderr what failed, on which object, why, and what to do.
pub(super) fn print(error: &Error) {
    // There is nobody left to tell that it cannot be printed.
    let _ = io::stderr().write_all(text(error).as_bytes());
}

fn text(error: &Error) -> String {
    let mut text = format!("error: {}\n", for_display(&error.to_string()));
    let mut cause = error.source();
    let mut last = error.to_string();
    while let Some(error) = cause {
        let message = error.to_string();
        // Some libraries repeat their source in their own message.
        if !last.ends_with(&message) {
            // Writing to a String cannot fail.
            let _ = writeln!(text, "Caused by: {}", for_display(&message));
        }
        last = message;
        cause = error.source();
    }
    let advice = wsp_schemas::store::advice(error);
    // What it says of a store that cannot be reached is less than the advice.
    let is_said = advice.is_some() && matches!(error.sink(), Some(SinkError::Unreachable { .. }));
    for hint in advice.iter().map(String::as_str).chain(error.hint().filter(|_| !is_said)) {
        let _ = writeln!(text, "Try: {hint}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_say_what_why_and_what_to_do() {
        let error = Error::Identity(IdentityError::NoRuntime {
            tried: vec!["/run/x.sock (no \u{1b}such file)".to_owned()],
        });
        insta::assert_snapshot!(text(&error), @r"
        error: no container runtime answers; tried /run/x.sock (no \u{1b}such file)
        Try: start one (`podman system service --time=0 unix:///run/podman/podman.sock`), give its address with --runtime-socket, name containers with --map, or run as a user who may open it
        ");
        let source = io::Error::from(io::ErrorKind::NotFound);
        let error = Error::Io { what: "the event log x".to_owned(), source };
        insta::assert_snapshot!(text(&error), @r"
        error: the event log x cannot be used
        Caused by: entity not found
        ");
    }
}
