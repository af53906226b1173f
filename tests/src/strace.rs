//! What a container did, read from an strace log: the truth side of the ground-truth tests.
//!
//! The log is one of `strace -f -yy -xx --decode-pids=pidns -o FILE` attached to the runtime's init process of a
//! container that has not started (see `tests/ground_truth/run.sh`). The rules, which the snapshot is compared under:
//!
//! - Nothing counts before the first successful exec: what comes before is the runtime's.
//! - A file is what an open (`open`, `openat`, `openat2`, `creat`, `open_by_handle_at`) *returned*: the path of the new
//!   file descriptor, from the top of the container's mount namespace. Pipes, sockets, memory files, anonymous inodes
//!   and namespaces have no such path and do not count; an unlinked file and an `O_TMPFILE` count under their last name.
//! - An exec is the file that runs, with symbolic links and `#!` lines followed in the container's root file system.
//! - A connect is a `connect(2)` of an inet, inet6 or unix socket, whatever came of it, except where no address was
//!   named or could be tried ([`calls::connect_counts`]).
//! - A listening socket has the port that the kernel chose, where the log shows it.
//! - A DNS name is one in a question that was really sent to port 53.
//!
//! What the log does not tell goes to [`Truth::unresolved`], so that a test can insist that there is nothing.

use std::collections::BTreeSet;
use std::io::{self, Write};
use std::net::IpAddr;
use std::ops::Range;
use std::path::Path;

use serde::Serialize;
use wsp_schemas::text::RawText;

mod calls;
mod dns;
mod lines;
mod rootfs;
mod values;

/// What a container did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Truth {
    /// Paths of opened files; not normalised.
    pub files: BTreeSet<RawText>,
    /// Files that were executed; not normalised.
    pub execs: BTreeSet<RawText>,
    /// Scripts whose `#!` line led to one of the execs, as the kernel was given them.
    pub scripts: BTreeSet<RawText>,
    /// Remotes that `connect(2)` named.
    pub connects: BTreeSet<Endpoint>,
    /// Local ends of listening sockets.
    pub listens: BTreeSet<Endpoint>,
    /// Names and types that were asked for: lower case, no trailing dot, `.` for the root; a type without a common name is `TYPE<n>`.
    pub dns: BTreeSet<(RawText, String)>,
    /// What happened but cannot be told from the log, in words.
    pub unresolved: BTreeSet<String>,
}

/// One end of a connection.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Endpoint {
    /// `tcp`, `udp`, `unix`, or strace's name of another one in lower case.
    pub protocol: String,
    /// Address.
    pub address: Address,
    /// Port; 0 for unix sockets.
    pub port: u16,
}

/// Where a socket ends.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Address {
    /// An IP address; IPv4-mapped IPv6 stands as IPv4.
    Ip(IpAddr),
    /// A unix socket in the file system, as the argument named it.
    Path(RawText),
    /// A unix socket in the abstract namespace, without the leading NUL.
    Abstract(RawText),
}

/// Reads a log. `rootfs` is the container's root file system on this host, as the container left it.
pub fn parse(trace: &[u8], rootfs: &Path) -> Truth {
    let mut reader = calls::Reader::new(rootfs);
    for timed in lines::join(trace) {
        reader.take(&timed.entry);
    }
    reader.finish().1
}

/// Reads a log with times (`-ttt`): what was begun and over in a span of time (microseconds since the epoch), and everything.
/// What is before the span is needed to understand what is in it.
pub fn parse_within(trace: &[u8], rootfs: &Path, span: Range<u64>) -> (Truth, Truth) {
    let mut reader = calls::Reader::new(rootfs);
    for timed in lines::join(trace) {
        let from = timed.from.is_some_and(|from| span.contains(&from));
        reader.count(from && timed.until.is_some_and(|until| span.contains(&until)));
        reader.take(&timed.entry);
    }
    reader.finish()
}

/// One line of the export. Byte strings stand in the reversible escape of [`wsp_schemas::text`].
#[derive(Serialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
enum Line<'a> {
    File { path: &'a RawText },
    Exec { exe: &'a RawText },
    Script { script: &'a RawText },
    Connect { protocol: &'a str, address: String, port: u16 },
    Listen { protocol: &'a str, address: String, port: u16 },
    Dns { name: &'a RawText, r#type: &'a str },
    Unresolved { what: &'a str },
}

impl Address {
    /// One text for all kinds: the IP address, the escaped path, or `@` and the escaped abstract name.
    pub fn to_text(&self) -> String {
        match self {
            Self::Ip(ip) => ip.to_string(),
            Self::Path(path) => path.to_escaped(),
            Self::Abstract(name) => format!("@{}", name.to_escaped()),
        }
    }
}

impl Truth {
    fn extend(&mut self, other: Self) {
        self.files.extend(other.files);
        self.execs.extend(other.execs);
        self.scripts.extend(other.scripts);
        self.connects.extend(other.connects);
        self.listens.extend(other.listens);
        self.dns.extend(other.dns);
        self.unresolved.extend(other.unresolved);
    }

    /// Writes one JSON object a line, sorted.
    pub fn write_json_lines(&self, mut out: impl Write) -> io::Result<()> {
        let connects = self.connects.iter().map(|e| Line::Connect {
            protocol: &e.protocol,
            address: e.address.to_text(),
            port: e.port,
        });
        let listens = self.listens.iter().map(|e| Line::Listen {
            protocol: &e.protocol,
            address: e.address.to_text(),
            port: e.port,
        });
        let lines = (self.execs.iter().map(|exe| Line::Exec { exe }))
            .chain(self.scripts.iter().map(|script| Line::Script { script }))
            .chain(self.files.iter().map(|path| Line::File { path }))
            .chain(connects)
            .chain(listens)
            .chain(self.dns.iter().map(|(name, r#type)| Line::Dns { name, r#type }))
            .chain(self.unresolved.iter().map(|what| Line::Unresolved { what }));
        for line in lines {
            serde_json::to_writer(&mut out, &line)?;
            out.write_all(b"\n")?;
        }
        Ok(())
    }

    /// Sizes of the sets, for a person.
    pub fn summary(&self) -> String {
        format!(
            "files {}, execs {}, scripts {}, connects {}, listens {}, dns {}, unresolved {}",
            self.files.len(),
            self.execs.len(),
            self.scripts.len(),
            self.connects.len(),
            self.listens.len(),
            self.dns.len(),
            self.unresolved.len()
        )
    }
}

#[cfg(test)]
mod tests;
