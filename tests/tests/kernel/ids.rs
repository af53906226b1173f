//! Captures of one workload agree on every node that they share, however they met it: from its birth, joined late, or by a
//! daemon that was started anew.

use std::collections::{BTreeMap, BTreeSet};

use arrow::array::{Array as _, AsArray as _};
use arrow::datatypes::Int32Type;
use wsp_schemas::snapshot::Verified;
use wsp_tests::podman::{Container, eventually, podman};

use super::daemon::{Place, of};
use super::{Api, image, text};

/// A node, by what it is and by its id.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Shown {
    pub(super) what: String,
    pub(super) id: String,
    pub(super) certain: bool,
}

/// All nodes of a snapshot. What they are does not say where they hang: that is the id's.
pub(super) fn with_lineage(snapshot: &Verified) -> BTreeSet<Shown> {
    let rows = &snapshot.rows;
    let (ids, ports) = (rows["node_id"].as_fixed_size_binary(), rows["port"].as_primitive::<Int32Type>());
    let shown = |row: usize| {
        let columns =
            ["kind", "root_kind", "exe", "argv0", "path", "dns_name", "protocol", "address", "name"];
        let mut what: String =
            columns.iter().filter_map(|column| text(rows, column, row)).map(|value| value + " ").collect();
        if ports.is_valid(row) {
            what += &ports.value(row).to_string();
        }
        Shown {
            what,
            id: ids.value(row).iter().map(|byte| format!("{byte:02x}")).collect(),
            certain: text(rows, "lineage_complete", row).as_deref() == Some("true"),
        }
    };
    (0..rows.num_rows()).map(shown).collect()
}

/// Whatever any of them shows has one id in all of them, where it hangs from no guess. For workloads that do each thing at
/// one place of their tree. How many nodes were compared.
pub(super) fn assert_agree<'a>(snapshots: impl Iterator<Item = &'a Verified>) -> usize {
    let mut ids: BTreeMap<String, BTreeMap<String, Vec<String>>> = BTreeMap::new();
    for snapshot in snapshots {
        let from = format!("{:?} {}", snapshot.meta.container.name, snapshot.meta.window_start);
        for node in with_lineage(snapshot).into_iter().filter(|node| node.certain) {
            ids.entry(node.what).or_default().entry(node.id).or_default().push(from.clone());
        }
    }
    let differ: Vec<_> = ids.iter().filter(|(_, ids)| ids.len() > 1).collect();
    assert!(differ.is_empty(), "ids differ: {differ:#?}");
    ids.len()
}

/// A workload: each of its programs and files is used at one place of its tree.
struct Shape {
    name: &'static str,
    options: &'static [&'static str],
    script: &'static str,
    /// Run in it by `podman exec`.
    session: Option<&'static str>,
    /// What must be shown however it was met.
    always: &'static [&'static str],
    /// What hangs from a guess, where it was not seen to start.
    guessed: &'static [&'static str],
}

/// Ends with all of its container's processes.
const LOOP: &str = "while :; do head -n 1 /etc/group >/dev/null; sleep 0.2; done";

const DOUBLE_FORK: &str = "python3 -c '
import os, time
if os.fork(): os._exit(0)
os.setsid()
if os.fork(): os._exit(0)
kept = open(\"/var/tmp/service.log\", \"a\")
while True:
    open(\"/etc/services.none\", \"a\").close()
    time.sleep(0.2)
'";

fn shapes() -> [Shape; 5] {
    let none: &[&str] = &[];
    [
        Shape {
            name: "shell",
            options: none,
            script: "exec 7</etc/shells; (perl -e 'sleep 1000'; :) & sh -c 'tail -f /etc/hostname; :' & \
                     nc -l 127.0.0.1 7070 & ",
            session: None,
            always: &[
                "process init /usr/bin/bash",
                "file /usr/bin/bash /etc/shells",
                "process /usr/bin/perl",
                "process /usr/bin/dash",
                "process /usr/bin/tail",
                "file /usr/bin/tail /etc/hostname",
                "listen /usr/bin/nc.openbsd tcp 127.0.0.1 7070",
            ],
            guessed: none,
        },
        Shape {
            name: "service",
            options: none,
            script: DOUBLE_FORK,
            session: None,
            always: &[
                "process /usr/bin/python3.11",
                "file /usr/bin/python3.11 /var/tmp/service.log",
                "file /usr/bin/python3.11 /etc/services.none",
            ],
            guessed: &["/usr/bin/python3.11"],
        },
        Shape {
            name: "session",
            options: none,
            script: "",
            session: Some(
                "exec 7</etc/shells; nc -l 127.0.0.1 7071 & \
                 while :; do tail -n 1 /etc/passwd >/dev/null; perl -e 'select undef, undef, undef, 0.2'; done",
            ),
            always: &[
                "process exec_session /usr/bin/dash",
                "file /usr/bin/dash /etc/shells",
                "listen /usr/bin/nc.openbsd tcp 127.0.0.1 7071",
                "process /usr/bin/tail",
                "file /usr/bin/tail /etc/passwd",
            ],
            guessed: none,
        },
        Shape {
            name: "nested",
            options: &["--cgroupns=host", "--volume=/sys/fs/cgroup:/cgroups:rw", "--privileged"],
            script: "own=$(sed -n s/^0:://p /proc/self/cgroup); for top in /cgroups /cgroups/unified; do \
                     [ -e $top$own/cgroup.procs ] && own=$top$own; done; mkdir -p $own/inner/most; \
                     (echo $BASHPID >$own/inner/most/cgroup.procs; perl -e 'sleep 1000'; :) & \
                     (echo $BASHPID >$own/inner/cgroup.procs; while :; do tail -n 1 /etc/passwd >/dev/null; sleep 0.2; done) & ",
            session: None,
            always: &["process /usr/bin/perl", "process /usr/bin/tail", "file /usr/bin/tail /etc/passwd"],
            guessed: none,
        },
        Shape {
            name: "orphan",
            options: none,
            // The program that starts the service is not what its parent becomes.
            script: "sh -c 'setsid perl -e \"open F, q(/etc/shells); sleep 1000\" &' ; ",
            session: None,
            always: &["process init /usr/bin/bash", "process /usr/bin/perl"],
            guessed: &["/usr/bin/perl"],
        },
    ]
}

fn start(shape: &Shape, suffix: &str) -> Container {
    let name = format!("wsp-ids-{}-{suffix}", shape.name);
    let script = format!("{}\n{LOOP}", shape.script);
    let tools = image("tools-1");
    let fixed = ["--network=none"];
    let arguments = [&fixed[..], shape.options, &[&tools, "bash", "-c", &script]].concat();
    let container = Container::create(&name, &arguments);
    container.start();
    if let Some(session) = shape.session {
        let _ = podman(&["exec", "-d", &name, "sh", "-c", session]).ok();
    }
    container
}

#[test]
fn captures_agree_on_ids_however_they_met_a_workload() {
    let folder = tempfile::tempdir().unwrap();
    let api = Api::start(folder.path());
    let place = Place::new(|_| api.url.clone());
    let options = ["--interval", "2s", "--max-containers", "24", "--start-slots", "12"];
    let shapes = shapes();
    // From birth; then a daemon that is started anew meets these again, and others of the same kind for the first time.
    let daemon = place.start(&options);
    let born: Vec<Container> = shapes.iter().map(|shape| start(shape, "born")).collect();
    let at_least = |containers: &[Container], count: usize| {
        eventually(&format!("{count} snapshots of each"), || {
            let all = place.store.snapshots();
            containers.iter().all(|container| of(&all, &container.name) >= count)
        });
    };
    at_least(&born, 3);
    daemon.kill();
    let late: Vec<Container> = shapes.iter().map(|shape| start(shape, "late")).collect();
    std::thread::sleep(std::time::Duration::from_secs(2));
    let restarted = chrono::Utc::now();
    let daemon = place.start(&options);
    at_least(&late, 3);
    daemon.stop();
    drop((born, late));

    let all = place.store.snapshots();
    for shape in &shapes {
        let is = |suffix: &str| format!("wsp-ids-{}-{suffix}", shape.name);
        let of = |name: String, after: bool| {
            let all = all.iter().filter(move |one| one.meta.container.name.as_deref() == Some(&name));
            all.filter(move |one| (one.meta.window_start > restarted) == after).collect::<Vec<_>>()
        };
        let (born, again, late) = (of(is("born"), false), of(is("born"), true), of(is("late"), true));
        assert!(born[0].meta.covers_start || born.iter().any(|one| one.meta.covers_start), "{}", shape.name);
        assert!(again.iter().chain(&late).all(|one| !one.meta.covers_start), "{}", shape.name);
        let every = || born.iter().chain(&again).chain(&late).copied();
        let compared = assert_agree(every());
        let shown =
            |of: &[&Verified]| of.iter().flat_map(|one| with_lineage(one)).collect::<BTreeSet<Shown>>();
        let (born, again, late) = (shown(&born), shown(&again), shown(&late));
        let mut shared = 0;
        for (how, met) in [("again", &again), ("late", &late)] {
            for what in shape.always {
                let ids = |of: &BTreeSet<Shown>| {
                    of.iter()
                        .filter(|node| node.what.trim_end().starts_with(what))
                        .map(|node| node.id.clone())
                        .collect::<BTreeSet<_>>()
                };
                let (first, met) = (ids(&born), ids(met));
                assert!(!first.is_empty() && !met.is_empty(), "{} {how}: {what} is not shown", shape.name);
                let guess = shape.name == "orphan" && what.contains("perl");
                assert!(guess || met.is_subset(&first), "{} {how}: {what}: {first:?} {met:?}", shape.name);
            }
            // Whatever was met later the first one had, but for what hangs from a guess and says so.
            let known: BTreeSet<&String> = born.iter().map(|node| &node.id).collect();
            for node in met.iter().filter(|node| !known.contains(&node.id)) {
                let excused = !node.certain && shape.guessed.iter().any(|guess| node.what.contains(guess));
                assert!(excused, "{} {how}: {node:?} was never born", shape.name);
            }
            shared += met.iter().filter(|node| known.contains(&node.id)).count();
        }
        println!("{}: {compared} nodes, {shared} met again or late", shape.name);
        assert!(shared >= 2 * shape.always.len() - 2, "{}", shape.name);
    }
}
