//! All containers, as many at once as there are slots.
//!
//! The lineage of every container is kept from when it is met; windows are opened as [`super::slots`] says ([`turns`]). A window
//! without events becomes a snapshot too: that nothing happened is something seen.
//!
//! A closed window goes to the spool, which uploads it ([`crate::spool`]).

mod turns;

use std::collections::HashMap;
use std::future::Future;
use std::path::PathBuf;
use std::time::Duration;

use chrono::Utc;
use futures::future::join_all;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, sleep_until, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;
use wsp_schemas::image::WorkloadKey;
use wsp_schemas::keys::SnapshotId;

use super::late::Late;
use super::slots::{SlotCounts, SlotOptions, Slots};
use super::snapshot::{Frame, Host, new_id, snapshot};
use super::{EventSource, SourceError, SourceStats, runs};
use crate::event::{Body, BootTime, CgroupId, Clock, Event, Key};
use crate::identity::{Identity, Pending, Sources, State, container_of, resolve};
use crate::metrics::Metrics;
use crate::profiles::Profiles;
use crate::pulse::{self, Pulse};
use crate::recorder::{ClosedWindow, Met, Options, Recorder};
use crate::spool::{Counts, Spool, SpoolError};

/// How long windows may take to get to the disk at the end: their names have to be known.
pub(crate) const CLOSING: Duration = Duration::from_secs(20);
/// How long the start waits for the names of the containers that run already.
const NAMES_AT_START: Duration = Duration::from_secs(3);
/// How long the start waits for the profiles.
const PROFILES_AT_START: Duration = Duration::from_secs(3);
/// How long a closed window waits for a runtime that is away. Then it is kept without a workload.
const NAMES: Duration = Duration::from_secs(60);
/// The same once it is to stop; part of [`CLOSING`].
const NAMES_AT_END: Duration = Duration::from_secs(13);

/// How all containers are recorded.
#[derive(Debug, Clone)]
pub struct Run {
    /// How each is recorded.
    pub options: Options,
    /// How many are recorded at once, and for how long.
    pub slots: SlotOptions,
    /// Which workloads have learned.
    pub profiles: Profiles,
    /// How long the end waits for uploads.
    pub upload_at_end: Duration,
    /// Name of the host.
    pub host: String,
    /// `uname -r`.
    pub kernel: String,
    /// What it counts.
    pub metrics: Metrics,
    /// Where it tells that it lives.
    pub pulse: Pulse,
}

/// What a run did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Summary {
    /// How many windows were closed.
    pub snapshots: u64,
    /// Events that are not in their snapshots.
    pub lost: u64,
    /// What slots were used for.
    pub slots: SlotCounts,
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

/// By how much the clock may run off from one beat to the next: more than slewing does, less than anybody would set it by.
const CLOCK_SLACK_NS: u64 = 1_000_000_000;

/// A window that is in the spool.
struct Closed {
    snapshot: SnapshotId,
    container: String,
    /// It has a workload.
    named: bool,
    nodes: usize,
    lost: u64,
}

struct Container {
    id: String,
    /// Of its cgroup, below the mount.
    path: PathBuf,
    recorder: Recorder,
    identity: Pending,
    /// What it runs, once that is known, and the digest of its image.
    runs: Option<(WorkloadKey, Option<String>)>,
    /// Of its window, while it has one.
    frame: Option<Frame>,
    /// Its slot is given back: its window closes as of then, once all that was told until then is taken in.
    given_back: Option<BootTime>,
    late: Late,
    /// Whether all that was seen to run in it are programs that only hold a pod's namespaces.
    only_pauses: Option<bool>,
}

struct Fleet<'a, S> {
    config: Run,
    source: &'a mut S,
    sources: Sources,
    spool: Spool,
    slots: Slots,
    containers: HashMap<CgroupId, Container>,
    /// Whose slots are given back and whose windows are to be closed.
    ending: Vec<CgroupId>,
    /// Holders of a slot that nothing was told of, as of the last look.
    strangers: Vec<CgroupId>,
    /// Of which nothing lived at the last look.
    over: Vec<CgroupId>,
    /// Closed windows that are being written.
    closing: JoinSet<Result<Option<Closed>, SpoolError>>,
    /// It is to stop.
    stopping: CancellationToken,
    /// As of the last beat.
    clock: Clock,
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
        slots: Slots::new(config.slots, rand::random()),
        clock: source.clock(),
        config,
        source,
        sources,
        spool,
        containers: HashMap::new(),
        ending: Vec::new(),
        strangers: Vec::new(),
        over: Vec::new(),
        closing: JoinSet::new(),
        stopping: CancellationToken::new(),
        summary: Summary::default(),
    };
    // Who needs no snapshots should have no slot at first either.
    let _ = timeout(PROFILES_AT_START, fleet.config.profiles.asked()).await;
    fleet.meet_existing().await;
    fleet.learn_names();
    fleet.judge();
    fleet.assign();
    crate::memory::give_back();
    attached(fleet.containers.len());
    fleet.config.pulse.ready(&fleet.status());
    let uploading = fleet.spool.clone();
    let uploading = AbortOnDropHandle::new(tokio::spawn(async move { uploading.upload().await }));
    let mut stop = std::pin::pin!(stop);
    let mut ticks = interval(pulse::BEAT);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let result = loop {
        let due = fleet.slots.next_end().unwrap_or_else(|| Instant::now() + fleet.config.slots.interval);
        tokio::select! {
            batch = fleet.source.next_batch() => match batch {
                Ok(events) => fleet.take(&events),
                Err(error) => break Err(error),
            },
            _ = ticks.tick() => {
                fleet.beat();
                match fleet.source.take_lost() {
                    Ok(events) => {
                        fleet.take(&events);
                        fleet.look_after();
                    }
                    Err(error) => break Err(error),
                }
            }
            () = sleep_until(due) => fleet.turn_due(),
            Some(done) = fleet.closing.join_next(), if !fleet.closing.is_empty() => fleet.closed(done),
            () = &mut stop => break Ok(()),
        }
        fleet.assign();
    };
    fleet.config.pulse.stopping();
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
    fleet.summary.slots = fleet.slots.counts();
    Ok(fleet.summary)
}

impl<S: EventSource> Fleet<'_, S> {
    /// Takes in the containers that run already.
    async fn meet_existing(&mut self) {
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
            let identity = identity.unwrap_or_else(|| Identity::unknown(&id));
            self.meet_found(cgroup, path, id, &identity, pending);
        }
    }

    /// Takes in a container that was not seen being made.
    fn meet_found(
        &mut self,
        cgroup: CgroupId,
        path: PathBuf,
        id: String,
        identity: &Identity,
        pending: Pending,
    ) {
        let initial = match self.source.initial_state(cgroup, &path) {
            Ok(initial) => initial,
            Err(error) => {
                tracing::warn!(container = id, %error, "what runs in a container cannot be read");
                Vec::new()
            }
        };
        // Runtimes leave cgroups of ended containers behind: nothing runs there, whatever is known of them.
        let unstarted =
            !runs(&initial) && (identity.state == State::Unstarted || self.source.is_over(&path, &[]));
        let met = if unstarted { Met::Unstarted } else { Met::Running };
        self.meet(cgroup, path, id, met, identity, pending);
        self.take(&initial);
    }

    /// Begins to keep the lineage of a container.
    fn meet(
        &mut self,
        cgroup: CgroupId,
        path: PathBuf,
        id: String,
        met: Met,
        identity: &Identity,
        pending: Pending,
    ) {
        let container = Container {
            id,
            path,
            recorder: Recorder::without_window(self.config.options, met, identity.init),
            identity: pending,
            runs: None,
            frame: None,
            given_back: None,
            late: Late::never(),
            only_pauses: None,
        };
        self.containers.insert(cgroup, container);
        self.slots.met(cgroup, met == Met::Running, Instant::now());
    }

    fn frame(&self, cgroup: CgroupId) -> Frame {
        Frame { snapshot: new_id(), clock: self.source.clock(), sensors: self.source.sensors(cgroup) }
    }

    /// Tells that it lives, and how it fares.
    fn beat(&mut self) {
        self.watch_clock();
        self.config.metrics.runtimes(self.sources.reach());
        let windows = self.containers.values().filter(|container| container.frame.is_some()).count();
        self.config.metrics.windows_open(windows);
        self.config.metrics.containers_skipped(self.slots.counts().skipped);
        let known = self.containers.len() as u64;
        self.config.metrics.source(SourceStats { known, ..self.source.stats() });
        self.config.pulse.beat(&self.status());
    }

    /// Windows end by a clock that nobody sets; but what they say of the time is as of when they were opened.
    fn watch_clock(&mut self) {
        let now = self.source.clock();
        let before = std::mem::replace(&mut self.clock, now);
        let seconds = |ns: u64| ns / 1_000_000_000;
        let (step, direction) = match now.wall_at_boot_ns.checked_sub(before.wall_at_boot_ns) {
            Some(forwards) => (forwards, "forwards"),
            None => (before.wall_at_boot_ns - now.wall_at_boot_ns, "backwards"),
        };
        if step >= CLOCK_SLACK_NS {
            self.config.metrics.clock_step();
            tracing::warn!(
                seconds = seconds(step),
                direction,
                "the clock was set: open windows keep the time of before"
            );
        }
    }

    fn status(&self) -> String {
        format!("containers: {}, snapshots waiting: {}", self.containers.len(), self.spool.counts().waiting)
    }

    fn take(&mut self, events: &[Event]) {
        self.config.metrics.events(events);
        for event in events {
            match &event.body {
                Body::ContainerCreated { path } => self.created(event, path.as_bytes()),
                Body::Exec(exec) => self.ran(event, exec),
                Body::InitialProcess { exec, .. } => self.pauses(event.cgroup, exec),
                _ => {}
            }
            if event.cgroup == CgroupId(0) {
                // Lost of no known container: it may have been anyone's.
                self.containers.values_mut().for_each(|container| container.recorder.record(event));
            } else if let Some(container) = self.containers.get_mut(&event.cgroup) {
                container.recorder.record(event);
                for lost in container.late.losses(event) {
                    container.recorder.record(&lost);
                }
                if container.recorder.is_full() && container.given_back.is_none() {
                    self.split(event.cgroup, event.at);
                }
            }
            if matches!(event.body, Body::ContainerGone) {
                self.gone(event.cgroup, event.at);
            }
        }
    }

    fn gone(&mut self, cgroup: CgroupId, at: BootTime) {
        if let Ok(lost) = self.source.take_lost() {
            self.take(&lost);
        }
        // One that was there for a moment only.
        self.learn_name(cgroup);
        self.judge_one(cgroup);
        self.complete(cgroup);
        self.slots.gone(cgroup);
        if let Some(mut container) = self.containers.remove(&cgroup) {
            let window = container.recorder.close(container.given_back.unwrap_or(at));
            // Where nothing ran there was no workload.
            if let (Some(window), Some(frame), true) =
                (window, container.frame, container.recorder.has_started())
            {
                self.close(container.id, container.identity, window, frame);
            }
        }
        self.source.forget(cgroup);
    }

    /// What is read only at the end of a window: present titles, and how often what was told was seen again.
    fn complete(&mut self, cgroup: CgroupId) {
        self.add_titles(cgroup);
        self.add_repeats(cgroup);
    }

    fn add_titles(&mut self, cgroup: CgroupId) {
        let Some(container) = self.containers.get_mut(&cgroup) else { return };
        for event in self.source.titles(cgroup, &container.recorder.pids()) {
            container.recorder.record(&event);
        }
    }

    /// How often what was told was seen again; it is told again from here on.
    fn add_repeats(&mut self, cgroup: CgroupId) {
        let Some(container) = self.containers.get(&cgroup) else { return };
        self.add_repeats_of(cgroup, &container.recorder.keys());
    }

    fn add_repeats_of(&mut self, cgroup: CgroupId, keys: &[Key]) {
        let Some(container) = self.containers.get_mut(&cgroup) else { return };
        for event in self.source.repeats(cgroup, keys) {
            container.recorder.record(&event);
        }
    }

    fn close(&mut self, id: String, mut identity: Pending, window: ClosedWindow, frame: Frame) {
        self.config.metrics.window_closed(&window);
        let spool = self.spool.clone();
        let host = Host { name: self.config.host.clone(), kernel: self.config.kernel.clone() };
        let stopping = self.stopping.clone();
        self.closing.spawn(async move {
            let patience = async {
                tokio::select! {
                    () = sleep(NAMES) => {}
                    () = async { stopping.cancelled().await; sleep(NAMES_AT_END).await } => {}
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
            let (container, named) = (identity.display().to_string(), meta.image.workload.is_some());
            Ok(Some(Closed { snapshot: meta.id, container, named, nodes: nodes.len(), lost }))
        });
    }

    fn closed(&mut self, done: Result<Result<Option<Closed>, SpoolError>, tokio::task::JoinError>) {
        // None of a pod's sandbox.
        self.summary.snapshots += u64::from(!matches!(done, Ok(Ok(None))));
        match done {
            Ok(Ok(None)) => {}
            Ok(Ok(Some(Closed { snapshot, container, named, nodes, lost }))) => {
                self.summary.lost = self.summary.lost.saturating_add(lost);
                if !named {
                    self.config.metrics.snapshot_unnamed();
                }
                crate::memory::give_back();
                tracing::info!(%snapshot, container, nodes, lost, "window closed");
            }
            Ok(Err(error)) => {
                let cause = std::error::Error::source(&error).map(ToString::to_string).unwrap_or_default();
                tracing::error!(%error, cause, "a snapshot is lost");
            }
            Err(error) => tracing::error!(%error, "a window could not be closed: this is a bug"),
        }
    }

    async fn close_all(&mut self) {
        self.catch_up();
        // From here on nothing starts.
        self.stopping.cancel();
        let recorded = |(_, container): &(&CgroupId, &Container)| {
            container.frame.is_some() && container.given_back.is_none()
        };
        let mut open: Vec<CgroupId> =
            self.containers.iter().filter(recorded).map(|(cgroup, _)| *cgroup).collect();
        open.sort_unstable();
        // All slots first: what is told while one window is closed would be missing in those that are closed after it.
        for cgroup in open {
            self.give_back(cgroup);
        }
        self.settle();
        for cgroup in std::mem::take(&mut self.containers).into_keys() {
            self.slots.gone(cgroup);
        }
        while let Some(done) = self.closing.join_next().await {
            self.closed(done);
        }
    }
}
