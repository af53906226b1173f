//! OCI bundles of pods' containers: `config.json`, whose annotations say who the container is. containerd's CRI plugin and
//! CRI-O write them under names of their own.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::super::image::is_name;
use super::super::{Identity, State, allowed_labels};
use super::storage;

/// Folders of containerd, and of the one of k3s: `<namespace>/<id>` below.
const CONTAINERD: [&str; 2] =
    ["run/containerd/io.containerd.runtime.v2.task", "run/k3s/containerd/io.containerd.runtime.v2.task"];

#[derive(Debug, Deserialize)]
struct Bundle {
    #[serde(default)]
    annotations: HashMap<String, String>,
}

/// Names of annotations.
struct Names {
    kind: &'static str,
    images: &'static [&'static str],
    /// Names of labels, with the annotations that have their values.
    labels: [(&'static str, &'static str); 4],
}

const OF_CONTAINERD: Names = Names {
    kind: "io.kubernetes.cri.container-type",
    images: &["io.kubernetes.cri.image-name"],
    labels: [
        ("io.kubernetes.container.name", "io.kubernetes.cri.container-name"),
        ("io.kubernetes.pod.name", "io.kubernetes.cri.sandbox-name"),
        ("io.kubernetes.pod.namespace", "io.kubernetes.cri.sandbox-namespace"),
        ("io.kubernetes.pod.uid", "io.kubernetes.cri.sandbox-uid"),
    ],
};

const OF_CRIO: Names = Names {
    kind: "io.kubernetes.cri-o.ContainerType",
    images: &["io.kubernetes.cri-o.ImageName", "io.kubernetes.cri-o.ImageRef"],
    labels: [
        ("io.kubernetes.container.name", "io.kubernetes.container.name"),
        ("io.kubernetes.pod.name", "io.kubernetes.pod.name"),
        ("io.kubernetes.pod.namespace", "io.kubernetes.pod.namespace"),
        ("io.kubernetes.pod.uid", "io.kubernetes.pod.uid"),
    ],
};

/// The folders that there are.
pub(super) fn folders(root: &Path) -> Vec<PathBuf> {
    CONTAINERD.iter().map(|folder| root.join(folder)).filter(|folder| folder.is_dir()).collect()
}

pub(super) fn find(root: &Path, id: &str) -> Option<Identity> {
    let namespaces = folders(root).into_iter().flat_map(|folder| {
        super::entries(&folder, "").into_iter().map(move |namespace| folder.join(namespace))
    });
    let of_containerd = namespaces.map(|folder| (folder, "", "init.pid", &OF_CONTAINERD));
    let run = storage::top(root, "runroot", "run/containers/storage").join("overlay-containers");
    let mut places = of_containerd.chain([(run, "userdata", "userdata/pidfile", &OF_CRIO)]);
    places.find_map(|(folder, below, pidfile, names)| {
        let full = super::entries(&folder, id).into_iter().next()?;
        let bundle = folder.join(&full);
        let Bundle { annotations } = super::json(&bundle.join(below).join("config.json"))?;
        let identity = identity(&full, &annotations, names)?;
        Some(Identity { init: super::init(&bundle.join(pidfile), &full), ..identity })
    })
}

/// None for a bundle that no CRI runtime made.
fn identity(id: &str, annotations: &HashMap<String, String>, names: &Names) -> Option<Identity> {
    let kind = annotations.get(names.kind)?;
    let labels = names
        .labels
        .iter()
        .filter_map(|(label, annotation)| Some(((*label).to_owned(), annotations.get(*annotation)?.clone())));
    let labels = allowed_labels(labels);
    let mut images = names.images.iter().filter_map(|annotation| annotations.get(*annotation));
    let reference = images.find(|image| is_name(image));
    let digests = names.images.iter().filter_map(|annotation| annotations.get(*annotation)?.split_once('@'));
    Some(Identity {
        name: labels.get("io.kubernetes.container.name").or(labels.get("io.kubernetes.pod.name")).cloned(),
        image: reference.cloned(),
        digest: digests.map(|(_, digest)| digest.to_owned()).next(),
        labels,
        // It does not tell: what runs in its cgroup does.
        state: State::Unstarted,
        sandbox: kind == "sandbox",
        ..Identity::unknown(id)
    })
}
