//! Runs after runs, beside runs, and after runs that stopped.

use chrono::TimeDelta;
use wsp_schemas::store::Store;

use super::super::fixture::{
    Shot, app, copied, detect, detect_with, epoch, late, learned, program, put, restore, rows, rule_set,
    saved, shot, store,
};
use super::super::{Options, Report};
use super::novel;
use crate::jobs::{Silent, merge};
use crate::rules::Rules;

const DETECTIONS: &str = "tables/detections";

fn rules() -> Rules {
    rule_set(&[("config", "path = '/etc/app.conf'"), ("whole", "kind = 'container'")])
}

/// Signals that are there more than once.
async fn twins(store: &Store) -> Vec<String> {
    rows(store, "select rule, container_name, count(*) from signals group by signal_id, rule, container_name having count(*) > 1 order by 1, 2").await
}

async fn ids(store: &Store) -> Vec<String> {
    rows(store, "select signal_id from signals order by 1").await
}

#[tokio::test]
async fn a_second_run_raises_nothing() {
    let store = learned(&vec![vec![app()]; 6]).await;
    late(10, &[app().reads(&["/etc/x"])]).put(&store).await;
    assert_eq!(detect(&store, &rules()).await.raised(), 15);
    let before = saved(&store, "tables").await;
    let report = detect(&store, &rules()).await;
    assert_eq!((report.known, report.judged, report.raised()), (7, 0, 0));
    assert_eq!(saved(&store, "tables").await, before);
    // Other rules are for what comes from now on.
    assert_eq!(detect(&store, &rule_set(&[("other", "true")])).await.raised(), 0);
}

#[tokio::test]
async fn looking_at_everything_again_raises_nothing() {
    let store = learned(&vec![vec![app()]; 6]).await;
    late(10, &[app().reads(&["/etc/x"])]).put(&store).await;
    detect(&store, &rules()).await;
    let rescan = Options { rescan: true, ..Options::default() };
    let report = detect_with(&store, &rules(), &rescan).await;
    assert_eq!((report.listed, report.known, report.judged, report.raised()), (7, 7, 0, 0));
}

#[tokio::test]
async fn uploads_before_the_look_back_are_found_by_a_rescan() {
    let store = learned(&vec![vec![app()]; 6]).await;
    late(90, &[app()]).put(&store).await;
    // Merges see how far uploads have come.
    merge::run(&store, &merge::Options { max_snapshots: 6, ..merge::Options::default() }, &Silent)
        .await
        .unwrap();
    detect(&store, &Rules::default()).await;
    late(10, &[app().reads(&["/etc/x"])]).put(&store).await;
    assert_eq!(detect(&store, &Rules::default()).await.judged, 0);
    let rescan = Options { rescan: true, ..Options::default() };
    let report = detect_with(&store, &Rules::default(), &rescan).await;
    assert_eq!((report.judged, report.raised()), (1, 1));
}

#[tokio::test]
async fn what_a_container_goes_on_doing_is_new_once() {
    let store = learned(&vec![vec![app()]; 6]).await;
    let window = |container, start| shot("app:1", container, start, &[app().reads(&["/etc/x"])]);
    window(10, 600).put(&store).await;
    window(10, 630).put(&store).await;
    assert_eq!(detect(&store, &Rules::default()).await.raised(), 1);
    window(10, 660).put(&store).await;
    assert_eq!(detect(&store, &Rules::default()).await.raised(), 0);
    window(11, 660).put(&store).await;
    assert_eq!(detect(&store, &Rules::default()).await.raised(), 1);
    assert_eq!(rows(&store, "select container_name from signals order by 1").await, ["c10", "c11"]);
    // The first window tells.
    let first = (epoch() + TimeDelta::minutes(600)).format("%Y-%m-%dT%H:%M:%SZ").to_string();
    assert_eq!(rows(&store, "select window_start from signals where container_name = 'c10'").await, [first]);
    let another = shot("app:1", 10, 690, &[app().reads(&["/etc/x"]).child(program("/bin/new"))]);
    another.put(&store).await;
    detect(&store, &Rules::default()).await;
    assert_eq!(novel(&store).await.len(), 3);
}

#[tokio::test]
async fn more_files_of_a_folder_are_not_told_again() {
    let store = learned(&vec![vec![app()]; 6]).await;
    for (start, tree) in [
        (600, app().reads(&["/srv/a", "/etc/x"])),
        (630, app().reads(&["/srv/a", "/srv/b", "/etc/y"])),
        (660, app().reads(&["/srv/c"]).connects("192.0.2.1", 22)),
        // It only read there.
        (690, app().writes("/etc/z")),
        (720, app().child(program("/bin/sh").reads(&["/srv/a"]))),
    ] {
        shot("app:1", 10, start, &[tree]).put(&store).await;
        detect(&store, &Rules::default()).await;
    }
    assert_eq!(
        novel(&store).await,
        ["file|/etc/z|1", "file|/srv/a|2", "network|tcp 192.0.2.1 22|1", "program|/bin/sh|2",]
    );
}

#[tokio::test]
async fn what_stands_already_takes_no_other_signals_place() {
    let store = learned(&vec![vec![app()]; 6]).await;
    let few = Options { most_signals: 2, ..Options::default() };
    let tree = |names: &[&str]| names.iter().fold(app(), |app, name| app.child(program(name)));
    shot("app:1", 10, 600, &[tree(&["/bin/a", "/bin/b"])]).put(&store).await;
    let report = detect_with(&store, &Rules::default(), &few).await;
    assert_eq!((report.raised(), report.dropped), (2, 0));
    shot("app:1", 10, 630, &[tree(&["/bin/a", "/bin/b", "/bin/c"])]).put(&store).await;
    let report = detect_with(&store, &Rules::default(), &few).await;
    assert_eq!((report.raised(), report.dropped), (1, 0));
}

#[tokio::test]
async fn a_snapshot_that_was_uploaded_twice_raises_its_signals_once() {
    let store = learned(&vec![vec![app()]; 6]).await;
    let first = late(10, &[app().reads(&["/etc/x"])]);
    let mut key = first.key();
    first.put(&store).await;
    key.uploaded += TimeDelta::hours(1);
    put(&store, &key.path(), first.bytes()).await;
    detect(&store, &rules()).await;
    assert_eq!(twins(&store).await, Vec::<String>::new());
    let before = ids(&store).await;
    // A later run finds a third one.
    key.uploaded += TimeDelta::hours(1);
    put(&store, &key.path(), first.bytes()).await;
    detect(&store, &rules()).await;
    assert_eq!(twins(&store).await, Vec::<String>::new());
    assert_eq!(ids(&store).await, before);
}

/// Takes back what a run wrote into `detections`, as if it had stopped right after it wrote its signals.
async fn stopped(store: &Store, rules: &Rules) {
    let before = saved(store, DETECTIONS).await;
    assert!(detect(store, rules).await.raised() > 0);
    restore(store, DETECTIONS, &before).await;
}

#[tokio::test]
async fn a_run_that_stopped_between_its_commits_is_finished_without_twins() {
    let store = learned(&vec![vec![app()]; 6]).await;
    late(10, &[app().reads(&["/etc/x"])]).put(&store).await;
    let undisturbed = copied(&store).await;
    // The first run of all, and a later one.
    stopped(&store, &rules()).await;
    for at in [20, 30] {
        let report = detect(&store, &rules()).await;
        assert!(report.judged > 0);
        assert_eq!(report.raised(), 0, "all of them stand");
        assert_eq!(twins(&store).await, Vec::<String>::new());
        late(at, &[app().reads(&["/etc/y"])]).put(&store).await;
        late(at, &[app().reads(&["/etc/y"])]).put(&undisturbed).await;
        stopped(&store, &rules()).await;
    }
    late(31, &[app().reads(&["/etc/y"])]).put(&store).await;
    late(31, &[app().reads(&["/etc/y"])]).put(&undisturbed).await;
    let report = detect(&store, &rules()).await;
    assert_eq!((report.judged, report.raised()), (2, 3));
    detect(&undisturbed, &rules()).await;
    assert_eq!(ids(&store).await, ids(&undisturbed).await);
    let counts = "select count(*) from raw.detections";
    assert_eq!(rows(&store, counts).await, rows(&undisturbed, counts).await);
}

#[tokio::test]
async fn a_stopped_run_is_finished_by_one_that_cuts_its_batches_otherwise() {
    let store = store();
    let images = ["app:1", "app:2", "app:3", "web:1"];
    for (container, image) in (1..).zip(images) {
        shot(image, container, 0, &[app()]).put(&store).await;
    }
    // All of one bucket.
    let options =
        merge::Options { buckets: 1, max_snapshots: 1, as_of: epoch(), ..merge::Options::default() };
    merge::run(&store, &options, &Silent).await.unwrap();
    stopped(&store, &rules()).await;
    let small = Options { files_per_batch: 1, ..Options::default() };
    let report = detect_with(&store, &rules(), &small).await;
    assert_eq!((report.judged, report.raised()), (4, 0));
    assert_eq!(twins(&store).await, Vec::<String>::new());
}

async fn at_once(store: &Store, runs: usize) -> Vec<Report> {
    let tasks: Vec<_> = (0..runs)
        .map(|_| {
            let store = store.clone();
            tokio::spawn(async move { detect(&store, &rules()).await })
        })
        .collect();
    let mut reports = Vec::new();
    for task in tasks {
        reports.push(task.await.unwrap());
    }
    reports
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn runs_at_the_same_time_raise_each_signal_once() {
    let learned = learned(&vec![vec![app()]; 6]).await;
    let undisturbed = copied(&learned).await;
    for round in 0..4_u32 {
        for container in 10..14 {
            let shot = Shot {
                start: 600 + 30 * i64::from(round),
                ..late(container + 10 * round, &[app().reads(&["/etc/x"])])
            };
            shot.put(&learned).await;
            shot.put(&undisturbed).await;
        }
        let reports = at_once(&learned, 3).await;
        assert!(reports.iter().all(Report::is_clean));
        detect(&undisturbed, &rules()).await;
        assert_eq!(twins(&learned).await, Vec::<String>::new());
        assert_eq!(ids(&learned).await, ids(&undisturbed).await);
        let judged = "select count(*), count(distinct object_key) from raw.detections";
        assert_eq!(rows(&learned, judged).await, rows(&undisturbed, judged).await);
    }
}
