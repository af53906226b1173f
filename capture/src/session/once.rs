//! One container, one window.

use std::fs::File;
use std::future::Future;
use std::io::{self, BufWriter};
use std::path::PathBuf;
use std::time::Duration;

use chrono::Utc;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until};

use super::late::Late;
use super::snapshot::{Frame, Host, Recorded, new_id, store};
use super::{EventSource, SourceError, runs};
use crate::event::{Body, BootTime, CgroupId, Event, EventLogHeader};
use crate::identity::{Identity, State, container_of};
use crate::log::{CloseLine, ContainerLine, LOG_VERSION, Line, LogWriter, WindowLine};
use crate::recorder::{Met, Options, Recorder};
use crate::sink::{Direct, SinkError};

/// How one container is recorded.
#[derive(Debug, Clone)]
pub struct Once {
    /// How it is recorded.
    pub options: Options,
    /// For how long, from when everything is attached.
    pub length: Duration,
    /// Where all events are written too.
    pub event_log: Option<PathBuf>,
    /// Name of the host.
    pub host: String,
    /// `uname -r`.
    pub kernel: String,
}

/// The container that is recorded.
#[derive(Debug, Clone)]
pub struct Target {
    /// Who it is.
    pub identity: Identity,
    /// Its top cgroup below the mount; none where it will be made when the container is initialised.
    pub cgroup: Option<PathBuf>,
}

/// A container that was not recorded.
#[derive(Debug, thiserror::Error)]
pub enum OnceError {
    /// It is over.
    #[error("container {0} has exited: start it again, or give one that runs")]
    Exited(String),
    /// It has no cgroup that can be found.
    #[error(
        "the cgroup of container {0} cannot be found: is its runtime on this host, and this program in the host's pid namespace?"
    )]
    NoCgroup(String),
    /// It did not come up.
    #[error("container {0} was not initialised in the time given with --for")]
    NotInitialised(String),
    /// The source of events.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// The event log.
    #[error("the event log {} cannot be written", path.display())]
    Log {
        /// Where.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The store.
    #[error(transparent)]
    Sink(#[from] SinkError),
}

/// An event log, where one is wanted.
struct Log(Option<(PathBuf, LogWriter<BufWriter<File>>)>);

impl Log {
    fn open(path: Option<PathBuf>, header: &EventLogHeader) -> Result<Self, OnceError> {
        let Some(path) = path else { return Ok(Self(None)) };
        let writer = File::create(&path).and_then(|file| LogWriter::create(BufWriter::new(file), header));
        match writer {
            Ok(writer) => Ok(Self(Some((path, writer)))),
            Err(source) => Err(OnceError::Log { path, source }),
        }
    }

    fn write(&mut self, line: &Line) -> Result<(), OnceError> {
        self.with(|log| log.write(line))
    }

    fn with(
        &mut self,
        write: impl FnOnce(&mut LogWriter<BufWriter<File>>) -> io::Result<()>,
    ) -> Result<(), OnceError> {
        let Some((path, log)) = &mut self.0 else { return Ok(()) };
        write(log).map_err(|source| OnceError::Log { path: path.clone(), source })
    }

    fn finish(self) -> Result<(), OnceError> {
        let Some((path, log)) = self.0 else { return Ok(()) };
        log.finish().map_err(|source| OnceError::Log { path, source })
    }
}

/// Records one container until its time is over, it is gone, or `stop` ends. `attached` is called once nothing can be
/// missed any more.
pub async fn once<S: EventSource>(
    config: Once,
    source: &mut S,
    target: Target,
    sink: &Direct,
    attached: impl FnOnce(),
    stop: impl Future<Output = ()>,
) -> Result<Recorded, OnceError> {
    let mut identity = target.identity;
    let name = identity.display().to_string();
    if identity.state == State::Exited {
        return Err(OnceError::Exited(name));
    }
    let deadline = Instant::now() + config.length;
    let mut stop = std::pin::pin!(stop);
    let mut early = Vec::new();
    let mut attached = Some(attached);
    let (cgroup, path) = match target.cgroup {
        Some(path) => match source.cgroup_id(&path) {
            Some(cgroup) => (cgroup, path),
            // It had one when the runtime was asked.
            None => return Err(OnceError::Exited(name)),
        },
        None => {
            // Lineage is attached: a container can be initialised from here on.
            let unstarted = identity.state == State::Unstarted;
            if let Some(attached) = attached.take_if(|_| unstarted) {
                attached();
            }
            let found = match made_meanwhile(source, &identity.id) {
                Some(found) => found,
                None if !unstarted => return Err(OnceError::NoCgroup(name)),
                None => tokio::select! {
                    found = wait_for(source, &identity.id, &mut early) => found?,
                    () = sleep_until(deadline) => return Err(OnceError::NotInitialised(name)),
                    () = &mut stop => return Err(OnceError::NotInitialised(name)),
                },
            };
            tracing::debug!(cgroup = found.0.0, "the container's cgroup is there");
            if let Some((id, _)) = container_of(found.1.as_os_str().as_encoded_bytes()) {
                // A map may know its start only.
                identity.id = id;
            }
            found
        }
    };
    source.track(cgroup, &path)?;
    let tracked = source.now();
    let opened =
        early.iter().find(|event| event.cgroup == cgroup).map_or_else(|| source.now(), |event| event.at);
    let initial = source.initial_state(cgroup, &path)?;
    let met =
        if identity.state == State::Unstarted && !runs(&initial) { Met::Unstarted } else { Met::Running };
    let clock = source.clock();
    let frame = Frame { snapshot: new_id(), clock, sensors: source.sensors(cgroup) };
    let header = EventLogHeader {
        event_log: LOG_VERSION,
        kernel: config.kernel.clone(),
        wall_at_boot_ns: clock.wall_at_boot_ns,
        sensors: frame.sensors.iter().map(|sensor| format!("{} {}", sensor.kind, sensor.hook)).collect(),
    };
    let mut log = Log::open(config.event_log.clone(), &header)?;
    log.write(&Line::Container(Box::new(container_line(&config, &identity, cgroup, met, &frame))))?;
    log.write(&Line::Window(WindowLine { cgroup, opened, snapshot: Some(frame.snapshot.to_string()) }))?;

    let mut session = Session {
        cgroup,
        recorder: Recorder::new(config.options, met, identity.init, opened),
        log,
        gone: None,
        late: if met == Met::Unstarted { Late::from(tracked) } else { Late::never() },
    };
    session.take(&early)?;
    session.take(&initial)?;
    if let Some(attached) = attached.take() {
        attached();
    }
    let mut ticks = interval(Duration::from_secs(1));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while session.gone.is_none() {
        tokio::select! {
            batch = source.next_batch() => session.take(&batch?)?,
            _ = ticks.tick() => {
                session.take(&source.take_lost()?)?;
                // The event of its end may be among the lost.
                if source.cgroup_id(&path) != Some(cgroup) {
                    session.take(&source.drain())?;
                    break;
                }
            }
            () = sleep_until(deadline) => break,
            () = &mut stop => break,
        }
    }
    let now = source.now();
    let closed = session.gone.unwrap_or(now);
    session.take(&source.drain())?;
    session.take(&source.take_lost()?)?;
    let titles = source.titles(cgroup, &session.recorder.pids());
    session.take(&titles)?;
    let repeats = source.repeats(cgroup, &session.recorder.keys());
    session.take(&repeats)?;
    session.log.write(&Line::Close(CloseLine { cgroup, closed }))?;
    let window = session.recorder.turn(closed);
    session.log.finish()?;
    source.forget(cgroup);
    let host = Host { name: config.host, kernel: config.kernel };
    Ok(store(sink, &host, window, &identity, frame, |_| Utc::now()).await?)
}

struct Session {
    cgroup: CgroupId,
    recorder: Recorder,
    log: Log,
    gone: Option<BootTime>,
    late: Late,
}

impl Session {
    fn take(&mut self, events: &[Event]) -> Result<(), OnceError> {
        for event in events {
            let of_nobody = event.cgroup == CgroupId(0) && matches!(event.body, Body::Lost { .. });
            if event.cgroup != self.cgroup && !of_nobody {
                continue;
            }
            // What was lost of no known container may have been this one's.
            let event = Event { cgroup: self.cgroup, ..event.clone() };
            for event in std::iter::once(&event).chain(&self.late.losses(&event)) {
                self.log.with(|log| log.event(event))?;
                self.recorder.record(event);
            }
            if matches!(event.body, Body::ContainerGone) {
                self.gone = Some(event.at);
            }
        }
        Ok(())
    }
}

/// The container's cgroup, where it was made between the runtime's answer and the attaching.
fn made_meanwhile<S: EventSource>(source: &S, id: &str) -> Option<(CgroupId, PathBuf)> {
    let of = |path: &PathBuf| {
        container_of(path.as_os_str().as_encoded_bytes()).is_some_and(|(of, _)| of.starts_with(id))
    };
    source.existing().into_iter().find(|(_, path)| of(path))
}

/// Waits for the container's cgroup to be made; `early` takes the events of that time.
async fn wait_for<S: EventSource>(
    source: &mut S,
    id: &str,
    early: &mut Vec<Event>,
) -> Result<(CgroupId, PathBuf), SourceError> {
    use std::os::unix::ffi::OsStrExt as _;
    loop {
        let batch = source.next_batch().await?;
        let found = batch.iter().find_map(|event| match &event.body {
            Body::ContainerCreated { path } => {
                let (of, top) = container_of(path.as_bytes())?;
                of.starts_with(id).then(|| (event.cgroup, PathBuf::from(std::ffi::OsStr::from_bytes(top))))
            }
            _ => None,
        });
        if let Some(found) = found {
            // At once: the container's first steps come soon.
            source.track(found.0, &found.1)?;
            early.extend(batch);
            return Ok(found);
        }
    }
}

fn container_line(
    config: &Once,
    identity: &Identity,
    cgroup: CgroupId,
    met: Met,
    frame: &Frame,
) -> ContainerLine {
    ContainerLine {
        cgroup,
        id: identity.id.clone(),
        name: identity.name.clone(),
        image: identity.image.clone(),
        digest: identity.digest.clone(),
        started_ms: identity.started.map(|time| time.timestamp_millis()),
        labels: identity.labels.clone(),
        host: Some(config.host.clone()),
        init: identity.init,
        running: met == Met::Running,
        sensors: frame.sensors.clone(),
    }
}
