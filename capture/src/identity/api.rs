//! The Docker-compatible API, as Docker and podman serve it.

use std::path::PathBuf;
use std::sync::LazyLock;
use std::time::Duration;

use bollard::errors::Error as ApiError;
use bollard::models::{ContainerInspectResponse, ContainerStateStatusEnum, ImageInspect};
use bollard::query_parameters::{InspectContainerOptions, ListContainersOptions};
use bollard::{API_DEFAULT_VERSION, Docker};
use chrono::{DateTime, Datelike as _, Utc};

use super::endpoint::Address;
use super::heard::{Heard, Told};
use super::{Identity, IdentityError, State, allowed_labels, container_of};
use crate::event::Pid;
use crate::hierarchy::Hierarchy;

/// One answer. A runtime that holds a container's lock while it starts it answers late.
const TIMEOUT_SECONDS: u64 = 20;
/// The first answer, which nothing holds up.
const FIRST_ANSWER: Duration = Duration::from_secs(5);

/// A connection to one API.
#[derive(Clone)]
pub(super) struct Api {
    docker: Docker,
    address: String,
    /// What was announced, where somebody listens.
    heard: Option<Heard>,
}

impl std::fmt::Debug for Api {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Api").field(&self.address).finish()
    }
}

impl Api {
    /// Connects to the API and has it answer.
    pub(super) async fn connect(address: &Address) -> Result<Self, String> {
        let docker = match address {
            Address::Unix(path) => {
                if let Err(error) = std::os::unix::net::UnixStream::connect(path) {
                    return Err(error.to_string());
                }
                let path = path.to_str().ok_or("not UTF-8")?;
                Docker::connect_with_socket(path, TIMEOUT_SECONDS, API_DEFAULT_VERSION)
            }
            Address::Tcp(host) => Docker::connect_with_http(host, TIMEOUT_SECONDS, API_DEFAULT_VERSION),
        };
        let docker = docker.map_err(|error| error.to_string())?;
        let docker = tokio::time::timeout(FIRST_ANSWER, docker.negotiate_version())
            .await
            .map_err(|_| format!("no answer within {} s", FIRST_ANSWER.as_secs()))?
            .map_err(|error| error.to_string())?;
        Ok(Self { docker, address: address.to_string(), heard: None })
    }

    /// A container by name, id or start of its id; none where there is none.
    pub(super) async fn find(&self, name: &str) -> Result<Option<Identity>, IdentityError> {
        let failed = |source| IdentityError::Source {
            source_name: self.address.clone(),
            name: name.to_owned(),
            source: Box::new(source),
        };
        // The name becomes part of a URL's path.
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
        if name.is_empty() || !name.bytes().all(plain) {
            return Ok(None);
        }
        let container = match self.docker.inspect_container(name, None::<InspectContainerOptions>).await {
            Ok(container) => container,
            Err(ApiError::DockerResponseServerError { status_code: 404, .. }) => {
                return Ok(self.announced(name).await);
            }
            // podman has states that Docker has not, `stopped` among them, which a container has for a moment when it ends.
            Err(error @ ApiError::JsonDataError { .. }) => {
                return self.announced(name).await.map(Some).ok_or_else(|| failed(error));
            }
            Err(error) => return Err(failed(error)),
        };
        let image = match &container.image {
            // An image that was removed under its container has no digest; that is no failure.
            Some(id) => self.docker.inspect_image(id).await.ok(),
            None => None,
        };
        Ok(Some(identity(container, image.as_ref())))
    }

    /// Keeps what the runtime announces from here on, for containers that are gone when they are asked about.
    pub(super) fn listen(&mut self) {
        self.heard.get_or_insert_with(|| Heard::listen(self.docker.clone()));
    }

    async fn announced(&self, id: &str) -> Option<Identity> {
        let Told { name, image: reference, labels } = self.heard.as_ref()?.of(id)?;
        let image = match &reference {
            Some(reference) if !reference.is_empty() => self.docker.inspect_image(reference).await.ok(),
            _ => None,
        };
        let image_id = image.as_ref().and_then(|image| image.id.clone()).unwrap_or_default();
        let reference = reference.and_then(|reference| named(reference, &image_id, image.as_ref()));
        Some(Identity {
            name,
            digest: image.as_ref().and_then(|image| digest_of(image, reference.as_deref())),
            image: reference,
            labels,
            state: State::Exited,
            ..Identity::unknown(id)
        })
    }

    /// Names of all containers.
    pub(super) async fn names(&self) -> Result<Vec<String>, ApiError> {
        let options = ListContainersOptions { all: true, ..ListContainersOptions::default() };
        let containers = self.docker.list_containers(Some(options)).await?;
        let names = containers.into_iter().flat_map(|container| container.names.unwrap_or_default());
        Ok(names.map(|name| name.trim_start_matches('/').to_owned()).collect())
    }
}

fn identity(container: ContainerInspectResponse, image: Option<&ImageInspect>) -> Identity {
    let state = container.state.unwrap_or_default();
    let config = container.config.unwrap_or_default();
    let image_id = container.image.unwrap_or_default();
    let reference = config.image.and_then(|reference| named(reference, &image_id, image));
    let started = state.started_at.as_deref().and_then(|text| DateTime::parse_from_rfc3339(text).ok());
    let id = container.id.unwrap_or_default();
    let init = state.pid.and_then(|pid| u32::try_from(pid).ok()).filter(|pid| *pid > 0).map(Pid);
    Identity {
        name: container
            .name
            .map(|name| name.trim_start_matches('/').to_owned())
            .filter(|name| !name.is_empty()),
        digest: image.and_then(|image| digest_of(image, reference.as_deref())),
        image: reference,
        labels: allowed_labels(config.labels.unwrap_or_default()),
        // A container that never started has the year 1.
        started: started
            .map(|time| time.with_timezone(&Utc))
            .filter(|time| time.year() >= 1970)
            .map(whole_ms),
        // The API may number processes in another pid namespace than ours.
        init: init.filter(|pid| is_of(*pid, &id)),
        state: match state.status {
            Some(ContainerStateStatusEnum::CREATED) => State::Unstarted,
            Some(
                ContainerStateStatusEnum::EXITED
                | ContainerStateStatusEnum::DEAD
                | ContainerStateStatusEnum::REMOVING,
            ) => State::Exited,
            // podman says `initialized`, which Docker does not have.
            _ if state.running == Some(false) => State::Unstarted,
            _ => State::Running,
        },
        id,
        ..Identity::default()
    }
}

/// A container that was made from an image's id has the id as its reference: then a tag of the image names it, or nothing.
fn named(reference: String, image_id: &str, image: Option<&ImageInspect>) -> Option<String> {
    let hex = image_id.trim_start_matches("sha256:");
    let given = reference.trim_start_matches("sha256:");
    if given.len() >= 12 && hex.starts_with(given) {
        let mut tags = image?.repo_tags.clone()?;
        tags.sort_unstable();
        return tags.into_iter().find(|tag| !tag.contains("<none>"));
    }
    (!reference.is_empty()).then_some(reference)
}

/// The digest under the container's own repository, or else the only one there is.
fn digest_of(image: &ImageInspect, reference: Option<&str>) -> Option<String> {
    let digests = image.repo_digests.as_deref().unwrap_or_default();
    let repository = |text: &str| {
        wsp_schemas::image::Workload::parse(text).ok().map(|workload| workload.name().to_owned())
    };
    let own = reference.and_then(repository);
    let of_own = digests.iter().find(|digest| own.is_some() && repository(digest) == own);
    let digest = of_own.or_else(|| digests.first().filter(|_| digests.len() == 1))?;
    digest.split_once('@').map(|(_, digest)| digest.to_owned())
}

pub(super) fn whole_ms(time: DateTime<Utc>) -> DateTime<Utc> {
    DateTime::from_timestamp_millis(time.timestamp_millis()).unwrap_or(time)
}

/// True where a process of ours by that number is in the container's cgroup.
pub(super) fn is_of(pid: Pid, id: &str) -> bool {
    cgroup_of(pid).is_some_and(|path| container_of(&path).is_some_and(|(found, _)| found == id))
}

/// The cgroup of a process, below the mount.
pub(super) fn cgroup_of(pid: Pid) -> Option<Vec<u8>> {
    // It does not change while the host runs.
    static HIERARCHY: LazyLock<Option<Hierarchy>> = LazyLock::new(|| Hierarchy::of_host().ok().flatten());
    let cgroups = std::fs::read(format!("/proc/{}/cgroup", pid.0)).ok()?;
    HIERARCHY.as_ref()?.path_in(&cgroups).map(<[u8]>::to_vec)
}

impl Identity {
    /// The path of the container's top cgroup below the mount, by its init task; none while it has none.
    pub fn cgroup_path(&self) -> Option<PathBuf> {
        use std::os::unix::ffi::OsStrExt as _;
        let path = cgroup_of(self.init?)?;
        let (id, top) = container_of(&path)?;
        (id == self.id).then(|| PathBuf::from(std::ffi::OsStr::from_bytes(top)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image(tags: &[&str], digests: &[&str]) -> ImageInspect {
        let owned = |texts: &[&str]| Some(texts.iter().map(|text| (*text).to_owned()).collect());
        ImageInspect { repo_tags: owned(tags), repo_digests: owned(digests), ..ImageInspect::default() }
    }

    #[test]
    fn an_image_id_is_no_name() {
        let id = format!("sha256:{}", "4f3c".repeat(16));
        let tagged = image(&["localhost/web:2", "localhost/web:1"], &[]);
        assert_eq!(named("4f3c4f3c4f3c".to_owned(), &id, Some(&tagged)).as_deref(), Some("localhost/web:1"));
        assert_eq!(named(id.clone(), &id, Some(&image(&[], &[]))), None);
        assert_eq!(named("nginx:1".to_owned(), &id, None).as_deref(), Some("nginx:1"));
    }

    #[test]
    fn the_digest_is_that_of_the_own_repository() {
        let digest = |letter: &str| format!("sha256:{}", letter.repeat(64));
        let (a, b) = (
            format!("docker.io/library/nginx@{}", digest("a")),
            format!("mirror.local/nginx@{}", digest("b")),
        );
        let both = image(&[], &[&b, &a]);
        assert_eq!(digest_of(&both, Some("nginx:1.25")), Some(digest("a")));
        assert_eq!(digest_of(&both, Some("other")), None);
        assert_eq!(digest_of(&image(&[], &[&b]), None), Some(digest("b")));
    }
}
