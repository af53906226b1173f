//! Who a container is: name, image, labels, from whoever knows.
//!
//! Sources are asked in order, the first that knows the container answers. There is one in this version, the
//! Docker-compatible API; CRI, the runtimes' files on disk and a map given by hand take their places in [`Source`].

mod api;
mod heard;
mod resolve;

use std::collections::BTreeMap;
use std::fmt;

use chrono::{DateTime, Utc};
use wsp_schemas::image::Workload;
use wsp_schemas::snapshot::{Container, Image};

pub use self::api::Api;
pub use self::resolve::{Pending, resolve};
use crate::event::Pid;

/// Labels that are recorded: who runs the container and what it says it is. Everything else may hold secrets.
const LABELS: [&str; 12] = [
    "app",
    "app.kubernetes.io/component",
    "app.kubernetes.io/instance",
    "app.kubernetes.io/name",
    "app.kubernetes.io/part-of",
    "app.kubernetes.io/version",
    "com.docker.compose.project",
    "com.docker.compose.service",
    "io.kubernetes.container.name",
    "io.kubernetes.pod.name",
    "io.kubernetes.pod.namespace",
    "org.opencontainers.image.version",
];
/// Bytes of a label's value; a longer one is left out.
const LABEL_BYTES: usize = 1024;

/// What a source tells of a container.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Identity {
    /// The runtime's id.
    pub id: String,
    /// The runtime's name.
    pub name: Option<String>,
    /// Image reference as the runtime has it.
    pub image: Option<String>,
    /// Digest of the image's manifest or index.
    pub digest: Option<String>,
    /// Allow-listed labels.
    pub labels: BTreeMap<String, String>,
    /// When it started.
    pub started: Option<DateTime<Utc>>,
    /// Its init task, where it has one.
    pub init: Option<Pid>,
    /// How far it is.
    pub state: State,
}

/// How far a container is in its life.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum State {
    /// Created, or initialised: nothing of the image has run.
    Unstarted,
    /// Started.
    #[default]
    Running,
    /// Over.
    Exited,
}

impl Identity {
    /// What is known of a container that no source knows.
    pub fn unknown(id: &str) -> Self {
        Self { id: id.to_owned(), ..Self::default() }
    }

    /// The image for a snapshot. A reference that is none leaves the snapshot without a workload.
    pub fn to_image(&self) -> Image {
        let workload = self.image.as_deref().and_then(|reference| match Workload::parse(reference) {
            Ok(workload) => Some(workload),
            Err(error) => {
                tracing::warn!(container = self.id, %error, "the container's snapshots are kept without a workload");
                None
            }
        });
        Image { workload, digest: self.digest.clone() }
    }

    /// The container for a snapshot.
    pub fn to_container(&self) -> Container {
        Container {
            id: self.id.clone(),
            name: self.name.clone(),
            started: self.started,
            labels: self.labels.clone(),
        }
    }

    /// Name and short id, for people.
    pub fn display(&self) -> impl fmt::Display + '_ {
        struct Shown<'a>(&'a Identity);
        impl fmt::Display for Shown<'_> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                let id = short_id(&self.0.id);
                match &self.0.name {
                    Some(name) => write!(f, "{} ({id})", wsp_schemas::text::for_display(name)),
                    None => f.write_str(id),
                }
            }
        }
        Shown(self)
    }
}

/// The first 12 characters, as runtimes show them.
pub fn short_id(id: &str) -> &str {
    id.get(..12).unwrap_or(id)
}

/// Keeps the labels that are recorded.
fn allowed_labels(labels: impl IntoIterator<Item = (String, String)>) -> BTreeMap<String, String> {
    labels
        .into_iter()
        .filter(|(key, value)| LABELS.contains(&key.as_str()) && value.len() <= LABEL_BYTES)
        .collect()
}

/// The container's id in a cgroup path, and the path up to the container's top cgroup: the first component with a run of 64
/// hex digits. Monitors (`libpod-conmon-…`) are none.
pub fn container_of(cgroup: &[u8]) -> Option<(String, &[u8])> {
    let mut end = 0;
    for part in cgroup.split(|byte| *byte == b'/') {
        end += part.len();
        let hex = |byte: &u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        let monitor = part.windows(4).any(|window| window == b"conm");
        if let Some(id) = part.split(|byte| !hex(byte)).find(|run| run.len() == 64).filter(|_| !monitor) {
            return Some((String::from_utf8_lossy(id).into_owned(), &cgroup[..end]));
        }
        end += 1;
    }
    None
}

/// Who can be asked.
#[derive(Debug, Clone)]
pub enum Source {
    /// A Docker-compatible API.
    Api(Api),
}

/// All who can be asked, in order.
#[derive(Debug, Clone)]
pub struct Sources(Vec<Source>);

/// A container that cannot be named.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// Nobody to ask.
    #[error("no container runtime answers; tried {}", .tried.join(", "))]
    NoRuntime {
        /// Sockets, each with what was wrong.
        tried: Vec<String>,
    },
    /// A URL that names no API.
    #[error(
        "`{url}` is not the address of a container runtime: give unix:///PATH, a path, or tcp://HOST:PORT"
    )]
    Url {
        /// As it was given.
        url: String,
    },
    /// Nobody knows it.
    #[error("there is no container `{name}`{}", near_text(near))]
    NoContainer {
        /// As it was given.
        name: String,
        /// Names that look like it.
        near: Vec<String>,
    },
    /// A source failed.
    #[error("{source_name} could not tell about container `{name}`")]
    Source {
        /// Which.
        source_name: String,
        /// The container.
        name: String,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

fn near_text(near: &[String]) -> String {
    if near.is_empty() {
        return "; `podman ps -a` or `docker ps -a` shows those that there are".to_owned();
    }
    let near: Vec<String> =
        near.iter().map(|name| format!("`{}`", wsp_schemas::text::for_display(name))).collect();
    format!("; did you mean {}?", near.join(" or "))
}

impl Sources {
    /// Connects to the given API, or to those that are found in the usual places.
    pub async fn open(url: Option<&str>) -> Result<Self, IdentityError> {
        let apis = match url {
            Some(url) => vec![Api::open(url).await?],
            None => Api::open_usual().await?,
        };
        Ok(Self(apis.into_iter().map(Source::Api).collect()))
    }

    /// Nobody to ask: every container is unknown.
    pub const fn none() -> Self {
        Self(Vec::new())
    }

    /// Keeps what the runtimes announce from here on: a container may be gone before it can be asked about.
    pub fn listen(&mut self) {
        for Source::Api(api) in &mut self.0 {
            api.listen();
        }
    }

    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Finds a container by name, id, or start of its id.
    pub async fn find(&self, name: &str) -> Result<Identity, IdentityError> {
        let mut names = Vec::new();
        let mut failed = None;
        for Source::Api(api) in &self.0 {
            match api.find(name).await {
                Ok(Some(identity)) => return Ok(identity),
                Ok(None) => names.extend(api.names().await.unwrap_or_default()),
                Err(error) => failed = failed.or(Some(error)),
            }
        }
        match failed {
            Some(error) => Err(error),
            None => Err(IdentityError::NoContainer { name: name.to_owned(), near: near(name, names) }),
        }
    }
}

/// Up to three names that look like the given one, the nearest first.
fn near(name: &str, names: Vec<String>) -> Vec<String> {
    let mut near: Vec<(f64, String)> = names
        .into_iter()
        .map(|other| (strsim::jaro_winkler(name, &other), other))
        .filter(|(similarity, _)| *similarity > 0.8)
        .collect();
    near.sort_by(|a, b| b.0.total_cmp(&a.0));
    near.into_iter().map(|(_, name)| name).take(3).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_found_in_cgroup_paths() {
        let id = "4f3c".repeat(16);
        for (path, top) in [
            ("/system.slice/docker-ID.scope", "/system.slice/docker-ID.scope"),
            ("/docker/ID", "/docker/ID"),
            ("/libpod_parent/libpod-ID", "/libpod_parent/libpod-ID"),
            ("/machine.slice/libpod-ID.scope/container", "/machine.slice/libpod-ID.scope"),
            ("/kubepods/burstable/podx/ID/init.scope", "/kubepods/burstable/podx/ID"),
        ] {
            let (path, top) = (path.replace("ID", &id), top.replace("ID", &id));
            assert_eq!(container_of(path.as_bytes()), Some((id.clone(), top.as_bytes())));
        }
        for path in ["/", "/user.slice", "/machine.slice/libpod-conmon-ID.scope", "/x/IDa"] {
            assert_eq!(container_of(path.replace("ID", &id).as_bytes()), None, "{path}");
        }
    }

    #[test]
    fn only_listed_labels_are_kept() {
        let labels = [("app", "web"), ("secret", "x")].map(|(key, value)| (key.to_owned(), value.to_owned()));
        assert_eq!(allowed_labels(labels).into_keys().collect::<Vec<_>>(), ["app"]);
    }

    #[test]
    fn near_names_are_shown() {
        let names = ["web-1", "web-2", "database"].map(str::to_owned).to_vec();
        let error = IdentityError::NoContainer { name: "web1".to_owned(), near: near("web1", names) };
        assert_eq!(error.to_string(), "there is no container `web1`; did you mean `web-1` or `web-2`?");
    }

    #[test]
    fn a_reference_that_is_none_leaves_no_workload() {
        let identity = Identity { image: Some("no such:thing here".to_owned()), ..Identity::unknown("x") };
        assert_eq!(identity.to_image().workload, None);
    }
}
