//! Real kernel, real containers, real eBPF. Needs root, podman and the images of `datasets/images/build.sh`.

mod clock;
mod crashes;
mod daemon;
mod facts;
mod faults;
mod ground_truth;
mod identity;
mod ids;
mod lifecycle;
mod load;
mod pipeline;
mod pods;
mod privileges;
mod profiles;
mod signals;
mod slots;
mod tricks;
mod vm;

use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader, Read as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};

use arrow::array::{Array as _, AsArray as _, RecordBatch};
use wsp_schemas::snapshot::{Limits, Verified, decode};
use wsp_tests::podman::{eventually, podman};
use wsp_tests::program::{command, finish, root};

/// Builds an image if it is not there, with the script that a person would use.
fn image(name: &str) -> String {
    let reference = format!("localhost/demo/{}", name.replacen('-', ":", 1));
    if podman(&["image", "exists", &reference]).code != 0 {
        let _ = finish(Command::new(root().join("datasets/images/build.sh")).arg(name)).ok();
    }
    reference
}

/// The Docker-compatible API of podman, for as long as the value lives.
struct Api {
    service: Child,
    url: String,
}

impl Api {
    fn start(folder: &Path) -> Self {
        let socket = folder.join("podman.sock");
        let url = format!("unix://{}", socket.display());
        let service = Command::new("podman")
            .args(["system", "service", "--time=0", &url])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        eventually("podman's API socket is there", || socket.exists());
        Self { service, url }
    }
}

impl Drop for Api {
    fn drop(&mut self) {
        let _ = self.service.kill();
        let _ = self.service.wait();
    }
}

/// A running `wsp-capture`.
struct Capture {
    child: Child,
    stderr: BufReader<std::process::ChildStderr>,
}

impl Capture {
    /// Starts it, and waits until it says that it captures.
    fn start(arguments: &[&str], ready: &str) -> Self {
        Self::start_as(command("wsp-capture").args(arguments), ready)
    }

    fn start_as(command: &mut Command, ready: &str) -> Self {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut stderr = BufReader::new(child.stderr.take().unwrap());
        let mut said = String::new();
        loop {
            let mut line = String::new();
            assert!(stderr.read_line(&mut line).unwrap() > 0, "wsp-capture ended early: {said}");
            if line.contains(ready) {
                return Self { child, stderr };
            }
            said += &line;
        }
    }

    /// Asks it to end, and waits.
    fn stop(self) {
        self.terminate();
        self.wait();
    }

    /// Asks it to end.
    fn terminate(&self) {
        self.signal("-TERM");
    }

    fn signal(&self, signal: &str) {
        let pid = self.child.id().to_string();
        let _ = finish(Command::new("kill").args([signal, &pid])).ok();
    }

    /// Waits until it ends by itself.
    fn wait(self) {
        let (status, rest) = self.end();
        assert!(status.success(), "wsp-capture: {status}: {rest}");
    }

    /// How it ends, and what it still says.
    fn end(mut self) -> (ExitStatus, String) {
        let mut rest = String::new();
        self.stderr.read_to_string(&mut rest).unwrap();
        (self.child.wait().unwrap(), rest)
    }
}

/// All snapshot files of a store that is a folder, verified.
fn snapshots(store: &Path) -> Vec<Verified> {
    files(&store.join("snapshots"))
}

/// All files below a folder, each a snapshot, verified. One that `object_store` is writing is named `….parquet#N` until it is whole.
fn files(folder: &Path) -> Vec<Verified> {
    fn walk(folder: &Path, found: &mut Vec<PathBuf>) {
        for entry in std::fs::read_dir(folder).into_iter().flatten() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                walk(&path, found);
            } else if !path.display().to_string().contains(".parquet#") {
                found.push(path);
            }
        }
    }
    let mut files = Vec::new();
    walk(folder, &mut files);
    files.sort();
    files
        .iter()
        .map(|file| decode(std::fs::read(file).unwrap().into(), &Limits::default()).unwrap())
        .collect()
}

/// The values of a text column where another has a value.
fn text(rows: &RecordBatch, column: &str, row: usize) -> Option<String> {
    let column = &rows[column];
    if column.is_null(row) {
        return None;
    }
    match column.as_boolean_opt() {
        Some(flags) => Some(flags.value(row).to_string()),
        None => Some(column.as_string::<i32>().value(row).to_owned()),
    }
}

/// What was done to the file of a row.
fn access(rows: &RecordBatch, row: usize) -> BTreeSet<String> {
    let column = rows["access"].as_list::<i32>();
    if column.is_null(row) {
        return BTreeSet::new();
    }
    let words = column.value(row);
    words.as_string::<i32>().iter().flatten().map(str::to_owned).collect()
}

/// Paths with what was done to each, in the order of the rows.
fn accesses(snapshot: &Verified) -> Vec<(String, BTreeSet<String>)> {
    let rows = &snapshot.rows;
    (0..rows.num_rows()).filter_map(|row| Some((text(rows, "path", row)?, access(rows, row)))).collect()
}

/// Rows of one kind, as texts of some columns.
fn of_kind(snapshot: &Verified, kind: &str, columns: &[&str]) -> BTreeSet<Vec<String>> {
    let rows = &snapshot.rows;
    (0..rows.num_rows())
        .filter(|row| text(rows, "kind", *row).as_deref() == Some(kind))
        .map(|row| columns.iter().map(|column| text(rows, column, row).unwrap_or_default()).collect())
        .collect()
}

/// Node ids in hex with what they are.
fn ids(snapshot: &Verified) -> BTreeSet<(String, String)> {
    let rows = &snapshot.rows;
    let ids = rows["node_id"].as_fixed_size_binary();
    (0..rows.num_rows())
        .map(|row| {
            let id: String = ids.value(row).iter().map(|byte| format!("{byte:02x}")).collect();
            let columns = ["kind", "exe", "path", "protocol", "address", "dns_name"];
            let what: Vec<String> = columns.iter().filter_map(|column| text(rows, column, row)).collect();
            (id, what.join(" "))
        })
        .collect()
}

fn lost(snapshot: &Verified) -> u64 {
    snapshot.meta.lost.iter().map(|loss| loss.events).sum()
}
