//! Alerts against profiles that were made as any are.

use wsp_schemas::image::Workload;

use super::*;
use crate::jobs::detect::fixture::{
    Program, app, context, learned, merge_at, program, rows, rule_set, shot, store,
};
use crate::jobs::import::alerts::Source;
use crate::jobs::merge;
use crate::jobs::suppress::{Decision, Options, State, decide, find, load, suggest};
use crate::rules::{Rules, Severity};

const FOUND: &str =
    "select profile_context, match, round(commonality, 2), round(process_commonality, 2) from signals";

/// An alert about a file that a process read.
fn alert(number: u32, exe: &str, ancestors: &[&str], path: &str) -> Alert {
    Alert {
        id: format!("{number:032x}"),
        source: Source::Falco,
        rule: "Read sensitive file".to_owned(),
        severity: Severity::Medium,
        time: crate::jobs::detect::fixture::epoch(),
        image: Some(Workload::parse("app:1").unwrap()),
        image_digest: None,
        container_id: Some(format!("{number:012x}")),
        container_name: Some(format!("c{number}")),
        host: Some(format!("host-{number}")),
        labels: BTreeMap::new(),
        process: Some(AlertProcess {
            exe: Some(exe.into()),
            ancestors: ancestors.iter().map(|exe| (*exe).into()).collect(),
            is_whole: true,
            ..AlertProcess::default()
        }),
        target: Some(Target::File { path: path.into(), access: vec!["read"] }),
        summary: "a file was read".to_owned(),
        attributes: BTreeMap::new(),
    }
}

/// In every container `app` starts a shell that starts `cat`; in some somebody starts it by hand, too.
fn tree() -> Program {
    app().child(program("/bin/sh").child(program("/bin/cat").reads(&["/etc/probe.conf"])))
}

const ABOVE: [&str; 2] = ["/usr/bin/app", "/bin/sh"];

async fn raised(store: &Store, alerts: &[Alert]) -> Raised {
    raise(store, &context(), alerts, Utc::now()).await.unwrap()
}

async fn found(alert: Alert) -> Vec<String> {
    let store = learned(&vec![vec![tree()]; 6]).await;
    assert_eq!(raised(&store, &[alert]).await.written, 1);
    rows(&store, FOUND).await
}

#[tokio::test]
async fn an_alert_is_matched_by_its_lineage() {
    let mut trees = vec![vec![tree()]; 6];
    trees[5] = vec![app()];
    let store = learned(&trees).await;
    raised(&store, &[alert(1, "/bin/cat", &ABOVE, "/etc/probe.conf")]).await;
    assert_eq!(rows(&store, FOUND).await, ["known|lineage|0.83|0.83"]);
    let about =
        "select rule, source, exe, target, kind, lineage, revision, summary, snapshot_id, batch from signals";
    assert_eq!(
        rows(&store, about).await,
        [
            "falco:Read sensitive file|falco|/bin/cat|/etc/probe.conf|file|[/usr/bin/app, /bin/sh, /bin/cat]|1|a file was read|null|null"
        ]
    );
    let node = "select count(*) from signals s join nodes n on s.profile_node_id = n.node_id where n.target = s.target";
    assert_eq!(rows(&store, node).await, ["1"]);
}

#[tokio::test]
async fn names_alone_are_the_last_parts_of_paths() {
    assert_eq!(
        found(alert(1, "/bin/cat", &["app", "sh"], "/etc/probe.conf")).await,
        ["known|lineage|1.0|1.0"]
    );
    assert_eq!(
        found(alert(1, "/bin/cat", &["app", "bash"], "/etc/probe.conf")).await,
        ["unseen|null|null|null"]
    );
}

#[tokio::test]
async fn an_alert_about_a_process_is_matched_to_it() {
    let about = Alert { target: None, ..alert(1, "/bin/cat", &ABOVE, "") };
    assert_eq!(found(about).await, ["known|lineage|1.0|1.0"]);
}

#[tokio::test]
async fn another_lineage_is_another_process() {
    for above in [
        &["/usr/bin/app"][..],
        &["/bin/sh"],
        &["/usr/bin/evil", "/bin/sh"],
        &["/x", "/usr/bin/app", "/bin/sh"],
    ] {
        let found = found(alert(1, "/bin/cat", above, "/etc/probe.conf")).await;
        assert_eq!(found, ["unseen|null|null|null"], "{above:?}");
    }
}

#[tokio::test]
async fn a_lineage_that_is_not_told_to_its_end_is_a_weak_match() {
    for above in [&["/bin/sh"][..], &ABOVE, &[]] {
        let mut alert = alert(1, "/bin/cat", above, "/etc/probe.conf");
        alert.process.as_mut().unwrap().is_whole = false;
        assert_eq!(found(alert).await, ["known|target|1.0|1.0"], "{above:?}");
    }
}

#[tokio::test]
async fn of_several_processes_none_is_certain() {
    // The same executables, one entered from outside.
    let mut trees = vec![vec![program("/bin/sh").reads(&["/etc/x"])]; 6];
    trees.iter_mut().for_each(|roots| roots.push(program("/bin/sh").entered().reads(&["/etc/x"])));
    let store = learned(&trees).await;
    let mut told = alert(2, "/bin/sh", &[], "/etc/x");
    told.process.as_mut().unwrap().root = Some(wsp_schemas::identity::RootKind::ExecSession);
    raised(&store, &[alert(1, "/bin/sh", &[], "/etc/x"), told]).await;
    let found = "select container_name, match from signals order by 1";
    assert_eq!(rows(&store, found).await, ["c1|target", "c2|lineage"]);
}

#[tokio::test]
async fn what_the_process_did_not_do_is_unseen() {
    let store = learned(&vec![vec![tree()]; 6]).await;
    raised(
        &store,
        &[alert(1, "/bin/cat", &ABOVE, "/etc/shadow"), alert(2, "/bin/nc", &ABOVE, "/etc/probe.conf")],
    )
    .await;
    let found = "select container_name, profile_context, match, profile_node_id is null, profile_process_id is null from signals order by 1";
    assert_eq!(rows(&store, found).await, ["c1|unseen|null|true|false", "c2|unseen|null|true|true"]);
}

#[tokio::test]
async fn a_name_is_matched_by_a_pattern() {
    let job = |n: u32| {
        vec![
            program("/usr/bin/app")
                .child(program("/bin/sh").reads(&[&format!("/tmp/job-{}.lock", n * 7919)])),
        ]
    };
    let store = learned(&(1..=60).map(job).collect::<Vec<_>>()).await;
    raised(
        &store,
        &[
            alert(1, "/bin/sh", &["/usr/bin/app"], "/tmp/job-4711000.lock"),
            alert(2, "/bin/sh", &["/usr/bin/app"], "/tmp/job-x.lock"),
            alert(3, "/bin/sh", &["/usr/bin/app"], "/tmp/job-7919.lock"),
        ],
    )
    .await;
    let found =
        "select container_name, profile_context, match, round(commonality, 2) from signals order by 1";
    assert_eq!(
        rows(&store, found).await,
        ["c1|known|lineage|1.0", "c2|unseen|null|null", "c3|known|lineage|1.0"]
    );
    let pattern = "select distinct n.pattern from signals s join nodes n on s.profile_node_id = n.node_id";
    assert_eq!(rows(&store, pattern).await, ["job-[0-9]+\\.lock"]);
}

#[tokio::test]
async fn names_addresses_and_capabilities_are_matched() {
    let store = learned(&vec![
        vec![
            app().asks(&["db.example.com"]).listens(8080).uses("SYS_ADMIN").child(program("/bin/sh"))
        ];
        6
    ])
    .await;
    let of = |number, target| {
        let mut alert = alert(number, "/usr/bin/app", &[], "");
        alert.process.as_mut().unwrap().root = Some(wsp_schemas::identity::RootKind::Init);
        Alert { target: Some(target), ..alert }
    };
    let connect = |port| Target::Connect { protocol: "tcp".to_owned(), address: "10.0.0.1".into(), port };
    let alerts = [
        of(1, Target::Dns { name: "db.example.com".into(), rtype: None }),
        of(2, Target::Dns { name: "db.example.com".into(), rtype: Some("AAAA".to_owned()) }),
        of(3, connect(443)),
        of(4, connect(444)),
        of(5, Target::Listen { protocol: "tcp".to_owned(), address: "0.0.0.0".into(), port: 8080 }),
        of(6, Target::Capability("SYS_ADMIN".to_owned())),
        of(7, Target::Syscall("ptrace".to_owned())),
    ];
    raised(&store, &alerts).await;
    let found = "select container_name, profile_context, match from signals order by 1";
    assert_eq!(
        rows(&store, found).await,
        [
            "c1|known|lineage",
            "c2|unseen|null",
            "c3|known|lineage",
            "c4|unseen|null",
            "c5|known|lineage",
            "c6|known|lineage",
            "c7|unseen|null",
        ]
    );
}

#[tokio::test]
async fn without_a_profile_an_alert_is_kept_as_it_is() {
    let store = store();
    // Nothing was ever merged.
    let first = raised(&store, &[alert(1, "/bin/cat", &ABOVE, "/etc/probe.conf")]).await;
    assert_eq!((first.written, first.contexts["no_profile"]), (1, 1));
    shot("app:1", 1, 0, &[tree()]).put(&store).await;
    merge_at(&store, 100).await;
    let other = Alert {
        image: Some(Workload::parse("other:1").unwrap()),
        ..alert(2, "/bin/cat", &ABOVE, "/etc/probe.conf")
    };
    let none = Alert { image: None, ..alert(3, "/bin/cat", &ABOVE, "/etc/probe.conf") };
    let learning = alert(4, "/bin/cat", &ABOVE, "/etc/probe.conf");
    raised(&store, &[other, none, learning]).await;
    let found =
        "select container_name, profile_context, match, revision, image_name is null from signals order by 1";
    assert_eq!(
        rows(&store, found).await,
        [
            "c1|no_profile|null|null|false",
            "c2|no_profile|null|null|false",
            "c3|no_profile|null|null|true",
            "c4|learning|null|1|false",
        ]
    );
}

#[tokio::test]
async fn an_import_before_the_first_merge_does_not_hide_profiles_from_the_next() {
    let store = store();
    raised(&store, &[alert(1, "/bin/cat", &ABOVE, "/etc/probe.conf")]).await;
    for at in 1..7 {
        shot("app:1", at, i64::from(at), &[tree()]).put(&store).await;
    }
    // The store's tables are made with another number of buckets than those of a first import.
    let options = merge::Options {
        buckets: 3,
        max_snapshots: 6,
        as_of: crate::jobs::detect::fixture::epoch(),
        ..merge::Options::default()
    };
    merge::run(&store, &options, &crate::jobs::Silent).await.unwrap();
    raised(&store, &[alert(2, "/bin/cat", &ABOVE, "/etc/probe.conf")]).await;
    let found = "select container_name, profile_context, match from signals order by 1";
    assert_eq!(rows(&store, found).await, ["c1|no_profile|null", "c2|known|lineage"]);
    let own = rule_set(&[("own", "path = '/etc/probe.conf'")]);
    crate::jobs::detect::fixture::detect(&store, &own).await;
    let found = "select profile_context, count(*) from signals where source = 'wsp' group by 1";
    assert_eq!(rows(&store, found).await, ["known|6"]);
}

#[tokio::test]
async fn importing_twice_writes_nothing_new() {
    let store = learned(&vec![vec![tree()]; 6]).await;
    let alerts = [1, 2, 2].map(|number| alert(number, "/bin/cat", &ABOVE, "/etc/probe.conf"));
    let first = raised(&store, &alerts).await;
    assert_eq!((first.written, first.present), (2, 1));
    let before = crate::jobs::detect::fixture::saved(&store, "").await;
    let second = raised(&store, &alerts).await;
    assert_eq!((second.written, second.present), (0, 3));
    assert_eq!(crate::jobs::detect::fixture::saved(&store, "").await, before);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn imports_at_the_same_time_write_each_alert_once() {
    let store = learned(&vec![vec![tree()]; 6]).await;
    let tasks: Vec<_> = (0..4_u32)
        .map(|first| {
            let store = store.clone();
            tokio::spawn(async move {
                let alerts: Vec<Alert> = (first..first + 3)
                    .map(|number| alert(number, "/bin/cat", &ABOVE, "/etc/probe.conf"))
                    .collect();
                raised(&store, &alerts).await
            })
        })
        .collect();
    let mut written = 0;
    for task in tasks {
        written += task.await.unwrap().written;
    }
    assert_eq!(written, 6);
    assert_eq!(rows(&store, "select count(*), count(distinct signal_id) from signals").await, ["6|6"]);
}

#[tokio::test]
async fn imported_signals_are_suggested_for_and_hidden() {
    let store = learned(&vec![vec![tree()]; 6]).await;
    let alerts: Vec<Alert> =
        (1..7).map(|number| alert(number, "/bin/cat", &ABOVE, "/etc/probe.conf")).collect();
    raised(&store, &alerts).await;
    let weak = {
        let mut alert = alert(20, "/bin/cat", &["/bin/sh"], "/etc/probe.conf");
        alert.process.as_mut().unwrap().is_whole = false;
        alert
    };
    raised(&store, &[weak, alert(21, "/bin/cat", &ABOVE, "/etc/shadow")]).await;
    let suggested =
        suggest(&store, &context(), &Rules::default(), &Options::default(), Utc::now()).await.unwrap();
    let mut reasons: Vec<&str> = suggested.refused.iter().map(|refusal| refusal.reason.as_str()).collect();
    reasons.sort_unstable();
    assert_eq!(
        reasons,
        [
            "it is not in the profile",
            "the match is weak: by executable and target alone, since the lineage is not known",
        ]
    );
    assert_eq!(suggested.suggestions.len(), 1);
    let one = &suggested.suggestions[0];
    assert_eq!((one.rule.as_str(), one.evidence.signals), ("falco:Read sensitive file", 6));

    let suppression = find(&load(&store).await.unwrap(), &one.id).unwrap();
    let decision = Decision { suppression, to: State::Accepted };
    let changed = decide(&store, &context(), &[decision], Utc::now()).await.unwrap();
    assert_eq!((changed.hidden, changed.shown), (6, 0));
    let more = [
        alert(30, "/bin/cat", &ABOVE, "/etc/probe.conf"),
        alert(31, "/bin/cat", &ABOVE, "/etc/shadow"),
        Alert { rule: "Another rule".to_owned(), ..alert(32, "/bin/cat", &ABOVE, "/etc/probe.conf") },
    ];
    let raised = raised(&store, &more).await;
    assert_eq!((raised.written, raised.suppressed), (3, 1));
    let open = "select container_name from signals where suppressed_by is null order by 1";
    assert_eq!(rows(&store, open).await, ["c20", "c21", "c31", "c32"]);
}

#[tokio::test]
async fn what_was_raised_before_there_was_a_profile_is_not_suggested_for() {
    let store = store();
    let alerts: Vec<Alert> =
        (1..7).map(|number| alert(number, "/bin/cat", &ABOVE, "/etc/probe.conf")).collect();
    raised(&store, &alerts).await;
    for at in 1..7 {
        shot("app:1", at, i64::from(at), &[tree()]).put(&store).await;
    }
    merge_at(&store, 6).await;
    let suggested =
        suggest(&store, &context(), &Rules::default(), &Options::default(), Utc::now()).await.unwrap();
    assert_eq!(suggested.suggestions.len(), 0);
    assert_eq!(suggested.refused[0].reason, "it was raised before there was a profile");
}
