//! Time passes: each time that a merge is due, what was uploaded until then is in the store, and `wsp merge` runs.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use wait4::Wait4 as _;
use wsp_schemas::image::WorkloadKey;
use wsp_schemas::keys::TABLES;

use super::model::{Model, Spec, TemplateError};
use super::server::{BUCKET, Requests, Server};

/// What is replayed.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) spec: Spec,
    /// Captures leave alone what is stable (`wsp-capture run --profiles`).
    pub(crate) skip_stable: bool,
    pub(crate) hours: u32,
    /// Hours from one merge to the next.
    pub(crate) every: u32,
    /// The program `wsp`.
    pub(crate) wsp: PathBuf,
    /// More options for `wsp merge`.
    pub(crate) options: Vec<String>,
}

/// A replay that could not be done.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReplayError {
    #[error(transparent)]
    Template(#[from] TemplateError),
    #[error("{what} failed")]
    Io {
        what: &'static str,
        #[source]
        source: std::io::Error,
    },
    #[error("`{program}` cannot be started: build it, or say with --wsp where it is")]
    NoProgram {
        program: String,
        #[source]
        source: std::io::Error,
    },
    #[error("`wsp {command}` ended with {status}: {said}")]
    Ended { command: String, status: std::process::ExitStatus, said: String },
    #[error("`wsp {command}` did not say what was expected")]
    Answer {
        command: &'static str,
        #[source]
        source: serde_json::Error,
    },
}

/// What a merge says that it did.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
pub(crate) struct Merged {
    pub(crate) listed: u64,
    pub(crate) known: u64,
    pub(crate) after_freeze: u64,
    pub(crate) admitted: u64,
    pub(crate) profiles: u64,
    pub(crate) frozen: u64,
}

/// One merge.
#[derive(Debug, Serialize)]
pub(crate) struct Tick {
    pub(crate) at: DateTime<Utc>,
    /// Snapshots that came since the merge before.
    pub(crate) uploaded: u64,
    pub(crate) merged: Merged,
    pub(crate) requests: Requests,
    /// What the requests cost.
    pub(crate) usd: f64,
    pub(crate) seconds: f64,
    pub(crate) cpu_seconds: f64,
    pub(crate) peak_bytes: u64,
}

/// What came of it.
#[derive(Debug, Serialize)]
pub(crate) struct Replayed {
    pub(crate) hosts: u32,
    pub(crate) workloads: usize,
    pub(crate) stable: usize,
    /// Bytes of each snapshot here; real ones are larger.
    pub(crate) snapshot_bytes: usize,
    pub(crate) ticks: Vec<Tick>,
    /// Files and bytes below each table at the end; logs are told apart.
    pub(crate) tables: BTreeMap<String, Size>,
}

#[derive(Debug, Default, Clone, Copy, Serialize)]
pub(crate) struct Size {
    pub(crate) files: u64,
    pub(crate) bytes: u64,
}

/// Replays it. `progress` is told of each merge.
pub(crate) async fn replay(plan: Plan, progress: impl Fn(&Tick)) -> Result<Replayed, ReplayError> {
    let io = |what| move |source| ReplayError::Io { what, source };
    let folder = tempfile::tempdir().map_err(io("making a folder for the tables"))?;
    let first = plan.spec.start.timestamp().div_euclid(3600);
    let hosts = plan.spec.hosts;
    let model = Model::new(plan.spec)?;
    let snapshot_bytes = model.size();
    let server = Server::start(model, first, folder.path()).await.map_err(io("starting the store"))?;
    let wsp = Wsp { program: plan.wsp, server: server.clone() };
    let mut ticks = Vec::new();
    let mut stable = 0;
    let (mut until, last) = (first, first + i64::from(plan.hours));
    while until < last {
        let from = until;
        until = last.min(until + i64::from(plan.every));
        server.uploaded_before(until);
        let counting = server.clone();
        let uploaded =
            tokio::task::spawn_blocking(move || (from..until).map(|hour| counting.count(hour) as u64).sum());
        let uploaded = uploaded.await.map_err(|error| io("counting uploads")(error.into()))?;
        let at = DateTime::from_timestamp(until * 3600, 0).unwrap_or_default();
        let tick = wsp.merge(at, uploaded, &plan.options).await?;
        progress(&tick);
        ticks.push(tick);
        let keys = wsp.stable().await?;
        stable = keys.len();
        if plan.skip_stable {
            server.with_model(|model| model.leave_alone(keys.into_iter(), at));
        }
    }
    let tables = sizes(&folder.path().join(BUCKET).join(TABLES)).map_err(io("measuring the tables"))?;
    let workloads = server.with_model(|model| model.workloads());
    Ok(Replayed { hosts, workloads, stable, snapshot_bytes, ticks, tables })
}

/// The program, with a store.
struct Wsp {
    program: PathBuf,
    server: Server,
}

/// A run of it.
struct Ran {
    output: Vec<u8>,
    seconds: f64,
    cpu_seconds: f64,
    peak_bytes: u64,
}

impl Wsp {
    async fn merge(&self, at: DateTime<Utc>, uploaded: u64, options: &[String]) -> Result<Tick, ReplayError> {
        let before = self.server.requests();
        let mut arguments =
            vec!["merge".to_owned(), "--json".to_owned(), "--as-of".to_owned(), at.to_rfc3339()];
        arguments.extend(options.iter().cloned());
        let ran = self.run(arguments).await?;
        let requests = self.server.requests().since(before);
        let merged = serde_json::from_slice(&ran.output);
        let merged = merged.map_err(|source| ReplayError::Answer { command: "merge", source })?;
        let Ran { seconds, cpu_seconds, peak_bytes, .. } = ran;
        Ok(Tick { at, uploaded, merged, requests, usd: requests.usd(), seconds, cpu_seconds, peak_bytes })
    }

    /// Workloads whose profile is stable.
    async fn stable(&self) -> Result<Vec<WorkloadKey>, ReplayError> {
        let query = "SELECT workload_key FROM profiles WHERE status = 'stable'";
        let ran = self.run(["sql", "--format", "csv", query].map(str::to_owned).to_vec()).await?;
        Ok(String::from_utf8_lossy(&ran.output).lines().filter_map(WorkloadKey::parse).collect())
    }

    async fn run(&self, arguments: Vec<String>) -> Result<Ran, ReplayError> {
        let mut command = Command::new(&self.program);
        command
            .args(&arguments)
            .args(["--store", &format!("s3://{BUCKET}")])
            .envs(self.server.environment())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let program = self.program.display().to_string();
        let ran = tokio::task::spawn_blocking(move || {
            let began = Instant::now();
            let mut child = command.spawn().map_err(|source| ReplayError::NoProgram { program, source })?;
            let io = |source| ReplayError::Io { what: "running `wsp`", source };
            let errors = child.stderr.take();
            let errors = std::thread::spawn(move || {
                let mut said = Vec::new();
                errors.map(|mut errors| errors.read_to_end(&mut said));
                String::from_utf8_lossy(&said).into_owned()
            });
            let mut output = Vec::new();
            child.stdout.take().map(|mut stdout| stdout.read_to_end(&mut output)).transpose().map_err(io)?;
            let used = child.wait4().map_err(io)?;
            // 3: some input was lossy or damaged.
            if !matches!(used.status.code(), Some(0 | 3)) {
                let said = errors.join().unwrap_or_default().trim().to_owned();
                return Err(ReplayError::Ended { command: arguments.join(" "), status: used.status, said });
            }
            Ok(Ran {
                output,
                seconds: began.elapsed().as_secs_f64(),
                cpu_seconds: (used.rusage.utime + used.rusage.stime).as_secs_f64(),
                peak_bytes: used.rusage.maxrss,
            })
        });
        ran.await.map_err(|error| ReplayError::Io { what: "running `wsp`", source: error.into() })?
    }
}

/// Files and bytes by table; of a log apart.
fn sizes(tables: &Path) -> std::io::Result<BTreeMap<String, Size>> {
    let mut sizes: BTreeMap<String, Size> = BTreeMap::new();
    let mut folders = vec![(tables.to_owned(), String::new())];
    while let Some((folder, name)) = folders.pop() {
        for entry in std::fs::read_dir(folder)? {
            let entry = entry?;
            let file = entry.file_name().to_string_lossy().into_owned();
            if entry.file_type()?.is_dir() {
                let name = match name.as_str() {
                    "" => file,
                    table if file == wsp_schemas::keys::TABLE_LOG => format!("{table}, log"),
                    table => table.to_owned(),
                };
                folders.push((entry.path(), name));
            } else {
                let size = sizes.entry(name.clone()).or_default();
                size.files += 1;
                size.bytes += entry.metadata()?.len();
            }
        }
    }
    Ok(sizes)
}
