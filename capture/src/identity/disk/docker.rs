//! Docker's folder: `containers/<id>/config.v2.json`, and `image/<driver>/repositories.json` for digests.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use chrono::{DateTime, Datelike as _, Utc};
use serde::Deserialize;
use wsp_schemas::image::Workload;

use super::super::api::{is_of, whole_ms};
use super::super::image::is_name;
use super::super::{Identity, State, allowed_labels, is_id};
use crate::event::Pid;

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Container {
    #[serde(rename = "ID")]
    id: String,
    #[serde(default)]
    name: String,
    /// The image's id.
    #[serde(default)]
    image: String,
    #[serde(default)]
    config: Config,
    #[serde(default)]
    state: Running,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
struct Config {
    image: String,
    labels: Option<HashMap<String, String>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
struct Running {
    running: bool,
    pid: u32,
    started_at: String,
}

/// References of images by repository: tags and digests, each with the image's id.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
struct Repositories {
    repositories: HashMap<String, HashMap<String, String>>,
}

/// The folder that `daemon.json` sets, or the usual one, where it has containers.
pub(super) fn folder(root: &Path) -> Option<PathBuf> {
    #[derive(Deserialize)]
    #[serde(rename_all = "kebab-case")]
    struct Daemon {
        data_root: Option<String>,
    }
    let set = super::json::<Daemon>(&root.join("etc/docker/daemon.json")).and_then(|daemon| daemon.data_root);
    let top = set.map_or_else(|| root.join("var/lib/docker"), |path| super::below(root, &path));
    Some(top.join("containers")).filter(|folder| folder.is_dir())
}

pub(super) fn find(root: &Path, name: &str) -> Option<Identity> {
    let folder = folder(root)?;
    let read = |id: String| super::json::<Container>(&folder.join(id).join("config.v2.json"));
    let container = if is_id(name) {
        super::entries(&folder, name).into_iter().find_map(read)?
    } else {
        let mut all = super::entries(&folder, "").into_iter().filter_map(read);
        all.find(|container| container.name.trim_start_matches('/') == name)?
    };
    let repositories = repositories(folder.parent()?);
    Some(identity(container, &repositories))
}

fn identity(container: Container, repositories: &Repositories) -> Identity {
    let Container { id, name, image, config, state } = container;
    // A container that was made from an image's id is named by a tag of the image.
    let image_id =
        |text: &str| text == image || (is_id(text) && image.trim_start_matches("sha256:").starts_with(text));
    let named = Some(config.image).filter(|name| is_name(name) && !image_id(name));
    let reference = named.or_else(|| repositories.tag(&image));
    let started = DateTime::parse_from_rfc3339(&state.started_at).ok().map(|at| at.with_timezone(&Utc));
    // A container that never started has the year 1.
    let started = started.filter(|at| at.year() >= 1970).map(whole_ms);
    Identity {
        name: Some(name.trim_start_matches('/').to_owned()).filter(|name| !name.is_empty()),
        digest: reference.as_deref().and_then(|reference| repositories.digest(reference, &image)),
        image: reference,
        labels: allowed_labels(config.labels.unwrap_or_default()),
        started,
        init: Some(Pid(state.pid)).filter(|pid| pid.0 > 0 && is_of(*pid, &id)),
        state: match (state.running, started) {
            (true, _) => State::Running,
            (false, None) => State::Unstarted,
            (false, Some(_)) => State::Exited,
        },
        ..Identity::unknown(&id)
    }
}

/// The references of every storage driver that was ever used.
fn repositories(top: &Path) -> Repositories {
    let images = top.join("image");
    let drivers = super::entries(&images, "").into_iter();
    let files = drivers.filter_map(|driver| super::json(&images.join(driver).join("repositories.json")));
    let all = files.flat_map(|file: Repositories| file.repositories);
    Repositories { repositories: all.collect() }
}

impl Repositories {
    fn of<'a>(&'a self, image: &'a str) -> impl Iterator<Item = &'a String> {
        let references = self.repositories.values().flatten();
        references.filter(move |(_, id)| *id == image).map(|(reference, _)| reference)
    }

    /// The first tag of an image.
    fn tag(&self, image: &str) -> Option<String> {
        self.of(image).filter(|reference| !reference.contains('@')).min().cloned()
    }

    /// The digest that an image has in the repository of a reference.
    fn digest(&self, reference: &str, image: &str) -> Option<String> {
        let name = |text: &str| Workload::parse(text).ok().map(|workload| workload.name().to_owned());
        let own = name(reference)?;
        let of_own = self.of(image).filter(|known| name(known).as_ref() == Some(&own));
        of_own.filter_map(|known| known.split_once('@')).map(|(_, digest)| digest.to_owned()).min()
    }
}
