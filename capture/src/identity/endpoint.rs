//! The sockets of container runtimes. They are connected to when there is something to ask: a runtime may start after this
//! program, go away, and come back.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::Instant;

use super::api::Api;
use super::cri::Cri;
use super::{Checked, Identity, IdentityError};

/// Wait before a socket is tried again that did not answer.
const AGAIN: Duration = Duration::from_secs(1);
/// Usual sockets of containerd, CRI-O, and the containerd of k3s, below the root.
const CRI_SOCKETS: [&str; 3] =
    ["run/containerd/containerd.sock", "run/crio/crio.sock", "run/k3s/containerd/containerd.sock"];

/// Where a runtime is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Address {
    /// A unix socket.
    Unix(PathBuf),
    /// `tcp://HOST:PORT`.
    Tcp(String),
}

impl Address {
    pub(super) fn parse(url: &str) -> Result<Self, IdentityError> {
        let bad = || IdentityError::Url { url: url.to_owned() };
        match url.split_once("://") {
            Some(("unix", path)) if path.starts_with('/') => Ok(Self::Unix(path.into())),
            Some(("tcp" | "http", host)) if !host.is_empty() => Ok(Self::Tcp(format!("tcp://{host}"))),
            None if url.starts_with('/') => Ok(Self::Unix(url.into())),
            _ => Err(bad()),
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => path.display().fmt(f),
            Self::Tcp(host) => f.write_str(host),
        }
    }
}

/// What an endpoint says of a container.
#[derive(Debug)]
pub(super) enum Answer {
    /// Who it is.
    Known(Identity),
    /// It has no such container.
    Unknown,
    /// It is there, or was, or should be, and cannot tell.
    Failed(IdentityError),
    /// There is no such runtime here, as far as is known.
    Absent(String),
}

/// A runtime, by what it speaks.
#[derive(Debug, Clone)]
enum Runtime {
    Api(Api),
    Cri(Cri),
}

impl Runtime {
    /// Finds out what is spoken there by asking.
    async fn connect(address: &Address) -> Result<Self, String> {
        let of_api = match Api::connect(address).await {
            Ok(api) => return Ok(Self::Api(api)),
            Err(reason) => reason,
        };
        let Address::Unix(socket) = address else { return Err(of_api) };
        match Cri::connect(socket).await {
            Ok(cri) => Ok(Self::Cri(cri)),
            Err(of_cri) if of_cri == of_api => Err(of_api),
            Err(of_cri) => Err(format!("as Docker-compatible API: {of_api}; as CRI: {of_cri}")),
        }
    }

    async fn find(&self, name: &str) -> Result<Option<Identity>, IdentityError> {
        match self {
            Self::Api(api) => api.find(name).await,
            Self::Cri(cri) => cri.find(name).await,
        }
    }

    async fn names(&self) -> Vec<String> {
        match self {
            Self::Api(api) => api.names().await.unwrap_or_default(),
            Self::Cri(cri) => cri.names().await,
        }
    }
}

impl fmt::Display for Runtime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Api(_) => f.write_str("Docker-compatible API"),
            Self::Cri(cri) => write!(f, "CRI of {}", cri.runtime()),
        }
    }
}

/// A socket that is, or may become, a runtime's.
#[derive(Debug, Clone)]
pub(super) struct Endpoint(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    address: Address,
    /// Somebody says that a runtime is there.
    given: bool,
    connection: Mutex<Connection>,
    /// Announcements are wanted.
    listening: AtomicBool,
    /// It answered once.
    connected: AtomicBool,
    /// It answered, and the last question was not answered.
    away: AtomicBool,
}

#[derive(Debug, Default)]
struct Connection {
    runtime: Option<Runtime>,
    /// When the last try was, and what was wrong.
    failed: Option<(Instant, String)>,
}

impl Endpoint {
    pub(super) fn new(address: Address, given: bool) -> Self {
        Self(Arc::new(Inner {
            address,
            given,
            connection: Mutex::default(),
            listening: AtomicBool::new(false),
            connected: AtomicBool::new(false),
            away: AtomicBool::new(false),
        }))
    }

    /// The usual places of runtimes below the root of the host's file system, and what `DOCKER_HOST` says.
    pub(super) fn usual(root: &Path) -> Result<Vec<Self>, IdentityError> {
        let here = |path: PathBuf| Self::new(Address::Unix(path), false);
        // Not /var/run: below another root that link would lead out of it.
        let below = |path: &str| here(root.join(path));
        let mut found = Vec::new();
        if let Some(url) = std::env::var("DOCKER_HOST").ok().filter(|url| !url.is_empty()) {
            found.push(Self::new(Address::parse(&url)?, true));
        } else {
            found.push(below("run/podman/podman.sock"));
            if let Some(folder) = std::env::var_os("XDG_RUNTIME_DIR") {
                found.push(here(Path::new(&folder).join("podman/podman.sock")));
            }
            found.push(below("run/docker.sock"));
        }
        found.extend(CRI_SOCKETS.map(below));
        Ok(found)
    }

    /// Whether it answers; what it is, or what is wrong.
    pub(super) async fn check(&self) -> Checked {
        match self.connect().await {
            Ok(runtime) => Checked { text: format!("{runtime} at {}", self.0.address), answers: true },
            Err(reason) => Checked { text: self.tried(&reason), answers: false },
        }
    }

    /// Whether it answered the last question; none where nobody says that a runtime is there, and none ever was.
    pub(super) fn answers(&self) -> Option<bool> {
        if self.0.connected.load(Ordering::Relaxed) {
            Some(!self.0.away.load(Ordering::Relaxed))
        } else {
            self.0.given.then_some(false)
        }
    }

    /// A container by name, id or start of its id.
    pub(super) async fn find(&self, name: &str) -> Answer {
        let runtime = match self.connect().await {
            Ok(runtime) => runtime,
            Err(reason) if self.0.given => {
                return Answer::Failed(IdentityError::NoRuntime { tried: vec![self.tried(&reason)] });
            }
            Err(reason) => return Answer::Absent(self.tried(&reason)),
        };
        let found = runtime.find(name).await;
        self.tell(found.as_ref().err());
        match found {
            Ok(Some(identity)) => Answer::Known(identity),
            Ok(None) => Answer::Unknown,
            Err(error) => Answer::Failed(error),
        }
    }

    /// Names of all containers, as far as it tells.
    pub(super) async fn names(&self) -> Vec<String> {
        match self.connect().await {
            Ok(runtime) => runtime.names().await,
            Err(_) => Vec::new(),
        }
    }

    /// Keeps what the runtime announces, from when it answers. Must be called within a tokio runtime.
    pub(super) fn listen(&self) {
        self.0.listening.store(true, Ordering::Relaxed);
        let endpoint = self.clone();
        tokio::spawn(async move {
            while endpoint.connect().await.is_err() {
                tokio::time::sleep(AGAIN).await;
            }
        });
    }

    fn tried(&self, reason: &str) -> String {
        format!("{} ({reason})", self.0.address)
    }

    async fn connect(&self) -> Result<Runtime, String> {
        let mut connection = self.0.connection.lock().await;
        if let Some(runtime) = &connection.runtime {
            return Ok(runtime.clone());
        }
        // Many containers may ask at once, and a socket that hangs takes its time with each.
        if let Some((_, reason)) = connection.failed.as_ref().filter(|(at, _)| at.elapsed() < AGAIN) {
            return Err(reason.clone());
        }
        match Runtime::connect(&self.0.address).await {
            Ok(mut runtime) => {
                if let Runtime::Api(api) = &mut runtime
                    && self.0.listening.load(Ordering::Relaxed)
                {
                    api.listen();
                }
                tracing::info!(socket = %self.0.address, %runtime, "a container runtime answers");
                connection.runtime = Some(runtime.clone());
                self.0.connected.store(true, Ordering::Relaxed);
                Ok(runtime)
            }
            Err(reason) => {
                connection.failed = Some((Instant::now(), reason.clone()));
                Err(reason)
            }
        }
    }

    /// Tells when a runtime goes away and when it is back.
    fn tell(&self, error: Option<&IdentityError>) {
        let away = error.is_some();
        if self.0.away.swap(away, Ordering::Relaxed) == away {
            return;
        }
        let socket = &self.0.address;
        match error {
            Some(error) => {
                let cause = std::error::Error::source(error).map(ToString::to_string).unwrap_or_default();
                tracing::warn!(%socket, cause, "the container runtime is away: names wait until it is back");
            }
            None => tracing::info!(%socket, "the container runtime is back"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        for url in ["unix:///run/x.sock", "/run/x.sock", "tcp://127.0.0.1:2375"] {
            assert!(Address::parse(url).is_ok(), "{url}");
        }
        for url in ["", "run/x.sock", "unix://x", "ssh://host", "tcp://"] {
            assert!(matches!(Address::parse(url), Err(IdentityError::Url { .. })), "{url}");
        }
    }
}
