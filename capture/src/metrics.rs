//! What the daemon counts, for Prometheus.
//!
//! One method a fact, so that who knows it needs one line. Label values are names of ours, never a container's: they are
//! `&'static str` by type, so what containers do cannot make more series.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use chrono::Utc;
use procfs::process::Process;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeCounterValue, EncodeMetric as _, text};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::{ConstCounter, Counter};
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::{ConstGauge, Gauge};
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;

use crate::event::{Body, Event, LostCause, LostKind};
use crate::identity::Reach;
use crate::recorder::{ClosedWindow, LIMIT, cause_name, lost_name};
use crate::session::SourceStats;
use crate::spool::Spool;

/// What `/metrics` answers with.
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

type Label = (&'static str, &'static str);

/// What came of a look at the profiles.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProfileRead {
    /// They are known now.
    Read,
    /// No merge has made any.
    Missing,
    /// The store is away, or they cannot be read.
    Failed,
}

impl ProfileRead {
    fn name(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Missing => "missing",
            Self::Failed => "failed",
        }
    }
}

/// The daemon's counters. Clones are the same ones.
#[derive(Debug, Clone)]
pub struct Metrics {
    events: Family<[Label; 1], Counter>,
    events_lost: Family<[Label; 2], Counter>,
    snapshot_events_lost: Family<[Label; 2], Counter>,
    windows_open: Gauge,
    windows_closed: Counter,
    starts_missed: Counter,
    starts_skipped: Counter,
    containers_skipped: Gauge,
    profile_reads: Family<[Label; 1], Counter>,
    profiles_stable: Gauge,
    profiles_read_at: Gauge,
    snapshots_unnamed: Counter,
    clock_steps: Counter,
    runtimes: Family<[Label; 1], Gauge>,
    source: Arc<Mutex<SourceStats>>,
}

impl Default for Metrics {
    fn default() -> Self {
        let metrics = Self {
            events: Family::default(),
            events_lost: Family::default(),
            snapshot_events_lost: Family::default(),
            windows_open: Gauge::default(),
            windows_closed: Counter::default(),
            starts_missed: Counter::default(),
            starts_skipped: Counter::default(),
            containers_skipped: Gauge::default(),
            profile_reads: Family::default(),
            profiles_stable: Gauge::default(),
            profiles_read_at: Gauge::default(),
            snapshots_unnamed: Counter::default(),
            clock_steps: Counter::default(),
            runtimes: Family::default(),
            source: Arc::default(),
        };
        // A series that begins with its first loss would hide it from `increase`.
        for kind in LostKind::ALL.map(lost_name) {
            for cause in LostCause::ALL.map(cause_name).into_iter().chain([LIMIT]) {
                let _ = metrics.snapshot_events_lost.get_or_create(&loss(kind, cause));
            }
            // The others are found out on this side.
            for cause in [LostCause::RingFull, LostCause::MapFull, LostCause::Undecodable] {
                let _ = metrics.events_lost.get_or_create(&loss(kind, cause_name(cause)));
            }
        }
        for outcome in [ProfileRead::Read, ProfileRead::Missing, ProfileRead::Failed] {
            let _ = metrics.profile_reads.get_or_create(&[("outcome", outcome.name())]);
        }
        metrics
    }
}

const fn loss(kind: &'static str, cause: &'static str) -> [Label; 2] {
    [("kind", kind), ("cause", cause)]
}

impl Metrics {
    /// The source told these.
    pub fn events(&self, events: &[Event]) {
        let mut told: BTreeMap<&'static str, u64> = BTreeMap::new();
        for event in events {
            if let Body::Lost { kind, cause, events } = event.body {
                let loss = loss(lost_name(kind), cause_name(cause));
                self.events_lost.get_or_create(&loss).inc_by(events);
            } else {
                *told.entry(event.body.name()).or_default() += 1;
            }
        }
        for (kind, count) in told {
            self.events.get_or_create(&[("kind", kind)]).inc_by(count);
        }
    }

    /// So many containers have an open window.
    pub fn windows_open(&self, windows: usize) {
        self.windows_open.set(i64::try_from(windows).unwrap_or(i64::MAX));
    }

    /// A window was closed.
    pub fn window_closed(&self, window: &ClosedWindow) {
        self.windows_closed.inc();
        for (kind, cause, events) in window.lost() {
            self.snapshot_events_lost.get_or_create(&loss(kind, cause)).inc_by(events);
        }
    }

    /// A container started, and there was no slot for it.
    pub fn start_missed(&self) {
        self.starts_missed.inc();
    }

    /// A container of a stable workload started, and its slot was given back.
    pub fn start_skipped(&self) {
        self.starts_skipped.inc();
    }

    /// So many containers of stable workloads run and are not recorded.
    pub fn containers_skipped(&self, containers: u64) {
        self.containers_skipped.set(i64::try_from(containers).unwrap_or(i64::MAX));
    }

    /// The profiles were looked for; so many workloads are stable.
    pub fn profiles_read(&self, outcome: ProfileRead, stable: Option<usize>) {
        self.profile_reads.get_or_create(&[("outcome", outcome.name())]).inc();
        if let Some(stable) = stable {
            self.profiles_stable.set(i64::try_from(stable).unwrap_or(i64::MAX));
            self.profiles_read_at.set(Utc::now().timestamp());
        }
    }

    /// A snapshot is kept without a workload.
    pub fn snapshot_unnamed(&self) {
        self.snapshots_unnamed.inc();
    }

    /// The host's clock was set.
    pub fn clock_step(&self) {
        self.clock_steps.inc();
    }

    /// So many runtimes answer, and so many do not that should.
    pub fn runtimes(&self, Reach { answering, away }: Reach) {
        for (state, count) in [("answering", answering), ("away", away)] {
            let count = i64::try_from(count).unwrap_or(i64::MAX);
            self.runtimes.get_or_create(&[("state", state)]).set(count);
        }
    }

    /// How the source fares now.
    pub fn source(&self, stats: SourceStats) {
        *self.source.lock().unwrap_or_else(PoisonError::into_inner) = stats;
    }

    /// All of it, with what the spool and the process tell when they are asked.
    pub fn registry(&self, spool: &Spool) -> Registry {
        let mut all = Registry::default();
        let ours = all.sub_registry_with_prefix("wsp_capture");
        let build = Info::new([("version", env!("CARGO_PKG_VERSION"))]);
        ours.register("build", "This program", build);
        ours.register("events", "Events that the kernel side told, by kind", self.events.clone());
        let help = "Events that the kernel side could not tell, by kind and cause";
        ours.register("events_lost", help, self.events_lost.clone());
        let help = "Events that are missing in closed snapshots, by kind and cause; one of no known container counts in each open window";
        ours.register("snapshot_events_lost", help, self.snapshot_events_lost.clone());
        ours.register("windows_open", "Containers that are recorded now", self.windows_open.clone());
        ours.register("windows_closed", "Windows that became snapshots", self.windows_closed.clone());
        let help = "Containers that started while there was no slot for them";
        ours.register("starts_missed", help, self.starts_missed.clone());
        let help = "Containers of stable workloads that started and gave their slot back, with --profiles";
        ours.register("starts_skipped", help, self.starts_skipped.clone());
        let help = "Containers of stable workloads that run and are not recorded now, with --profiles";
        ours.register("containers_skipped", help, self.containers_skipped.clone());
        let help = "Looks at the profiles: read, missing (no merge has made any), failed (and tried again)";
        ours.register("profile_reads", help, self.profile_reads.clone());
        ours.register("profiles_stable", "Workloads that are stable", self.profiles_stable.clone());
        let help = "When the profiles were read last, in seconds since 1970; 0 where they never were";
        ours.register("profiles_read_timestamp_seconds", help, self.profiles_read_at.clone());
        let help = "Snapshots that are kept without a workload, for nobody told what their container runs";
        ours.register("snapshots_unnamed", help, self.snapshots_unnamed.clone());
        let help =
            "How often the host's clock was set: the times of the windows around it do not fit together";
        ours.register("clock_steps", help, self.clock_steps.clone());
        let help =
            "Sockets of container runtimes: answering, or away, where the last question was not answered";
        ours.register("runtimes", help, self.runtimes.clone());
        ours.register_collector(Box::new(Source(Arc::clone(&self.source))));
        ours.register_collector(Box::new(spool.clone()));
        all.register_collector(Box::new(Own));
        all
    }
}

/// The text of `/metrics`. Reads files: call it where that may block.
pub fn text(registry: &Registry) -> String {
    let mut text = String::new();
    // Writing to a String cannot fail, and collectors leave out what cannot be had.
    let _ = text::encode(&mut text, registry);
    text
}

/// Writes values that are there only when asked for.
struct Writer<'a>(DescriptorEncoder<'a>);

impl Writer<'_> {
    fn gauge(&mut self, name: &str, help: &str, value: u64) -> fmt::Result {
        let metric = self.0.encode_descriptor(name, help, None, MetricType::Gauge)?;
        ConstGauge::new(value).encode(metric)
    }

    fn gauges(
        &mut self,
        name: &str,
        help: &str,
        label: &'static str,
        of: &[(&'static str, u64)],
    ) -> fmt::Result {
        let mut family = self.0.encode_descriptor(name, help, None, MetricType::Gauge)?;
        of.iter().try_for_each(|(of, value)| {
            ConstGauge::new(*value).encode(family.encode_family(&[(label, *of)])?)
        })
    }

    fn counter<N: EncodeCounterValue>(&mut self, name: &str, help: &str, value: N) -> fmt::Result {
        let metric = self.0.encode_descriptor(name, help, None, MetricType::Counter)?;
        ConstCounter::new(value).encode(metric)
    }

    fn counters<N: EncodeCounterValue + Copy>(
        &mut self,
        name: &str,
        help: &str,
        label: &'static str,
        of: &[(&'static str, N)],
    ) -> fmt::Result {
        let mut family = self.0.encode_descriptor(name, help, None, MetricType::Counter)?;
        of.iter().try_for_each(|(of, value)| {
            ConstCounter::new(*value).encode(family.encode_family(&[(label, *of)])?)
        })
    }
}

#[derive(Debug)]
struct Source(Arc<Mutex<SourceStats>>);

impl Collector for Source {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let stats = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let mut out = Writer(encoder);
        out.gauge("ring_bytes", "Size of the ring buffer", stats.ring_bytes)?;
        out.gauge("ring_used_bytes", "What waits in it", stats.ring_used)?;
        out.gauge("ring_used_bytes_max", "The most that ever waited in it", stats.ring_peak)?;
        out.gauge("containers_known", "Containers whose lineage is told", stats.known)?;
        out.gauge("containers_tracked", "Containers whose activity is told too", stats.tracked)?;
        let live: Vec<_> = stats.sensors.iter().map(|(name, live)| (*name, u64::from(*live))).collect();
        out.gauges("sensor_live", "Whether a sensor's programs are loaded", "sensor", &live)?;
        let runs: Vec<_> = stats.programs.iter().map(|program| (program.program, program.runs)).collect();
        let help = "Runs of the programs of the kernel side, with --bpf-stats";
        out.counters("bpf_runs", help, "program", &runs)?;
        let times: Vec<_> =
            stats.programs.iter().map(|program| (program.program, program.time.as_secs_f64())).collect();
        let help = "CPU time of the programs of the kernel side, with --bpf-stats";
        out.counters("bpf_seconds", help, "program", &times)
    }
}

impl Collector for Spool {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut out = Writer(encoder);
        let counts = self.counts();
        // Counted on disk: they stay there until somebody looks at them.
        let (taken, taken_bytes) = self.taken().unwrap_or_default();
        let help = "Snapshots in the spool: waiting for the store, or taken, where the store has the key with other content";
        out.gauges("spool_files", help, "state", &[("waiting", counts.waiting), ("taken", taken)])?;
        let bytes = [("waiting", counts.waiting_bytes), ("taken", taken_bytes)];
        out.gauges("spool_bytes", "Their bytes", "state", &bytes)?;
        out.gauge("spool_limit_bytes", "Bytes that may wait", self.limit())?;
        let oldest = self.oldest_waiting_ms();
        let age =
            oldest.map_or(0, |ms| u64::try_from(Utc::now().timestamp_millis() - ms).unwrap_or(0) / 1000);
        out.gauge("spool_oldest_seconds", "Age of the oldest snapshot that waits; 0 where none does", age)?;
        let help = "Snapshots that are lost: there was no room for them, or no disk";
        out.counter("snapshots_dropped", help, counts.dropped)?;
        let help = "Snapshots that the disk did not take: they went to the store at once, or are dropped";
        out.counter("spool_refused", help, self.refused())?;
        let help = "Uploads: stored, failed (and tried again), taken";
        let uploads = [("stored", counts.uploaded), ("failed", self.failed()), ("taken", counts.taken)];
        out.counters("uploads", help, "outcome", &uploads)
    }
}

/// This process, under the names that all of Prometheus' clients use.
#[derive(Debug)]
struct Own;

impl Collector for Own {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let Ok(process) = Process::myself() else { return Ok(()) };
        let Ok(stat) = process.stat() else { return Ok(()) };
        let mut out = Writer(encoder);
        #[expect(clippy::cast_precision_loss, reason = "exact for the first million years")]
        let seconds = |ticks: u64| ticks as f64 / procfs::ticks_per_second() as f64;
        out.counter("process_cpu_seconds", "CPU time", seconds(stat.utime + stat.stime))?;
        out.gauge("process_resident_memory_bytes", "Memory", stat.rss * procfs::page_size())?;
        let threads = u64::try_from(stat.num_threads).unwrap_or_default();
        out.gauge("process_threads", "Threads", threads)?;
        let open = process.fd_count().unwrap_or_default() as u64;
        out.gauge("process_open_fds", "Open files", open)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::Path;
    use std::time::Duration;

    use super::*;
    use crate::event::{BootTime, CgroupId, Key, Pid};
    use crate::session::ProgramStats;
    use crate::sink::Sink;

    fn spool(folder: &Path) -> Spool {
        let sink = Sink::open(folder.join("store").to_str().unwrap()).unwrap();
        Spool::open(&folder.join("spool"), 1 << 20, sink).unwrap()
    }

    fn event(body: Body) -> Event {
        Event { at: BootTime(1), cgroup: CgroupId(7), pid: Pid(1), key: Key::NONE, body }
    }

    /// Samples by name and labels. Refuses text that is not of the format.
    fn parse(text: &str) -> BTreeMap<String, f64> {
        let (mut samples, mut families) = (BTreeMap::new(), BTreeSet::new());
        let body = text.strip_suffix("# EOF\n").unwrap();
        for line in body.lines() {
            if let Some(of) = line.strip_prefix("# TYPE ") {
                let (name, kind) = of.split_once(' ').unwrap();
                assert!(families.insert(name.to_owned()), "{name} twice");
                assert!(["counter", "gauge", "info"].contains(&kind), "{line}");
            } else if !line.starts_with("# HELP ") {
                let (series, value) = line.rsplit_once(' ').unwrap();
                let name = series.split('{').next().unwrap();
                let family = name.strip_suffix("_total").or_else(|| name.strip_suffix("_info"));
                assert!(families.contains(family.unwrap_or(name)), "{line} has no type");
                assert!(
                    samples.insert(series.to_owned(), value.parse().unwrap()).is_none(),
                    "{series} twice"
                );
            }
        }
        samples
    }

    #[test]
    fn the_readme_has_every_metric() {
        let folder = tempfile::tempdir().unwrap();
        let text = text(&Metrics::default().registry(&spool(folder.path())));
        let readme = include_str!("../deploy/README.md");
        for line in text.lines().filter_map(|line| line.strip_prefix("# TYPE ")) {
            let (name, kind) = line.split_once(' ').unwrap();
            let short = name.strip_prefix("wsp_capture").unwrap_or(name);
            let suffix = [("counter", "_total"), ("info", "_info"), ("gauge", "")];
            let suffix = suffix.iter().find(|(of, _)| *of == kind).unwrap().1;
            let told = ["`", "{"].iter().any(|end| readme.contains(&format!("{short}{suffix}{end}")));
            assert!(told, "the README does not have {name}{suffix}");
        }
    }

    #[test]
    fn what_was_counted_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let spool = spool(folder.path());
        let metrics = Metrics::default();
        let registry = metrics.registry(&spool);
        metrics.events(&[event(Body::Exit), event(Body::ContainerGone), event(Body::Exit)]);
        let lost = Body::Lost { kind: LostKind::Open, cause: LostCause::RingFull, events: 5 };
        metrics.events(&[event(lost)]);
        metrics.windows_open(3);
        metrics.start_missed();
        metrics.start_skipped();
        metrics.containers_skipped(2);
        metrics.profiles_read(ProfileRead::Read, Some(7));
        metrics.profiles_read(ProfileRead::Failed, None);
        metrics.snapshot_unnamed();
        metrics.clock_step();
        metrics.runtimes(Reach { answering: 2, away: 1 });
        metrics.source(SourceStats {
            ring_bytes: 4096,
            ring_used: 8,
            ring_peak: 80,
            known: 4,
            tracked: 3,
            sensors: vec![("process", true), ("dns", false)],
            programs: vec![ProgramStats {
                program: "file_opened",
                runs: 9,
                time: Duration::from_millis(1500),
            }],
        });
        let samples = parse(&text(&registry));
        for (series, value) in [
            ("wsp_capture_events_total{kind=\"exit\"}", 2.0),
            ("wsp_capture_events_total{kind=\"container_gone\"}", 1.0),
            ("wsp_capture_events_lost_total{kind=\"open\",cause=\"ring_full\"}", 5.0),
            ("wsp_capture_events_lost_total{kind=\"dns\",cause=\"map_full\"}", 0.0),
            ("wsp_capture_snapshot_events_lost_total{kind=\"open\",cause=\"late\"}", 0.0),
            ("wsp_capture_windows_open", 3.0),
            ("wsp_capture_windows_closed_total", 0.0),
            ("wsp_capture_starts_missed_total", 1.0),
            ("wsp_capture_starts_skipped_total", 1.0),
            ("wsp_capture_containers_skipped", 2.0),
            ("wsp_capture_profile_reads_total{outcome=\"failed\"}", 1.0),
            ("wsp_capture_profile_reads_total{outcome=\"missing\"}", 0.0),
            ("wsp_capture_profiles_stable", 7.0),
            ("wsp_capture_snapshots_unnamed_total", 1.0),
            ("wsp_capture_clock_steps_total", 1.0),
            ("wsp_capture_runtimes{state=\"answering\"}", 2.0),
            ("wsp_capture_runtimes{state=\"away\"}", 1.0),
            ("wsp_capture_spool_refused_total", 0.0),
            ("wsp_capture_ring_used_bytes_max", 80.0),
            ("wsp_capture_containers_tracked", 3.0),
            ("wsp_capture_sensor_live{sensor=\"dns\"}", 0.0),
            ("wsp_capture_bpf_runs_total{program=\"file_opened\"}", 9.0),
            ("wsp_capture_bpf_seconds_total{program=\"file_opened\"}", 1.5),
            ("wsp_capture_spool_files{state=\"waiting\"}", 0.0),
            ("wsp_capture_spool_limit_bytes", 1_048_576.0),
            ("wsp_capture_uploads_total{outcome=\"failed\"}", 0.0),
        ] {
            assert_eq!(samples.get(series), Some(&value), "{series} in {samples:#?}");
        }
        assert!(samples["process_resident_memory_bytes"] > 1e6);
        assert!(samples.keys().any(|series| series.starts_with("wsp_capture_build_info{version=")));
        // Nothing in the spool, and one that is set aside.
        std::fs::write(folder.path().join("spool/taken/x"), b"1234").unwrap();
        let samples = parse(&text(&registry));
        assert_eq!(samples["wsp_capture_spool_bytes{state=\"taken\"}"], 4.0);
    }
}
