//! Who a container is, whoever tells: a runtime that comes, goes and comes back, its files, a map, a CRI.

use std::path::{Path, PathBuf};

use wsp_schemas::snapshot::Verified;
use wsp_tests::cri::Containerd;
use wsp_tests::podman::{Container, eventually, podman};

use super::{Api, Capture, image, of_kind, snapshots};

/// A daemon's place.
struct Place {
    folder: tempfile::TempDir,
    /// A host without files of runtimes.
    empty: PathBuf,
}

impl Place {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let empty = folder.path().join("host");
        std::fs::create_dir(&empty).unwrap();
        Self { folder, empty }
    }

    fn store(&self) -> PathBuf {
        self.folder.path().join("store")
    }

    /// The daemon with these sources of names.
    fn run(&self, socket: &Path, host_root: &Path, more: &[&str]) -> Capture {
        let text = |path: &Path| path.display().to_string();
        let (store, spool) = (text(&self.store()), text(&self.folder.path().join("spool")));
        let (socket, root) = (text(socket), text(host_root));
        let arguments = ["run", "--store", &store, "--spool", &spool, "--interval", "10m"];
        let names = ["--runtime-socket", &socket, "--host-root", &root];
        Capture::start(&[&arguments[..], &names, more].concat(), "capturing")
    }

    /// The only snapshot of a container, once it is there.
    fn snapshot(&self, id: &str) -> Verified {
        let of = || snapshots(&self.store()).into_iter().filter(|one| one.meta.container.id == id);
        eventually("the container's snapshot is there", || of().count() == 1);
        of().next().unwrap()
    }
}

/// A container that lives for an instant; its id. It stays in podman's books until its value goes.
fn short(name: &str) -> (Container, String) {
    let container = Container::create(name, &["--network=none", &image("busy-1"), "/bin/true"]);
    let id = podman(&["inspect", "-f", "{{.Id}}", name]).ok().trim().to_owned();
    (container, id)
}

fn workload(snapshot: &Verified) -> Option<String> {
    snapshot.meta.image.workload.as_ref().map(ToString::to_string)
}

fn has_first_exec(snapshot: &Verified) -> bool {
    of_kind(snapshot, "process", &["exe", "argv0"])
        .contains(&vec!["/bin/busybox".to_owned(), "true".to_owned()])
}

#[test]
fn without_a_runtime_its_files_name_containers() {
    let place = Place::new();
    let capture = place.run(Path::new("/nowhere/podman.sock"), Path::new("/"), &[]);
    let (container, id) = short("wsp-disk");
    container.start();
    let snapshot = place.snapshot(&id);
    capture.stop();
    assert_eq!(workload(&snapshot).as_deref(), Some("localhost/demo/busy:1"));
    assert_eq!(snapshot.meta.container.name.as_deref(), Some("wsp-disk"));
    assert!(snapshot.meta.image.digest.as_deref().unwrap().starts_with("sha256:"));
    assert!(has_first_exec(&snapshot));
}

#[test]
fn a_map_alone_names_containers_that_are_added_later() {
    let place = Place::new();
    let map = place.folder.path().join("map.jsonl");
    std::fs::write(&map, "# none yet\n").unwrap();
    let given = ["--map", map.to_str().unwrap()];
    let capture = place.run(Path::new("/nowhere/podman.sock"), &place.empty, &given);
    let (container, id) = short("wsp-map");
    let digest = format!("sha256:{}", "ab".repeat(32));
    let line = format!(
        r#"{{"container": "{}", "image": "shop/web:9", "name": "web-9", "digest": "{digest}", "labels": {{"app": "shop"}}}}"#,
        &id[..12]
    );
    std::fs::write(&map, line + "\n").unwrap();
    container.start();
    let snapshot = place.snapshot(&id);
    capture.stop();
    assert_eq!(workload(&snapshot).as_deref(), Some("docker.io/shop/web:9"));
    assert_eq!(snapshot.meta.container.name.as_deref(), Some("web-9"));
    assert_eq!(snapshot.meta.image.digest, Some(digest));
    assert_eq!(snapshot.meta.container.labels["app"], "shop");
    assert!(has_first_exec(&snapshot));
}

#[test]
fn once_finds_a_container_by_its_name_in_the_map() {
    let place = Place::new();
    let container = Container::create("wsp-map-once", &["--network=none", &image("busy-1"), "sleep", "100"]);
    container.start();
    let id = podman(&["inspect", "-f", "{{.Id}}", "wsp-map-once"]).ok();
    let map = place.folder.path().join("map.jsonl");
    std::fs::write(&map, format!(r#"{{"container": "{}", "image": "web:9", "name": "by-hand"}}"#, &id[..12]))
        .unwrap();
    let store = place.store().display().to_string();
    let (map, empty) = (map.display().to_string(), place.empty.display().to_string());
    let once = ["once", "--container", "by-hand", "--for", "1s", "--store", &store];
    let names = ["--runtime-socket", "/nowhere/podman.sock", "--host-root", &empty, "--map", &map];
    Capture::start(&[&once[..], &names].concat(), "capturing").wait();
    let snapshot = place.snapshot(id.trim());
    assert_eq!(workload(&snapshot).as_deref(), Some("docker.io/library/web:9"));
    assert!(!snapshot.meta.covers_start);
}

#[test]
fn a_runtime_that_comes_later_goes_and_comes_back_names_what_ended_meanwhile() {
    let place = Place::new();
    let socket = place.folder.path().join("podman.sock");
    let capture = place.run(&socket, &place.empty, &[]);
    for name in ["wsp-before", "wsp-between"] {
        let (container, id) = short(name);
        container.start();
        container.wait();
        // It has ended, and nobody could name it until now.
        let api = Api::start(place.folder.path());
        let snapshot = place.snapshot(&id);
        assert_eq!(workload(&snapshot).as_deref(), Some("localhost/demo/busy:1"));
        assert_eq!(snapshot.meta.container.name.as_deref(), Some(name));
        assert!(has_first_exec(&snapshot));
        drop(api);
        std::fs::remove_file(&socket).unwrap();
    }
    capture.stop();
}

#[test]
fn pods_are_named_by_cri_and_their_sandboxes_are_left_out() {
    let busy = image("busy-1");
    let Some(mut containerd) = Containerd::start(&[&busy]).unwrap() else {
        println!(
            "SKIPPED: containerd is not installed (Debian: apt-get install containerd); no CRI is tested"
        );
        return;
    };
    let place = Place::new();
    let capture = place.run(&containerd.socket(), &place.empty, &[]);
    let pod = containerd.pod("wsp-pod", &[("app", "shop"), ("secret", "x")]);
    let id = containerd.container(&pod, "web", &busy, &["/bin/true"]);
    let snapshot = place.snapshot(&id);
    capture.stop();
    assert_eq!(workload(&snapshot).as_deref(), Some("localhost/demo/busy:1"));
    assert_eq!(snapshot.meta.container.name.as_deref(), Some("web"));
    let labels: Vec<_> =
        snapshot.meta.container.labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
    assert_eq!(
        labels,
        [
            "app=shop",
            "io.kubernetes.container.name=web",
            "io.kubernetes.pod.name=wsp-pod",
            "io.kubernetes.pod.namespace=shop",
            "io.kubernetes.pod.uid=wsp-pod-uid",
        ]
    );
    assert!(has_first_exec(&snapshot));
    let sandbox = snapshots(&place.store()).into_iter().filter(|one| one.meta.container.id == pod.0).count();
    assert_eq!(sandbox, 0);
}
