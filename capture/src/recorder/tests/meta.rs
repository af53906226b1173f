use wsp_schemas::snapshot::{Completeness, Phase};

use super::*;

fn completeness(tree: &Snapshot) -> Vec<(&str, &'static str)> {
    tree.meta.completeness.iter().map(|(kind, of)| (kind.as_str(), of.as_str())).collect()
}

#[test]
fn loss_is_told_by_kind() {
    let tree = script()
        .exec(100, "/bin/a", "a")
        .lost(LostKind::Open, 3)
        .lost(LostKind::Open, 2)
        .lost(LostKind::Exit, 1)
        .born();
    assert_eq!(
        completeness(&tree),
        [
            ("connect", "complete"),
            ("dns", "complete"),
            ("file", "lossy"),
            ("listen", "complete"),
            ("process", "complete")
        ]
    );
    let lost: Vec<_> =
        tree.meta.lost.iter().map(|loss| (loss.kind.as_str(), loss.cause.as_str(), loss.events)).collect();
    assert_eq!(lost, [("exit", "ring_full", 1), ("open", "ring_full", 5)]);
    let tree = script().exec(100, "/bin/a", "a").lost(LostKind::Fork, 1).born();
    assert_eq!(tree.meta.completeness["process"], Completeness::Lossy);
}

#[test]
fn joined_late_is_told() {
    let tree = script().initial(100, None, "/bin/a", "a").exec(120, "/bin/sh", "sh").joined();
    assert!(!tree.meta.covers_start);
    assert!(completeness(&tree).iter().all(|(_, of)| *of == "joined_late"));
}

#[test]
fn phases_count_from_the_first_exec() {
    let tree = script()
        .wait(10_000)
        .exec(100, "/bin/a", "a")
        .wait(179_000)
        .open(100, "/early", 0)
        .wait(2_000)
        .open(100, "/late", 0)
        .born();
    let phases: Vec<Phase> = tree.nodes.iter().map(|node| node.phase).collect();
    assert_eq!(phases, [Phase::Startup, Phase::Startup, Phase::Steady]);
    assert_eq!(tree.meta.container.started, Some(CLOCK.wall(at(11_000))));
}

#[test]
fn without_a_start_everything_is_steady() {
    let tree = script().initial(100, None, "/bin/a", "a").joined();
    assert_eq!(tree.nodes[0].phase, Phase::Steady);
}

#[test]
fn the_runtimes_start_counts_where_none_was_seen() {
    let mut recorder = Recorder::new(Options::default(), Met::Running, None, at(200_000));
    let mut script = script();
    script.ms = 200_000;
    for event in script.initial(100, None, "/bin/a", "a").events {
        recorder.record(&event);
    }
    let mut setting = setting();
    setting.container.started = Some(CLOCK.wall(at(30_000)));
    let (meta, nodes) = recorder.turn(at(201_000)).into_snapshot(&setting);
    assert_eq!((nodes[0].phase, meta.container.started), (Phase::Startup, Some(CLOCK.wall(at(30_000)))));
}

#[test]
fn a_start_by_a_clock_that_was_set_since_does_not_count() {
    let phase = |told: BootTime| {
        let mut recorder = Recorder::new(Options::default(), Met::Running, None, at(1_000_000));
        let mut init = exec(1, "/bin/a", "a");
        init.started = Some(at(100_000));
        let initial = Body::InitialProcess { parent: None, parent_is_guess: false, exec: init };
        let event = Event { at: at(1_000_001), cgroup: CGROUP, pid: Pid(100), key: Key::NONE, body: initial };
        recorder.record(&event);
        let mut setting = setting();
        setting.container.started = Some(CLOCK.wall(told));
        let (_, nodes) = recorder.turn(at(1_010_000)).into_snapshot(&setting);
        nodes[0].phase
    };
    // It was made long before it was started, which only the runtime knows.
    assert_eq!(phase(at(900_000)), Phase::Startup);
    assert_eq!(phase(at(100_000)), Phase::Steady);
    // The clock was set back: it cannot have started after it was seen to run.
    assert_eq!(phase(at(1_005_000)), Phase::Steady);
}

#[test]
fn nodes_are_bounded_and_what_is_more_is_lost() {
    let options = Options { max_nodes: 4, ..Options::default() };
    let mut recorder = Recorder::new(options, Met::Unstarted, None, at(1000));
    let mut script = script().exec(100, "/bin/a", "a").run(100, 101, "/bin/b", "b");
    for n in 0..5 {
        script = script.open(101, &format!("/f{n}"), 0).open(101, "/f0", 0);
    }
    let tree = script.run(101, 102, "/bin/c", "c").connect(102, "192.0.2.1", 1).into_recorder(&mut recorder);
    assert_eq!(tree.tree(), "[init] /bin/a\n  /bin/b\n    file /f0 read x6\n    file /f1 read\n");
    assert_eq!(tree.meta.limits_hit, ["nodes"]);
    let lost: Vec<_> =
        tree.meta.lost.iter().map(|loss| (loss.kind.as_str(), loss.cause.as_str(), loss.events)).collect();
    assert_eq!(lost, [("exec", "limit", 1), ("open", "limit", 3), ("connect", "limit", 1)]);
    assert_eq!(tree.meta.completeness["file"], Completeness::Lossy);
}

#[test]
fn a_window_is_never_empty_and_offsets_lie_in_it() {
    let mut recorder = Recorder::new(Options::default(), Met::Unstarted, None, at(1000));
    for event in script().exec(100, "/bin/a", "a").wait(60_000).open(100, "/x", 0).events {
        recorder.record(&event);
    }
    let tree = snapshot(recorder.turn(at(1000)));
    assert_eq!((tree.meta.window_end - tree.meta.window_start).num_milliseconds(), 1);
    assert!(tree.nodes.iter().all(|node| node.last_seen_ms <= 1));
}
