//! Pods of podman's: their containers are workloads; what holds their namespaces is none, nor is the pod.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use wsp_tests::podman::eventually;
use wsp_tests::program::{Ended, finish};

use super::{Api, Capture, image, of_kind, snapshots};

/// A pod with one container, both removed with the value.
struct Pod {
    name: String,
    id: String,
    settings: PathBuf,
}

impl Pod {
    fn start(name: &str, folder: &Path, script: &str) -> Self {
        let settings = folder.join("containers.conf");
        // Infra containers take limits from here only; these every machine allows.
        let limits = "[containers]\ndefault_ulimits = [\"nofile=1024:1024\", \"nproc=1024:1024\"]\n";
        std::fs::write(&settings, limits).unwrap();
        let mut pod = Self { name: name.to_owned(), id: String::new(), settings };
        let _ = pod.podman(&["pod", "rm", "-f", "-t", "0", name]);
        pod.podman(&["pod", "create", "--name", name, "--network=none"]).ok().trim().clone_into(&mut pod.id);
        let _ = pod.podman(&["pod", "start", name]).ok();
        let inner = format!("{name}-app");
        let image = image("busy-1");
        let _ =
            pod.podman(&["run", "-d", "--pod", name, "--name", &inner, &image, "/bin/sh", "-c", script]).ok();
        pod
    }

    fn podman(&self, arguments: &[&str]) -> Ended {
        let mut podman = Command::new("podman");
        finish(podman.env("CONTAINERS_CONF", &self.settings).args(["--runtime", "runc"]).args(arguments))
    }
}

impl Drop for Pod {
    fn drop(&mut self) {
        let _ = self.podman(&["pod", "rm", "-f", "-t", "0", &self.name]);
        // podman may leave them behind, empty.
        for hierarchy in std::fs::read_dir("/sys/fs/cgroup").into_iter().flatten().flatten() {
            let _ = std::fs::remove_dir(hierarchy.path().join("libpod_parent").join(&self.id));
        }
    }
}

#[test]
fn a_pod_of_podmans_is_its_containers() {
    let folder = tempfile::tempdir().unwrap();
    let api = Api::start(folder.path());
    let path = folder.path().join("store");
    let (store, spool) = (path.display().to_string(), folder.path().join("spool").display().to_string());
    let script = "while true; do cat /etc/passwd >/dev/null; sleep 0.2; done";
    let before = Pod::start("wsp-pod-before", folder.path(), script);
    #[rustfmt::skip]
    let arguments = [
        "run", "--store", &store, "--spool", &spool, "--interval", "4s", "--runtime-socket", &api.url,
    ];
    let capture = Capture::start(&arguments, "capturing");
    let after = Pod::start("wsp-pod-after", folder.path(), script);
    let seen = || {
        let mut seen: BTreeMap<String, bool> = BTreeMap::new();
        for snapshot in snapshots(&path) {
            let name = snapshot.meta.container.name.clone().unwrap_or_default();
            let programs = of_kind(&snapshot, "process", &["argv0"]);
            assert!(programs.contains(&vec!["cat".to_owned()]), "{name}: {programs:?}");
            *seen.entry(name).or_default() |= snapshot.meta.covers_start;
        }
        seen
    };
    let both =
        BTreeMap::from([("wsp-pod-before-app".to_owned(), false), ("wsp-pod-after-app".to_owned(), true)]);
    eventually("both containers have a window", || seen().len() >= 2);
    drop((before, after));
    capture.stop();
    assert_eq!(seen(), both);
}
