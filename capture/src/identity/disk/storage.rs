//! `containers/storage`, where podman and CRI-O keep images and containers: `containers.json` and `images.json`.

use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::super::image::is_name;
use super::super::{Identity, State, is_id};

/// Name of a list of containers.
const LIST: &str = "containers.json";

#[derive(Debug, Deserialize)]
struct Container {
    id: String,
    #[serde(default)]
    names: Vec<String>,
    #[serde(default)]
    image: String,
    /// JSON again.
    #[serde(default)]
    metadata: String,
}

/// What podman and CRI-O write into `metadata`.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
struct Metadata {
    image_name: String,
    name: String,
}

#[derive(Debug, Deserialize)]
struct Image {
    id: String,
    #[serde(default)]
    digest: Option<String>,
    #[serde(default)]
    names: Option<Vec<String>>,
}

/// The lists of containers that there are: one for each storage driver that was ever used.
pub(super) fn lists(root: &Path) -> Vec<PathBuf> {
    let top = top(root, "graphroot", "var/lib/containers/storage");
    let folders = super::entries(&top, "").into_iter().filter(|name| name.ends_with("-containers"));
    let lists = folders.map(|folder| top.join(folder).join(LIST));
    lists.filter(|list| list.is_file()).collect()
}

pub(super) fn find(root: &Path, name: &str) -> Option<Identity> {
    lists(root).into_iter().find_map(|list| {
        let containers: Vec<Container> = super::json(&list)?;
        let is_id = is_id(name);
        let container = containers
            .into_iter()
            .find(|one| one.names.iter().any(|of| of == name) || (is_id && one.id.starts_with(name)))?;
        Some(identity(root, &list, container))
    })
}

fn identity(root: &Path, list: &Path, container: Container) -> Identity {
    let metadata: Metadata = serde_json::from_str(&container.metadata).unwrap_or_default();
    let image = image(list, &container.image);
    let (digest, mut names) =
        image.map(|image| (image.digest, image.names.unwrap_or_default())).unwrap_or_default();
    names.sort_unstable();
    // A container that was made from an image's id is named by a tag of the image.
    let named = Some(metadata.image_name).filter(|name| is_name(name)).or_else(|| names.into_iter().next());
    let folder = format!("overlay-containers/{}/userdata/pidfile", container.id);
    let pidfile = top(root, "runroot", "run/containers/storage").join(folder);
    Identity {
        name: container.names.into_iter().next().or(Some(metadata.name)).filter(|name| !name.is_empty()),
        image: named,
        digest,
        init: super::init(&pidfile, &container.id),
        state: State::Unstarted,
        ..Identity::unknown(&container.id)
    }
}

/// The list of images stands beside that of the containers: `overlay-containers`, `overlay-images`.
fn image(list: &Path, id: &str) -> Option<Image> {
    let folder = list.parent()?;
    let driver = folder.file_name()?.to_str()?.strip_suffix("-containers")?;
    let images: Vec<Image> =
        super::json(&folder.with_file_name(format!("{driver}-images")).join("images.json"))?;
    images.into_iter().find(|image| image.id == id)
}

/// The folder that `storage.conf` sets, or the usual one.
pub(super) fn top(root: &Path, key: &str, usual: &str) -> PathBuf {
    let files = ["etc/containers/storage.conf", "usr/share/containers/storage.conf"];
    let set = files.iter().find_map(|file| setting(&super::read(&root.join(file)).ok()?, key));
    set.map_or_else(|| root.join(usual), |path| super::below(root, &path))
}

/// One text of a TOML file whose keys are plain. An empty one is not set.
fn setting(text: &str, key: &str) -> Option<String> {
    let value =
        text.lines().find_map(|line| line.trim().strip_prefix(key)?.trim_start().strip_prefix('='))?;
    let value = value.trim().trim_start_matches(['"', '\'']);
    let value = value.split(['"', '\'']).next().unwrap_or_default();
    (!value.is_empty()).then(|| value.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn storage_conf_is_read() {
        let text = "[storage]\n# graphroot = \"/no\"\nrunroot=''\n graphroot = \"/data/storage\" # here\n";
        assert_eq!(setting(text, "graphroot").as_deref(), Some("/data/storage"));
        assert_eq!(setting(text, "runroot"), None);
    }
}
