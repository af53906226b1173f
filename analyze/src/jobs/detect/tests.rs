use super::Options;
use super::fixture::{
    Shot, app, detect, detect_with, epoch, late, learned, learned_from, merge_at, program, put, rows, rule,
    rule_set, shot, store, used,
};
use crate::rules::{self, Rules};

use wsp_schemas::identity::Kind;
use wsp_schemas::store::Store;

mod again;
mod folds;
mod kinds;
mod splits;

/// What is new, and how many nodes each signal stands for.
const NOVEL: &str = "select novelty, target, nodes from signals where rule = 'novelty' order by 1, 2";

async fn novel(store: &Store) -> Vec<String> {
    rows(store, NOVEL).await
}

/// The novelties of one snapshot against a profile that six containers made.
async fn novel_in(shot: Shot) -> Vec<String> {
    let store = learned(&vec![vec![app()]; 6]).await;
    shot.put(&store).await;
    assert!(detect(&store, &Rules::default()).await.is_clean());
    novel(&store).await
}

#[tokio::test]
async fn what_a_stable_profile_has_raises_nothing() {
    let store = learned(&vec![vec![app()]; 6]).await;
    late(10, &[app()]).put(&store).await;
    let report = detect(&store, &Rules::default()).await;
    assert_eq!((report.judged, report.looked_up, report.raised()), (7, 1, 0));
    assert!(report.is_clean());
    assert_eq!(
        rows(&store, "select is_novel, novel_nodes, count(*) from raw.detections group by 1, 2 order by 1")
            .await,
        ["false|0|6", "true|0|1"]
    );
}

#[tokio::test]
async fn one_new_node_raises_one_novelty() {
    let store = learned(&vec![vec![app()]; 6]).await;
    late(10, &[app().reads(&["/etc/other.conf"])]).put(&store).await;
    let report = detect(&store, &Rules::default()).await;
    assert_eq!(report.raised(), 1);
    let found = rows(
        &store,
        "select rule, severity, novelty, kind, exe, target, lineage, nodes, profile_context, revision, container_name, host, source from signals",
    )
    .await;
    assert_eq!(
        found,
        [
            "novelty|low|known_folder|file|/usr/bin/app|/etc/other.conf|[/usr/bin/app]|1|unseen|1|c10|host-10|wsp"
        ]
    );
    let known = rows(
        &store,
        "select profile_node_id is null, profile_process_id = process_id, process_commonality from signals",
    )
    .await;
    assert_eq!(known, ["true|true|1.0"]);
}

#[tokio::test]
async fn a_new_process_is_one_signal_with_all_that_is_below_it() {
    let paths: Vec<String> = (0..30).map(|at| format!("/opt/tool/{at}.so")).collect();
    let paths: Vec<&str> = paths.iter().map(String::as_str).collect();
    let tool = program("/opt/tool/run").reads(&paths).child(program("/usr/bin/id"));
    assert_eq!(novel_in(late(10, &[app().child(tool)])).await, ["program|/opt/tool/run|32"]);
}

#[tokio::test]
async fn what_known_processes_newly_do_is_one_signal_a_process() {
    let helper = || program("/usr/bin/helper");
    let tree = || app().child(helper());
    let store = learned(&vec![vec![tree()]; 6]).await;
    let novel_helper = helper().reads(&["/srv/a", "/srv/b"]).connects("192.0.2.1", 4444);
    late(10, &[app().child(novel_helper).reads(&["/etc/a", "/etc/b"])]).put(&store).await;
    assert_eq!(detect(&store, &Rules::default()).await.raised(), 2);
    // The worst of what is new names it.
    assert_eq!(novel(&store).await, ["known_folder|/etc/a|2", "network|tcp 192.0.2.1 4444|3"]);
}

#[tokio::test]
async fn novelties_are_ranked_by_what_they_are() {
    let base = || app().child(program("/bin/sh"));
    for (expected, severity, tree) in [
        ("foreign_program|/tmp/x|1", "high", base().child(program("/tmp/x").from("upper"))),
        // A program that containers ran, but not this file.
        (
            "foreign_program|/bin/sh|1",
            "high",
            base().child(program("/usr/bin/app").child(program("/bin/sh").from("volume"))),
        ),
        ("program|/usr/bin/new|1", "high", base().child(program("/usr/bin/new"))),
        (
            "lineage|/usr/bin/app|1",
            "medium",
            program("/usr/bin/app").child(program("/bin/sh").child(program("/usr/bin/app"))),
        ),
        ("network|example.com A|1", "medium", base().asks(&["example.com"])),
        ("network|tcp 0.0.0.0 8080|1", "medium", base().listens(8080)),
        ("network|tcp 10.0.0.1 444|1", "medium", base().connects("10.0.0.1", 444)),
        ("privilege|SYS_ADMIN|1", "medium", base().uses("SYS_ADMIN")),
        ("file|/srv/x|1", "low", base().reads(&["/srv/x"])),
        ("file|/etc/x|1", "low", base().writes("/etc/x")),
        ("known_folder|/etc/x|1", "low", base().reads(&["/etc/x"])),
    ] {
        let store = learned(&vec![vec![base()]; 6]).await;
        late(10, &[tree]).put(&store).await;
        detect(&store, &Rules::default()).await;
        let found =
            rows(&store, "select novelty, target, nodes, severity from signals order by novelty").await;
        let wanted = format!("{expected}|{severity}");
        // A program below a new place is in its signal.
        if expected.starts_with("foreign_program|/bin/sh") {
            assert_eq!(found, ["foreign_program|/usr/bin/app|2|high"]);
        } else {
            assert_eq!(found, [wanted]);
        }
    }
}

#[tokio::test]
async fn what_a_profile_learned_from_is_not_new() {
    let mut trees = vec![vec![app()]; 6];
    trees[3] = vec![app().child(program("/usr/bin/rare"))];
    let store = learned(&trees).await;
    let report = detect(&store, &rule_set(&[("rare", "exe = '/usr/bin/rare'")])).await;
    assert_eq!((report.judged, report.looked_up), (6, 0));
    let found = rows(&store, "select rule, profile_context, round(commonality, 2), match from signals").await;
    assert_eq!(found, ["rare|known|0.17|id"]);
}

#[tokio::test]
async fn while_a_profile_learns_only_rules_raise() {
    let store = store();
    shot("app:1", 1, 0, &[app()]).put(&store).await;
    merge_at(&store, 100).await;
    let report = detect(&store, &rule_set(&[("config", "path = '/etc/app.conf'")])).await;
    assert_eq!((report.judged, report.looked_up, report.raised()), (1, 0, 1));
    let found =
        "select rule, profile_context, revision, commonality, profile_node_id is null, match from signals";
    assert_eq!(rows(&store, found).await, ["config|learning|1|null|true|null"]);
}

#[tokio::test]
async fn without_a_profile_only_rules_raise() {
    let store = store();
    shot("app:1", 1, 0, &[app()]).put(&store).await;
    let mut unkeyed = shot("", 2, 0, &[app()]);
    unkeyed.digest = "";
    unkeyed.put(&store).await;
    merge_at(&store, 1).await;
    detect(&store, &rule_set(&[("config", "path = '/etc/app.conf'")])).await;
    let found = "select profile_context, revision, image_name from signals order by 1";
    assert_eq!(rows(&store, found).await, ["known|1|docker.io/library/app", "no_profile|null|null"]);
}

#[tokio::test]
async fn a_snapshot_waits_until_a_merge_decided_on_it() {
    let store = store();
    let rules = rule_set(&[("config", "path = '/etc/app.conf'")]);
    shot("app:1", 1, 0, &[app()]).put(&store).await;
    merge_at(&store, 100).await;
    shot("app:1", 2, 0, &[app()]).put(&store).await;
    shot("new:1", 3, 0, &[app()]).put(&store).await;
    let report = detect(&store, &rules).await;
    assert_eq!((report.judged, report.waiting, report.raised()), (1, 2, 1));
    assert!(report.is_clean());
    merge_at(&store, 100).await;
    let report = detect(&store, &rules).await;
    assert_eq!((report.judged, report.waiting, report.known, report.raised()), (2, 0, 1, 2));
}

#[tokio::test]
async fn what_waits_long_is_still_judged() {
    let store = store();
    let rules = rule_set(&[("config", "path = '/etc/app.conf'")]);
    shot("app:1", 1, 0, &[app()]).put(&store).await;
    merge_at(&store, 100).await;
    detect(&store, &rules).await;
    shot("new:1", 2, 60, &[app()]).put(&store).await;
    // Much later ones are seen by a merge of their own hours only.
    late(100, &[app()]).put(&store).await;
    let short = Options { look_back: std::time::Duration::from_secs(3600), ..Options::default() };
    let report = detect_with(&store, &rules, &short).await;
    assert_eq!(report.waiting, 2);
    merge_at(&store, 100).await;
    let report = detect_with(&store, &rules, &short).await;
    assert_eq!((report.waiting, report.judged), (0, 2));
}

#[tokio::test]
async fn a_kind_that_the_profile_never_saw_is_not_new() {
    let shots: Vec<Shot> = (1..7)
        .map(|at| Shot { blind: vec![Kind::Dns], ..shot("app:1", at, i64::from(at), &[app()]) })
        .collect();
    let store = learned_from(&shots).await;
    late(10, &[app().asks(&["example.com"]).reads(&["/etc/x"])]).put(&store).await;
    late(11, &[program("/bin/new").asks(&["example.com"])]).put(&store).await;
    detect(&store, &Rules::default()).await;
    assert_eq!(novel(&store).await, ["known_folder|/etc/x|1", "program|/bin/new|1"]);
}

#[tokio::test]
async fn a_new_digest_under_a_known_tag_is_a_signal_of_its_own() {
    let mut rules = rules::shipped(&super::fixture::context()).unwrap();
    let others: Vec<String> =
        rules.iter().map(|rule| rule.id.clone()).filter(|id| id != "image_digest_is_new").collect();
    others.iter().for_each(|id| drop(rules.remove(id)));
    let store = learned(&vec![vec![app()]; 6]).await;
    late(10, &[app()]).put(&store).await;
    assert_eq!(detect(&store, &rules).await.raised(), 0);
    Shot { digest: "sha256:11", ..late(11, &[app()]) }.put(&store).await;
    Shot { digest: "", ..late(12, &[app()]) }.put(&store).await;
    Shot { image: "new:1", digest: "sha256:11", ..late(13, &[app()]) }.put(&store).await;
    merge_at(&store, 6).await;
    let report = detect(&store, &rules).await;
    assert_eq!((report.judged, report.raised()), (3, 1));
    let found = "select rule, image_digest, container_name, node_id is null, kind, exe from signals";
    assert_eq!(rows(&store, found).await, ["image_digest_is_new|sha256:11|c11|true|null|null"]);
}

#[tokio::test]
async fn of_too_many_signals_the_least_severe_are_dropped_and_counted() {
    let store = learned(&vec![vec![app()]; 6]).await;
    let mut rules = Rules::default();
    for (id, severity) in [("low", "low"), ("medium", "medium"), ("high", "high"), ("critical", "critical")] {
        rules.insert(rule(id, severity, "kind = 'file' AND starts_with(path, '/srv/')"));
    }
    // Two files for four rules, and one novelty of both.
    late(10, &[app().reads(&["/srv/a", "/srv/b"])]).put(&store).await;
    let few = Options { most_signals: 5, ..Options::default() };
    let report = detect_with(&store, &rules, &few).await;
    assert_eq!((report.raised(), report.dropped), (5, 4));
    assert!(!report.is_clean());
    let found = rows(&store, "select severity, count(*) from signals group by 1 order by 1").await;
    assert_eq!(found, ["critical|2", "high|2", "medium|1"]);
    let counted = "select signals, signals_dropped from raw.detections where is_novel";
    assert_eq!(rows(&store, counted).await, ["5|4"]);
}

#[tokio::test]
async fn damaged_objects_cost_themselves_only() {
    let store = learned(&vec![vec![app()]; 6]).await;
    let whole = late(10, &[app().reads(&["/etc/x"])]);
    let other = late(11, &[app()]);
    let stranger = Shot { image: "other:1", ..late(12, &[app()]) };
    whole.put(&store).await;
    let mut cut = other.bytes();
    cut.truncate(cut.len() / 2);
    let keys = [late(13, &[]).key().path(), late(14, &[]).key().path(), late(15, &[]).key().path()];
    put(&store, &keys[0], cut).await;
    put(&store, &keys[1], other.bytes()).await;
    put(&store, &keys[2], stranger.bytes()).await;
    let report = detect(&store, &Rules::default()).await;
    assert_eq!((report.judged, report.raised(), report.damaged.len()), (7, 1, 3));
    assert!(!report.is_clean());
    let mut objects: Vec<&str> = report.damaged.iter().map(|problem| problem.object.as_str()).collect();
    objects.sort_unstable();
    assert_eq!(objects, keys.iter().map(String::as_str).collect::<Vec<_>>());
    let found = "select object_key, reason from raw.detections where outcome = 'damaged' order by object_key";
    let found = rows(&store, found).await;
    assert_eq!(found.len(), 3);
    assert!(!found[0].ends_with("|null"), "{found:?}");
    assert!(found[1].contains("its key names the snapshot"), "{found:?}");
    assert!(found[2].contains("its key names the workload"), "{found:?}");
    let report = detect(&store, &Rules::default()).await;
    assert_eq!((report.judged, report.damaged.len(), report.known), (0, 0, 10));
}

#[tokio::test]
async fn an_object_that_is_too_large_is_damaged() {
    let store = learned(&vec![vec![app()]; 6]).await;
    late(10, &[app()]).put(&store).await;
    let mut options = Options::default();
    options.limits.file_bytes = 100;
    let report = detect_with(&store, &Rules::default(), &options).await;
    assert_eq!((report.judged, report.damaged.len()), (0, 7));
}

async fn found_in(shots: &[Shot], predicate: &str) -> Vec<String> {
    let store = learned(&vec![vec![app()]; 6]).await;
    for shot in shots {
        shot.put(&store).await;
    }
    detect(&store, &rule_set(&[("r", predicate)])).await;
    rows(&store, "select container_name from signals where rule = 'r' order by 1").await
}

#[tokio::test]
async fn counts_are_those_of_each_snapshot() {
    let two = late(10, &[app().asks(&["a.example.com", "b.example.com"])]);
    let four = late(11, &[app().asks(&["a.example.com", "b.example.com", "c.example.com", "d.example.com"])]);
    for shots in [[two.clone(), four.clone()], [four, two]] {
        assert_eq!(found_in(&shots, "kind = 'process' AND dns_names > 3").await, ["c11"]);
        // Counts beside what the snapshot says.
        assert_eq!(
            found_in(&shots, "kind = 'process' AND dns_names > 1 AND host = 'host-11'").await,
            ["c11"]
        );
    }
}

#[tokio::test]
async fn labels_are_those_of_each_snapshot() {
    let labelled = |container, namespace: &str| {
        let mut shot = late(container, &[app()]);
        shot.labels.insert("namespace".to_owned(), namespace.to_owned());
        shot
    };
    let shots = [labelled(10, "test"), labelled(11, "prod"), late(12, &[app()])];
    assert_eq!(found_in(&shots, "kind = 'process' AND labels['namespace'] = 'prod'").await, ["c11"]);
    assert_eq!(found_in(&shots, "kind = 'container' AND labels['namespace'] = 'prod'").await, ["c11"]);
    assert_eq!(found_in(&shots, "host = 'host-12' AND kind = 'process'").await, ["c12"]);
}

#[tokio::test]
async fn what_differs_between_snapshots_of_one_node_is_judged_each_time() {
    let with = |container, args: &str, fact: &str, access| {
        late(container, &[app().args(args).did(used(fact, access))])
    };
    let shots = [
        with(10, "app --serve", "/srv/x", "read"),
        with(11, "app --evil", "/srv/x", "write"),
        with(12, "app --evil", "/srv/x", "read"),
    ];
    assert_eq!(found_in(&shots, "kind = 'process' AND any_like(args, '%--evil%')").await, ["c11", "c12"]);
    assert_eq!(found_in(&shots, "kind = 'file' AND array_has(access, 'write')").await, ["c11"]);
    // What a row says of its process.
    let both =
        "kind = 'file' AND path = '/srv/x' AND array_has(access, 'read') AND any_like(args, '%--evil%')";
    assert_eq!(found_in(&shots, both).await, ["c12"]);
}

#[tokio::test]
async fn a_rule_may_look_at_a_snapshot_as_a_whole() {
    let shots = [late(10, &[app()]), Shot { covers_start: false, ..late(11, &[app()]) }];
    assert_eq!(found_in(&shots, "kind = 'container' AND NOT covers_start").await, ["c11"]);
    // Six were learned from.
    assert_eq!(found_in(&shots, "kind = 'container'").await.len(), 8);
    assert_eq!(found_in(&shots, "exe IS NULL AND target IS NULL").await.len(), 8);
}

#[tokio::test]
async fn a_rule_that_fails_for_some_nodes_matches_the_others_and_is_told() {
    let store = learned(&vec![vec![app()]; 6]).await;
    late(10, &[app().reads(&["/srv/7", "/srv/x", "/srv/2"])]).put(&store).await;
    let rules = rule_set(&[
        ("number", "kind = 'file' AND CAST(substr(path, 6) AS INT) > 3"),
        ("whole", "kind = 'container' AND starts_with(container_name, 'c1')"),
    ]);
    let report = detect(&store, &rules).await;
    assert_eq!(report.failed_rules.keys().collect::<Vec<_>>(), ["number"]);
    assert!(!report.is_clean());
    let found = "select rule, container_name, target from signals where rule <> 'novelty' order by 1, 2";
    assert_eq!(rows(&store, found).await, ["number|c10|/srv/7", "whole|c1|null", "whole|c10|null"]);
}

#[tokio::test]
async fn a_trial_writes_nothing() {
    let store = learned(&vec![vec![app()]; 6]).await;
    late(10, &[app().reads(&["/etc/x"])]).put(&store).await;
    let before = super::fixture::saved(&store, "").await;
    let trial = Options { dry_run: true, ..Options::default() };
    let report = detect_with(&store, &Rules::default(), &trial).await;
    assert_eq!(report.judged, 7);
    assert_eq!(report.raised(), 1);
    assert_eq!(super::fixture::saved(&store, "").await, before);
}

#[tokio::test]
async fn a_signal_tells_when_it_happened() {
    let store = learned(&vec![vec![app()]; 6]).await;
    late(10, &[app().reads(&["/etc/x"])]).put(&store).await;
    detect(&store, &Rules::default()).await;
    let window = epoch() + chrono::TimeDelta::minutes(600);
    let text = |time: chrono::DateTime<chrono::Utc>| time.format("%Y-%m-%dT%H:%M:%SZ").to_string();
    let second = |seconds| text(window + chrono::TimeDelta::seconds(seconds));
    let found = rows(&store, "select time, last_seen, window_start, events from signals").await;
    assert_eq!(found, [format!("{}|{}|{}|1", second(1), second(2), text(window))]);
}
