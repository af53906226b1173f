//! Who can be asked, and in which order.

use std::path::{Path, PathBuf};

use super::disk::Disk;
use super::endpoint::{Address, Answer, Endpoint};
use super::map::{Map, MapError};
use super::remembered::Remembered;
use super::{Identity, State};

/// Where names are looked for.
#[derive(Debug, Clone)]
pub struct Places {
    /// The runtime's socket; none for the usual ones.
    pub socket: Option<String>,
    /// Names given by hand.
    pub map: Option<PathBuf>,
    /// Where the root of the host's file system is.
    pub host_root: PathBuf,
}

/// All who can be asked, in order: runtimes by their sockets, then by what they wrote on disk; and over them the map.
#[derive(Debug, Clone)]
pub struct Sources {
    map: Option<Map>,
    endpoints: Vec<Endpoint>,
    disk: Option<Disk>,
    /// Who containers were, for when nobody knows them any more.
    past: Remembered<Identity>,
}

/// A source, and whether it answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checked {
    /// What it is and where, or what is wrong there.
    pub text: String,
    /// Whether it answers.
    pub answers: bool,
}

/// How many runtimes can be asked.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Reach {
    /// The last question was answered.
    pub answering: usize,
    /// Somebody says that it is there, or it was; and the last question was not answered.
    pub away: usize,
}

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
    /// The map.
    #[error(transparent)]
    Map(#[from] MapError),
}

fn near_text(near: &[String]) -> String {
    if near.is_empty() {
        return "; `podman ps -a`, `docker ps -a` or `crictl ps -a` shows those that there are".to_owned();
    }
    let near: Vec<String> =
        near.iter().map(|name| format!("`{}`", wsp_schemas::text::for_display(name))).collect();
    format!("; did you mean {}?", near.join(" or "))
}

impl Sources {
    /// Finds the places where names are. Only the map is read: runtimes may start later.
    pub fn open(places: &Places) -> Result<Self, IdentityError> {
        let endpoints = match &places.socket {
            Some(url) => vec![Endpoint::new(Address::parse(url)?, true)],
            None => Endpoint::usual(&places.host_root)?,
        };
        let map = places.map.as_deref().map(Map::open).transpose()?;
        let disk = Some(Disk::new(&places.host_root));
        Ok(Self { map, endpoints, disk, past: Remembered::default() })
    }

    /// Nobody to ask: every container is unknown.
    pub fn none() -> Self {
        Self { map: None, endpoints: Vec::new(), disk: None, past: Remembered::default() }
    }

    /// Keeps what the runtimes announce from here on: a container may be gone before it can be asked about. Must be called
    /// within a tokio runtime.
    pub fn listen(&self) {
        self.endpoints.iter().for_each(Endpoint::listen);
    }

    /// How many runtimes can be asked, as of the last questions. Asks nobody.
    pub fn reach(&self) -> Reach {
        let mut reach = Reach::default();
        for endpoint in &self.endpoints {
            match endpoint.answers() {
                Some(true) => reach.answering += 1,
                Some(false) => reach.away += 1,
                None => {}
            }
        }
        reach
    }

    pub(super) fn is_empty(&self) -> bool {
        self.endpoints.is_empty() && self.map.is_none() && self.disk.is_none()
    }

    /// Asks every source whether it is there.
    pub async fn check(&self) -> Vec<Checked> {
        let checks = self.endpoints.iter().map(Endpoint::check);
        let mut checked = futures::future::join_all(checks).await;
        for path in self.disk.as_ref().map(Disk::found).unwrap_or_default() {
            checked.push(Checked { text: format!("files in {}", path.display()), answers: true });
        }
        if let Some(map) = &self.map {
            let text = format!("map {} ({} lines)", map.path().display(), map.lines());
            checked.push(Checked { text, answers: true });
        }
        checked
    }

    /// Finds a container by name, id, or start of its id.
    pub async fn find(&self, name: &str) -> Result<Identity, IdentityError> {
        let named = self.map.as_ref().and_then(|map| map.named(name));
        // What the map calls by this name the runtimes may know by its id.
        let asked = named.as_ref().map_or(name, |identity| &identity.id);
        match (self.identify(asked, None).await, named) {
            (Ok(identity), _) | (Err(_), Some(identity)) => Ok(identity),
            (Err(IdentityError::NoContainer { name, .. }), None) => {
                Err(IdentityError::NoContainer { near: self.near(&name).await, name })
            }
            (Err(error), None) => Err(error),
        }
    }

    /// Finds a container by its id; its cgroup is for the map.
    pub async fn identify(&self, id: &str, cgroup: Option<&Path>) -> Result<Identity, IdentityError> {
        let asked = self.ask(id).await;
        let of_map =
            |identity: &mut Identity| self.map.as_ref().is_some_and(|map| map.apply(cgroup, identity));
        match asked {
            Ok(mut identity) => {
                of_map(&mut identity);
                Ok(identity)
            }
            Err(error) => {
                // The map does not tell whether it runs.
                let mut identity = Identity { state: State::Unstarted, ..Identity::unknown(id) };
                if of_map(&mut identity) { Ok(identity) } else { Err(error) }
            }
        }
    }

    async fn ask(&self, name: &str) -> Result<Identity, IdentityError> {
        let (mut failed, mut absent, mut answered) = (None, Vec::new(), false);
        for endpoint in &self.endpoints {
            match endpoint.find(name).await {
                Answer::Known(identity) => {
                    self.past.put(&identity.id, identity.clone());
                    return Ok(identity);
                }
                Answer::Unknown => answered = true,
                Answer::Failed(error) => failed = failed.or(Some(error)),
                Answer::Absent(reason) => absent.push(reason),
            }
        }
        if let Some(identity) = self.disk.as_ref().and_then(|disk| disk.find(name)) {
            self.past.put(&identity.id, identity.clone());
            return Ok(identity);
        }
        if let Some(identity) = self.past.get(name) {
            return Ok(Identity { state: State::Exited, init: None, ..identity });
        }
        match failed {
            Some(error) => Err(error),
            None if answered => Err(IdentityError::NoContainer { name: name.to_owned(), near: Vec::new() }),
            None => Err(IdentityError::NoRuntime { tried: absent }),
        }
    }

    /// Up to three names that look like the given one, the nearest first.
    async fn near(&self, name: &str) -> Vec<String> {
        let names = futures::future::join_all(self.endpoints.iter().map(Endpoint::names)).await;
        let of_map = self.map.as_ref().map(Map::names).unwrap_or_default();
        near(name, names.into_iter().flatten().chain(of_map))
    }
}

/// Up to three names that look like the given one, the nearest first.
fn near(name: &str, names: impl IntoIterator<Item = String>) -> Vec<String> {
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
    fn near_names_are_shown() {
        let names = ["web-1", "web-2", "database"].map(str::to_owned);
        let error = IdentityError::NoContainer { name: "web1".to_owned(), near: near("web1", names) };
        assert_eq!(error.to_string(), "there is no container `web1`; did you mean `web-1` or `web-2`?");
    }
}
