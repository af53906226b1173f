//! Who a container is: name, image, labels, from whoever knows.
//!
//! Sources are asked in order ([`Sources`]), the first that knows the container answers; what a map given by hand says stands
//! above that.

mod api;
mod cri;
mod disk;
mod endpoint;
mod heard;
mod image;
mod map;
mod remembered;
mod resolve;
mod sources;

use std::collections::BTreeMap;
use std::fmt;

use chrono::{DateTime, Utc};
use wsp_schemas::image::Workload;
use wsp_schemas::snapshot::{Container, Image};

pub use self::map::MapError;
pub use self::resolve::{Pending, resolve};
pub use self::sources::{Checked, IdentityError, Places, Reach, Sources};
use crate::event::Pid;

/// Labels that are recorded: who runs the container and what it says it is. Everything else may hold secrets.
const LABELS: [&str; 13] = [
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
    "io.kubernetes.pod.uid",
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
    /// It holds a pod's namespaces together and runs nothing of the workload: a pause container.
    pub sandbox: bool,
}

/// How far a container is in its life.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum State {
    /// Created, or initialised: nothing of the image has run. Also where the source does not tell: what runs in its cgroup says
    /// more.
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

/// Digits of an id that are enough: as many as the runtimes show.
const ID_DIGITS: usize = 12;

/// True for an id, and for the start of one as runtimes show it.
pub fn is_id(text: &str) -> bool {
    (ID_DIGITS..=64).contains(&text.len()) && is_hex(text)
}

fn is_hex(text: &str) -> bool {
    text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

/// Keeps the labels that are recorded.
fn allowed_labels(labels: impl IntoIterator<Item = (String, String)>) -> BTreeMap<String, String> {
    labels
        .into_iter()
        .filter(|(key, value)| LABELS.contains(&key.as_str()) && value.len() <= LABEL_BYTES)
        .collect()
}

/// The container's id in a cgroup path, and the path up to the container's top cgroup: the first component with a run of 64
/// hex digits. Monitors (`libpod-conmon-…`) are none, nor are podman's pods (`libpod_parent/…`, `machine-libpod_pod_….slice`): their
/// containers are below them.
pub fn container_of(cgroup: &[u8]) -> Option<(String, &[u8])> {
    let (mut end, mut above): (usize, &[u8]) = (0, b"");
    for part in cgroup.split(|byte| *byte == b'/') {
        end += part.len();
        let hex = |byte: &u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        let monitor = part.windows(4).any(|window| window == b"conm");
        let pod = part.ends_with(b".slice") || (part.len() == 64 && above.ends_with(b"pod_parent"));
        if let Some(id) =
            part.split(|byte| !hex(byte)).find(|run| run.len() == 64).filter(|_| !monitor && !pod)
        {
            return Some((String::from_utf8_lossy(id).into_owned(), &cgroup[..end]));
        }
        end += 1;
        above = part;
    }
    None
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
            ("/libpod_parent/ID/libpod-ID", "/libpod_parent/ID/libpod-ID"),
            (
                "/machine.slice/machine-libpod_pod_ID.slice/libpod-ID.scope/container",
                "/machine.slice/machine-libpod_pod_ID.slice/libpod-ID.scope",
            ),
        ] {
            let (path, top) = (path.replace("ID", &id), top.replace("ID", &id));
            assert_eq!(container_of(path.as_bytes()), Some((id.clone(), top.as_bytes())));
        }
        for path in [
            "/",
            "/user.slice",
            "/machine.slice/libpod-conmon-ID.scope",
            "/x/IDa",
            "/libpod_parent/ID",
            "/machine.slice/machine-libpod_pod_ID.slice",
        ] {
            assert_eq!(container_of(path.replace("ID", &id).as_bytes()), None, "{path}");
        }
    }

    #[test]
    fn only_listed_labels_are_kept() {
        let labels = [("app", "web"), ("secret", "x")].map(|(key, value)| (key.to_owned(), value.to_owned()));
        assert_eq!(allowed_labels(labels).into_keys().collect::<Vec<_>>(), ["app"]);
    }

    #[test]
    fn a_reference_that_is_none_leaves_no_workload() {
        let identity = Identity { image: Some("no such:thing here".to_owned()), ..Identity::unknown("x") };
        assert_eq!(identity.to_image().workload, None);
    }
}
