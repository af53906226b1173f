//! The files of `deploy/` say what the program understands and needs.
#![cfg(feature = "ebpf")]

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs;

use serde_json::Value;

use super::args::{Args, Command};
use super::config;
use crate::probe::host::CAPABILITIES;

const UNIT: &str = include_str!("../../deploy/wsp-capture.service");
const DAEMON_SET: &str = include_str!("../../deploy/daemonset.yaml");
const README: &str = include_str!("../../deploy/README.md");

/// The objects of the manifest, by kind.
fn object(kind: &str) -> Value {
    let objects: Vec<Value> = serde_saphyr::from_multiple(DAEMON_SET).unwrap();
    assert_eq!(objects.len(), 4);
    objects.into_iter().find(|object| object["kind"] == kind).unwrap()
}

fn container() -> Value {
    object("DaemonSet")["spec"]["template"]["spec"]["containers"][0].clone()
}

fn capabilities() -> BTreeSet<String> {
    CAPABILITIES.iter().map(|capability| capability.name.to_owned()).collect()
}

#[test]
fn all_grant_what_the_program_needs_and_no_more() {
    let unit = UNIT.lines().find_map(|line| line.strip_prefix("CapabilityBoundingSet=")).unwrap();
    assert_eq!(unit.split(' ').map(str::to_owned).collect::<BTreeSet<_>>(), capabilities());
    let context = &container()["securityContext"];
    let added = context["capabilities"]["add"].as_array().unwrap();
    let added = added.iter().map(|name| format!("CAP_{}", name.as_str().unwrap()));
    assert_eq!(added.collect::<BTreeSet<_>>(), capabilities());
    assert_eq!(context["capabilities"]["drop"], serde_json::json!(["ALL"]));
    assert_eq!([&context["privileged"], &context["allowPrivilegeEscalation"]], [false, false]);
    assert_eq!(context["readOnlyRootFilesystem"], true);
    for name in capabilities() {
        assert!(README.contains(&format!("| `{name}` | ")), "{name} is not in the table");
    }
}

#[test]
fn the_daemon_set_configures_what_it_probes() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("config.toml");
    fs::write(&file, object("ConfigMap")["data"]["config.toml"].as_str().unwrap()).unwrap();
    let args = config::parse(&["wsp-capture", "run"].map(OsString::from), &file).unwrap();
    let Args { command: Command::Run(run) } = args else { panic!("not run") };
    let container = container();
    let port = &container["ports"][0];
    assert_eq!(port["containerPort"], run.watch.listen.unwrap().port());
    for (probe, path) in [("livenessProbe", "/livez"), ("readinessProbe", "/healthz")] {
        assert_eq!(container[probe]["httpGet"], serde_json::json!({"path": path, "port": port["name"]}));
    }
    // Where the program looks for its file, and puts its spool.
    let mounts = container["volumeMounts"].as_array().unwrap();
    let at = |folder: &str| mounts.iter().any(|mount| mount["mountPath"] == folder);
    assert!(config::USUAL_FILE.starts_with("/etc/wsp-capture/") && at("/etc/wsp-capture"));
    assert!(at(super::spool_folder().to_str().unwrap()) && at("/sys/fs/cgroup") && at("/sys/kernel/tracing"));
    let pod = &object("DaemonSet")["spec"]["template"]["spec"];
    assert_eq!([&pod["hostPID"], &pod["automountServiceAccountToken"]], [true, false]);
}

#[test]
fn times_to_stop_are_longer_than_the_program_takes() {
    let words = ["wsp-capture", "run", "--store", "x"].map(OsString::from);
    let Args { command: Command::Run(run) } = config::parse(&words, "/none".as_ref()).unwrap() else {
        panic!("not run")
    };
    let needed = run.stop_timeout + crate::session::CLOSING;
    let pod = &object("DaemonSet")["spec"]["template"]["spec"];
    assert!(pod["terminationGracePeriodSeconds"].as_u64().unwrap() > needed.as_secs());
    let unit = UNIT.lines().find_map(|line| line.strip_prefix("TimeoutStopSec=")).unwrap();
    assert!(unit.parse::<u64>().unwrap() > needed.as_secs());
}
