//! Sessions over a stand-in for the probe, to files that are read back and verified.

use std::cell::RefCell;
use std::collections::{HashMap, VecDeque};
use std::fs;
use std::path::Path;
use std::time::Duration;

use tokio::time::{Instant, sleep_until};
use wsp_schemas::keys::SnapshotKey;
use wsp_schemas::snapshot::{Completeness, Limits, Verified, decode};
use wsp_schemas::text::RawText;

use super::*;
use crate::event::{Body, Exec, FilePath, Key, LostCause, LostKind};
use crate::identity::{Identity, Sources, State};
use crate::metrics::{self, Metrics};
use crate::profiles::Profiles;
use crate::pulse::Pulse;
use crate::recorder::Options;
use crate::sink::{Direct, Sink, SinkError};
use crate::spool::{Counts, Spool};

const CGROUP: CgroupId = CgroupId(7);

mod turns;

/// Gives one batch after the other, then nothing.
#[derive(Default)]
struct Fake {
    batches: VecDeque<Vec<Event>>,
    /// It was waited for events: until then there are none.
    awaited: bool,
    /// Batches that come later than those.
    later: VecDeque<(Instant, Vec<Event>)>,
    initial: Vec<Event>,
    /// What /proc shows of some containers, each time that it is read.
    initials: HashMap<CgroupId, VecDeque<Vec<Event>>>,
    /// How many containers may be tracked, where that is bounded.
    slots: Option<usize>,
    existing: Vec<(CgroupId, PathBuf)>,
    /// Containers that come later.
    coming: Vec<(CgroupId, PathBuf)>,
    lost: RefCell<Vec<Event>>,
    /// What is done while titles are read, the first each time.
    meanwhile: RefCell<VecDeque<Vec<Event>>>,
    told_meanwhile: RefCell<Vec<Event>>,
    tracked: Vec<CgroupId>,
    /// Containers whose cgroup is there and empty, from then on.
    empty: HashMap<CgroupId, Instant>,
    /// Processes that live elsewhere.
    elsewhere: Vec<Pid>,
    /// From then on the clock is an hour behind.
    set_back_at: Option<Instant>,
}

impl EventSource for Fake {
    async fn next_batch(&mut self) -> Result<Vec<Event>, SourceError> {
        self.awaited = true;
        if let Some(batch) = self.batches.pop_front() {
            return Ok(batch);
        }
        match self.later.front() {
            Some((at, _)) => sleep_until(*at).await,
            None => std::future::pending().await,
        }
        Ok(self.later.pop_front().map(|(_, batch)| batch).unwrap_or_default())
    }

    fn drain(&mut self) -> Vec<Event> {
        if !self.awaited {
            return Vec::new();
        }
        let mut events: Vec<Event> = self.batches.drain(..).flatten().collect();
        events.append(&mut self.told_meanwhile.borrow_mut());
        while self.later.front().is_some_and(|(at, _)| *at <= Instant::now()) {
            events.extend(self.later.pop_front().into_iter().flat_map(|(_, batch)| batch));
        }
        events
    }

    fn take_lost(&mut self) -> Result<Vec<Event>, SourceError> {
        Ok(self.lost.take())
    }

    fn track(&mut self, cgroup: CgroupId, _path: &Path) -> Result<bool, SourceError> {
        if self.slots.is_some_and(|slots| self.tracked.len() >= slots) {
            return Ok(self.tracked.contains(&cgroup));
        }
        self.untrack(cgroup);
        self.tracked.push(cgroup);
        Ok(true)
    }

    fn untrack(&mut self, cgroup: CgroupId) {
        self.tracked.retain(|tracked| *tracked != cgroup);
    }

    fn holders(&self) -> Vec<CgroupId> {
        self.tracked.clone()
    }

    fn sensors(&self, _cgroup: CgroupId) -> Vec<Sensor> {
        ["process", "file"].map(|kind| Sensor { kind: kind.to_owned(), hook: "fake".to_owned() }).to_vec()
    }

    fn initial_state(&mut self, cgroup: CgroupId, _path: &Path) -> Result<Vec<Event>, SourceError> {
        if let Some(initial) = self.initials.get_mut(&cgroup).and_then(VecDeque::pop_front) {
            return Ok(initial);
        }
        let runs =
            self.existing.iter().any(|(existing, path)| *existing == cgroup && !self.is_over(path, &[]));
        match std::mem::take(&mut self.initial) {
            initial if initial.is_empty() && runs => Ok(vec![running(cgroup, 1, "/bin/init", None)]),
            initial => Ok(initial),
        }
    }

    fn titles(&self, cgroup: CgroupId, pids: &[Pid]) -> Vec<Event> {
        let done = self.meanwhile.borrow_mut().pop_front().into_iter().flatten();
        self.told_meanwhile.borrow_mut().extend(done.map(|event| Event { at: host::now(), ..event }));
        let title = |pid: &Pid| event(cgroup, pid.0, Body::Title { argv: vec!["title".into()] });
        pids.iter().map(title).collect()
    }

    fn repeats(&mut self, cgroup: CgroupId, keys: &[Key]) -> Vec<Event> {
        let again = |key: &Key| Event { key: *key, ..event(cgroup, 0, Body::Repeats { events: 3 }) };
        keys.iter().map(again).collect()
    }

    fn forget(&mut self, cgroup: CgroupId) {
        self.tracked.retain(|tracked| *tracked != cgroup);
    }

    fn existing(&self) -> Vec<(CgroupId, PathBuf)> {
        self.existing.clone()
    }

    fn cgroup_id(&self, path: &Path) -> Option<CgroupId> {
        let found = self.existing.iter().chain(&self.coming).find(|(_, existing)| existing == path);
        Some(found.map_or(CGROUP, |(cgroup, _)| *cgroup))
    }

    fn is_over(&self, path: &Path, pids: &[Pid]) -> bool {
        let cgroup = self.cgroup_id(path).unwrap();
        let is_empty = self.empty.get(&cgroup).is_some_and(|at| *at <= Instant::now());
        is_empty && !pids.iter().any(|pid| self.elsewhere.contains(pid))
    }

    fn now(&self) -> BootTime {
        host::now()
    }

    fn clock(&self) -> Clock {
        let Clock { wall_at_boot_ns } = host::wall_clock();
        let set_back = self.set_back_at.is_some_and(|at| at <= Instant::now());
        Clock { wall_at_boot_ns: wall_at_boot_ns - if set_back { 3_600_000_000_000 } else { 0 } }
    }
}

fn event(cgroup: CgroupId, pid: u32, body: Body) -> Event {
    Event { at: host::now(), cgroup, pid: Pid(pid), key: Key::NONE, body }
}

fn exec(cgroup: CgroupId, pid: u32, exe: &str) -> Event {
    event(cgroup, pid, Body::Exec(program(exe)))
}

fn program(exe: &str) -> Box<Exec> {
    let exe = FilePath { path: exe.into(), ..FilePath::default() };
    Box::new(Exec { exe, argv: vec!["x".into()], ns_pid: 1, pid_ns_level: 1, ..Exec::default() })
}

fn running(cgroup: CgroupId, pid: u32, exe: &str, parent: Option<u32>) -> Event {
    let exec = program(exe);
    let parent_is_guess = parent.is_some();
    event(cgroup, pid, Body::InitialProcess { parent: parent.map(Pid), parent_is_guess, exec })
}

/// An exec that comes when everything is attached.
fn later(exec: Event) -> Event {
    Event { at: BootTime(exec.at.0 + 1_000_000_000), ..exec }
}

fn open(cgroup: CgroupId, pid: u32, path: &[u8]) -> Event {
    let file = FilePath { path: RawText::from(path), ..FilePath::default() };
    event(cgroup, pid, Body::Open { file, flags: 0 })
}

fn identity(state: State) -> Identity {
    Identity {
        id: "4f3c".repeat(16),
        name: Some("web".to_owned()),
        image: Some("nginx:1.25".to_owned()),
        state,
        ..Identity::default()
    }
}

fn target(state: State) -> Target {
    Target { identity: identity(state), cgroup: Some(PathBuf::from("/c")) }
}

fn config(length: Duration, event_log: Option<PathBuf>) -> Once {
    Once { options: Options::default(), length, event_log, host: "h".to_owned(), kernel: "6.1".to_owned() }
}

fn store(folder: &Path) -> Sink {
    Sink::open(folder.join("store").to_str().unwrap()).unwrap()
}

fn sink(folder: &Path) -> Direct {
    Direct::new(store(folder), folder.join("unsent"))
}

/// All snapshots below a folder, verified, oldest first.
fn snapshots(folder: &Path) -> Vec<Verified> {
    let mut open = vec![folder.join("store/snapshots")];
    let mut found = Vec::new();
    while let Some(folder) = open.pop() {
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            if entry.path().is_dir() {
                open.push(entry.path());
            } else {
                found.push(entry.path());
            }
        }
    }
    let read = |path: &PathBuf| decode(fs::read(path).unwrap().into(), &Limits::default()).unwrap();
    let mut snapshots: Vec<Verified> = found.iter().map(read).collect();
    snapshots.sort_by_key(|snapshot| (snapshot.meta.window_start, snapshot.meta.id));
    snapshots
}

#[tokio::test]
async fn a_log_replays_to_the_very_same_file() {
    let folder = tempfile::tempdir().unwrap();
    let mut source = Fake {
        batches: [
            vec![later(exec(CGROUP, 100, "/bin/sh")), exec(CgroupId(8), 5, "/bin/other")],
            vec![open(CGROUP, 100, b"/tmp/\xff\n"), event(CGROUP, 100, Body::Fork { child: Pid(101) })],
            vec![event(CGROUP, 100, Body::Exit), event(CGROUP, 0, Body::ContainerGone)],
        ]
        .into(),
        ..Fake::default()
    };
    let lost = Body::Lost { kind: LostKind::Open, cause: LostCause::RingFull, events: 2 };
    source.lost.borrow_mut().push(event(CgroupId(0), 0, lost));
    let log = folder.path().join("log");
    let config = config(Duration::from_secs(60), Some(log.clone()));
    let mut attached = false;
    let sink_a = sink(folder.path());
    let recorded = once(
        config,
        &mut source,
        target(State::Unstarted),
        &sink_a,
        || attached = true,
        std::future::pending(),
    )
    .await
    .unwrap();
    assert!(attached && source.tracked.is_empty());
    assert_eq!((recorded.lost, recorded.outcome()), (2, Outcome::Lossy));
    let key = SnapshotKey::parse(&recorded.stored.key).unwrap();
    assert_eq!(key.workload.to_string(), "724ba9bc2c4cf759");
    let live = snapshots(folder.path());
    let meta = &live[0].meta;
    assert_eq!((live.len(), live[0].rows.num_rows(), meta.covers_start), (1, 2, true));
    assert_eq!(meta.completeness["file"], Completeness::Lossy);

    let again = tempfile::tempdir().unwrap();
    let replay_config = Replay { options: Options::default(), container_id: None, host: "other".to_owned() };
    let sink_b = sink(again.path());
    for _ in 0..2 {
        let log = std::io::BufReader::new(fs::File::open(&log).unwrap());
        replay(&replay_config, log, &sink_b).await.unwrap();
    }
    let replayed = snapshots(again.path());
    assert_eq!(replayed.len(), 1);
    assert_eq!(replayed[0].content_hash, live[0].content_hash);
}

#[tokio::test]
async fn a_log_of_events_alone_is_enough() {
    let log = concat!(
        r#"{"event_log":1,"kernel":"6.1","wall_at_boot_ns":1767225600000000000,"sensors":["process tp","file"]}"#,
        "\n",
        r#"{"at":1000000000,"cgroup":9,"pid":0,"event":"container_created","path":"/x"}"#,
        "\n",
        r#"{"at":2000000000,"cgroup":9,"pid":5,"event":"exec","exe":{"path":"/bin/a","origin":"image"},"argv":["a"],"comm":"a","cwd":"/","uids":[0,0,0],"tty":false,"stdio":["none","none","none"],"ns_pid":1,"pid_ns_level":1,"mnt_ns":1,"started":null}"#,
        "\n",
    );
    let folder = tempfile::tempdir().unwrap();
    let config =
        Replay { options: Options::default(), container_id: Some("abc".to_owned()), host: "h".to_owned() };
    let recorded = replay(&config, log.as_bytes(), &sink(folder.path())).await.unwrap();
    insta::assert_snapshot!(
        recorded[0].stored.key,
        @"snapshots/date=2026-01-01/hour=00/0000000000000000-1767225602000-019b76da-abe8-732c-8c8b-9296676260fa.parquet"
    );
    let snapshots = snapshots(folder.path());
    let meta = &snapshots[0].meta;
    assert_eq!(
        (meta.container.id.as_str(), meta.covers_start, snapshots[0].rows.num_rows()),
        ("abc", true, 1)
    );
}

#[tokio::test]
async fn a_container_that_runs_is_joined_late() {
    let folder = tempfile::tempdir().unwrap();
    let exec = program("/bin/app");
    let initial = Body::InitialProcess { parent: None, parent_is_guess: false, exec };
    let mut source = Fake { initial: vec![event(CGROUP, 100, initial)], ..Fake::default() };
    let config = config(Duration::from_millis(100), None);
    // Whatever the runtime says: a process of the image was there.
    once(config, &mut source, target(State::Unstarted), &sink(folder.path()), || (), std::future::pending())
        .await
        .unwrap();
    let snapshots = snapshots(folder.path());
    assert!(!snapshots[0].meta.covers_start);
    assert_eq!(snapshots[0].meta.completeness["process"], Completeness::JoinedLate);
    assert_eq!(snapshots[0].rows.num_rows(), 1);
}

#[tokio::test]
async fn a_container_that_is_only_created_is_waited_for() {
    let folder = tempfile::tempdir().unwrap();
    let path = format!("/machine.slice/libpod-{}.scope", identity(State::Unstarted).id);
    let created = event(CGROUP, 0, Body::ContainerCreated { path: path.as_str().into() });
    // Its first exec came before it could be tracked: what it did until then nobody saw.
    let mut source = Fake { batches: [vec![created, exec(CGROUP, 100, "/bin/a")]].into(), ..Fake::default() };
    let target = Target { cgroup: None, ..target(State::Unstarted) };
    let config = config(Duration::from_millis(200), None);
    let recorded =
        once(config, &mut source, target, &sink(folder.path()), || (), std::future::pending()).await.unwrap();
    assert_eq!(recorded.stored.nodes, 1);
    let meta = &snapshots(folder.path())[0].meta;
    assert!(meta.covers_start);
    assert_eq!(
        (meta.completeness["process"], meta.completeness["file"]),
        (Completeness::Complete, Completeness::Lossy)
    );
    assert!(meta.lost.iter().all(|loss| loss.cause == "late") && meta.lost.len() == 8);
}

#[tokio::test]
async fn what_cannot_be_recorded_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let fails = async |target| {
        let config = config(Duration::from_millis(100), None);
        once(config, &mut Fake::default(), target, &sink(folder.path()), || (), std::future::pending())
            .await
            .unwrap_err()
    };
    assert!(matches!(fails(target(State::Exited)).await, OnceError::Exited(_)));
    let without = |state| Target { cgroup: None, ..target(state) };
    assert!(matches!(fails(without(State::Running)).await, OnceError::NoCgroup(_)));
    assert!(matches!(fails(without(State::Unstarted)).await, OnceError::NotInitialised(_)));
}

#[tokio::test]
async fn what_cannot_be_uploaded_is_kept() {
    let folder = tempfile::tempdir().unwrap();
    let sink = Direct::new(store(folder.path()).without_retries(), folder.path().join("unsent"));
    fs::write(folder.path().join("store/snapshots"), "in the way").unwrap();
    let config = config(Duration::from_millis(100), None);
    let error =
        once(config, &mut Fake::default(), target(State::Running), &sink, || (), std::future::pending())
            .await
            .unwrap_err();
    let OnceError::Sink(SinkError::Upload { key, store, kept, .. }) = error else { panic!("{error}") };
    assert!(store.starts_with("file:///") && kept.ends_with(&key));
    assert!(decode(fs::read(&kept).unwrap().into(), &Limits::default()).is_ok());
}

#[tokio::test]
async fn all_containers_have_windows_one_after_the_other() {
    let folder = tempfile::tempdir().unwrap();
    let id = |letter: &str| letter.repeat(64);
    let path = |letter: &str| format!("/docker/{}", id(letter));
    let born = CgroupId(8);
    let mut source = Fake {
        existing: vec![(CGROUP, path("a").into())],
        batches: [vec![
            event(born, 0, Body::ContainerCreated { path: path("b").as_str().into() }),
            later(exec(born, 100, "/bin/short")),
            event(born, 0, Body::ContainerGone),
        ]]
        .into(),
        ..Fake::default()
    };
    let config = five_slots(Duration::from_millis(150));
    let stop = tokio::time::sleep(Duration::from_millis(400));
    let (metrics, pulse) = (config.metrics.clone(), config.pulse.clone());
    let spool = Spool::open(&folder.path().join("spool"), 1 << 30, store(folder.path())).unwrap();
    // Nobody to ask: the snapshots are kept without a workload.
    let summary = timeless(run(
        config,
        &mut source,
        Sources::none(),
        spool.clone(),
        |running| assert_eq!(running, 1),
        stop,
    ))
    .await
    .unwrap();
    let counted = metrics::text(&metrics.registry(&spool));
    let closed = format!("wsp_capture_windows_closed_total {}\n", summary.snapshots);
    assert!(counted.contains(&closed) && counted.contains("events_total{kind=\"exec\"} 1\n"), "{counted}");
    assert!(pulse.health(&spool)[0].contains("stopping"));
    let snapshots = snapshots(folder.path());
    let of =
        |letter: &str| snapshots.iter().filter(|s| s.meta.container.id == id(letter)).collect::<Vec<_>>();
    let (a, b) = (of("a"), of("b"));
    assert_eq!((b.len(), b[0].rows.num_rows(), b[0].meta.covers_start), (1, 1, true));
    // Nothing happened in the other one after it was met; that is seen too, without a gap.
    let rows: Vec<usize> = a.iter().map(|snapshot| snapshot.rows.num_rows()).collect();
    assert!(rows.len() >= 3 && rows[0] == 1 && rows[1..].iter().all(|rows| *rows == 0), "{rows:?}");
    for pair in a.windows(2) {
        assert_eq!(pair[0].meta.window_end, pair[1].meta.window_start);
    }
    let stored = snapshots.len() as u64;
    let spool = Counts { uploaded: stored, ..Counts::default() };
    let slots = SlotCounts { starts: 1, ..SlotCounts::default() };
    assert_eq!(summary, Summary { snapshots: stored, lost: 0, slots, spool });
}

/// A run with the usual slots.
fn five_slots(interval: Duration) -> Run {
    Run {
        options: Options::default(),
        slots: SlotOptions {
            slots: 5,
            kept_for_starts: 2,
            interval,
            recapture_wait: interval,
            stable_every: None,
        },
        upload_at_end: Duration::from_secs(20),
        profiles: Profiles::none(),
        host: "h".to_owned(),
        kernel: "6.1".to_owned(),
        metrics: Metrics::default(),
        pulse: Pulse::default(),
    }
}

#[tokio::test]
async fn a_clock_that_is_set_is_told_and_windows_go_on() {
    let folder = tempfile::tempdir().unwrap();
    let mut source = Fake {
        existing: vec![(CGROUP, format!("/docker/{}", "a".repeat(64)).into())],
        set_back_at: Some(Instant::now() + Duration::from_millis(700)),
        ..Fake::default()
    };
    let config = five_slots(Duration::from_millis(150));
    let metrics = config.metrics.clone();
    let spool = Spool::open(&folder.path().join("spool"), 1 << 30, store(folder.path())).unwrap();
    // Two beats after that, for one step is told once.
    let stop = tokio::time::sleep(Duration::from_millis(2500));
    let summary =
        timeless(run(config, &mut source, Sources::none(), spool.clone(), |_| (), stop)).await.unwrap();
    let counted = metrics::text(&metrics.registry(&spool));
    assert!(counted.contains("wsp_capture_clock_steps_total 1\n"), "{counted}");
    let unnamed = format!("wsp_capture_snapshots_unnamed_total {}\n", summary.snapshots);
    assert!(counted.contains(&unnamed), "{counted}");
    let snapshots = snapshots(folder.path());
    assert_eq!(snapshots.len() as u64, summary.snapshots);
    // By their times those after the step are the oldest.
    let newest = snapshots[snapshots.len() - 1].meta.window_start;
    let behind = |snapshot: &&Verified| (newest - snapshot.meta.window_start).num_minutes() >= 59;
    let behind = snapshots.iter().filter(behind).count();
    assert!(behind >= 2 && behind + 2 <= snapshots.len(), "{behind} of {summary:?}");
    assert!(snapshots.iter().all(|snapshot| {
        let length = snapshot.meta.window_end - snapshot.meta.window_start;
        length.num_milliseconds() > 0 && length.num_minutes() < 30
    }));
}

/// A session that hangs fails its test.
async fn timeless<T>(session: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(60), session).await.unwrap()
}
