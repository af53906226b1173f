//! Alerts of other tools in our words: Falco's JSON output, Tetragon's export, and the alerts of Kubescape's node agent.
//!
//! All that a file says is taken for hostile: sizes are bounded, a record that cannot be used costs itself only and is reported by
//! file and line, and nothing that looks like a secret gets past here. The same record gives the same id, however it is spelled; a
//! file that has one twice gives it twice.

mod attributes;
mod falco;
mod id;
mod kubescape;
mod raise;
#[cfg(test)]
mod tests;
mod tetragon;

use std::collections::BTreeMap;
use std::path::PathBuf;

use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::Value;
use wsp_schemas::identity::RootKind;
use wsp_schemas::image::Workload;
use wsp_schemas::snapshot::{Fact, Image};
use wsp_schemas::text::RawText;

use super::records::Record;
use super::{Input, files, values};
use crate::rules::Severity;

pub use raise::{Raised, raise};

/// Bytes of a rule's name.
const RULE_BYTES: usize = 256;
/// Bytes of a summary.
const SUMMARY_BYTES: usize = 1024;
/// Bad records that are told one by one.
const PROBLEMS: usize = 1000;
/// Bytes of a reason: a parser may repeat what it met.
const REASON_BYTES: usize = 300;

/// An alert of another tool.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Alert {
    /// 32 hex digits, from the source and the record: a second reading makes no twin.
    pub id: String,
    /// The tool.
    pub source: Source,
    /// The tool's own id or name of the rule.
    pub rule: String,
    /// How bad.
    pub severity: Severity,
    /// When it happened.
    pub time: DateTime<Utc>,
    /// None where the alert names no image with a tag or digest.
    pub image: Option<Workload>,
    /// Digest of the image's manifest or index.
    pub image_digest: Option<String>,
    /// The runtime's id as far as the tool tells it: Falco has its first 12 digits.
    pub container_id: Option<String>,
    /// Name of the container.
    pub container_name: Option<String>,
    /// Name of the node.
    pub host: Option<String>,
    /// Pod, namespace and so on, under the keys that a recorder has.
    pub labels: BTreeMap<String, String>,
    /// Who did it.
    pub process: Option<AlertProcess>,
    /// What it was done to; none where the alert is about the process itself, or does not tell.
    pub target: Option<Target>,
    /// One line for people.
    pub summary: String,
    /// What else the tool told, flat.
    pub attributes: BTreeMap<String, String>,
}

/// The process that an alert is about.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct AlertProcess {
    /// The executable after the path rules; none where only a name is known.
    pub exe: Option<RawText>,
    /// The name of the task.
    pub name: Option<RawText>,
    /// The name that a multi-call binary was called by, as its identity has it.
    pub argv0: Option<RawText>,
    /// The command line, scrubbed.
    pub args: Option<RawText>,
    /// From the root down to the parent, as far as known and as nodes hang: without what an exec in place replaced, and without direct
    /// repeats. Executables after the path rules, or names without a slash where the tool tells no more.
    pub ancestors: Vec<RawText>,
    /// What kind of root the lineage begins with; none where the tool does not tell.
    pub root: Option<RootKind>,
    /// The ancestors are all that there are in the container, as far as the names of runtimes tell.
    pub is_whole: bool,
    /// User id.
    pub uid: Option<u32>,
    /// Working directory, as of the last exec.
    pub cwd: Option<RawText>,
}

/// What something was done to, as the nodes of a profile have it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(missing_docs, reason = "documented where the columns are declared")]
pub enum Target {
    /// A file.
    File { path: RawText, access: Vec<&'static str> },
    /// A name that was asked for; the record type where it is told.
    Dns { name: RawText, rtype: Option<String> },
    /// A connection. The protocol is `unknown` where it is not told.
    Connect { protocol: String, address: RawText, port: u16 },
    /// A listening socket.
    Listen { protocol: String, address: RawText, port: u16 },
    /// A system call.
    Syscall(String),
    /// A capability, without `CAP_`.
    Capability(String),
}

/// A tool.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(missing_docs, reason = "they are called that")]
pub enum Source {
    Falco,
    Tetragon,
    Kubescape,
}

/// Bounds on what is read.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Bytes of a file; it is not held in memory.
    pub file_bytes: u64,
    /// Bytes of a record.
    pub record_bytes: usize,
    /// Alerts in all files together.
    pub alerts: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { file_bytes: 4 << 30, record_bytes: 1 << 20, alerts: 1_000_000 }
    }
}

/// What was read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Alerts {
    /// In the order of the files and their records.
    pub alerts: Vec<Alert>,
    /// What became of all records.
    pub report: Report,
}

/// What became of all records: `records = alerts + skipped + failed`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Report {
    /// Files read, whole or in part.
    pub files: u64,
    /// Records in them: JSON objects, and lines that are none.
    pub records: u64,
    /// Alerts among them.
    pub alerts: u64,
    /// Records that are no alerts.
    pub skipped: u64,
    /// Why they are none, with their number.
    pub reasons: BTreeMap<&'static str, u64>,
    /// Records that could not be used.
    pub failed: u64,
    /// The first of them, and files that could not be read to their end.
    pub problems: Vec<Problem>,
}

/// A record that could not be used.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// The file.
    pub file: String,
    /// The line where the record starts; none where it is about the file.
    pub line: Option<u64>,
    /// Why.
    pub reason: String,
}

/// What a record is.
enum Read {
    Alert(Box<Alert>),
    /// No alert, for this reason.
    Other(&'static str),
}

/// Reads Falco's JSON output.
pub fn falco(paths: &[PathBuf], limits: &Limits) -> Alerts {
    collect(Source::Falco, paths, limits)
}

/// Reads the events of Tetragon's policies out of its JSON export.
pub fn tetragon(paths: &[PathBuf], limits: &Limits) -> Alerts {
    collect(Source::Tetragon, paths, limits)
}

/// Reads the alerts of Kubescape's node agent out of its log.
pub fn kubescape(paths: &[PathBuf], limits: &Limits) -> Alerts {
    collect(Source::Kubescape, paths, limits)
}

fn collect(source: Source, paths: &[PathBuf], limits: &Limits) -> Alerts {
    let mut alerts = Vec::new();
    let report = read(source, paths, limits, |alert| alerts.push(alert));
    Alerts { alerts, report }
}

/// Reads files, and the logs in folders, and gives their alerts one by one. It blocks.
pub fn read(source: Source, paths: &[PathBuf], limits: &Limits, mut each: impl FnMut(Alert)) -> Report {
    let mut report = Report::default();
    let mut unread = Vec::new();
    for input in files::find(paths, files::LOGS, &mut unread) {
        if let Err(reason) = file(source, &input, limits, &mut report, &mut each) {
            unread.push(input.problem(None, &reason));
        }
    }
    let about_files =
        unread.into_iter().map(|problem| Problem { file: problem.file, line: None, reason: problem.reason });
    report.problems.extend(about_files);
    report
}

fn file(
    source: Source,
    input: &Input,
    limits: &Limits,
    report: &mut Report,
    each: &mut impl FnMut(Alert),
) -> Result<(), String> {
    let mut records = input.records(limits.file_bytes, limits.record_bytes)?;
    report.files += 1;
    while let Some(Record { line, text }) =
        records.next().map_err(|error| format!("the file cannot be read on: {error}"))?
    {
        report.records += 1;
        let read = text.and_then(|bytes| source.read(&bytes)).and_then(|read| match read {
            Read::Alert(_) if report.alerts >= limits.alerts => {
                Err(format!("more than {} alerts: read fewer files at a time", limits.alerts))
            }
            read => Ok(read),
        });
        match read {
            Ok(Read::Alert(alert)) => {
                report.alerts += 1;
                each(*alert);
            }
            Ok(Read::Other(reason)) => {
                report.skipped += 1;
                *report.reasons.entry(reason).or_default() += 1;
            }
            Err(reason) => {
                report.failed += 1;
                if report.problems.len() < PROBLEMS {
                    let reason = values::shortened(&reason, REASON_BYTES);
                    report.problems.push(Problem { file: input.name.clone(), line: Some(line), reason });
                }
            }
        }
    }
    if records.into_inner().into_inner().limit() == 0 {
        return Err(format!(
            "the file has {} bytes or more: what comes after them is not read",
            limits.file_bytes
        ));
    }
    Ok(())
}

impl Source {
    /// The value of the column `source`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Falco => "falco",
            Self::Tetragon => "tetragon",
            Self::Kubescape => "kubescape",
        }
    }

    fn read(self, record: &[u8]) -> Result<Read, String> {
        let value: Value = serde_json::from_slice(record).map_err(|error| error.to_string())?;
        let id = id::of(self, &value);
        match self {
            Self::Falco => falco::read(id, value),
            Self::Tetragon => tetragon::read(id, value),
            Self::Kubescape => kubescape::read(id, value),
        }
    }
}

impl Alert {
    /// An alert that tells no more than every alert must.
    fn new(
        source: Source,
        id: String,
        rule: &str,
        severity: Severity,
        time: DateTime<Utc>,
    ) -> Result<Self, String> {
        let rule = values::name("the rule's name", rule, RULE_BYTES)?.ok_or("the rule has no name")?;
        Ok(Self {
            id,
            source,
            rule,
            severity,
            time,
            image: None,
            image_digest: None,
            container_id: None,
            container_name: None,
            host: None,
            labels: BTreeMap::new(),
            process: None,
            target: None,
            summary: String::new(),
            attributes: BTreeMap::new(),
        })
    }

    fn set_image(&mut self, image: Image) {
        self.image = image.workload;
        self.image_digest = image.digest;
    }

    /// Takes labels; those that are empty are not there.
    fn set_labels<'a>(
        &mut self,
        labels: impl IntoIterator<Item = (&'a str, Option<&'a str>)>,
    ) -> Result<(), String> {
        for (key, value) in labels {
            if let Some(value) = name(key, value)? {
                self.labels.insert(key.to_owned(), value);
            }
        }
        Ok(())
    }
}

impl Target {
    /// The target that a node of a snapshot is; none for a process.
    fn of(fact: Fact) -> Option<Self> {
        match fact {
            Fact::Process(_) => None,
            Fact::File(file) => Some(Self::File { path: file.path, access: file.access }),
            Fact::Dns { name, rtype } => Some(Self::Dns { name, rtype: Some(rtype) }),
            Fact::Connect(socket) => {
                Some(Self::Connect { protocol: socket.protocol, address: socket.address, port: socket.port })
            }
            Fact::Listen(socket) => {
                Some(Self::Listen { protocol: socket.protocol, address: socket.address, port: socket.port })
            }
            Fact::Syscall(name) => Some(Self::Syscall(name)),
            Fact::Capability(name) => Some(Self::Capability(name)),
        }
    }
}

/// A name that may be missing.
fn name(what: &str, text: Option<&str>) -> Result<Option<String>, String> {
    values::name(what, text.unwrap_or_default(), values::NAME_BYTES)
}
