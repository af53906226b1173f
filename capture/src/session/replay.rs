//! A log through everything after the probe.

use std::collections::BTreeMap;
use std::io::BufRead;

use chrono::DateTime;
use wsp_schemas::keys::SnapshotId;
use wsp_schemas::snapshot::Sensor;

use super::snapshot::{Frame, Host, Recorded, derived_id, store};
use crate::event::{Body, BootTime, CgroupId, Clock, EventLogHeader};
use crate::identity::{Identity, State};
use crate::log::{ContainerLine, Line, LogError, LogReader, WindowLine};
use crate::recorder::{Met, Options, Recorder};
use crate::sink::{Direct, SinkError};

/// How a log is replayed.
#[derive(Debug, Clone)]
pub struct Replay {
    /// How its containers are recorded.
    pub options: Options,
    /// Id of the container where the log does not tell.
    pub container_id: Option<String>,
    /// Name of the host where the log does not tell.
    pub host: String,
}

/// A log that was not replayed to its end.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// The log.
    #[error(transparent)]
    Log(#[from] LogError),
    /// A window that does not fit.
    #[error("container {cgroup:?}: {reason}")]
    Window {
        /// Whose.
        cgroup: CgroupId,
        /// What is wrong.
        reason: &'static str,
    },
    /// The store.
    #[error(transparent)]
    Sink(#[from] SinkError),
}

struct Container {
    recorder: Option<Recorder>,
    met: Met,
    init: Option<crate::event::Pid>,
    identity: Identity,
    host: String,
    sensors: Vec<Sensor>,
    snapshot: Option<SnapshotId>,
    last: BootTime,
    /// Its last window was closed, and no other opened.
    closed: bool,
}

/// Replays a log; the snapshots depend on nothing but the log and the options.
pub async fn replay(config: &Replay, log: impl BufRead, sink: &Direct) -> Result<Vec<Recorded>, ReplayError> {
    let (header, mut lines) = LogReader::open(log)?;
    let clock = Clock { wall_at_boot_ns: header.wall_at_boot_ns };
    let mut containers: BTreeMap<CgroupId, Container> = BTreeMap::new();
    let mut done = Vec::new();
    while let Some(line) = lines.next_line()? {
        match line {
            Line::Container(line) => {
                containers.insert(line.cgroup, container(config, *line));
            }
            Line::Window(line) => open(config, &header, &mut containers, &line)?,
            Line::Close(line) => {
                if let Some(container) = containers.get_mut(&line.cgroup) {
                    done.extend(
                        close(config, &header, clock, line.cgroup, container, line.closed, sink).await?,
                    );
                }
            }
            Line::Event(event) => {
                if event.cgroup == CgroupId(0) {
                    continue;
                }
                let container =
                    containers.entry(event.cgroup).or_insert_with(|| unnamed(config, &header, event.cgroup));
                if matches!(event.body, Body::ContainerCreated { .. }) {
                    container.met = Met::Unstarted;
                }
                let (met, init) = (container.met, container.init);
                let recorder = container
                    .recorder
                    .get_or_insert_with(|| Recorder::new(config.options, met, init, event.at));
                recorder.record(&event);
                container.last = container.last.max(event.at);
                container.closed = false;
            }
        }
    }
    for (cgroup, container) in &mut containers {
        let last = container.last;
        if !container.closed {
            done.extend(close(config, &header, clock, *cgroup, container, last, sink).await?);
        }
    }
    Ok(done)
}

fn container(config: &Replay, line: ContainerLine) -> Container {
    Container {
        recorder: None,
        met: if line.running { Met::Running } else { Met::Unstarted },
        init: line.init,
        identity: Identity {
            id: line.id,
            name: line.name,
            image: line.image,
            digest: line.digest,
            labels: line.labels,
            started: line.started_ms.and_then(DateTime::from_timestamp_millis),
            init: line.init,
            state: if line.running { State::Running } else { State::Unstarted },
            ..Identity::default()
        },
        host: line.host.unwrap_or_else(|| config.host.clone()),
        sensors: line.sensors,
        snapshot: None,
        last: BootTime(0),
        closed: false,
    }
}

/// A container that the log tells nothing about: its sensors are the header's.
fn unnamed(config: &Replay, header: &EventLogHeader, cgroup: CgroupId) -> Container {
    let id = config.container_id.clone().unwrap_or_else(|| format!("cgroup-{}", cgroup.0));
    let sensor = |text: &String| {
        let (kind, hook) = text.split_once(' ').unwrap_or((text, "unknown"));
        Sensor { kind: kind.to_owned(), hook: hook.to_owned() }
    };
    let sensors = header.sensors.iter().map(sensor).collect();
    container(config, ContainerLine { cgroup, id, running: true, sensors, ..ContainerLine::default() })
}

fn open(
    config: &Replay,
    header: &EventLogHeader,
    containers: &mut BTreeMap<CgroupId, Container>,
    line: &WindowLine,
) -> Result<(), ReplayError> {
    let window = |reason| ReplayError::Window { cgroup: line.cgroup, reason };
    let container = containers.entry(line.cgroup).or_insert_with(|| unnamed(config, header, line.cgroup));
    container.snapshot = match &line.snapshot {
        Some(id) => Some(SnapshotId::parse(id).ok_or_else(|| window("the id of its snapshot is no UUID"))?),
        None => None,
    };
    match &container.recorder {
        Some(recorder) if recorder.opened() != line.opened => {
            return Err(window("a window opens at another time than the one before it closed, or inside it"));
        }
        Some(_) => {}
        None => {
            container.recorder =
                Some(Recorder::new(config.options, container.met, container.init, line.opened));
        }
    }
    container.last = container.last.max(line.opened);
    container.closed = false;
    Ok(())
}

async fn close(
    config: &Replay,
    header: &EventLogHeader,
    clock: Clock,
    cgroup: CgroupId,
    container: &mut Container,
    at: BootTime,
    sink: &Direct,
) -> Result<Option<Recorded>, ReplayError> {
    let Some(recorder) = &mut container.recorder else { return Ok(None) };
    let window = recorder.turn(at);
    let derived = || derived_id(header, clock, &container.identity.id, cgroup, window.opened());
    let snapshot = container.snapshot.take().unwrap_or_else(derived);
    container.closed = true;
    let host = Host { name: container.host.clone(), kernel: header.kernel.clone() };
    let frame = Frame { snapshot, clock, sensors: container.sensors.clone() };
    tracing::debug!(container = container.identity.id, options = ?config.options, "a window closes");
    // The upload's hour is part of the key: it follows from the log too.
    Ok(Some(store(sink, &host, window, &container.identity, frame, |window_end| window_end).await?))
}
