use std::fs;

use arrow::util::display::array_value_to_string;
use bytes::Bytes;
use futures::TryStreamExt as _;
use object_store::{ObjectStore as _, ObjectStoreExt as _};
use proptest::prelude::*;
use serde_json::{Value, json};
use wsp_schemas::snapshot::{Completeness, Fact, Limits as FileLimits, SnapshotMeta, decode};
use wsp_schemas::store::{Missing, open};

use super::event::{Event, Kind};
use super::facts::facts;
use super::*;
use crate::jobs::import::{Limits, recordings};

const CONTAINER: &str = "16ecce28d6808e01f6b91f990b07616c0fc8dff67036231f9911191c7ff3d1cd";

/// A process in [`CONTAINER`], by its binary, exec id and parent's, and pid; its number in the container where that is told.
fn process(binary: &str, ids: (&str, &str), pid: u32, number: Option<u32>) -> Value {
    json!({
        "exec_id": ids.0, "parent_exec_id": ids.1, "pid": pid, "uid": 0, "cwd": "/srv", "binary": binary,
        "arguments": "-x", "start_time": "2024-01-15T15:45:00Z", "docker": &CONTAINER[..31],
        "pod": {"namespace": "shop", "name": "web-0", "container": {
            "id": format!("containerd://{CONTAINER}"), "name": "web", "pid": number,
            "image": {"id": format!("docker.io/library/nginx@sha256:{}", "ab".repeat(32)), "name": "nginx:1.25"},
            "start_time": "2024-01-15T15:44:59Z",
        }},
    })
}

fn shim() -> Value {
    json!({"exec_id": "shim", "pid": 7, "binary": "/usr/bin/containerd-shim-runc-v2", "start_time": "2024-01-15T15:44:00Z"})
}

/// An event at some milliseconds.
fn event(kind: &str, ms: u32, process: &Value, parent: &Value, more: &[(&str, Value)]) -> String {
    let mut event = json!({"process": process, "parent": parent});
    for (key, value) in more {
        event[key] = value.clone();
    }
    let time = format!("2024-01-15T15:45:{:02}.{:03}Z", ms / 1000, ms % 1000);
    json!({kind: event, "node_name": "node-1", "time": time}).to_string()
}

struct Imported {
    report: Report,
    snapshots: Vec<(SnapshotMeta, Vec<String>)>,
}

const COLUMNS: [&str; 16] = [
    "kind",
    "root_kind",
    "exec_from",
    "argv0",
    "exe",
    "path",
    "access",
    "protocol",
    "address",
    "port",
    "name",
    "phase",
    "origin",
    "lineage_complete",
    "events",
    "args",
];

async fn import_paths(paths: &[PathBuf]) -> Imported {
    let store = open("memory:///", Missing::Create).unwrap();
    let report = run(&store, paths, &Options::default()).await.unwrap();
    let again = run(&store, paths, &Options::default()).await.unwrap();
    assert_eq!((again.written, again.present), (0, report.written + report.present));
    let reversed: Vec<PathBuf> = paths.iter().rev().cloned().collect();
    let again = run(&store, &reversed, &Options::default()).await.unwrap();
    assert_eq!((again.written, again.present), (0, report.written + report.present), "order matters");
    let mut snapshots = Vec::new();
    for object in store.objects.list(None).try_collect::<Vec<_>>().await.unwrap() {
        let bytes: Bytes = store.objects.get(&object.location).await.unwrap().bytes().await.unwrap();
        let read = decode(bytes, &FileLimits::default()).unwrap();
        let mut rows: Vec<String> = (0..read.rows.num_rows())
            .map(|row| {
                let cells = COLUMNS.iter().map(|name| array_value_to_string(&read.rows[*name], row).unwrap());
                cells.filter(|cell| !cell.is_empty() && cell != "[]").collect::<Vec<_>>().join(" ")
            })
            .collect();
        rows.sort();
        snapshots.push((read.meta, rows));
    }
    snapshots.sort_by_key(|(meta, _)| (meta.window_end, meta.container.id.clone()));
    Imported { report, snapshots }
}

/// Imports records, each in a file of its own.
async fn import(records: &[String]) -> Imported {
    let folder = tempfile::tempdir().unwrap();
    let mut paths = Vec::new();
    for (at, record) in records.iter().enumerate() {
        let path = folder.path().join(format!("{at:02}.json"));
        fs::write(&path, record).unwrap();
        paths.push(path);
    }
    import_paths(&paths).await
}

#[tokio::test]
async fn a_container_becomes_a_snapshot() {
    let sh = process("/bin/sh", ("sh", "shim"), 10, Some(1));
    let python = process("/usr/bin/python3", ("python", "sh"), 10, Some(1));
    let bash = process("bin/bash", ("bash", "python"), 11, Some(2));
    let again = process("/srv/bin/bash", ("again", "bash"), 12, Some(3));
    let curl = process("/usr/bin/curl", ("curl", "again"), 12, Some(3));
    let session = process("/bin/sh", ("session", "shim"), 20, Some(30));
    let orphan = process("/bin/cat", ("orphan", "nobody"), 21, Some(31));
    let connect =
        [("destination_ip", json!("10.0.0.1")), ("destination_port", json!(443)), ("protocol", json!("TCP"))];
    let read = [
        ("function_name", json!("security_file_permission")),
        ("args", json!([{"file_arg": {"path": "/etc/passwd"}}, {"int_arg": 4}])),
    ];
    let imported = import(&[
        event("process_exec", 1000, &sh, &shim(), &[]),
        event("process_exec", 1001, &python, &sh, &[]),
        event("process_exec", 1002, &bash, &python, &[]),
        event("process_exec", 1003, &again, &bash, &[]),
        event("process_exec", 1004, &curl, &again, &[]),
        event("process_connect", 1005, &curl, &again, &connect),
        event("process_connect", 1006, &curl, &again, &connect),
        event("process_kprobe", 1007, &curl, &again, &read),
        event("process_exec", 1008, &session, &shim(), &[]),
        event("process_exit", 1009, &orphan, &Value::Null, &[]),
        event("process_exec", 900, &shim(), &Value::Null, &[]),
        r#"{"rate_limit_info":{"number_of_dropped_process_events":"3"},"node_name":"other"}"#.to_owned(),
    ])
    .await;
    assert_eq!(imported.report.failed, []);
    let skipped: Vec<&str> = imported.report.skipped.iter().map(|problem| problem.reason.as_str()).collect();
    assert_eq!(
        skipped,
        ["1 events of processes in no container", "1 records that are no events of processes"]
    );
    let [(meta, rows)] = imported.snapshots.as_slice() else { panic!("{:?}", imported.report) };
    assert_eq!(meta.image.workload.as_ref().unwrap().to_string(), "docker.io/library/nginx:1.25");
    assert!(meta.image.digest.is_some());
    assert_eq!((meta.host.as_str(), meta.container.id.as_str()), ("node-1", CONTAINER));
    assert_eq!(meta.container.name.as_deref(), Some("web"));
    assert_eq!(meta.container.labels["io.kubernetes.pod.namespace"], "shop");
    assert_eq!((meta.window_end - meta.window_start).num_milliseconds(), 9);
    assert!(meta.covers_start);
    assert_eq!(meta.container.started, Some(meta.window_start));
    let completeness: Vec<_> =
        meta.completeness.iter().map(|(kind, state)| (kind.as_str(), *state)).collect();
    assert_eq!(
        completeness,
        [
            ("connect", Completeness::Complete),
            ("file", Completeness::Lossy),
            ("process", Completeness::Complete)
        ]
    );
    assert_eq!(
        rows,
        &[
            "connect /usr/bin/curl tcp 10.0.0.1 443 startup runtime true 2",
            "file /usr/bin/curl /etc/passwd [read] startup runtime true 1",
            "process /srv/bin/bash /usr/bin/curl startup runtime true 1 [/usr/bin/curl -x]",
            "process /srv/bin/bash startup runtime true 2 [/srv/bin/bash -x, bin/bash -x]",
            // Nobody told of its parent.
            "process exec_session /bin/cat startup initial false 1 [/bin/cat -x]",
            "process exec_session /bin/sh startup runtime true 1 [/bin/sh -x]",
            "process init /bin/sh /usr/bin/python3 startup runtime true 1 [/usr/bin/python3 -x]",
            "process init /bin/sh startup runtime true 1 [/bin/sh -x]",
        ]
    );
}

#[tokio::test]
async fn what_is_known_late_or_never() {
    // Before Kubernetes has told of it, a container is known by the start of its id.
    let early = json!({"exec_id": "a", "parent_exec_id": "shim", "pid": 10, "binary": "/bin/sh", "docker": &CONTAINER[..24]});
    let late = process("/bin/cat", ("b", "a"), 11, Some(2));
    let imported = import(&[
        event("process_exec", 1, &early, &shim(), &[]),
        event("process_exec", 2, &late, &early, &[]),
    ])
    .await;
    let [(meta, rows)] = imported.snapshots.as_slice() else { panic!("{:?}", imported.report) };
    assert_eq!((meta.container.id.as_str(), rows.len()), (CONTAINER, 2));
    assert!(!meta.covers_start, "nothing says that it is the init task");
    // Without Kubernetes there is no image.
    let imported = import(&[event("process_exec", 1, &early, &shim(), &[])]).await;
    let [(meta, _)] = imported.snapshots.as_slice() else { panic!("{:?}", imported.report) };
    assert_eq!((meta.image.workload.as_ref(), meta.container.id.as_str()), (None, &CONTAINER[..24]));
    assert_eq!((meta.window_end - meta.window_start).num_milliseconds(), 1);
}

#[tokio::test]
async fn a_host_that_dropped_events_is_lossy() {
    let sh = process("/bin/sh", ("sh", "shim"), 10, Some(1));
    let imported = import(&[
        event("process_exec", 1, &sh, &shim(), &[]),
        r#"{"rate_limit_info":{"number_of_dropped_process_events":"3"},"node_name":"node-1"}"#.to_owned(),
    ])
    .await;
    let [(meta, _)] = imported.snapshots.as_slice() else { panic!("{:?}", imported.report) };
    assert_eq!(meta.completeness["process"], Completeness::Lossy);
    assert_eq!((meta.lost[0].cause.as_str(), meta.lost[0].events), ("rate_limit", 3));
}

#[tokio::test]
async fn circles_and_deep_trees_end() {
    let circle = [
        event("process_exec", 1, &process("/a", ("a", "b"), 1, None), &Value::Null, &[]),
        event("process_exec", 2, &process("/b", ("b", "a"), 2, None), &Value::Null, &[]),
        event("process_exec", 3, &process("/c", ("c", "c"), 3, None), &Value::Null, &[]),
    ];
    let imported = import(&circle).await;
    assert_eq!(imported.snapshots[0].1.len(), 3, "{:?}", imported.snapshots[0].1);
    let deep: Vec<String> = (0..300)
        .map(|at| {
            let (id, above) = (format!("p{at}"), format!("p{}", at - 1));
            let process =
                process(&format!("/bin/{at}"), (&id, &above), 100 + u32::try_from(at).unwrap(), None);
            event("process_exec", 1, &process, &Value::Null, &[])
        })
        .collect();
    let imported = import(&[deep.join("\n")]).await;
    assert_eq!(
        (imported.report.written, imported.snapshots[0].1.len()),
        (1, 300),
        "{:?}",
        imported.report.failed
    );
}

#[tokio::test]
async fn bad_records_are_named_and_the_rest_goes_on() {
    let sh = process("/bin/sh", ("sh", "shim"), 10, Some(1));
    let good = event("process_exec", 1, &sh, &shim(), &[]);
    let edited = |from: &str, to: &str| {
        assert!(good.contains(from), "{from}: {good}");
        good.replace(from, to)
    };
    for (bad, reason) in [
        ("no json".to_owned(), "not a JSON object"),
        (edited("\"pid\":10", "\"pid\":\"x\""), "invalid type"),
        (edited("\"exec_id\":\"sh\"", "\"exec_id\":\"\""), "no exec_id"),
        (edited("\"exec_id\":\"sh\"", &format!("\"exec_id\":\"{}\"", "x".repeat(2000))), "more than 1024"),
        (edited("\"/bin/sh\"", "\"/bin/\\u0000\""), "NUL"),
        (edited("\"node-1\"", "\"node\\n1\""), "control characters"),
        (edited("2024-01-15T15:45:00.001Z", "0001-01-01T00:00:00Z"), "between 1970"),
        (edited("\"process\":", "\"prozess\":"), "no process"),
        (
            event(
                "process_connect",
                1,
                &sh,
                &shim(),
                &[("destination_ip", json!("::1")), ("destination_port", json!(70000))],
            ),
            "port is 70000",
        ),
        (event("process_listen", 1, &sh, &shim(), &[("ip", json!("here"))]), "`here` is no address"),
    ] {
        let imported = import(&[format!("{good}\n{bad}\n{good}")]).await;
        let [problem] = imported.report.failed.as_slice() else { panic!("{reason}: {:?}", imported.report) };
        assert_eq!((problem.object.as_deref(), imported.report.written), (Some("line 2"), 1), "{problem:?}");
        assert!(problem.reason.contains(reason), "{reason}: {problem:?}");
    }
    for (bad, reason) in [
        (edited("nginx:1.25", "a b"), "`a b`"),
        (
            format!("{good}\n{}", edited("2024-01-15T15:45:00.001Z", "2024-03-15T15:45:00Z")),
            "more than 24 days",
        ),
    ] {
        let imported = import(&[bad]).await;
        let [problem] = imported.report.failed.as_slice() else { panic!("{reason}: {:?}", imported.report) };
        assert!(
            problem.object.as_ref().unwrap().contains(CONTAINER) && problem.reason.contains(reason),
            "{problem:?}"
        );
    }
}

#[tokio::test]
async fn limits_hold() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.json");
    let sh = process("/bin/sh", ("sh", "shim"), 10, Some(1));
    let cat = process("/bin/cat", ("cat", "sh"), 11, Some(2));
    let text =
        [event("process_exec", 1, &sh, &shim(), &[]), event("process_exec", 1, &cat, &sh, &[])].join("\n");
    fs::write(&path, text).unwrap();
    let store = open("memory:///", Missing::Create).unwrap();
    for (limits, reason) in [
        (Limits { entries: 1, ..Limits::default() }, "up to 2 nodes"),
        (Limits { record_bytes: 100, ..Limits::default() }, "more than 100 bytes"),
        (Limits { file_bytes: 100, ..Limits::default() }, "100 bytes or more"),
    ] {
        let options = Options { limits, ..Options::default() };
        let report = run(&store, std::slice::from_ref(&path), &options).await.unwrap();
        assert!(report.failed.iter().any(|problem| problem.reason.contains(reason)), "{reason}: {report:?}");
        assert_eq!(report.written, 0);
    }
}

#[test]
fn arguments_tell_facts() {
    let told = |event: Value| {
        let event: Event = serde_json::from_value(event).unwrap();
        let facts = facts(Kind::Kprobe, &event, b"/srv").unwrap();
        facts
            .into_iter()
            .map(|fact| match fact {
                Fact::File(file) => {
                    format!("{} {:?} {}", file.path.to_escaped(), file.access, file.path_source)
                }
                Fact::Connect(socket) => {
                    format!("to {} {:?} {}", socket.protocol, socket.address, socket.port)
                }
                Fact::Listen(socket) => {
                    format!("at {} {:?} {}", socket.protocol, socket.address, socket.port)
                }
                Fact::Capability(name) => name,
                other => format!("{other:?}"),
            })
            .collect::<Vec<_>>()
    };
    let sock = json!({"sock_arg": {"family": "AF_INET", "type": "SOCK_STREAM", "protocol": "IPPROTO_TCP",
        "saddr": "10.0.0.7", "daddr": "10.0.0.1", "sport": 4000, "dport": 80}});
    for (event, expected) in [
        (json!({"function_name": "tcp_connect", "args": [sock]}), &["to tcp \"10.0.0.1\" 80"][..]),
        (json!({"function_name": "tcp_close", "args": [sock]}), &[]),
        (json!({"function_name": "security_socket_listen", "args": [sock]}), &["at tcp \"self\" 4000"]),
        (
            json!({"function_name": "security_socket_connect", "args": [{"sockaddr_arg": {"family": "AF_INET", "addr": "1.2.3.4", "port": 53}}]}),
            &["to unknown \"1.2.3.4\" 53"],
        ),
        (
            json!({"function_name": "__x64_sys_openat", "args": [{"int_arg": -100}, {"string_arg": "x/./y"}]}),
            &["/srv/x/y [] argument"],
        ),
        (
            json!({"function_name": "__x64_sys_write", "args": [{"file_arg": {"path": "etc/passwd"}}, {"bytes_arg": "eA=="}]}),
            &["/etc/passwd [\"write\"] kernel"],
        ),
        (json!({"function_name": "__x64_sys_read", "args": [{"file_arg": {"path": "pipe:[7]"}}]}), &[]),
        (
            json!({"function_name": "security_path_rename", "args": [{"path_arg": {"path": "/a"}}, {"path_arg": {"path": "/b"}}]}),
            &["/a [\"rename_from\"] kernel", "/b [\"rename_to\"] kernel"],
        ),
        (
            json!({"function_name": "security_file_permission", "args": [{"file_arg": {"path": "/a"}}, {"int_arg": 6}]}),
            &["/a [\"read\", \"write\"] kernel"],
        ),
        (
            json!({"function_name": "security_bprm_check", "args": [{"linux_binprm_arg": {"path": "/a"}}]}),
            &["/a [\"exec\"] kernel"],
        ),
        (
            json!({"function_name": "cap_capable", "args": [{"capability_arg": {"value": 21, "name": "CAP_SYS_ADMIN"}}]}),
            &["SYS_ADMIN"],
        ),
        (json!({"function_name": "sys_setuid", "args": [{"string_arg": "/x"}]}), &[]),
    ] {
        assert_eq!(told(event.clone()), expected, "{event}");
    }
}

/// What others recorded.
#[tokio::test]
async fn recorded_events_become_snapshots() {
    let Some(folder) = recordings("tetragon-events") else { return };
    let imported = import_paths(&[folder]).await;
    let report = &imported.report;
    assert_eq!((report.files, report.objects, report.written), (16, 18, 7), "{report:?}");
    assert_eq!((report.skipped.len(), report.failed.len()), (0, 0), "{report:?}");
    let found: Vec<_> = imported
        .snapshots
        .iter()
        .map(|(meta, rows)| {
            let image = meta.image.workload.as_ref().unwrap().to_string();
            let length = (meta.window_end - meta.window_start).num_milliseconds();
            (meta.host.as_str(), image, length, meta.covers_start, rows.len())
        })
        .collect();
    let jobs = |name: &str| format!("quay.io/isovalent/jobs-app-{name}:latest");
    let starwars = "docker.io/cilium/starwars:latest".to_owned();
    assert_eq!(
        found,
        [
            ("gke-kprobe-validation-default-pool-b5e9dab6-k0cj", jobs("elasticsearch"), 1, false, 3),
            ("minikube", jobs("coreapi"), 1, false, 3),
            ("minikube", found[2].1.clone(), 654, false, 3),
            ("minikube", jobs("elasticsearch"), 1322, false, 6),
            ("my-node", "docker.io/tgraf/netperf:latest".to_owned(), 1, true, 1),
            ("my-node", starwars.clone(), 1, true, 1),
            ("my-node", starwars, 1, true, 1),
        ]
    );
    let session = &imported.snapshots[3].1;
    assert_eq!(
        session,
        &[
            "connect /usr/bin/nc tcp 64.225.45.153 443 steady runtime false 1",
            "file /usr/bin/cat /usr/share/elasticsearch/config/elasticsearch.keystore [read] steady runtime false 1",
            "process /usr/bin/cat steady runtime false 1 [/usr/bin/cat /usr/share/elasticsearch/config/elasticsearch.keystore]",
            "process /usr/bin/nc steady runtime false 1 [/usr/bin/nc raiz3gjkgtfhkkc.not-reverse-shell.com 443]",
            "process /usr/bin/sh steady runtime false 1 [/usr/bin/sh lifecycle.sh]",
            "process exec_session /bin/bash steady initial false 1 [/bin/bash]",
        ]
    );
    let python = &imported.snapshots[1].1;
    assert_eq!(
        python,
        &[
            "listen /usr/local/bin/python tcp 0.0.0.0 9080 startup runtime true 1",
            "process init /bin/sh /usr/local/bin/python startup initial true 1 [/usr/local/bin/python app.py]",
            "process init /bin/sh startup initial true 1 [/bin/sh -c 'PORT=9080 python app.py']",
        ]
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Events that are nearly right: a piece of one is replaced.
    #[test]
    fn no_nearly_right_event_panics(at in 0..1500_usize, length in 0..40_usize, piece in "[\\PC\\x00\"{}\\[\\],:0-9]{0,12}") {
        let sh = process("/bin/sh", ("sh", "shim"), 10, Some(1));
        let text = event("process_exec", 1, &sh, &shim(), &[]);
        let start = text.floor_char_boundary(at.min(text.len()));
        let end = text.floor_char_boundary((at + length).min(text.len())).max(start);
        let broken = format!("{}{piece}{}\n{text}", &text[..start], &text[end..]);
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.json");
        fs::write(&path, broken).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let store = open("memory:///", Missing::Create).unwrap();
        runtime.block_on(run(&store, &[path], &Options::default())).unwrap();
        for object in runtime.block_on(store.objects.list(None).try_collect::<Vec<_>>()).unwrap() {
            let bytes = runtime.block_on(async { store.objects.get(&object.location).await.unwrap().bytes().await.unwrap() });
            decode(bytes, &FileLimits::default()).unwrap();
        }
    }
}
