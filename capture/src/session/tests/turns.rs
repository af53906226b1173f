//! More containers than slots.

use arrow::array::{Array as _, AsArray as _};
use wsp_schemas::snapshot::Completeness;

use super::*;

const A: CgroupId = CgroupId(21);
const B: CgroupId = CgroupId(22);
const C: CgroupId = CgroupId(23);
const D: CgroupId = CgroupId(24);

fn id(cgroup: CgroupId) -> String {
    format!("{:064x}", cgroup.0)
}

fn path(cgroup: CgroupId) -> PathBuf {
    format!("/docker/{}", id(cgroup)).into()
}

fn made(cgroup: CgroupId) -> Event {
    event(cgroup, 0, Body::ContainerCreated { path: path(cgroup).to_str().unwrap().into() })
}

fn slots(slots: u32, interval_ms: u64) -> SlotOptions {
    let interval = Duration::from_millis(interval_ms);
    SlotOptions { slots, kept_for_starts: 1, interval, recapture_wait: interval, stable_every: None }
}

/// Runs for a while, and gives the snapshots of each container.
async fn run_for(
    ms: u64,
    slots: SlotOptions,
    options: Options,
    source: &mut Fake,
) -> (Summary, HashMap<CgroupId, Vec<Verified>>) {
    let folder = tempfile::tempdir().unwrap();
    source.slots = Some(slots.slots as usize);
    source.coming = [A, B, C, D].map(|cgroup| (cgroup, path(cgroup))).to_vec();
    let spool = Spool::open(&folder.path().join("spool"), 1 << 30, store(folder.path())).unwrap();
    let upload_at_end = Duration::from_secs(20);
    let config = Run {
        options,
        slots,
        upload_at_end,
        profiles: Profiles::none(),
        host: "h".to_owned(),
        kernel: "6.1".to_owned(),
        metrics: Metrics::default(),
        pulse: Pulse::default(),
    };
    let stop = tokio::time::sleep(Duration::from_millis(ms));
    let summary = timeless(run(config, source, Sources::none(), spool, |_| (), stop)).await.unwrap();
    let mut found: HashMap<CgroupId, Vec<Verified>> = HashMap::new();
    for snapshot in snapshots(folder.path()) {
        let cgroup = u64::from_str_radix(&snapshot.meta.container.id, 16).unwrap();
        found.entry(CgroupId(cgroup)).or_default().push(snapshot);
    }
    (summary, found)
}

/// A text column of the rows where another has a value.
fn column(snapshot: &Verified, name: &str) -> Vec<String> {
    let values = snapshot.rows[name].as_string::<i32>();
    (0..values.len()).filter(|row| values.is_valid(*row)).map(|row| values.value(row).to_owned()).collect()
}

#[tokio::test]
async fn a_window_that_opens_later_knows_who_forked_whom() {
    let soon = Instant::now() + Duration::from_millis(20);
    let mut source = Fake {
        existing: vec![(A, path(A)), (B, path(B))],
        initials: HashMap::from([(
            B,
            [
                vec![running(B, 200, "/bin/first", None)],
                // By then its parent is gone, and /proc shows another one.
                vec![running(B, 200, "/bin/first", None), running(B, 202, "/bin/grandchild", Some(200))],
            ]
            .into(),
        )]),
        later: [(
            soon,
            vec![
                event(B, 200, Body::Fork { child: Pid(201) }),
                exec(B, 201, "/bin/child"),
                open(B, 201, b"/not-in-a-window"),
                event(B, 201, Body::Fork { child: Pid(202) }),
                exec(B, 202, "/bin/grandchild"),
                event(B, 201, Body::Exit),
            ],
        )]
        .into(),
        ..Fake::default()
    };
    let (_, found) = run_for(500, slots(2, 150), Options::default(), &mut source).await;
    let late = &found[&B][0];
    let (exes, paths) = (column(late, "exe"), column(late, "path"));
    assert_eq!(exes, ["/bin/first", "/bin/child", "/bin/grandchild"]);
    assert!(paths.is_empty(), "{paths:?}");
    assert!((0..3).all(|row| late.rows["lineage_complete"].as_boolean().value(row)));
    let parents = late.rows["parent_id"].as_fixed_size_binary();
    let ids = late.rows["node_id"].as_fixed_size_binary();
    assert_eq!((parents.value(1), parents.value(2)), (ids.value(0), ids.value(1)));
    assert_eq!(column(late, "origin"), ["initial"; 3]);
    assert_eq!(late.meta.completeness["process"], Completeness::JoinedLate);
    assert!(!late.meta.covers_start);
}

#[tokio::test]
async fn an_empty_cgroup_is_no_container_until_something_starts_in_it() {
    let soon = Instant::now() + Duration::from_millis(300);
    let mut source = Fake {
        existing: vec![(A, path(A)), (B, path(B))],
        // Left behind by a container of before, and used again.
        empty: HashMap::from([(A, Instant::now()), (B, Instant::now())]),
        later: [(soon, vec![later(exec(B, 100, "/bin/again"))])].into(),
        ..Fake::default()
    };
    let (summary, found) = run_for(600, slots(2, 150), Options::default(), &mut source).await;
    assert!(!found.contains_key(&A));
    assert_eq!(
        (column(&found[&B][0], "exe"), found[&B][0].meta.covers_start),
        (vec!["/bin/again".into()], true)
    );
    assert_eq!(summary.slots.starts, 1);
}

#[tokio::test]
async fn a_container_that_ends_and_leaves_its_cgroup_behind_is_over() {
    let ends = Instant::now() + Duration::from_millis(500);
    let gone = vec![event(A, 1, Body::Exit)];
    let mut source = Fake {
        existing: vec![(A, path(A))],
        empty: HashMap::from([(A, ends)]),
        later: [(ends, gone)].into(),
        ..Fake::default()
    };
    let (summary, found) = run_for(3500, slots(2, 60_000), Options::default(), &mut source).await;
    assert_eq!(found[&A].len(), 1);
    assert_eq!(column(&found[&A][0], "exe"), ["/bin/init"]);
    assert_eq!((summary.snapshots, source.tracked.len()), (1, 0));
}

#[tokio::test]
async fn a_container_whose_processes_left_its_cgroup_is_recorded_on() {
    let later = Instant::now() + Duration::from_millis(2800);
    let mut source = Fake {
        existing: vec![(A, path(A))],
        empty: HashMap::from([(A, Instant::now() + Duration::from_millis(100))]),
        elsewhere: vec![Pid(1)],
        later: [(later, vec![open(A, 1, b"/from-elsewhere")])].into(),
        ..Fake::default()
    };
    let (summary, found) = run_for(3200, slots(2, 60_000), Options::default(), &mut source).await;
    assert_eq!((summary.snapshots, summary.slots.starts), (1, 0));
    assert_eq!(column(&found[&A][0], "path"), ["/from-elsewhere"]);
}

#[tokio::test]
async fn a_start_without_a_slot_is_counted_and_waits_for_its_turn() {
    let start = |cgroup, pid| vec![made(cgroup), exec(cgroup, pid, "/bin/app")];
    let mut source = Fake {
        existing: vec![(A, path(A))],
        initials: HashMap::from([(D, [vec![running(D, 400, "/bin/app", None)]].into())]),
        batches: [start(C, 300), start(D, 400)].into(),
        later: [(
            Instant::now() + Duration::from_millis(100),
            vec![event(C, 0, Body::ContainerGone), event(A, 0, Body::ContainerGone)],
        )]
        .into(),
        ..Fake::default()
    };
    let (summary, found) = run_for(300, slots(2, 60_000), Options::default(), &mut source).await;
    let counts = (summary.slots.starts, summary.slots.missed_starts, summary.slots.ended_for_starts);
    assert_eq!(counts, (1, 1, 0));
    let covers: Vec<bool> = [A, C, D].iter().map(|cgroup| found[cgroup][0].meta.covers_start).collect();
    assert_eq!(covers, [false, true, false]);
    // It was seen to start all the same: its lineage is known, and when that was.
    assert_eq!(column(&found[&D][0], "exe"), ["/bin/app"]);
    assert!(found[&D][0].meta.container.started.is_some());
}

#[tokio::test]
async fn a_start_ends_a_window_early_and_nothing_of_it_is_lost() {
    let at = Instant::now() + Duration::from_millis(500);
    let mut source = Fake {
        existing: vec![(A, path(A))],
        batches: [vec![open(A, 100, b"/before")], vec![made(C), later(exec(C, 300, "/bin/c"))]].into(),
        // The newcomer comes in a batch with what follows it.
        later: [(at, vec![made(D), open(A, 100, b"/after"), later(exec(D, 400, "/bin/d"))])].into(),
        ..Fake::default()
    };
    let (summary, found) = run_for(650, slots(2, 800), Options::default(), &mut source).await;
    let counts = (summary.slots.starts, summary.slots.missed_starts, summary.slots.ended_for_starts);
    assert_eq!((counts, summary.lost), ((2, 0, 1), 0));
    assert_eq!(column(&found[&A][0], "path"), ["/after", "/before"]);
    assert_eq!((found[&A].len(), found[&C].len(), found[&D].len()), (1, 1, 1));
    assert!(found[&D][0].meta.covers_start && found[&A][0].meta.window_end < found[&C][0].meta.window_end);
}

#[tokio::test]
async fn a_full_window_is_followed_by_another_one() {
    let paths: Vec<String> = (0..50).map(|n| format!("/file-{n:02}")).collect();
    let mut source = Fake {
        existing: vec![(A, path(A))],
        batches: [paths.iter().map(|path| open(A, 100, path.as_bytes())).collect()].into(),
        ..Fake::default()
    };
    let options = Options { max_nodes: 24, spare_nodes: 4, ..Options::default() };
    let (summary, found) = run_for(200, slots(2, 60_000), options, &mut source).await;
    assert_eq!((summary.lost, summary.snapshots), (0, 3));
    let limits: Vec<&[String]> = found[&A].iter().map(|snapshot| &*snapshot.meta.limits_hit).collect();
    assert_eq!(limits, [&["nodes".to_owned()][..], &["nodes".to_owned()], &[]]);
    let mut seen: Vec<String> = found[&A].iter().flat_map(|snapshot| column(snapshot, "path")).collect();
    seen.sort();
    assert_eq!(seen, paths);

    let mut source = Fake {
        existing: vec![(A, path(A))],
        batches: [paths.iter().map(|path| open(A, 100, path.as_bytes())).collect()].into(),
        ..Fake::default()
    };
    let options = Options { max_bytes: 200, ..Options::default() };
    let (summary, found) = run_for(200, slots(2, 60_000), options, &mut source).await;
    assert!(summary.snapshots > 1 && found[&A][0].meta.limits_hit == ["bytes"]);
    assert_eq!(found[&A].iter().map(|snapshot| column(snapshot, "path").len()).sum::<usize>(), 50);
}

#[tokio::test]
async fn what_is_done_while_a_window_turns_is_in_the_one_that_it_was_done_in() {
    let told = |path: &[u8]| vec![Event { key: Key(path.len() as u64), ..open(A, 100, path) }];
    let mut source = Fake {
        existing: vec![(A, path(A))],
        initial: vec![running(A, 100, "/bin/app", None)],
        meanwhile: RefCell::new([told(b"/first"), told(b"/second")].into()),
        ..Fake::default()
    };
    // Two windows turn, and the third is closed at the end.
    let (_, found) = run_for(250, slots(2, 100), Options::default(), &mut source).await;
    let paths: Vec<Vec<String>> = found[&A].iter().map(|window| column(window, "path")).collect();
    assert_eq!(paths, [vec!["/first"], vec!["/second"], vec![]]);
}

#[tokio::test]
async fn a_start_may_take_the_slot_whose_window_is_just_turning() {
    let start = |cgroup, pid| vec![made(cgroup), exec(cgroup, pid, "/bin/app")];
    let mut source = Fake {
        existing: vec![(A, path(A))],
        initial: vec![running(A, 100, "/bin/app", None)],
        // B has the other slot until after A's window.
        later: [(Instant::now() + Duration::from_millis(50), start(B, 200))].into(),
        meanwhile: RefCell::new([start(C, 300)].into()),
        ..Fake::default()
    };
    let (summary, found) = run_for(130, slots(2, 100), Options::default(), &mut source).await;
    assert_eq!(summary.slots.ended_for_starts, 1);
    let windows = |cgroup| found[&cgroup].iter().map(|window| window.meta.covers_start).collect::<Vec<_>>();
    assert_eq!(windows(A), [false]);
    assert!(windows(B)[0] && windows(C)[0]);
}

#[tokio::test]
async fn what_starts_while_the_daemon_ends_is_not_counted_as_recorded() {
    let mut source = Fake {
        existing: vec![(A, path(A))],
        initial: vec![running(A, 100, "/bin/app", None)],
        meanwhile: RefCell::new([vec![made(C), exec(C, 300, "/bin/app")]].into()),
        ..Fake::default()
    };
    let (summary, found) = run_for(50, slots(2, 60_000), Options::default(), &mut source).await;
    assert_eq!(found.keys().collect::<Vec<_>>(), [&A]);
    let SlotCounts { recording, waiting, starts, missed_starts, .. } = summary.slots;
    assert_eq!((recording, waiting, starts, missed_starts), (0, 0, 0, 0));
}

#[tokio::test]
async fn a_pause_container_has_no_slot_until_it_does_something_else() {
    let at = Instant::now() + Duration::from_millis(200);
    let run = async |later: Vec<Event>| {
        let mut source = Fake {
            existing: vec![(A, path(A))],
            initials: HashMap::from([(
                A,
                [
                    vec![running(A, 100, "/pause", None)],
                    vec![running(A, 100, "/pause", None)],
                    vec![running(A, 100, "/pause", None), running(A, 101, "/bin/sh", None)],
                ]
                .into(),
            )]),
            later: [(at, later)].into(),
            ..Fake::default()
        };
        run_for(400, slots(2, 60_000), Options::default(), &mut source).await.1
    };
    assert!(run(vec![]).await.is_empty());
    let found = run(vec![exec(A, 101, "/bin/sh")]).await;
    let mut exes = column(&found[&A][0], "exe");
    exes.sort();
    assert_eq!(exes, ["/bin/sh", "/pause"]);
}
