//! All containers, window after window.
//!
//! Every container has a window at any time; its windows follow each other without a gap from when it was met, and the last
//! one closes when it ends. A window without events becomes a snapshot too: that nothing happened is something seen.
//!
//! A closed window goes to the spool, which uploads it ([`crate::spool`]).
//!
//! Slots (how many containers are recorded at once, and whose turn it is) are to come in at [`Fleet::meet`].

use std::collections::HashMap;
use std::ffi::OsStr;
use std::future::Future;
use std::os::unix::ffi::OsStrExt as _;
use std::path::PathBuf;
use std::time::Duration;

use chrono::Utc;
use futures::future::join_all;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, sleep_until, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use super::late::Late;
use super::snapshot::{Frame, Host, new_id, snapshot};
use super::{EventSource, SourceError};
use crate::event::{Body, BootTime, CgroupId, Event};
use crate::identity::{Identity, Pending, Sources, State, container_of, resolve, short_id};
use crate::recorder::{ClosedWindow, Met, Options, Recorder};
use crate::spool::{Counts, Spool, SpoolError};

/// How long windows may take to get to the disk at the end: their names have to be known.
const CLOSING: Duration = Duration::from_secs(20);
/// How long the start waits for the names of the containers that run already.
const NAMES_AT_START: Duration = Duration::from_secs(3);
/// How long a closed window waits for a runtime that is away. Then it is kept without a workload.
const NAMES: Duration = Duration::from_secs(60);
/// The same once it is to stop; part of [`CLOSING`].
const NAMES_AT_END: Duration = Duration::from_secs(13);

/// How all containers are recorded.
#[derive(Debug, Clone)]
pub struct Run {
    /// How each is recorded.
    pub options: Options,
    /// Length of a window.
    pub interval: Duration,
    /// How long the end waits for uploads.
    pub upload_at_end: Duration,
    /// Name of the host.
    pub host: String,
    /// `uname -r`.
    pub kernel: String,
}

/// What a run did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Summary {
    /// How many windows were closed.
    pub snapshots: u64,
    /// Events that are not in their snapshots.
    pub lost: u64,
    /// What became of the snapshots, those that waited at the start among them.
    pub spool: Counts,
}

/// A run that ended before it was told to.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The source of events.
    #[error(transparent)]
    Source(#[from] SourceError),
}

/// A window that is in the spool.
struct Closed {
    container: String,
    nodes: usize,
    lost: u64,
}

struct Container {
    id: String,
    recorder: Recorder,
    identity: Pending,
    frame: Frame,
    /// When its window closes.
    due: Instant,
    late: Late,
}

struct Fleet<'a, S> {
    config: Run,
    source: &'a mut S,
    sources: Sources,
    spool: Spool,
    containers: HashMap<CgroupId, Container>,
    /// Closed windows that are being written.
    closing: JoinSet<Result<Option<Closed>, SpoolError>>,
    /// It is to stop.
    ending: CancellationToken,
    summary: Summary,
}

/// Records all containers until `stop` ends; then closes all windows, and uploads what it can until the time for that is
/// over. What is left waits in the spool.
pub async fn run<S: EventSource>(
    config: Run,
    source: &mut S,
    sources: Sources,
    spool: Spool,
    attached: impl FnOnce(usize),
    stop: impl Future<Output = ()>,
) -> Result<Summary, RunError> {
    let mut fleet = Fleet {
        config,
        source,
        sources,
        spool,
        containers: HashMap::new(),
        closing: JoinSet::new(),
        ending: CancellationToken::new(),
        summary: Summary::default(),
    };
    fleet.meet_existing().await?;
    attached(fleet.containers.len());
    let uploading = fleet.spool.clone();
    let uploading = AbortOnDropHandle::new(tokio::spawn(async move { uploading.upload().await }));
    let mut stop = std::pin::pin!(stop);
    let mut ticks = interval(Duration::from_secs(1));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let result = loop {
        let due = fleet.containers.values().map(|container| container.due).min();
        let due = due.unwrap_or_else(|| Instant::now() + fleet.config.interval);
        tokio::select! {
            batch = fleet.source.next_batch() => match batch {
                Ok(events) => fleet.take(&events),
                Err(error) => break Err(error),
            },
            _ = ticks.tick() => match fleet.source.take_lost() {
                Ok(events) => {
                    fleet.take(&events);
                    fleet.leave_sandboxes();
                }
                Err(error) => break Err(error),
            },
            () = sleep_until(due) => fleet.turn_due(),
            Some(done) = fleet.closing.join_next(), if !fleet.closing.is_empty() => fleet.closed(done),
            () = &mut stop => break Ok(()),
        }
    };
    // Also after an error: what was seen until then is kept.
    let closed_in_time = timeout(CLOSING, fleet.close_all()).await.is_ok();
    if !closed_in_time {
        let windows = fleet.closing.len();
        tracing::error!(windows, "windows could not be written in time: they are lost");
    }
    let in_time = timeout(fleet.config.upload_at_end, fleet.spool.emptied()).await.is_ok();
    drop(uploading);
    fleet.summary.spool = fleet.spool.counts();
    if !in_time {
        let Counts { waiting, .. } = fleet.summary.spool;
        let spool = fleet.spool.folder().display();
        tracing::warn!(waiting, %spool, "the store took too long: snapshots wait for the next start");
    }
    result?;
    Ok(fleet.summary)
}

impl<S: EventSource> Fleet<'_, S> {
    /// Takes in the containers that run already.
    async fn meet_existing(&mut self) -> Result<(), SourceError> {
        let found: Vec<(CgroupId, PathBuf, String)> = self
            .source
            .existing()
            .into_iter()
            .filter_map(|(cgroup, path)| {
                let (id, _) = container_of(path.as_os_str().as_encoded_bytes())?;
                Some((cgroup, path, id))
            })
            .collect();
        let identities = found.iter().map(|(_, path, id)| {
            let mut pending = resolve(self.sources.clone(), id.clone(), path.clone());
            async move {
                let identity = timeout(NAMES_AT_START, pending.get(id)).await.ok();
                (identity, pending)
            }
        });
        let identities = join_all(identities).await;
        for ((cgroup, path, id), (identity, pending)) in found.into_iter().zip(identities) {
            if pending.is_sandbox() {
                continue;
            }
            if let Err(error) = self.source.track(cgroup, &path) {
                tracing::warn!(container = id, %error, "a container cannot be recorded");
                continue;
            }
            let opened = self.source.now();
            let initial = match self.source.initial_state(cgroup, &path) {
                Ok(initial) => initial,
                Err(error) => {
                    tracing::warn!(container = id, %error, "what runs in a container cannot be read");
                    Vec::new()
                }
            };
            let identity = identity.unwrap_or_else(|| Identity::unknown(&id));
            let ran = initial.iter().any(|event| matches!(event.body, Body::InitialProcess { .. }));
            let unstarted = identity.state == State::Unstarted && !ran;
            let met = if unstarted { Met::Unstarted } else { Met::Running };
            self.meet(cgroup, id, met, &identity, pending, opened);
            self.take(&initial);
        }
        Ok(())
    }

    /// Opens the first window of a container.
    fn meet(
        &mut self,
        cgroup: CgroupId,
        id: String,
        met: Met,
        identity: &Identity,
        pending: Pending,
        opened: BootTime,
    ) {
        tracing::info!(container = %identity.display(), running = met == Met::Running, "recording");
        let container = Container {
            id,
            recorder: Recorder::new(self.config.options, met, identity.init, opened),
            identity: pending,
            frame: self.frame(cgroup),
            due: Instant::now() + self.config.interval,
            // The source has tracked it by now.
            late: if met == Met::Unstarted { Late::claimed(self.source.now()) } else { Late::never() },
        };
        self.containers.insert(cgroup, container);
    }

    fn frame(&self, cgroup: CgroupId) -> Frame {
        Frame { snapshot: new_id(), clock: self.source.clock(), sensors: self.source.sensors(cgroup) }
    }

    fn take(&mut self, events: &[Event]) {
        for event in events {
            if let Body::ContainerCreated { path } = &event.body {
                self.created(event, path.as_bytes());
            }
            if event.cgroup == CgroupId(0) {
                // Lost of no known container: it may have been anyone's.
                self.containers.values_mut().for_each(|container| container.recorder.record(event));
            } else if let Some(container) = self.containers.get_mut(&event.cgroup) {
                container.recorder.record(event);
                for lost in container.late.losses(event) {
                    container.recorder.record(&lost);
                }
            }
            if matches!(event.body, Body::ContainerGone) {
                self.gone(event.cgroup, event.at);
            }
        }
    }

    fn created(&mut self, event: &Event, path: &[u8]) {
        let Some((id, _)) = container_of(path) else { return };
        if self.containers.contains_key(&event.cgroup) {
            return;
        }
        let path = PathBuf::from(OsStr::from_bytes(path));
        let pending = resolve(self.sources.clone(), id.clone(), path);
        let identity = Identity::unknown(&id);
        self.meet(event.cgroup, id, Met::Unstarted, &identity, pending, event.at);
    }

    /// Stops recording what has turned out to be a pod's sandbox: it runs no workload.
    fn leave_sandboxes(&mut self) {
        let sandboxes = self.containers.extract_if(|_, container| container.identity.is_sandbox());
        for (cgroup, container) in sandboxes {
            tracing::info!(container = short_id(&container.id), "a pod's sandbox is left out");
            self.source.forget(cgroup);
        }
    }

    fn gone(&mut self, cgroup: CgroupId, at: BootTime) {
        if let Ok(lost) = self.source.take_lost() {
            self.take(&lost);
        }
        if let Some(mut container) = self.containers.remove(&cgroup) {
            let window = container.recorder.turn(at);
            self.close(container.id, container.identity, window, container.frame);
        }
        self.source.forget(cgroup);
    }

    /// Closes the windows whose time is over and opens the next ones.
    fn turn_due(&mut self) {
        let now = Instant::now();
        let due: Vec<CgroupId> = self
            .containers
            .iter()
            .filter(|(_, container)| container.due <= now)
            .map(|(cgroup, _)| *cgroup)
            .collect();
        for cgroup in due {
            self.add_titles(cgroup);
            let (frame, at) = (self.frame(cgroup), self.source.now());
            let length = self.config.interval;
            let Some(container) = self.containers.get_mut(&cgroup) else { continue };
            let window = container.recorder.turn(at);
            let mut frame = std::mem::replace(&mut container.frame, frame);
            // What was live at its end: a new container's sensors come up in its first window.
            frame.sensors.clone_from(&container.frame.sensors);
            container.due += length;
            let (id, identity) = (container.id.clone(), container.identity.clone());
            self.close(id, identity, window, frame);
        }
    }

    fn add_titles(&mut self, cgroup: CgroupId) {
        let pids =
            self.containers.get(&cgroup).map(|container| container.recorder.pids()).unwrap_or_default();
        for event in self.source.titles(cgroup, &pids) {
            if let Some(container) = self.containers.get_mut(&cgroup) {
                container.recorder.record(&event);
            }
        }
    }

    fn close(&mut self, id: String, mut identity: Pending, window: ClosedWindow, frame: Frame) {
        let spool = self.spool.clone();
        let host = Host { name: self.config.host.clone(), kernel: self.config.kernel.clone() };
        let ending = self.ending.clone();
        self.closing.spawn(async move {
            let patience = async {
                tokio::select! {
                    () = sleep(NAMES) => {}
                    () = async { ending.cancelled().await; sleep(NAMES_AT_END).await } => {}
                }
            };
            let identity = tokio::select! {
                identity = identity.get(&id) => identity,
                () = patience => {
                    tracing::warn!(container = id, "no runtime answers: the snapshot is kept without a workload");
                    Identity::unknown(&id)
                }
            };
            if identity.sandbox {
                return Ok(None);
            }
            let lost = window.lost_events();
            let (meta, nodes) = snapshot(&host, window, &identity, frame);
            spool.put(&meta, &nodes, Utc::now()).await?;
            Ok(Some(Closed { container: identity.display().to_string(), nodes: nodes.len(), lost }))
        });
    }

    fn closed(&mut self, done: Result<Result<Option<Closed>, SpoolError>, tokio::task::JoinError>) {
        // None of a pod's sandbox.
        self.summary.snapshots += u64::from(!matches!(done, Ok(Ok(None))));
        match done {
            Ok(Ok(None)) => {}
            Ok(Ok(Some(Closed { container, nodes, lost }))) => {
                self.summary.lost = self.summary.lost.saturating_add(lost);
                tracing::info!(container, nodes, lost, "window closed");
            }
            Ok(Err(error)) => {
                let cause = std::error::Error::source(&error).map(ToString::to_string).unwrap_or_default();
                tracing::error!(%error, cause, "a snapshot is lost");
            }
            Err(error) => tracing::error!(%error, "a window could not be closed: this is a bug"),
        }
    }

    async fn close_all(&mut self) {
        self.ending.cancel();
        let rest = self.source.drain();
        self.take(&rest);
        if let Ok(lost) = self.source.take_lost() {
            self.take(&lost);
        }
        let mut open: Vec<CgroupId> = self.containers.keys().copied().collect();
        open.sort_unstable();
        for cgroup in open {
            self.add_titles(cgroup);
            let (at, sensors) = (self.source.now(), self.source.sensors(cgroup));
            let Some(mut container) = self.containers.remove(&cgroup) else { continue };
            let window = container.recorder.turn(at);
            let mut frame = container.frame;
            if !sensors.is_empty() {
                frame.sensors = sensors;
            }
            tracing::debug!(container = short_id(&container.id), "the last window closes");
            self.close(container.id, container.identity, window, frame);
        }
        while let Some(done) = self.closing.join_next().await {
            self.closed(done);
        }
    }
}
