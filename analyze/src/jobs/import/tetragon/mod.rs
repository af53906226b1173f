//! Tetragon's JSON export becomes snapshots, one a container and import.
//!
//! | snapshot | from |
//! |---|---|
//! | host | `node_name`; the file's name where there is none, or where asked for |
//! | container | `process.pod.container`; without Kubernetes `process.docker`, the start of its id |
//! | image | the image's name where it has a tag, else its digest; with neither the snapshot is kept without a workload |
//! | window | from the container's first event to its last |
//! | processes | by `exec_id` and `parent_exec_id`, also those that are only mentioned; see `lineage` |
//! | the rest | connections, listening sockets and names of Tetragon's own events; files, sockets and capabilities among the arguments of a policy's functions; see `facts` |
//! | completeness | of processes `complete` where the init task's exec is among the events, else `joined_late`; what policies tell is `lossy`, for what they leave out is not known, and so is everything of a host that dropped events |
//!
//! Export filters leave no trace in an export: one that was filtered looks complete.

mod build;
pub(super) mod event;
pub(super) mod facts;
mod lineage;
pub(super) mod program;
mod recording;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::path::PathBuf;

use wsp_schemas::store::Store;

use self::event::Record;
use self::recording::{Added, Container, Key, Recording, Seen, Span};
use super::snapshot::{File, put};
use super::{Cluster, ImportError, Input, Options, Problem, Report, files, records, values};

/// What the ids of these snapshots are hashed with.
const DOMAIN: &str = "wsp.import.tetragon.v1";
/// Bad records of a file that are told one by one.
const PROBLEMS: usize = 1000;
/// Bytes of a reason: a parser may repeat what it met.
const REASON_BYTES: usize = 300;
/// Snapshots that are encoded before they are written.
const BATCH: usize = 64;

/// Imports files, and the logs in folders.
pub async fn run(store: &Store, paths: &[PathBuf], options: &Options) -> Result<Report, ImportError> {
    let (owned, limits) = (paths.to_vec(), options.clone());
    // Parsing is work, and a panic in a parser must not end the program.
    let Ok((recording, mut report)) = tokio::task::spawn_blocking(move || gather(&owned, &limits)).await
    else {
        let file = paths.first().map(|path| path.display().to_string()).unwrap_or_default();
        let reason = "a file makes the parser fail: import the files one by one".to_owned();
        return Ok(Report { failed: vec![Problem { file, object: None, reason }], ..Report::default() });
    };
    let mut ready = Vec::new();
    for ((host, id), (container, members)) in by_container(&recording) {
        match build::snapshot(&recording, (&host, &id), &container, members, options.limits) {
            Ok((meta, nodes)) => ready.push(File::new(DOMAIN, meta, &nodes)?),
            Err(reason) => {
                let object = Some(format!("container {id} of {host}"));
                report.failed.push(Problem { file: container.file, object, reason });
            }
        }
        if ready.len() >= BATCH {
            put(store, std::mem::take(&mut ready), options.concurrency, &mut report).await?;
        }
    }
    put(store, ready, options.concurrency, &mut report).await?;
    Ok(report)
}

/// Containers with their processes, by exec id.
type Containers<'a> = BTreeMap<Key, (Container, Vec<(&'a str, &'a Seen)>)>;

/// The containers that have events; what is known by the start of an id is with the whole.
fn by_container(recording: &Recording) -> Containers<'_> {
    let mut found = Containers::new();
    for ((host, id), container) in &recording.containers {
        let whole = recording.whole_id(host, id);
        found.entry((host.clone(), whole.to_owned())).or_default().0.also(container);
    }
    for ((host, exec_id), seen) in &recording.processes {
        let Some(id) = &seen.container else { continue };
        let whole = recording.whole_id(host, id);
        if let Some((_, members)) = found.get_mut(&(host.clone(), whole.to_owned())) {
            members.push((exec_id, seen));
        }
    }
    found.retain(|_, (container, _)| container.span.is_some());
    found
}

impl Container {
    /// Takes what is known under another start of its id.
    fn also(&mut self, more: &Self) {
        if self.file.is_empty() {
            self.file.clone_from(&more.file);
        }
        for (known, more) in self.references.iter_mut().zip(&more.references) {
            *known = known.take().or_else(|| more.clone());
        }
        self.name = self.name.take().or_else(|| more.name.clone());
        self.started = self.started.or(more.started);
        for (key, value) in &more.labels {
            self.labels.entry(key.clone()).or_insert_with(|| value.clone());
        }
        for time in more.span.iter().flat_map(|span| [span.first, span.last]) {
            Span::reach(&mut self.span, time);
        }
    }
}

/// Reads all files.
fn gather(paths: &[PathBuf], options: &Options) -> (Recording, Report) {
    let mut report = Report::default();
    let mut recording = Recording::default();
    for input in files::find(paths, files::LOGS, &mut report.failed) {
        if let Err(reason) = file(&input, options, &mut recording, &mut report) {
            report.failed.push(input.problem(None, &reason));
        }
    }
    (recording, report)
}

fn file(
    input: &Input,
    options: &Options,
    recording: &mut Recording,
    report: &mut Report,
) -> Result<(), String> {
    let limits = options.limits;
    let mut records = input.records(limits.file_bytes, limits.record_bytes)?;
    report.files += 1;
    let (mut of_host, mut other, mut bad) = (0_u64, 0_u64, 0_usize);
    while let Some(records::Record { line, text }) =
        records.next().map_err(|error| format!("the file cannot be read on: {error}"))?
    {
        report.objects += 1;
        match text.and_then(|bytes| take(input, options, recording, &bytes)) {
            Ok(Added::Event) => {}
            Ok(Added::Host) => of_host += 1,
            Ok(Added::Other) => other += 1,
            Err(reason) => {
                bad += 1;
                if bad <= PROBLEMS {
                    let reason = values::shortened(&reason, REASON_BYTES);
                    report.failed.push(input.problem(Some(format!("line {line}")), &reason));
                }
            }
        }
    }
    if bad > PROBLEMS {
        report.failed.push(input.problem(None, &format!("{} more bad records", bad - PROBLEMS)));
    }
    for (count, what) in
        [(of_host, "events of processes in no container"), (other, "records that are no events of processes")]
    {
        if count > 0 {
            report.skipped.push(input.problem(None, &format!("{count} {what}")));
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

fn take(input: &Input, options: &Options, recording: &mut Recording, bytes: &[u8]) -> Result<Added, String> {
    let record: Record = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
    let node = record.node_name.as_deref().filter(|_| options.cluster == Cluster::Annotation);
    let host = match values::name("node_name", node.unwrap_or_default(), options.limits.name_bytes)? {
        Some(name) => name,
        None => input.stem.clone(),
    };
    recording.add(&input.name, &host, record)
}
